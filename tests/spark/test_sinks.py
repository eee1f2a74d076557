"""Sinks: whole files, replaced as one, and nothing touched without need."""

import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from imdb_streaming import files, sinks
from imdb_streaming.config import Config
from imdb_streaming.schema import MOVIE_SCHEMA
from imdb_streaming.sinks import GenreCountsSink, SilverSink, Totals, count_rows, read_totals

EVENTS = ", ".join(
    [
        *(f"{field.name} {field.dataType.simpleString()}" for field in MOVIE_SCHEMA),
        "event_id string, kafka_timestamp timestamp",
        "topic string, partition int, `offset` bigint, reason string",
    ]
)


def events(spark: SparkSession, valid: int, malformed: int = 0) -> DataFrame:
    at = datetime(2026, 1, 1)
    rows: list[tuple[Any, ...]] = [
        (f"tt{i}", "Title", 2000, None, ["Drama"], 5.0, 3000, f"e{i}", at, "t", 0, i, None)
        for i in range(valid)
    ]
    rows += [
        (*[None] * 7, f"t-1-{i}", at, "t", 1, i, "the message is empty") for i in range(malformed)
    ]
    return spark.createDataFrame(rows, EVENTS)


def movies(spark: SparkSession, *genres: list[str]) -> DataFrame:
    rows = [(f"tt{i}", names) for i, names in enumerate(genres)]
    return spark.createDataFrame(rows, "tconst string, genres array<string>")


def identity(path: Path) -> tuple[int, int]:
    """What changes when a file is replaced or written to."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


def test_batch_becomes_one_file_that_all_may_read(spark: SparkSession, prepared: Config) -> None:
    sink = SilverSink(prepared)
    sink(events(spark, valid=3), 7)
    table = prepared.silver_folder / "main-0000000007.parquet"
    assert list(prepared.silver_folder.glob("*.parquet")) == [table]
    assert table.stat().st_mode & 0o777 == 0o644
    assert spark.read.parquet(str(prepared.silver_folder)).count() == 3
    assert sink.results[7] == sinks.BatchResult(rows_written=3, malformed=0, where=table)
    assert not list(prepared.staging_folder.iterdir())


def test_replayed_batch_replaces_itself(spark: SparkSession, prepared: Config) -> None:
    SilverSink(prepared)(events(spark, valid=3, malformed=2), 0)
    again = SilverSink(prepared, table_rows=3)
    again(events(spark, valid=3, malformed=2), 0)
    assert count_rows(spark, prepared.silver_folder) == again.table_rows == 3
    assert read_totals(prepared) == Totals(batch_id=0, silver_rows=3, malformed_rows=2)


def test_crash_before_the_rename_leaves_nothing_to_see(
    spark: SparkSession, prepared: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sinks, "put_in_place", crash)
        with pytest.raises(KeyboardInterrupt):
            SilverSink(prepared)(events(spark, valid=3), 0)
    assert not list(prepared.silver_folder.glob("*.parquet"))
    SilverSink(prepared)(events(spark, valid=3), 0)
    assert count_rows(spark, prepared.silver_folder) == 3


def test_crash_after_the_rename_counts_the_batch_once(
    spark: SparkSession, prepared: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sinks, "write_atomically", crash)
        with pytest.raises(KeyboardInterrupt):
            SilverSink(prepared)(events(spark, valid=3, malformed=1), 0)
    SilverSink(prepared, table_rows=3)(events(spark, valid=3, malformed=1), 0)
    assert count_rows(spark, prepared.silver_folder) == 3
    assert read_totals(prepared) == Totals(batch_id=0, silver_rows=3, malformed_rows=1)


def test_malformed_messages_are_logged_by_position_up_to_a_bound(
    spark: SparkSession, prepared: Config, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        SilverSink(prepared)(events(spark, valid=0, malformed=25), 4)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "silver_movies batch 4: malformed t/1/0: the message is empty"
    assert len(lines) == 21
    assert lines[-1] == "silver_movies batch 4: and 5 more malformed messages"


def test_batch_without_valid_rows_writes_no_file(spark: SparkSession, prepared: Config) -> None:
    sink = SilverSink(prepared)
    sink(events(spark, valid=0, malformed=1), 0)
    assert not list(prepared.silver_folder.glob("*.parquet"))
    assert sink.results[0] == sinks.BatchResult(rows_written=0, malformed=1, where=None)


def test_snapshot_is_published_as_parquet_and_csv(spark: SparkSession, prepared: Config) -> None:
    sink = GenreCountsSink(prepared)
    sink(movies(spark, ["Drama"], ["Drama", 'Odd, "one"'], []), 0)
    rows = spark.read.parquet(str(sink.parquet_file)).collect()
    assert [tuple(row) for row in rows] == [("Drama", 2), ("(unknown)", 1), ('Odd, "one"', 1)]
    assert sink.csv_file.read_bytes() == (
        b'genre,movie_count\nDrama,2\n(unknown),1\n"Odd, ""one""",1\n'
    )
    for path in (sink.parquet_file, sink.csv_file):
        assert path.stat().st_mode & 0o777 == 0o644
        assert [p.name for p in path.parent.iterdir() if p.name[0] not in "._"] == [path.name]


