"""The job's query with files in the place of Kafka: each run takes all there is, and ends."""

import json
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as sf

from imdb_streaming import guards, sinks
from imdb_streaming.config import Config
from imdb_streaming.files import uri
from imdb_streaming.job import Load
from imdb_streaming.schema import KAFKA_SCHEMA
from imdb_streaming.transformations import parse_events

from ..pipeline.chaos_expected import Stored

#: Puts messages at the end of the topic.
Send = Callable[..., None]


def sender(spark: SparkSession, topic: Path) -> Send:
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


def store(topic: Path, messages: Iterable[Stored]) -> None:
    """Put messages as they are at the end of the topic, one file a call."""
    schema = pa.schema(
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
    rows = [
        {
            "key": message.key,
            "value": message.value,
            "topic": "imdb-movies",
            "partition": message.partition,
            "offset": message.offset,
            "timestamp": message.at * 1000,
            "timestampType": 0,
            "headers": [{"key": name, "value": value} for name, value in message.headers],
        }
        for message in messages
    ]
    # Beside it first: the query may look at any time.
    whole = topic.parent / "whole.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema), whole)
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


def silver(spark: SparkSession, config: Config) -> list[dict[str, Any]]:
    """What silver holds, by movie."""
    rows = spark.read.parquet(uri(config.silver_folder)).orderBy("tconst", "numVotes").collect()
    return [row.asDict() for row in rows]
