"""What the two jobs that ours is compared with share: their session, and the topic as a stream."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

#: The message's value.
MOVIE = (
    "tconst string, primaryTitle string, startYear int, runtimeMinutes int, "
    "genres array<string>, averageRating double, numVotes int"
)
C, M = 6.5, 3000.0


def output() -> Path:
    """Where the tables go."""
    return Path(os.environ["OUTPUT_PATH"])


def checkpoint(query: str) -> str:
    """Where a query's checkpoint lies: in the same place as ours."""
    return f"file://{output()}/_chk/{query}_main"


def trigger() -> dict[str, str]:
    """How often a batch starts."""
    return {"processingTime": os.environ["TRIGGER_INTERVAL"]}


def session(name: str, more: dict[str, str]) -> SparkSession:
    """Start Spark with the memory, cores and class path that ours has too."""
    settings = {
        "spark.driver.memory": "1024m",
        "spark.executor.memory": "1024m",
        "spark.cores.max": "2",
        "spark.driver.extraClassPath": os.environ["SPARK_CONNECTOR_PATH"],
        "spark.executor.extraClassPath": os.environ["SPARK_CONNECTOR_PATH"],
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.appName(name).master(os.environ["SPARK_MASTER"])
    for key, value in (settings | more).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark


def movies(spark: SparkSession) -> DataFrame:
    """The topic's messages as movies with their score and the broker's timestamp, unchecked."""
    votes = sf.col("numVotes").cast("double")
    score = votes / (votes + M) * sf.col("averageRating") + M / (votes + M) * C
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", os.environ["KAFKA_BOOTSTRAP_SERVERS"])
        .option("subscribe", os.environ["KAFKA_TOPIC"])
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", os.environ["MAX_OFFSETS_PER_TRIGGER"])
        .load()
        .select(
            sf.from_json(sf.col("value").cast("string"), MOVIE).alias("movie"),
            sf.col("timestamp").alias("kafka_timestamp"),
        )
        .select("movie.*", "kafka_timestamp")
        .withColumn("weighted_score", score)
    )


def run_until_stopped(spark: SparkSession) -> None:
    """Wait for SIGTERM, and stop; a query that dies ends the program with an error."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    queries = spark.streams.active
    while not stopping.wait(1):
        for query in queries:
            if not query.isActive:
                sys.exit(f"{query.name} died: {query.exception()}")
    for query in queries:
        query.stop()
    spark.stop()
