"""The job's two queries over a real checkpoint, with files in the place of Kafka."""

import csv
import json
import logging
import shutil
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as sf

from imdb_streaming import guards, sinks
from imdb_streaming.config import Config
from imdb_streaming.executors import ExecutorWatch
from imdb_streaming.job import Load, QueryDiedError
from imdb_streaming.schema import KAFKA_SCHEMA
from imdb_streaming.sinks import SILVER
from imdb_streaming.status import lag_of
from imdb_streaming.transformations import distinct_events, latest_genres, parse_events

pytestmark = pytest.mark.usefixtures("executors_without_python")

Send = Callable[..., None]


@pytest.fixture
def topic(tmp_path: Path) -> Path:
    folder = tmp_path / "topic"
    folder.mkdir()
    return folder


@pytest.fixture
def send(spark: SparkSession, topic: Path) -> Send:
    """A function that puts messages at the end of the topic, one file a call."""
    sent = 0

    def send(*values: dict[str, Any] | str) -> None:
        nonlocal sent
        rows = []
        for value in values:
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            at = datetime(2026, 1, 1) + timedelta(milliseconds=sent)
            rows.append({"value": text, "offset": sent, "timestamp": at.isoformat()})
            sent += 1
        lines = topic.parent / "lines"
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
        messages = spark.read.schema("value string, offset bigint, timestamp timestamp").json(
            str(lines)
        )
        part = topic.parent / "part"
        messages.select(
            sf.lit(b"key").alias("key"),
            sf.col("value").cast("binary").alias("value"),
            sf.lit("imdb-movies").alias("topic"),
            sf.lit(0).alias("partition"),
            "offset",
            "timestamp",
            sf.lit(0).alias("timestampType"),
            sf.lit(None).cast(KAFKA_SCHEMA["headers"].dataType).alias("headers"),
        ).coalesce(1).write.parquet(str(part))
        (file,) = part.glob("part-*.parquet")
        file.rename(topic / f"{sent:09d}.parquet")
        shutil.rmtree(part)

    return send


@pytest.fixture
def run_job(spark: SparkSession, prepared: Config, topic: Path) -> Callable[[], Load]:
    """A function that starts the job anew, lets it read all there is, and ends."""

    def run_job() -> Load:
        guards.check_belongs_together(prepared)
        events = parse_events(spark.readStream.schema(KAFKA_SCHEMA).parquet(str(topic)))
        load = Load.start(
            prepared,
            spark,
            distinct_events(events),
            latest_genres(events),
            trigger={"availableNow": True},
        )
        try:
            for query in load.queries.values():
                assert query.awaitTermination(240)
        finally:
            load.stop()
        return load

    return run_job


def silver(spark: SparkSession, config: Config) -> list[dict[str, Any]]:
    rows = spark.read.parquet(str(config.silver_folder)).orderBy("tconst", "numVotes").collect()
    return [row.asDict() for row in rows]


def counts(config: Config) -> list[tuple[str, str]]:
    with (config.genre_counts_csv_folder / "genre_counts.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["genre", "movie_count"]
    return [(genre, count) for genre, count in rows]


def test_restart_does_not_duplicate_rows(
    spark: SparkSession,
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
) -> None:
    first, second = movie, movie | {"tconst": "tt2", "genres": []}
    send(first, second, first, "not json")
    run_job()
    send(first, second)
    changed = first | {"numVotes": 9000, "genres": ["Drama"]}
    send(changed, "")
    load = run_job()

    rows = silver(spark, prepared)
    assert [(row["tconst"], row["numVotes"]) for row in rows] == [
        ("tt0111161", 3000),
        ("tt0111161", 9000),
        ("tt2", 3000),
    ]
    assert rows[1]["weighted_score"] == 9000 / 12000 * 9.3 + 3000 / 12000 * 6.5
    assert counts(prepared) == [("(unknown)", "1"), ("Drama", "1")]
    assert load.silver_sink.table_rows == 3
    assert load.silver_sink.totals.malformed_rows == 2


def test_batches_start_no_programs(
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
    programs_started: Path,
) -> None:
    programs_started.unlink(missing_ok=True)
    send(movie)
    run_job()
    assert list(prepared.checkpoint_folder(SILVER).glob("commits/0"))
    assert not programs_started.exists(), programs_started.read_text()


def test_restart_takes_up_the_state_from_a_snapshot(
    spark: SparkSession,
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
) -> None:
    # It is uploaded some time after the batch that it is of; one that holds rows has files of them.
    def snapshots() -> list[Path]:
        return list(prepared.checkpoint_folder(SILVER).rglob("*.sst"))

    for number in range(30):
        send(movie | {"numVotes": 5000 + number})
        run_job()
        if snapshots():
            break
    assert snapshots()

    send(movie | {"numVotes": 5000}, movie | {"tconst": "tt2"})
    run_job()
    votes = [row["numVotes"] for row in silver(spark, prepared) if row["tconst"] == "tt0111161"]
    assert votes == [5000 + it for it in range(number + 1)]


def test_state_that_another_spark_wrote_over_is_read_once_its_checksums_are_dropped(
    spark: SparkSession,
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
) -> None:
    send(movie)
    run_job()
    checksums = [*prepared.checkpoint_folder(SILVER).rglob("[!.]*.changelog.crc")]
    assert checksums
    for path in checksums:
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"value": content["value"] + 1}))

    guards.drop_checksums(prepared, of_spark=True)
    send(movie, movie | {"tconst": "tt2"})
    run_job()
    assert [row["tconst"] for row in silver(spark, prepared)] == ["tt0111161", "tt2"]


