"""The job's query with files in the place of Kafka: each run takes all there is, and ends."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from imdb_streaming import guards, sinks
from imdb_streaming.config import Config
from imdb_streaming.job import Load
from imdb_streaming.schema import KAFKA_SCHEMA
from imdb_streaming.transformations import parse_events

from ..pipeline.chaos_expected import Stored
from .local import LocalConfig

#: Puts messages at the end of the topic.
Send = Callable[..., None]


_MESSAGES = pa.schema(
    {
        "key": pa.binary(),
        "value": pa.binary(),
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "timestamp": pa.timestamp("us", "UTC"),
        "timestampType": pa.int32(),
        "headers": pa.list_(pa.struct({"key": pa.string(), "value": pa.binary()})),
    }
)


def sender(topic: Path) -> Send:
    """A function that puts messages at the end of the topic, one file a call."""
    sent = 0

    def send(*values: dict[str, Any] | str) -> None:
        nonlocal sent
        rows = []
        for value in values:
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=sent)
            rows.append(_row(b"key", text.encode(), 0, sent, at, None))
            sent += 1
        _put(topic, rows)

    return send


def store(topic: Path, messages: Iterable[Stored]) -> None:
    """Put messages as they are at the end of the topic, one file a call."""
    rows = []
    for it in messages:
        headers = [{"key": name, "value": value} for name, value in it.headers]
        rows.append(_row(it.key, it.value, it.partition, it.offset, it.at * 1000, headers))
    _put(topic, rows)


def _row(
    key: bytes | None,
    value: bytes | None,
    partition: int,
    offset: int,
    timestamp: datetime | int,
    headers: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    """A message as Spark's source of Kafka gives it."""
    return {
        "key": key,
        "value": value,
        "topic": "imdb-movies",
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp,
        "timestampType": 0,
        "headers": headers,
    }


def _put(topic: Path, rows: list[dict[str, Any]]) -> None:
    # Beside it first: the query may look at any time.
    whole = topic.parent / "whole.parquet"
    pq.write_table(pa.Table.from_pylist(rows, _MESSAGES), whole)
    whole.rename(topic / f"{len(list(topic.iterdir())):09d}.parquet")


def run_to_end(spark: SparkSession, config: Config, topic: Path, files_a_batch: int = 1000) -> Load:
    """Start the job anew, let it read all there is, and end."""
    guards.check_belongs_together(config)
    stream = spark.readStream.schema(KAFKA_SCHEMA).option("maxFilesPerTrigger", files_a_batch)
    events = parse_events(stream.parquet(str(topic)))
    # Its offsets count files.
    with patch.object(sinks, "messages_of", return_value=0):
        load = Load(config, spark, lambda _: events, trigger={"availableNow": True})
        try:
            assert load.query.awaitTermination(240)
        finally:
            load.query.stop()
            load.metrics.close()
    return load


def rows_of(folder: Path, *order: str) -> list[dict[str, Any]]:
    """The rows of a table's folder, sorted by these columns.

    By pyarrow: for each look Spark would run three jobs. That Spark reads the same is tested by
    test_reading.py, and of a bucket by test_s3a.py.
    """
    # As readers do: what begins so is no part of the table, and all else is.
    files = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    rows = [row for path in files for row in pq.ParquetFile(path).read().to_pylist()]
    return sorted(rows, key=itemgetter(*order))


def silver(config: LocalConfig) -> list[dict[str, Any]]:
    """What silver holds, by movie."""
    return rows_of(config.silver_folder, "tconst", "numVotes")
