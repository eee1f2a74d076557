"""The sink: whole files, replaced as one, each event once, and nothing touched without need."""

import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from imdb_streaming import files, guards, sinks
from imdb_streaming.files import local
from imdb_streaming.jvm import JobState, StateDamagedError
from imdb_streaming.schema import DEAD_LETTERS_SCHEMA, MOVIE_SCHEMA
from imdb_streaming.sinks import GenreCounts, MovieSink, Totals, count_rows, read_totals

from .local import LocalConfig as Config

NOON = datetime(2026, 1, 1, 12)

EVENTS = ", ".join(
    [
        *(f"{field.name} {field.dataType.simpleString()}" for field in MOVIE_SCHEMA),
        "event_id string, kafka_timestamp timestamp, topic string, partition int",
        "`offset` bigint, reason string, key binary, value binary",
    ]
)


def event(
    number: int,
    event_id: str | None = None,
    *,
    tconst: str | None = None,
    genres: tuple[str, ...] = ("Drama",),
    at: datetime = NOON,
) -> tuple[Any, ...]:
    """A row of a valid event at the offset `number`."""
    movie = (tconst or f"tt{number}", "Title", 2000, None, list(genres), 5.0, 3000)
    return (*movie, event_id or f"e{number}", at, "t", 0, number, None, None, None)


def malformed(number: int) -> tuple[Any, ...]:
    return (*[None] * 7, "id", NOON, "t", 1, number, "the message is empty", b"key", b"")


def frame(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return spark.createDataFrame(list(rows), EVENTS)


def start(spark: SparkSession, config: Config, last_batch: int = -1, days: int = 90) -> MovieSink:
    """The sink of a job that is started after `last_batch`."""
    state = JobState(spark, f"file://{config.state_folder}", last_batch, days, config.out_folder)
    return MovieSink(config, spark, state, count_rows(spark, config.silver_folder))


def ids(spark: SparkSession, config: Config) -> list[str]:
    rows = spark.read.parquet(str(config.silver_folder)).orderBy("event_id").collect()
    return [row["event_id"] for row in rows]


def staged(config: Config) -> list[str]:
    """What is left in the start's folder, or on its way out of there."""
    assert config.out_folder
    paths = [*config.staging_folder.iterdir(), *config.out_folder.iterdir()]
    return [path.name for path in paths if path.name[0] != "." and path != config.out_folder]


def counts(config: Config) -> str:
    return (config.genre_counts_csv_folder / "genre_counts.csv").read_text()


def identity(path: Path) -> tuple[int, int]:
    """What changes when a file is replaced or written to."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


def test_batch_becomes_one_file_that_all_may_read(spark: SparkSession, prepared: Config) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0), event(1), event(2)), 7)
    table = prepared.silver_folder / "main-0000000007.parquet"
    assert list(prepared.silver_folder.glob("*.parquet")) == [table]
    assert table.stat().st_mode & 0o777 == 0o644
    assert ids(spark, prepared) == ["e0", "e1", "e2"]
    result = sink.results[7]
    assert (result.rows_written, result.dead_letters, result.where) == (3, 0, table)
    assert result.newest == pytest.approx(NOON.astimezone().timestamp(), abs=86400)
    assert staged(prepared) == []


def test_large_batch_is_written_by_several_tasks_into_one_file(
    spark: SparkSession, prepared: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "ROWS_A_TASK", 10)
    rows = frame(spark, *(event(i) for i in range(100))).repartition(4)
    start(spark, prepared)(rows, 0)
    (table,) = prepared.silver_folder.glob("*.parquet")
    assert ids(spark, prepared) == sorted(f"e{i}" for i in range(100))
    schema = spark.read.parquet(str(table)).schema.simpleString()
    assert "weighted_score:double,event_id:string,kafka_timestamp:timestamp" in schema


def test_event_sent_again_is_kept_once(spark: SparkSession, prepared: Config) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0, "a"), event(1, "b"), event(2, "a")), 0)
    sink(frame(spark, event(3, "b"), event(4, "c")), 1)
    again = start(spark, prepared, last_batch=1)
    again(frame(spark, event(5, "a"), event(6, "c")), 2)
    assert ids(spark, prepared) == ["a", "b", "c"]
    again(frame(spark, malformed(7)), 3)
    assert ids(spark, prepared) == ["a", "b", "c"]
    assert read_totals(prepared) == Totals(3, silver_rows=3, dead_letters=1, duplicates=4)
    assert len(list(prepared.silver_folder.glob("*.parquet"))) == 2
    # What was written on trial, and turned out to be known, is gone.
    assert staged(prepared) == []


@pytest.mark.parametrize(("gap", "kept"), [(3, ["a"]), (4, ["a", "a"])])
def test_event_id_is_known_for_the_days_after_it_was_last_seen(
    spark: SparkSession, prepared: Config, gap: int, kept: list[str]
) -> None:
    sink = start(spark, prepared, days=3)
    sink(frame(spark, event(0, "a", at=NOON)), 0)
    sink(frame(spark, event(1, "a", at=NOON + timedelta(days=2))), 1)
    sink(frame(spark, event(2, "a", at=NOON + timedelta(days=2 + gap))), 2)
    assert ids(spark, prepared) == kept


def test_ids_that_are_known_no_more_take_no_memory(spark: SparkSession, prepared: Config) -> None:
    def read(last_batch: int) -> JobState:
        folder = f"file://{prepared.state_folder}"
        return JobState(spark, folder, last_batch, 3, prepared.out_folder, batches_a_snapshot=4)

    state = read(-1)
    for batch_id, days in enumerate([0, 0, 30, 30]):
        with state.batch(frame(spark, event(batch_id, at=NOON + timedelta(days=days)))) as batch:
            batch.decide()
            state.save(batch_id)
    for it in (state, read(3)):
        assert (it.ids, it.movies) == (2, 4)
    # A partition that is behind may still send what is old.
    behind = (*event(5)[:-5], 1, *event(5)[-4:])
    rows = frame(spark, event(4, at=NOON + timedelta(days=99))).union(frame(spark, behind))
    for batch_id in range(4, 8):
        with state.batch(rows) as batch:
            batch.decide()
            state.save(batch_id)
    assert state.ids == 4


def test_latest_event_decides_a_movie_s_genres(spark: SparkSession, prepared: Config) -> None:
    later = NOON + timedelta(hours=1)
    sink = start(spark, prepared)
    sink(
        frame(
            spark,
            event(0, "new", tconst="tt1", genres=("New",), at=later),
            event(1, "old", tconst="tt1", genres=("Old",), at=NOON),
            event(2, tconst="tt2", genres=("First",)),
            event(3, tconst="tt2", genres=("Second", "Second", " ", "")),
            event(4, tconst="tt3", genres=("Gone",)),
        ),
        0,
    )
    assert counts(prepared) == "genre,movie_count\nGone,1\nNew,1\nSecond,1\n"
    again = start(spark, prepared, last_batch=0)
    again(
        frame(
            spark,
            event(5, tconst="tt3", genres=(), at=later),
            event(6, "old", tconst="tt1", genres=("Old",), at=later + timedelta(hours=1)),
        ),
        1,
    )
    assert counts(prepared) == "genre,movie_count\n(unknown),1\nNew,1\nSecond,1\n"


def test_counts_are_of_all_movies_most_first_then_by_name(
    spark: SparkSession, prepared: Config
) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0), event(1, genres=("Drama", 'Odd, "one"')), event(2, genres=())), 0)
    table = GenreCounts(prepared, spark)
    rows = spark.read.parquet(str(table.parquet_file)).collect()
    assert [tuple(row) for row in rows] == [("Drama", 2), ("(unknown)", 1), ('Odd, "one"', 1)]
    assert table.csv_file.read_bytes() == (
        b'genre,movie_count\nDrama,2\n(unknown),1\n"Odd, ""one""",1\n'
    )
    for path in map(local, (table.parquet_file, table.csv_file)):
        assert path.stat().st_mode & 0o777 == 0o644
        assert [p.name for p in path.parent.iterdir() if p.name[0] not in "._"] == [path.name]


