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

from imdb_streaming.bucket import BucketPath, StorageError
from imdb_streaming.jvm import upload

if TYPE_CHECKING:
    from .s3 import S3

MARK = "mapreduce.fileoutputcommitter.marksuccessfuljobs"


@dataclass(frozen=True)
class Place:
    """A folder, and how another program reads a file in it."""

    storage: BucketPath
    read: Callable[[str], bytes]


@pytest.fixture
def place(spark: SparkSession, s3: S3, tmp_path: Path) -> Place:
    prefix = tmp_path.name.replace("[", "-").replace("]", "")
    storage = BucketPath(f"{s3.uri}/{prefix}").opened(spark)
    make_folder(storage / "table")
    return Place(storage, lambda name: s3.get(f"{prefix}/{name}"))


def make_folder(path: BucketPath) -> None:
    path._ask("mkdirs")


def names(folder: BucketPath, pattern: str) -> list[str]:
    return [path.key for path in folder.glob(pattern)]


@pytest.fixture
def storage(place: Place) -> BucketPath:
    return place.storage


class TestFiles:
    """What the job may rely on, as in a folder."""

    def test_a_file_is_read_as_it_was_written(self, place: Place) -> None:
        content = bytes(range(256)) * 10
        (place.storage / "table/a").write_atomically(content)
        assert (place.storage / "table/a").read_bytes() == content == place.read("table/a")
        assert (place.storage / "table/a").exists()

    def test_an_empty_file_is_a_file(self, place: Place) -> None:
        (place.storage / "table/a").write_atomically(b"")
        assert (place.storage / "table/a").read_bytes() == b"" == place.read("table/a")

    def test_a_file_is_replaced(self, storage: BucketPath) -> None:
        for content in (b"a longer one", b"new"):
            (storage / "table/a").write_atomically(content)
        assert (storage / "table/a").read_bytes() == b"new"
        assert names(storage, "table/*") == ["table/a"]

    def test_readers_see_whole_files_alone(self, place: Place) -> None:
        """Each content is one letter, as long as several buffers."""
        size = 300_000
        (place.storage / "table/a").write_atomically(b"a" * size)
        seen: list[bytes] = []
        done = threading.Event()

        def read_until_done() -> None:
            while not done.is_set():
                seen.append(place.read("table/a"))

        reader = threading.Thread(target=read_until_done)
        reader.start()
        try:
            for letter in (b"b", b"c", b"d", b"e", b"f"):
                (place.storage / "table/a").write_atomically(letter * size)
        finally:
            done.set()
            reader.join(timeout=60)
        assert not reader.is_alive()
        assert len({content[:1] for content in seen}) > 1
        assert [content[:1] for content in seen if len(set(content)) != 1] == []
        assert {len(content) for content in seen} == {size}

    def test_names_are_those_that_match(self, storage: BucketPath) -> None:
        for name in ("b.parquet", "a.parquet", ".a.parquet.tmp", "_run.json"):
            (storage / f"table/{name}").write_atomically(b"")
        make_folder(storage / "table/below")
        (storage / "table/below/c.parquet").write_atomically(b"")
        assert names(storage, "table/*.parquet") == ["table/a.parquet", "table/b.parquet"]
        assert names(storage, "table/[0-9]*") == []
        assert "table/below" in names(storage, "table/*")

    def test_names_of_the_root_have_no_folder(self, storage: BucketPath) -> None:
        (storage / "_run.json").write_atomically(b"{}")
        assert names(storage, "*") == ["_run.json", "table"]

    def test_a_missing_folder_is_empty(self, storage: BucketPath) -> None:
        assert names(storage, "nothing/*") == []
        assert not (storage / "nothing").exists()

    @pytest.mark.parametrize("operation", ["read_bytes", "modified"])
    def test_a_missing_file_is_an_error_of_its_own(
        self, storage: BucketPath, operation: str
    ) -> None:
        with pytest.raises(FileNotFoundError, match=r"table/none"):
            getattr(storage / "table/none", operation)()

    def test_a_file_knows_when_it_came(self, storage: BucketPath) -> None:
        (storage / "table/a").write_atomically(b"")
        assert abs((storage / "table/a").modified() - datetime.now(UTC)) < timedelta(minutes=5)

    def test_what_is_removed_is_gone(self, storage: BucketPath) -> None:
        (storage / "table/a").write_atomically(b"")
        make_folder(storage / "staging/below")
        (storage / "staging/below/b").write_atomically(b"")
        (storage / "table/a").unlink()
        (storage / "staging").remove_tree()
        assert not (storage / "table/a").exists()
        assert not (storage / "staging").exists()
        assert (storage / "table").exists()

    def test_removing_what_is_not_there_is_no_error(self, storage: BucketPath) -> None:
        (storage / "table/none").unlink()
        (storage / "nothing").remove_tree()
        assert names(storage, "table/*") == []

    def test_a_folder_may_be_made_again(self, storage: BucketPath) -> None:
        (storage / "table/a").write_atomically(b"kept")
        make_folder(storage / "table")
        assert (storage / "table/a").read_bytes() == b"kept"


