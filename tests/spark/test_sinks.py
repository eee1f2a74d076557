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
from imdb_streaming.checkpoint import LOSS_FILE
from imdb_streaming.files import local
from imdb_streaming.guards import StartRefusedError
from imdb_streaming.jvm import JobState, StateDamagedError
from imdb_streaming.schema import DEAD_LETTERS_SCHEMA, MOVIE_SCHEMA
from imdb_streaming.sinks import GenreCounts, MovieSink, Totals, count_rows, read_totals

from .frames import frame_of
from .local import LocalConfig as Config
from .plans import milliseconds

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
    partition: int = 0,
) -> tuple[Any, ...]:
    """A row of a valid event at the offset `number`."""
    movie = (tconst or f"tt{number}", "Title", 2000, None, list(genres), 5.0, 3000)
    return (*movie, event_id or f"e{number}", at, "t", partition, number, None, None, None)


def malformed(number: int) -> tuple[Any, ...]:
    return (*[None] * 7, "id", NOON, "t", 1, number, "the message is empty", b"key", b"")


def frame(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return frame_of(spark, rows, EVENTS)


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> dict[int, datetime]:
    """When Spark has planned each batch: at midnight if nothing else is said."""
    times: dict[int, datetime] = {}

    def planned_at(_: Path, batch_id: int) -> int:
        return milliseconds(times.get(batch_id, NOON + timedelta(hours=12)))

    monkeypatch.setattr(sinks, "planned_at", planned_at)
    return times


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
@pytest.mark.parametrize(
    "stamp",
    [NOON, *(pytest.param(datetime(year, 1, 1), marks=pytest.mark.slow) for year in (2020, 2099))],
)
def test_event_id_is_known_for_the_days_after_it_was_last_seen(
    spark: SparkSession,
    prepared: Config,
    planned: dict[int, datetime],
    gap: int,
    kept: list[str],
    stamp: datetime,
) -> None:
    sink = start(spark, prepared, days=3)
    for day in range(3 + gap):
        planned[day] = NOON + timedelta(days=day)
        # Whatever the messages' own times say.
        at = stamp if day < 3 else NOON + timedelta(days=day)
        is_seen = day in {0, 2, 2 + gap}
        sink(frame(spark, event(day, "a" if is_seen else f"other {day}", at=at)), day)
    assert [found for found in ids(spark, prepared) if found == "a"] == kept


@pytest.mark.parametrize("wrong", [datetime(2099, 1, 1), datetime(1970, 1, 1)])
def test_clock_that_was_wrong_for_once_makes_nothing_forgotten(
    spark: SparkSession, prepared: Config, planned: dict[int, datetime], wrong: datetime
) -> None:
    sink = start(spark, prepared, days=3)
    planned.update({0: NOON, 1: wrong, 2: NOON + timedelta(hours=1)})
    sink(frame(spark, event(0, "a"), event(1, "b")), 0)
    sink(frame(spark, event(2, "a"), event(3, "c")), 1)
    again = start(spark, prepared, last_batch=1, days=3)
    again(frame(spark, event(4, "a"), event(5, "b"), event(6, "c")), 2)
    assert ids(spark, prepared) == ["a", "b", "c"]
    # Nor for ever: the days go on as before.
    for day in range(1, 5):
        planned[2 + day] = NOON + timedelta(days=day)
        again(frame(spark, event(6 + day)), 2 + day)
    again(frame(spark, event(11, "a")), 6)
    assert ids(spark, prepared).count("a") == 2


def test_job_that_was_away_for_long_knows_what_it_knew(
    spark: SparkSession, prepared: Config, planned: dict[int, datetime]
) -> None:
    planned.update({0: NOON, 1: NOON + timedelta(days=500)})
    start(spark, prepared)(frame(spark, event(0, "a")), 0)
    start(spark, prepared, last_batch=0)(frame(spark, event(1, "a"), event(2, "b")), 1)
    assert ids(spark, prepared) == ["a", "b"]


def test_ids_that_are_known_no_more_take_no_memory(spark: SparkSession, prepared: Config) -> None:
    def read(last_batch: int) -> JobState:
        folder = f"file://{prepared.state_folder}"
        return JobState(spark, folder, last_batch, 1, prepared.out_folder, batches_a_snapshot=4)

    days = [0, 1, 2, 2, 2]

    def take(state: JobState, batch_id: int, numbers: range) -> tuple[int, int]:
        at = milliseconds(NOON + timedelta(days=days[batch_id]))
        before = milliseconds(NOON + timedelta(days=days[max(0, batch_id - 1)]))
        rows = frame(spark, *(event(number, tconst="tt1") for number in numbers))
        with state.batch(rows) as batch:
            batch.decide(at, before)
            state.save(batch_id)
            return batch.fresh, batch.duplicates

    state = read(-1)
    assert take(state, 0, range(3000)) == (3000, 0)
    assert take(state, 1, range(2000, 5000)) == (2000, 1000)
    assert take(state, 2, range(6000, 6100)) == (100, 0)
    assert state.ids == 5100
    assert take(state, 3, range(0)) == (0, 0)
    for it in (state, read(3)):
        assert (it.ids, it.movies) == (3100, 1)
    assert take(state, 4, range(7000)) == (3900, 3100)


def test_index_that_the_heap_cannot_hold_is_refused_before_it_is_read(
    spark: SparkSession, prepared: Config
) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0)), 0)
    delta = prepared.state_folder / "delta-0000000000"
    content = delta.read_bytes()
    # The number of ids follows the format and the batch.
    many = (200_000_000).to_bytes(4, "big")
    (prepared.state_folder / "snapshot-0000000000").write_bytes(content[:16] + many + content[20:])
    with pytest.raises(
        StartRefusedError, match=r"takes \d+ MB .* Raise streaming_driver_memory_mb .* to \d+ at"
    ):
        start(spark, prepared, last_batch=0)