def test_crash_between_file_and_checkpoint_does_not_duplicate_rows(
    spark: SparkSession,
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
) -> None:
    send(movie, movie | {"tconst": "tt2"}, "malformed")
    run_job()
    # As after a crash when the batch's file was in place and its commit was not.
    commits = prepared.checkpoint_folder(SILVER) / "commits"
    (commits / "0").unlink()
    (commits / ".0.crc").unlink(missing_ok=True)
    load = run_job()
    assert [row["tconst"] for row in silver(spark, prepared)] == ["tt0111161", "tt2"]
    assert load.silver_sink.table_rows == 2
    assert load.silver_sink.totals.malformed_rows == 1


def test_status_and_log_tell_each_batch(
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    send(movie, movie, "malformed")
    with caplog.at_level(logging.INFO):
        load = run_job()
        # The queries have ended by themselves, which the job takes for their death.
        with pytest.raises(QueryDiedError, match="Query silver_movies died"):
            load.watch(threading.Event(), ExecutorWatch(lambda: 1, 60))
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    file = prepared.silver_folder / "main-0000000000.parquet"
    (line,) = [line for line in lines if line.startswith("silver_movies batch 0: ")]
    assert line.startswith("silver_movies batch 0: 3 rows in, 1 written, 1 malformed, lag 0, ")
    assert line.endswith(f" s, to {file}")
    assert [line for line in lines if line.startswith("genre_counts batch 0: 3 rows in, 2 written")]

    load.status.write(prepared.status_file)
    status = json.loads(prepared.status_file.read_text())
    assert (status["run_id"], status["silver_rows"], status["malformed_rows"]) == ("main", 1, 1)
    numbers = status["queries"]["silver_movies"]
    assert (numbers["batch_id"], numbers["rows_in"], numbers["rows_written"]) == (0, 3, 1)
    assert set(numbers) == {
        "batch_id",
        "at",
        "rows_in",
        "rows_written",
        "input_rate",
        "processed_rate",
        "lag",
        "duration_ms",
    }

    restarted = run_job().status.queries["genre_counts"]
    assert restarted.batch_id == 0
    assert restarted.at is not None


def test_death_of_a_query_names_it_and_the_cause(
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(source: Path, target: Path) -> None:
        if "silver" in str(target):
            raise OSError("No space left on device")

    monkeypatch.setattr(sinks, "put_in_place", fail)
    send(movie)
    with pytest.raises(Exception, match="No space left on device"):
        run_job()


def test_stop_ends_the_watch(
    run_job: Callable[[], Load], send: Send, movie: dict[str, Any]
) -> None:
    send(movie)
    load = run_job()
    stopping = threading.Event()
    stopping.set()
    load.watch(stopping, ExecutorWatch(lambda: 1, 60))


def test_lag_is_the_sum_over_partitions() -> None:
    progress = {
        "sources": [
            {"endOffset": {"t": {"0": 5, "1": 9}}, "latestOffset": {"t": {"0": 8, "1": 9, "2": 4}}}
        ]
    }
    assert lag_of(progress) == 7
    assert lag_of({"sources": [{"endOffset": None, "latestOffset": None}]}) == 0