class TestBucket:
    """What is particular to S3."""

    def test_files_get_other_names_by_the_executors(self, spark: SparkSession, s3: S3) -> None:
        storage = BucketPath(f"{s3.uri}/copied").opened(spark)
        (storage / "a").write_atomically(b"old")
        for name in ("next", "other"):
            (storage / name).write_atomically(name.encode() * 100)
        target = str(storage / "a")
        files = {str(storage / "next"): target, str(storage / "other"): str(storage / "b")}
        upload(spark, files)
        assert (s3.get("copied/a"), s3.get("copied/b")) == (b"next" * 100, b"other" * 100)
        with pytest.raises(Exception, match="copied/none"):
            upload(spark, {str(storage / "none"): target})
        assert s3.get("copied/a") == b"next" * 100
        assert s3.unfinished_uploads() == []

    def test_a_missing_bucket_is_an_error(self, spark: SparkSession, s3: S3) -> None:
        with pytest.raises(OSError, match="nowhere"):
            BucketPath("s3a://nowhere/tables").opened(spark)

    def test_a_place_that_shows_half_files_is_refused(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        with pytest.raises(StorageError, match="seen while they are written"):
            BucketPath(f"file://{tmp_path}").opened(spark)

    def test_a_prefix_does_not_see_its_neighbours(self, spark: SparkSession, s3: S3) -> None:
        one, other = (BucketPath(f"{s3.uri}/{name}").opened(spark) for name in ("one", "one-more"))
        (other / "table/a").write_atomically(b"")
        assert names(one, "table/*") == []
        assert names(one, "*") == []


class TestSparkOnABucket:
    """Spark with `storage_settings`, as the job runs it."""

    def test_files_are_written_by_the_magic_committer(self, cloud: SparkSession, s3: S3) -> None:
        # The mark of a finished job names the committer; the job itself leaves it out.
        marked = cloud.range(10).coalesce(1).write.option(MARK, "true")
        marked.parquet(f"{s3.uri}/committed/staging")
        assert b'"committer":"magic"' in s3.get("committed/staging/_SUCCESS")
        assert not [key for key in s3.keys("committed/") if "__magic" in key or "_temporary" in key]

    # The job's own query does, in test_s3a.py.
    @pytest.mark.slow
    def test_a_query_goes_on_from_its_checkpoint(
        self, cloud: SparkSession, s3: S3, tmp_path: Path
    ) -> None:
        storage = BucketPath(f"{s3.uri}/stream").opened(cloud)

        def write(batch: DataFrame, batch_id: int) -> None:
            batch.coalesce(1).write.mode("overwrite").parquet(str(storage / f"_staging/{batch_id}"))
            (part,) = storage.glob(f"_staging/{batch_id}/part-*.parquet")
            upload(cloud, {str(part): str(storage / f"silver/{batch_id}.parquet")})

        for text in ("first", "second"):  # the program, and the program started again
            (tmp_path / f"{text}.txt").write_text(text)
            query = (
                cloud.readStream.format("text")
                .load(f"file://{tmp_path}")
                .writeStream.foreachBatch(write)
                .option("checkpointLocation", str(storage / "_chk"))
                .trigger(availableNow=True)
                .start()
            )
            assert query.awaitTermination(300)
        assert s3.keys("stream/silver/") == {"stream/silver/0.parquet", "stream/silver/1.parquet"}
        rows = cloud.read.parquet(str(storage / "silver")).collect()
        assert sorted(row["value"] for row in rows) == ["first", "second"]
        assert {"stream/_chk/commits/0", "stream/_chk/commits/1"} <= s3.keys("stream/_chk/commits/")