def test_copies_in_a_batch_are_told_apart_by_where_they_are(
    spark: SparkSession, prepared: Config
) -> None:
    """Not by which task ends first, nor by the order in which Spark has the partitions."""
    last = event(1, "a", tconst="tt2", partition=1)
    first = event(2, "a", tconst="tt1", partition=0)
    genres = [event(number, tconst="tt3", genres=(f"G{number}",)) for number in (3, 4)]
    for asks_first in (False, True):
        for rows in ((last, first), (first, last), genres, genres[::-1]):
            # Two partitions of Spark's, a row each.
            sink = start(spark, prepared)
            sink._expects_new_alone = not asks_first
            sink(frame(spark, *rows), 0)
            (file,) = prepared.silver_folder.glob("*.parquet")
            found = spark.read.parquet(str(file)).orderBy("event_id").collect()
            if "a" in rows[0]:
                assert [row["tconst"] for row in found] == ["tt1"]
            else:
                assert counts(prepared) == "genre,movie_count\nG4,1\n"


def test_event_from_the_future_gives_way_to_those_after_it(
    spark: SparkSession, prepared: Config, planned: dict[int, datetime]
) -> None:
    def genre_of(batch_id: int, at: datetime) -> str:
        rows = frame(spark, event(batch_id, tconst="tt1", genres=(f"G{batch_id}",), at=at))
        start(spark, prepared, last_batch=batch_id - 1)(rows, batch_id)
        return counts(prepared).split("\n")[1].partition(",")[0]

    planned.update({number: NOON + timedelta(minutes=number) for number in range(9)})
    assert genre_of(0, datetime(2099, 1, 1)) == "G0"
    # It counts as of its batch: what is older than that is late.
    assert genre_of(1, NOON - timedelta(minutes=1)) == "G0"
    assert genre_of(2, NOON + timedelta(minutes=1)) == "G2"
    # A clock that was ahead and was set back.
    planned[3] = datetime(2099, 1, 1)
    assert genre_of(3, datetime(2098, 1, 1)) == "G3"
    assert genre_of(4, NOON + timedelta(minutes=3)) == "G4"
    # One that is behind.
    planned[5] = datetime(1970, 1, 1)
    assert genre_of(5, NOON + timedelta(minutes=4)) == "G5"
    assert genre_of(6, NOON + timedelta(minutes=5)) == "G6"


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
            batch.decide(milliseconds(NOON), milliseconds(NOON))
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


def test_batch_that_comes_again_with_less_keeps_what_readers_have_seen(
    spark: SparkSession, prepared: Config
) -> None:
    gone = event(0, "a", tconst="tt1", genres=("Gone",))
    copy = event(1, "b", tconst="tt2", genres=("First",))
    there = [event(5, "b", tconst="tt3"), event(6, "c"), malformed(7)]
    start(spark, prepared)(frame(spark, gone, copy, malformed(1), *there), 0)
    before = counts(prepared)
    assert ids(spark, prepared) == ["a", "b", "c"]

    # Killed before its end was noted; then the topic lost messages, and that was accepted.
    (prepared.checkpoint_folder / LOSS_FILE).write_text("{}")
    for rows in (there, []):
        again = start(spark, prepared)
        again(frame(spark, *rows), 0)
        table = spark.read.parquet(str(prepared.silver_folder)).orderBy("event_id").collect()
        assert [(row["event_id"], row["tconst"]) for row in table] == [
            ("a", "tt1"),
            ("b", "tt2"),
            ("c", "tt6"),
        ]
        letters = spark.read.parquet(str(prepared.dead_letters_folder)).collect()
        assert sorted(row["offset"] for row in letters) == [1, 7]
        assert counts(prepared) == before
        assert again.table_rows == 3
    again(frame(spark, event(8, "a"), event(9, "d")), 1)
    assert ids(spark, prepared) == ["a", "b", "c", "d"]


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