def test_state_is_read_from_a_snapshot_and_the_changes_behind_it(
    spark: SparkSession, prepared: Config
) -> None:
    def read(last_batch: int) -> JobState:
        folder = f"file://{prepared.state_folder}"
        return JobState(spark, folder, last_batch, 90, prepared.out_folder, batches_a_snapshot=4)

    state = read(-1)
    for batch_id in range(14):
        with state.batch(frame(spark, event(batch_id, tconst="tt1"))) as batch:
            batch.decide()
            state.save(batch_id)
    names = sorted(path.name for path in prepared.state_folder.glob("[ds]*-*"))
    assert names == [
        *(f"delta-{batch_id:010d}" for batch_id in range(8, 14)),
        "snapshot-0000000007",
        "snapshot-0000000011",
    ]
    for last_batch in (13, 11, 10, 7):
        state = read(last_batch)
        assert (state.ids, state.movies) == (last_batch + 1, 1)
        assert state.counts() == {"Drama": 1}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "is cut short"),
        (lambda path: path.write_bytes(b"x" * 100), "is not of this format"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9] + b"\x00" * 9), "is damaged"),
    ],
    ids=["missing", "cut short", "foreign", "damaged"],
)
def test_damaged_state_names_its_file(
    spark: SparkSession,
    prepared: Config,
    damage: Callable[[Path], Any],
    reason: str,
) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0)), 0)
    damage(prepared.state_folder / "delta-0000000000")
    # As at each start: Hadoop's own checksum would notice, and may be older than the file.
    guards.drop_checksums(prepared)
    with pytest.raises(StateDamagedError, match=rf"/delta-0000000000 {reason}"):
        start(spark, prepared, last_batch=0)


