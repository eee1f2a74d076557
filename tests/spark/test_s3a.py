"""The job with all of its tables in a bucket, by a real S3A and moto."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as sf

from imdb_streaming import cli, guards, job, runs, terms
from imdb_streaming.bucket import BucketPath, StorageError
from imdb_streaming.config import Config, load_config
from imdb_streaming.files import uri, write_atomically
from imdb_streaming.guards import StartRefusedError
from imdb_streaming.job import Load

from ..pipeline.chaos_expected import Stored, differences, expected_tables
from ..pipeline.chaos_messages import plan
from .batches import Send, run_to_end, store

if TYPE_CHECKING:
    from .s3 import S3

#: Of a batch, as docs/aws.md has them: put, post and list; get and head. Deleting costs nothing.
DEAR_REQUESTS, CHEAP_REQUESTS = 60, 45

pytestmark = pytest.mark.usefixtures("executors_without_python")


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """A prefix of the bucket that no other test has."""
    return tmp_path.name.replace("[", "-").replace("]", "")


@pytest.fixture
def in_bucket(environ: dict[str, str], s3: S3, prefix: str) -> dict[str, str]:
    return environ | {
        "OUTPUT_PATH": f"{s3.uri}/{prefix}/parquet",
        "OUTPUT_PATH_CSV": f"{s3.uri}/{prefix}/csv/",
    }


@pytest.fixture
def remote(cloud: SparkSession, in_bucket: dict[str, str]) -> Config:
    """The configuration of a run in the bucket that was started once."""
    config = load_config(in_bucket)
    guards.prepare_folders(config)
    config = config.opened(cloud)
    job.take_up(config)
    return config


@pytest.fixture
def run_job(cloud: SparkSession, remote: Config, topic: Path) -> Callable[..., Load]:
    def run_job(**options: int) -> Load:
        job.take_up(remote)
        return run_to_end(cloud, remote, topic, **options)

    return run_job


def counts_as_csv(s3: S3, prefix: str) -> list[list[str]]:
    """As a reader without Hadoop finds them."""
    text = s3.get(f"{prefix}/csv/genre_counts/genre_counts.csv").decode()
    return list(csv.reader(io.StringIO(text)))


def counts_as_parquet(spark: SparkSession, config: Config) -> list[list[str]]:
    table = spark.read.parquet(uri(config.genre_counts_folder))
    return [table.columns, *([str(value) for value in row] for row in table.collect())]


def silver(spark: SparkSession, config: Config) -> list[dict[str, Any]]:
    """What silver holds, by movie."""
    rows = spark.read.parquet(uri(config.silver_folder)).orderBy("tconst", "numVotes").collect()
    return [row.asDict() for row in rows]


# A start over earlier batches, one of which is run again, is a part of the next test.
@pytest.mark.slow
def test_restart_does_not_duplicate_rows(
    cloud: SparkSession,
    remote: Config,
    send: Send,
    run_job: Callable[..., Load],
    movie: dict[str, Any],
    s3: S3,
    prefix: str,
) -> None:
    first, second = movie, movie | {"tconst": "tt2", "genres": []}
    send(first, second, first, "not json")
    run_job()
    send(first, second)
    changed = first | {"numVotes": 9000, "genres": ["Drama"]}
    send(changed, "")
    load = run_job()

    rows = silver(cloud, remote)
    assert [(row["tconst"], row["numVotes"]) for row in rows] == [
        ("tt0111161", 3000),
        ("tt0111161", 9000),
        ("tt2", 3000),
    ]
    assert rows[1]["weighted_score"] == 9000 / 12000 * 9.3 + 3000 / 12000 * 6.5
    expected = [["genre", "movie_count"], ["(unknown)", "1"], ["Drama", "1"]]
    assert counts_as_csv(s3, prefix) == expected
    assert counts_as_parquet(cloud, remote) == expected
    assert load.sink.table_rows == 3
    assert (load.sink.totals.dead_letters, load.sink.totals.duplicates) == (2, 3)
    letters = cloud.read.parquet(uri(remote.dead_letters_folder)).orderBy("offset").collect()
    assert [bytes(letter["value"]) for letter in letters] == [b"not json", b""]


def test_tables_are_what_follows_from_the_messages(
    cloud: SparkSession,
    remote: Config,
    topic: Path,
    run_job: Callable[..., Load],
    s3: S3,
    prefix: str,
) -> None:
    """By the same independent computation as on hosts, with a batch that is run again."""
    messages = [
        Stored(0, offset, message.at, message.key, message.value, message.headers)
        for offset, message in enumerate(plan(seed=6, count=2000, first=1, begin=1_700_000_000_000))
    ]
    parts = [messages[begin : begin + 700] for begin in range(0, len(messages), 700)]
    for part in parts[:2]:
        store(topic, part)
    run_job(files_a_batch=1)
    # As after a crash when the batch's files were in place and its commit was not.
    (remote.checkpoint_folder / "commits" / "1").unlink()
    store(topic, parts[2])
    load = run_job(files_a_batch=1)
    wanted = expected_tables(messages)
    assert len(wanted.dead_letters) > 10
    assert wanted.duplicates > 50

    time = sf.unix_millis("kafka_timestamp").alias("kafka_timestamp")
    table = cloud.read.parquet(uri(remote.silver_folder)).withColumn("kafka_timestamp", time)
    rows = [row.asDict() for row in table.collect()]
    silver = {(row.pop("event_id"), row["kafka_timestamp"]): row for row in rows}
    assert len(silver) == len(rows)
    assert not differences(silver, wanted.silver)

    table = cloud.read.parquet(uri(remote.dead_letters_folder))
    found = table.select("partition", "offset", "reason", "key", "value", time).collect()
    letters = {(row[0], row[1]): (row[2], *_bytes(row[3], row[4]), row[5]) for row in found}
    assert len(letters) == len(found)
    assert not differences(letters, wanted.dead_letters)

    counts = [["genre", "movie_count"], *([name, str(n)] for name, n in wanted.genre_counts)]
    assert counts_as_csv(s3, prefix) == counts
    assert counts_as_parquet(cloud, remote) == counts
    totals = load.sink.totals
    assert (totals.duplicates, totals.stale) == (wanted.duplicates, wanted.stale)


def _bytes(*values: bytearray | None) -> tuple[bytes | None, ...]:
    return tuple(None if value is None else bytes(value) for value in values)


def test_nothing_but_tables_and_checkpoints_is_left(
    remote: Config,
    send: Send,
    run_job: Callable[..., Load],
    movie: dict[str, Any],
    s3: S3,
    prefix: str,
) -> None:
    """Nor what a crash has left in staging."""
    left_over = remote.staging_folder / "silver_movies-main-0000000000/part-0.parquet"
    write_atomically(left_over, b"half")
    send(movie, "malformed")
    assert run_job().sink.table_rows == 1
    tables = {key for key in s3.keys(f"{prefix}/") if "/_chk/" not in key}
    assert {key.removeprefix(f"{prefix}/") for key in tables if "_run.json" not in key} == {
        "parquet/silver_movies/main-0000000000.parquet",
        "parquet/dead_letters/main-0000000000.parquet",
        "parquet/genre_counts/genre_counts.parquet",
        "csv/genre_counts/genre_counts.csv",
    }
    state = f"{prefix}/parquet/_chk/genre_counts_main/"
    assert s3.keys(state) == {
        f"{state}{name}" for name in ("_run.json", "_totals.json", "delta-0000000000")
    }
    assert s3.unfinished_uploads() == []


def test_a_batch_asks_the_bucket_as_often_as_is_documented(
    send: Send, run_job: Callable[..., Load], movie: dict[str, Any], s3: S3, prefix: str
) -> None:
    """What docs/aws.md reckons with. The start of a run and its end are no part of it."""
    first, last = 1, 3
    for number in range(last + 2):
        send(movie | {"tconst": f"tt{number}"})
    load = run_job(files_a_batch=1)
    assert load.sink.table_rows == last + 2
    commits = f"/{prefix}/parquet/_chk/silver_movies_main/commits/"
    count = s3.requests(since=f"PUT {commits}{first}", until=f"PUT {commits}{last}")
    each = {kind: number / (last - first) for kind, number in count.items()}
    dear = sum(each.get(kind, 0) for kind in ("put", "post", "list"))
    assert 0 < dear <= DEAR_REQUESTS, each
    assert 0 < each["get"] + each["head"] <= CHEAP_REQUESTS, each


@pytest.mark.slow
def test_crash_between_file_and_checkpoint_does_not_duplicate_rows(
    cloud: SparkSession,
    remote: Config,
    send: Send,
    run_job: Callable[..., Load],
    movie: dict[str, Any],
) -> None:
    send(movie, movie | {"tconst": "tt2"}, "malformed")
    run_job()
    # As after a crash when the batch's file was in place and its commit was not.
    (remote.checkpoint_folder / "commits" / "0").unlink()
    load = run_job()
    assert [row["tconst"] for row in silver(cloud, remote)] == ["tt0111161", "tt2"]
    assert load.sink.table_rows == 2
    assert load.sink.totals.dead_letters == 1


@pytest.mark.parametrize(
    "content",
    [
        # In a folder they are tested each, by test_sinks.py.
        pytest.param(b"", marks=pytest.mark.slow),
        pytest.param(b"not a delta at all", marks=pytest.mark.slow),
        None,
    ],
)
def test_damaged_state_is_refused(
    remote: Config,
    send: Send,
    run_job: Callable[..., Load],
    movie: dict[str, Any],
    content: bytes | None,
) -> None:
    send(movie)
    run_job()
    delta = remote.state_folder / "delta-0000000000"
    if content is None:
        delta.unlink()
    else:
        write_atomically(delta, content)
    with pytest.raises(StartRefusedError, match=r"state after batch 0 .*delta-0000000000 is "):
        run_job()


def test_lost_checkpoint_is_refused(
    remote: Config, send: Send, run_job: Callable[..., Load], movie: dict[str, Any]
) -> None:
    send(movie)
    run_job()
    for folder in (remote.checkpoint_folder, remote.state_folder):
        assert isinstance(folder, BucketPath)
        folder.remove_tree()
    with pytest.raises(StartRefusedError, match="The tables have rows, but the checkpoint"):
        run_job()


def test_each_part_of_a_large_batch_is_an_object(
    cloud: SparkSession,
    remote: Config,
    send: Send,
    run_job: Callable[..., Load],
    movie: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imdb_streaming.sinks.MESSAGES_A_PART", -1)
    send(*(movie | {"tconst": f"tt{number}"} for number in range(4)))
    send(*(movie | {"tconst": f"tt{number}"} for number in range(4, 8)))
    run_job()
    (remote.checkpoint_folder / "commits" / "0").unlink()
    run_job()
    assert [file.name for file in remote.silver_folder.glob("*.parquet")] == [
        "main-0000000000-0000.parquet",
        "main-0000000000-0001.parquet",
    ]
    assert [row["tconst"] for row in silver(cloud, remote)] == [f"tt{n}" for n in range(8)]


def test_the_csv_alone_may_be_in_a_bucket(
    spark: SparkSession,
    environ: dict[str, str],
    in_bucket: dict[str, str],
    topic: Path,
    send: Send,
    movie: dict[str, Any],
    s3: S3,
    prefix: str,
) -> None:
    config = load_config(environ | {"OUTPUT_PATH_CSV": in_bucket["OUTPUT_PATH_CSV"]})
    guards.prepare_folders(config)
    config = terms.take(config)
    config = config.opened(spark)
    job.take_up(config)
    send(movie)
    run_to_end(spark, config, topic)
    assert counts_as_csv(s3, prefix)[1:] == [["Crime", "1"], ["Drama", "1"]]
    assert (config.silver_folder / "main-0000000000.parquet").exists()


def test_a_second_job_of_the_host_is_refused(remote: Config) -> None:
    with (
        terms.exclusive(remote),
        pytest.raises(StartRefusedError, match=f"Another job is writing to {remote.output_path}"),
        terms.exclusive(remote),
    ):
        pass


def test_jobs_with_other_prefixes_run_beside_each_other(
    remote: Config, in_bucket: dict[str, str]
) -> None:
    other = load_config(in_bucket | {"OUTPUT_PATH": f"{in_bucket['OUTPUT_PATH']}-2"})
    with terms.exclusive(remote), terms.exclusive(other):
        assert other.status_file == remote.status_file


def test_a_bucket_that_is_not_there_is_named(cloud: SparkSession, remote: Config) -> None:
    nowhere = replace(remote, output_path=BucketPath("s3a://nowhere/tables"))
    with pytest.raises(StorageError, match=r"s3a://nowhere/tables cannot be read: .*credentials"):
        nowhere.opened(cloud)


@pytest.mark.parametrize(
    "command", [["compact"], ["reset", "--yes"], ["reprocess", "second"]], ids=" ".join
)
@pytest.mark.parametrize("name", ["OUTPUT_PATH", "OUTPUT_PATH_CSV"])
def test_commands_that_move_folders_are_refused(
    environ: dict[str, str], command: list[str], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert cli.main(command, environ | {name: "s3a://bucket/tables"}) == cli.REFUSED
    assert f"imdb-streaming {command[0]} moves tables" in caplog.text
    assert "give the job a prefix that holds nothing as OUTPUT_PATH" in caplog.text


def test_a_bucket_is_looked_at_when_spark_is_connected(environ: dict[str, str]) -> None:
    config = load_config(environ | {"OUTPUT_PATH": "s3a://bucket/tables/"})
    assert str(config.silver_folder) == "s3a://bucket/tables/silver_movies"
    with pytest.raises(RuntimeError, match="Spark is not connected"):
        runs.run_in_service(config)
