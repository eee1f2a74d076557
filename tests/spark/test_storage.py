"""What a bucket promises, by a real S3A and moto."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import DataFrame, SparkSession

from imdb_streaming.jvm import upload
from imdb_streaming.storage import BucketStorage, StorageError

if TYPE_CHECKING:
    from .s3 import S3

MARK = "mapreduce.fileoutputcommitter.marksuccessfuljobs"


@dataclass(frozen=True)
class Place:
    """A storage, and how another program reads a file in it."""

    storage: BucketStorage
    read: Callable[[str], bytes]


@pytest.fixture
def place(spark: SparkSession, s3: S3, tmp_path: Path) -> Place:
    prefix = tmp_path.name.replace("[", "-").replace("]", "")
    storage = BucketStorage(f"{s3.uri}/{prefix}/", spark)
    storage.make_folder("table")
    return Place(storage, lambda name: s3.get(f"{prefix}/{name}"))


@pytest.fixture
def storage(place: Place) -> BucketStorage:
    return place.storage


class TestFiles:
    """What the job may rely on, as in a folder."""

    def test_a_file_is_read_as_it_was_written(self, place: Place) -> None:
        content = bytes(range(256)) * 10
        place.storage.write_atomically("table/a", content)
        assert place.storage.read("table/a") == content == place.read("table/a")
        assert place.storage.exists("table/a")

    def test_an_empty_file_is_a_file(self, place: Place) -> None:
        place.storage.write_atomically("table/a", b"")
        assert place.storage.read("table/a") == b"" == place.read("table/a")

    def test_a_file_is_replaced(self, storage: BucketStorage) -> None:
        for content in (b"a longer one", b"new"):
            storage.write_atomically("table/a", content)
        assert storage.read("table/a") == b"new"
        assert storage.names("table") == ["table/a"]

    def test_readers_see_whole_files_alone(self, place: Place) -> None:
        """Each content is one letter, as long as several buffers."""
        size = 300_000
        place.storage.write_atomically("table/a", b"a" * size)
        seen: list[bytes] = []
        done = threading.Event()

        def read_until_done() -> None:
            while not done.is_set():
                seen.append(place.read("table/a"))

        reader = threading.Thread(target=read_until_done)
        reader.start()
        try:
            for letter in (b"b", b"c", b"d", b"e", b"f"):
                place.storage.write_atomically("table/a", letter * size)
        finally:
            done.set()
            reader.join(timeout=60)
        assert not reader.is_alive()
        assert len({content[:1] for content in seen}) > 1
        assert [content[:1] for content in seen if len(set(content)) != 1] == []
        assert {len(content) for content in seen} == {size}

    def test_names_are_those_that_match(self, storage: BucketStorage) -> None:
        for name in ("b.parquet", "a.parquet", ".a.parquet.tmp", "_run.json"):
            storage.write_atomically(f"table/{name}", b"")
        storage.make_folder("table/below")
        storage.write_atomically("table/below/c.parquet", b"")
        assert storage.names("table", "*.parquet") == ["table/a.parquet", "table/b.parquet"]
        assert storage.names("table", "[0-9]*") == []
        assert "table/below" in storage.names("table")

    def test_names_of_the_root_have_no_folder(self, storage: BucketStorage) -> None:
        storage.write_atomically("_run.json", b"{}")
        assert storage.names("") == ["_run.json", "table"]

    def test_a_missing_folder_is_empty(self, storage: BucketStorage) -> None:
        assert storage.names("nothing") == []
        assert not storage.exists("nothing")

    @pytest.mark.parametrize("operation", ["read", "modified"])
    def test_a_missing_file_is_an_error_of_its_own(
        self, storage: BucketStorage, operation: str
    ) -> None:
        with pytest.raises(FileNotFoundError, match=r"table/none"):
            getattr(storage, operation)("table/none")

    def test_a_file_knows_when_it_came(self, storage: BucketStorage) -> None:
        storage.write_atomically("table/a", b"")
        assert abs(storage.modified("table/a") - datetime.now(UTC)) < timedelta(minutes=5)

    def test_what_is_removed_is_gone(self, storage: BucketStorage) -> None:
        storage.write_atomically("table/a", b"")
        storage.make_folder("staging/below")
        storage.write_atomically("staging/below/b", b"")
        storage.remove("table/a")
        storage.remove_tree("staging")
        assert not storage.exists("table/a")
        assert not storage.exists("staging")
        assert storage.exists("table")

    def test_removing_what_is_not_there_is_no_error(self, storage: BucketStorage) -> None:
        storage.remove("table/none")
        storage.remove_tree("nothing")
        assert storage.names("table") == []

    def test_a_folder_may_be_made_again(self, storage: BucketStorage) -> None:
        storage.write_atomically("table/a", b"kept")
        storage.make_folder("table")
        assert storage.read("table/a") == b"kept"


class TestBucket:
    """What is particular to S3."""

    def test_files_get_other_names_by_the_executors(self, spark: SparkSession, s3: S3) -> None:
        storage = BucketStorage(f"{s3.uri}/copied", spark)
        storage.write_atomically("a", b"old")
        for name in ("next", "other"):
            storage.write_atomically(name, name.encode() * 100)
        targets = [storage.uri("a"), storage.uri("b")]
        upload(spark, [storage.uri("next"), storage.uri("other")], targets)
        assert (s3.get("copied/a"), s3.get("copied/b")) == (b"next" * 100, b"other" * 100)
        with pytest.raises(Exception, match="copied/none"):
            upload(spark, [storage.uri("none")], targets[:1])
        assert s3.get("copied/a") == b"next" * 100
        assert s3.unfinished_uploads() == []

    def test_a_missing_bucket_is_an_error(self, spark: SparkSession, s3: S3) -> None:
        with pytest.raises(OSError, match="nowhere"):
            BucketStorage("s3a://nowhere/tables", spark)

    def test_a_place_that_shows_half_files_is_refused(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        with pytest.raises(StorageError, match="seen while they are written"):
            BucketStorage(f"file://{tmp_path}", spark)

    def test_a_prefix_does_not_see_its_neighbours(self, spark: SparkSession, s3: S3) -> None:
        one, other = (BucketStorage(f"{s3.uri}/{name}", spark) for name in ("one", "one-more"))
        other.write_atomically("table/a", b"")
        assert one.names("table") == []
        assert one.names("") == []


class TestSparkOnABucket:
    """Spark with `storage_settings`, as the job runs it."""

    def test_files_are_written_by_the_magic_committer(self, cloud: SparkSession, s3: S3) -> None:
        # The mark of a finished job names the committer; the job itself leaves it out.
        marked = cloud.range(10).coalesce(1).write.option(MARK, "true")
        marked.parquet(f"{s3.uri}/committed/staging")
        assert b'"committer":"magic"' in s3.get("committed/staging/_SUCCESS")
        assert not [key for key in s3.keys("committed/") if "__magic" in key or "_temporary" in key]

    def test_a_query_goes_on_from_its_checkpoint(
        self, cloud: SparkSession, s3: S3, tmp_path: Path
    ) -> None:
        storage = BucketStorage(f"{s3.uri}/stream", cloud)

        def write(batch: DataFrame, batch_id: int) -> None:
            batch.coalesce(1).write.mode("overwrite").parquet(storage.uri(f"_staging/{batch_id}"))
            (part,) = storage.names(f"_staging/{batch_id}", "part-*.parquet")
            upload(cloud, [storage.uri(part)], [storage.uri(f"silver/{batch_id}.parquet")])

        for text in ("first", "second"):  # the program, and the program started again
            (tmp_path / f"{text}.txt").write_text(text)
            query = (
                cloud.readStream.format("text")
                .load(f"file://{tmp_path}")
                .writeStream.foreachBatch(write)
                .option("checkpointLocation", storage.uri("_chk"))
                .trigger(availableNow=True)
                .start()
            )
            assert query.awaitTermination(300)
        assert s3.keys("stream/silver/") == {"stream/silver/0.parquet", "stream/silver/1.parquet"}
        rows = cloud.read.parquet(storage.uri("silver")).collect()
        assert sorted(row["value"] for row in rows) == ["first", "second"]
        assert {"stream/_chk/commits/0", "stream/_chk/commits/1"} <= s3.keys("stream/_chk/commits/")