def test_replayed_batch_replaces_itself(spark: SparkSession, prepared: Config) -> None:
    rows = frame(spark, event(0), event(1), event(2, "e1"), malformed(0), malformed(1))
    start(spark, prepared)(rows, 0)
    again = start(spark, prepared)
    again(rows, 0)
    assert ids(spark, prepared) == ["e0", "e1"]
    assert count_rows(spark, prepared.dead_letters_folder) == again.table_rows == 2
    assert read_totals(prepared) == Totals(0, silver_rows=2, dead_letters=2, duplicates=1)
    assert counts(prepared) == "genre,movie_count\nDrama,2\n"


@pytest.mark.parametrize("crash_in", ["put_in_place", "write_atomically"])
def test_crash_in_a_batch_leaves_nothing_half(
    spark: SparkSession, prepared: Config, monkeypatch: pytest.MonkeyPatch, crash_in: str
) -> None:
    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    rows = frame(spark, event(0), event(1), malformed(0))
    with monkeypatch.context() as patch:
        patch.setattr(sinks, crash_in, crash)
        with pytest.raises(KeyboardInterrupt):
            start(spark, prepared)(rows, 0)
    seen = list(prepared.silver_folder.glob("*.parquet"))
    assert len(seen) == (0 if crash_in == "put_in_place" else 1)
    start(spark, prepared)(rows, 0)
    assert ids(spark, prepared) == ["e0", "e1"]
    assert read_totals(prepared) == Totals(0, silver_rows=2, dead_letters=1, duplicates=0)


def test_malformed_messages_are_kept_and_logged_up_to_a_bound(
    spark: SparkSession, prepared: Config, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        start(spark, prepared)(frame(spark, *(malformed(i) for i in range(25))), 4)
    lines = [record.getMessage() for record in caplog.records]
    table = prepared.dead_letters_folder / "main-0000000004.parquet"
    assert lines[0] == "batch 4: malformed t/1/0: the message is empty"
    assert len(lines) == 21
    assert lines[-1] == f"batch 4: and 5 more malformed messages, see {table}"
    letters = spark.read.parquet(str(table))
    assert letters.schema.simpleString() == DEAD_LETTERS_SCHEMA.simpleString()
    assert letters.count() == 25
    assert not list(prepared.silver_folder.glob("*.parquet"))


def test_empty_batch_touches_nothing(spark: SparkSession, prepared: Config) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0)), 0)
    table = GenreCounts(prepared, spark)
    before = identity(local(table.parquet_file)), identity(local(table.csv_file))
    sink(frame(spark), 1)
    sink(frame(spark, event(0)), 2)
    assert (identity(local(table.parquet_file)), identity(local(table.csv_file))) == before
    assert [path.name for path in prepared.silver_folder.glob("*.parquet")] == [
        "main-0000000000.parquet"
    ]
    assert sink.results[1] == sinks.BatchResult(0, 0, 0, 0.0, None)


def test_identical_snapshot_is_not_touched(spark: SparkSession, prepared: Config) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0)), 0)
    table = GenreCounts(prepared, spark)
    before = identity(local(table.parquet_file)), identity(local(table.csv_file))
    sink(frame(spark, event(1, tconst="tt0")), 1)
    assert (identity(local(table.parquet_file)), identity(local(table.csv_file))) == before


def test_changed_snapshot_replaces_the_files(spark: SparkSession, prepared: Config) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0)), 0)
    table = GenreCounts(prepared, spark)
    open_reader = os.open(local(table.csv_file), os.O_RDONLY)
    sink(frame(spark, event(1)), 1)
    assert counts(prepared) == "genre,movie_count\nDrama,2\n"
    assert os.read(open_reader, 100) == b"genre,movie_count\nDrama,1\n"
    os.close(open_reader)
    assert spark.read.parquet(str(table.parquet_file)).collect()[0]["movie_count"] == 2


@pytest.mark.parametrize("lost", ["parquet_file", "csv_file"])
def test_lost_or_damaged_file_of_a_snapshot_is_written_again(
    spark: SparkSession, prepared: Config, lost: str
) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0)), 0)
    path = getattr(GenreCounts(prepared, spark), lost)
    path.unlink()
    sink(frame(spark, event(1, tconst="tt0")), 1)
    good = path.read_bytes()
    path.write_bytes(b"damaged")
    sink(frame(spark, event(2, tconst="tt0")), 2)
    assert path.read_bytes() == good


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


def test_folders_change_places_at_one_instant(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    files.exchange(one, other)
    assert ((one / "name").read_text(), (other / "name").read_text()) == ("other", "one")
    with pytest.raises(FileNotFoundError, match="missing is not there"):
        files.exchange(one, tmp_path / "missing")