@pytest.mark.parametrize("restarted", [False, True])
def test_identical_snapshot_is_not_touched(
    spark: SparkSession, prepared: Config, restarted: bool
) -> None:
    sink = GenreCountsSink(prepared)
    sink(movies(spark, ["Drama"], ["Action"]), 0)
    before = identity(sink.parquet_file), identity(sink.csv_file)
    later = GenreCountsSink(prepared) if restarted else sink
    later(movies(spark, ["Action"], ["Drama"]), 1)
    assert (identity(sink.parquet_file), identity(sink.csv_file)) == before
    assert later.results[1] == sinks.BatchResult(rows_written=0, malformed=0, where=None)


def test_changed_snapshot_replaces_the_files(spark: SparkSession, prepared: Config) -> None:
    sink = GenreCountsSink(prepared)
    sink(movies(spark, ["Drama"]), 0)
    open_reader = os.open(sink.csv_file, os.O_RDONLY)
    sink(movies(spark, ["Drama"], ["Drama"]), 1)
    assert sink.csv_file.read_text() == "genre,movie_count\nDrama,2\n"
    assert os.read(open_reader, 100) == b"genre,movie_count\nDrama,1\n"
    os.close(open_reader)
    assert spark.read.parquet(str(sink.parquet_file)).collect()[0]["movie_count"] == 2


@pytest.mark.parametrize("lost", ["parquet_file", "csv_file"])
def test_lost_file_of_a_snapshot_is_written_again(
    spark: SparkSession, prepared: Config, lost: str
) -> None:
    sink = GenreCountsSink(prepared)
    sink(movies(spark, ["Drama"]), 0)
    getattr(sink, lost).unlink()
    sink(movies(spark, ["Drama"]), 1)
    assert getattr(sink, lost).exists()


def test_damaged_snapshot_is_said_and_replaced(
    spark: SparkSession, prepared: Config, caplog: pytest.LogCaptureFixture
) -> None:
    sink = GenreCountsSink(prepared)
    sink.parquet_file.write_bytes(b"no parquet")
    sink(movies(spark, ["Drama"]), 0)
    assert "cannot be read and is written anew" in caplog.text
    assert spark.read.parquet(str(sink.parquet_file)).count() == 1


def test_no_movies_write_no_snapshot(spark: SparkSession, prepared: Config) -> None:
    sink = GenreCountsSink(prepared)
    sink(movies(spark), 0)
    assert not sink.parquet_file.exists()
    assert not sink.csv_file.exists()


def test_failed_write_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    files.write_atomically(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
