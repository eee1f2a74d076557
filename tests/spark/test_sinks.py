"""The sink: whole files, replaced as one, each event once, and nothing touched without need."""

import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from imdb_streaming import files, guards, sinks
from imdb_streaming.checkpoint import LOSS_FILE
from imdb_streaming.files import local
from imdb_streaming.jvm import JobState, StateDamagedError
from imdb_streaming.schema import DEAD_LETTERS_SCHEMA, MOVIE_SCHEMA
from imdb_streaming.sinks import (
    MESSAGES_A_PART,
    GenreCounts,
    MovieSink,
    Totals,
    read_totals,
)

from .batches import rows_of
from .frames import frame_of
from .local import LocalConfig as Config
from .plans import milliseconds

NOON = datetime(2026, 1, 1, 12)

#: So many messages are cut into parts.
LARGE = MESSAGES_A_PART + 1

EVENTS = ", ".join(
    [
        *(f"{field.name} {field.dataType.simpleString()}" for field in MOVIE_SCHEMA),
        "event_id string, version bigint, kafka_timestamp timestamp, topic string",
        "partition int, `offset` bigint, reason string, key binary, value binary",
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
    version: int | None = None,
) -> tuple[Any, ...]:
    """A row of a valid event at the offset `number`; events of one id are of one movie."""
    event_id = event_id or f"e{number}"
    tconst = tconst or f"tt{int.from_bytes(event_id.encode())}"
    movie = (tconst, "Title", 2000, None, list(genres), 5.0, 3000)
    return (*movie, event_id, version, at, "t", partition, number, None, None, None)


def malformed(number: int) -> tuple[Any, ...]:
    return (*[None] * 7, "id", None, NOON, "t", 1, number, "the message is empty", b"key", b"")


def frame(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return frame_of(spark, rows, EVENTS)


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """How many messages Spark has planned for each batch: few if nothing else is said."""
    messages: dict[int, int] = {}
    monkeypatch.setattr(sinks, "messages_of", lambda _, batch_id: messages.get(batch_id, 0))
    return messages


def start(spark: SparkSession, config: Config, last_batch: int = -1) -> MovieSink:
    """The sink of a job that is started after `last_batch`."""
    state = JobState(spark, f"file://{config.state_folder}", last_batch, config.out_folder)
    return MovieSink(config, spark, state, len(ids(config)))


def ids(config: Config) -> list[str]:
    return [row["event_id"] for row in rows_of(config.silver_folder, "event_id")]


def letters(config: Config) -> list[int]:
    """The offsets of the dead letters."""
    return [row["offset"] for row in rows_of(config.dead_letters_folder, "offset")]


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
    assert ids(prepared) == ["e0", "e1", "e2"]
    result = sink.results[7]
    assert (result.rows_written, result.dead_letters, result.where) == (3, 0, table)
    assert result.newest == pytest.approx(NOON.astimezone().timestamp(), abs=86400)
    assert staged(prepared) == []


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.parquet"))


def test_large_batch_becomes_a_file_of_each_part(
    spark: SparkSession, prepared: Config, planned: dict[int, int]
) -> None:
    planned[0] = LARGE
    rows = frame(spark, *(event(i) for i in range(100)), malformed(0))
    sink = start(spark, prepared)
    sink(rows, 0)
    assert names(prepared.silver_folder) == [
        "main-0000000000-0000.parquet",
        "main-0000000000-0001.parquet",
    ]
    assert names(prepared.dead_letters_folder) == ["main-0000000000-0001.parquet"]
    assert sink.results[0].where == prepared.silver_folder / "main-0000000000-*.parquet"
    assert ids(prepared) == sorted(f"e{i}" for i in range(100))
    schema = spark.read.parquet(str(prepared.silver_folder)).schema.simpleString()
    assert "weighted_score:double,event_id:string,kafka_timestamp:timestamp" in schema
    assert staged(prepared) == []
    before = {path: path.read_bytes() for path in prepared.silver_folder.glob("*.parquet")}
    # Run again after a crash it makes the same files.
    again = start(spark, prepared)
    again(rows, 0)
    assert names(prepared.silver_folder) == sorted(path.name for path in before)
    assert again.table_rows == 100
    assert {path: path.read_bytes() for path in before} == before
    # Parts without a new event have no file; numbers go by the places in the topic.
    again(frame(spark, event(101), event(3), event(3)), 1)
    assert names(prepared.silver_folder)[2:] == ["main-0000000001.parquet"]
    planned[2] = LARGE
    again(frame(spark, event(200), event(201), event(3), event(3)), 2)
    assert names(prepared.silver_folder)[3:] == ["main-0000000002-0001.parquet"]


def test_batch_that_is_cut_otherwise_when_it_is_run_again_has_no_row_twice(
    spark: SparkSession, prepared: Config, planned: dict[int, int]
) -> None:
    rows = frame(spark, *(event(i) for i in range(4)), *(malformed(i) for i in range(2)))
    for messages, count in ((LARGE, 2), (0, 1), (LARGE, 2)):
        planned[0] = messages
        sink = start(spark, prepared)
        sink(rows, 0)
        assert len(names(prepared.silver_folder)) == count
        assert ids(prepared) == ["e0", "e1", "e2", "e3"]
        assert len(letters(prepared)) == 2
        assert sink.table_rows == 4


def test_what_the_driver_is_told_of_a_message_is_bounded(
    spark: SparkSession, prepared: Config, planned: dict[int, int]
) -> None:
    """Whatever its text is."""
    batch = start(spark, prepared).state.batch(
        frame(
            spark,
            *(event(i, f"{i}" * 1000, tconst=f"tt{i}") for i in range(1000)),
            *[malformed(1)] * 50,
        ),
        as_one_part=True,
    )
    batch.read()
    batch.decide()
    assert (batch.fresh, batch.malformed) == (1000, 50)
    # The part, its list of genres, and its partition of the topic, besides.
    assert batch.told_bytes == 28 * 1000 + 40 + (4 + len("7:Drama")) + 16


def test_event_sent_again_is_kept_once(spark: SparkSession, prepared: Config) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0, "a"), event(1, "b"), event(2, "a")), 0)
    sink(frame(spark, event(3, "b"), event(4, "c")), 1)
    again = start(spark, prepared, last_batch=1)
    again(frame(spark, event(5, "a"), event(6, "c")), 2)
    assert ids(prepared) == ["a", "b", "c"]
    again(frame(spark, malformed(7)), 3)
    assert ids(prepared) == ["a", "b", "c"]
    assert read_totals(prepared) == Totals(3, silver_rows=3, dead_letters=1, duplicates=4)
    assert len(list(prepared.silver_folder.glob("*.parquet"))) == 2
    # What was written on trial, and turned out to be known, is gone.
    assert staged(prepared) == []


def genre(config: Config) -> str:
    """The genre of the one movie that there is."""
    return counts(config).split("\n")[1].partition(",")[0]


@pytest.mark.parametrize("apart", [False, True], ids=["in one batch", "in a batch each"])
def test_movie_that_changes_back_has_three_rows_and_its_first_genres(
    spark: SparkSession, prepared: Config, apart: bool
) -> None:
    def of(number: int, name: str, version: int) -> tuple[Any, ...]:
        return event(number, name, tconst="tt1", genres=(name,), version=version)

    events = [of(0, "A", 10), of(1, "B", 20), of(2, "A", 30)]
    # Sent again, also an older one; and a data set that changes nothing.
    again = [of(3, "B", 20), of(4, "A", 30), of(5, "A", 40), of(6, "B", 35)]
    batches = [[it] for it in events + again] if apart else [events, again]
    for batch_id, rows in enumerate(batches):
        # Each of them in a start of its own.
        start(spark, prepared, last_batch=batch_id - 1)(frame(spark, *rows), batch_id)
    assert ids(prepared) == ["A", "A", "B"]
    assert genre(prepared) == "A"
    totals = read_totals(prepared)
    assert (totals.silver_rows, totals.duplicates, totals.stale) == (3, 2, 2)


def test_two_data_sets_in_a_batch_are_told_apart_by_their_versions(
    spark: SparkSession, prepared: Config
) -> None:
    """Also where a movie's messages are in two partitions, as after one was added."""
    new = event(0, "new", tconst="tt1", genres=("New",), version=2, partition=0)
    old = event(0, "old", tconst="tt1", genres=("Old",), version=1, partition=1)
    sink = start(spark, prepared)
    sink(frame(spark, old, new), 0)
    assert ids(prepared) == ["new"]
    assert (sink.totals.duplicates, sink.totals.stale) == (0, 1)
    sink(frame(spark, event(1, "gone", tconst="tt1", genres=("Gone",), version=2)), 1)
    assert (sink.totals.duplicates, genre(prepared)) == (1, "New")


@pytest.mark.parametrize("lower", [False, True])
def test_versions_that_were_lost_and_found_again(
    spark: SparkSession, prepared: Config, lower: bool
) -> None:
    """A producer that sends all again under other versions, and then under those of before."""

    def sent(batch_id: int, version: int, content: str = "") -> MovieSink:
        sink = start(spark, prepared, last_batch=batch_id - 1)
        rows = [event(n, f"e{n}{content}", tconst=f"tt{n}", version=version) for n in range(3)]
        sink(frame(spark, *rows), batch_id)
        return sink

    sent(0, 100)
    sink = sent(1, 50 if lower else 200)
    assert (sink.totals.duplicates, sink.totals.stale) == ((0, 3) if lower else (3, 0))
    sink = sent(2, 100)
    assert (sink.totals.duplicates, sink.totals.stale) == (3, 3)
    sent(3, 300, "changed")
    assert len(ids(prepared)) == 6


def test_time_stands_in_for_a_version(spark: SparkSession, prepared: Config) -> None:
    def of(number: int, name: str, seconds: int, version: int | None = None) -> tuple[Any, ...]:
        at = NOON + timedelta(seconds=seconds)
        return event(number, name, tconst="tt1", genres=(name,), at=at, version=version)

    sink = start(spark, prepared)
    # Of two at the same time the later one counts; a copy of it is none; an older one is stale.
    sink(frame(spark, of(0, "A", 0), of(1, "B", 0), of(2, "B", 1), of(3, "C", -1)), 0)
    assert (ids(prepared), genre(prepared)) == (["A", "B"], "B")
    assert (sink.totals.duplicates, sink.totals.stale) == (1, 1)
    # It is compared with versions that are given: those of our producer are of the same kind.
    version = milliseconds(NOON)
    sink(frame(spark, of(4, "old", 9, version), of(5, "new", 8, version + 2000)), 1)
    assert (ids(prepared), genre(prepared)) == (["A", "B", "new"], "new")
    sink(frame(spark, of(6, "late", 2), of(7, "D", 3)), 2)
    assert genre(prepared) == "D"


def test_state_is_bounded_by_the_movies(spark: SparkSession, prepared: Config) -> None:
    sink = start(spark, prepared)
    for version in range(5):
        rows = [
            event(
                n, f"{n} {version}", tconst=f"tt{n}", version=version, genres=(f"G{n} {version}",)
            )
            for n in range(2000)
        ]
        sink(frame(spark, *rows), version)
    state = sink.state
    assert (state.movies, state.bytes) == (2000, 28 * 4096)
    # A snapshot has no genre that no movie has any more.
    again = JobState(
        spark, f"file://{prepared.state_folder}", 4, prepared.out_folder, batches_a_snapshot=1
    )
    again.save(5)
    snapshot = (prepared.state_folder / "snapshot-0000000005").read_bytes()
    assert b"G7 4" in snapshot
    assert b"G7 3" not in snapshot
    assert len(snapshot) < 2000 * (28 + 16) + 100


def test_events_of_a_batch_are_looked_at_in_the_order_of_their_places(
    spark: SparkSession, prepared: Config, planned: dict[int, int]
) -> None:
    """Not by which task ends first, nor in the order in which Spark has the partitions."""
    last = event(1, "b", tconst="tt1", genres=("Last",), partition=1)
    first = event(2, "a", tconst="tt1", genres=("First",), partition=0)
    for asks_first in (False, True):
        # In a part of one file, and in two parts.
        for planned[0] in (0, LARGE):
            for rows in ((last, first), (first, last)):
                sink = start(spark, prepared)
                sink._expects_new_alone = not asks_first
                sink(frame(spark, *rows), 0)
                assert ids(prepared) == ["a", "b"]
                assert counts(prepared) == "genre,movie_count\nLast,1\n"


@pytest.mark.parametrize("messages", [0, LARGE])
def test_rows_of_others_than_new_events_are_left_out(
    spark: SparkSession, prepared: Config, planned: dict[int, int], messages: int
) -> None:
    planned.update(dict.fromkeys(range(3), messages))
    sink = start(spark, prepared)
    known = [event(number, f"k{number}", tconst=f"tt{number}", version=1) for number in range(20)]
    sink(frame(spark, *known), 0)
    mixed = []
    for number in range(20):
        new = event(number, f"n{number}", tconst=f"tt{number}", version=2)
        mixed += [known[number], new, malformed(number)]
    # Found out after it was written, and then asked for before.
    for batch_id in (1, 2):
        sink(frame(spark, *mixed), batch_id)
    assert ids(prepared) == sorted(f"{kind}{n}" for kind in "kn" for n in range(20))
    assert read_totals(prepared) == Totals(2, 40, dead_letters=40, duplicates=40, stale=20)
    assert sink.results[1].messages == sink.results[2].messages == 60
    assert staged(prepared) == []


def test_messages_that_are_gone_when_they_are_read_again_end_the_batch(
    spark: SparkSession, prepared: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by retention, between two reads of a batch: what was decided is not what is there."""
    folder = prepared.output_path / "messages"
    frame(spark, event(0), event(0), event(1)).coalesce(1).write.parquet(str(folder))
    stage = MovieSink._stage

    def lose(sink: MovieSink, rows: DataFrame, *given: Any) -> Any:
        done = stage(sink, rows, *given)
        (path,) = folder.glob("part-*.parquet")
        path.unlink()
        monkeypatch.setattr(MovieSink, "_stage", stage)
        return done

    monkeypatch.setattr(MovieSink, "_stage", lose)
    messages = spark.read.option("ignoreMissingFiles", True).parquet(str(folder))
    sink = start(spark, prepared)
    with pytest.raises(Exception, match="gives 0 messages where it gave 3 a moment ago"):
        sink(messages, 0)
    assert names(prepared.silver_folder) == []


def test_counts_are_of_all_movies_most_first_then_by_name(
    spark: SparkSession, prepared: Config
) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0), event(1, genres=("Drama", 'Odd, "one"')), event(2, genres=())), 0)
    table = GenreCounts(prepared, spark)
    rows = pq.read_table(local(table.parquet_file)).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("Drama", 2),
        ("(unknown)", 1),
        ('Odd, "one"', 1),
    ]
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
        return JobState(spark, folder, last_batch, prepared.out_folder, batches_a_snapshot=4)

    state = read(-1)
    for batch_id in range(14):
        batch = state.batch(frame(spark, event(batch_id)))
        batch.read()
        batch.decide()
        state.save(batch_id)
    names = sorted(path.name for path in prepared.state_folder.glob("[ds]*-*"))
    assert names == [
        *(f"delta-{batch_id:010d}" for batch_id in (8, 9, 10, 12, 13)),
        "snapshot-0000000007",
        "snapshot-0000000011",
    ]
    for last_batch in (13, 11, 10, 7):
        state = read(last_batch)
        assert state.movies == last_batch + 1
        assert state.counts() == {"Drama": last_batch + 1}


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
    assert ids(prepared) == ["e0", "e1"]
    assert len(letters(prepared)) == again.table_rows == 2
    assert read_totals(prepared) == Totals(0, silver_rows=2, dead_letters=2, duplicates=1)
    assert counts(prepared) == "genre,movie_count\nDrama,2\n"


def test_batch_that_comes_again_with_less_keeps_what_readers_have_seen(
    spark: SparkSession, prepared: Config
) -> None:
    gone = event(0, "a", tconst="tt1", genres=("Gone",))
    copy = event(1, "b", tconst="tt2", genres=("First",))
    there = [event(5, "b", tconst="tt2"), event(6, "c", tconst="tt6"), malformed(7)]
    start(spark, prepared)(frame(spark, gone, copy, malformed(1), *there), 0)
    before = counts(prepared)
    assert ids(prepared) == ["a", "b", "c"]

    # Killed before its end was noted; then the topic lost messages, and that was accepted.
    (prepared.checkpoint_folder / LOSS_FILE).write_text("{}")
    for rows in (there, []):
        again = start(spark, prepared)
        again(frame(spark, *rows), 0)
        table = rows_of(prepared.silver_folder, "event_id")
        assert [(row["event_id"], row["tconst"]) for row in table] == [
            ("a", "tt1"),
            ("b", "tt2"),
            ("c", "tt6"),
        ]
        assert letters(prepared) == [1, 7]
        assert counts(prepared) == before
        assert again.table_rows == 3
    again(frame(spark, event(8, "a", tconst="tt1"), event(9, "d")), 1)
    assert ids(prepared) == ["a", "b", "c", "d"]


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
    assert ids(prepared) == ["e0", "e1"]
    assert read_totals(prepared) == Totals(0, silver_rows=2, dead_letters=1, duplicates=0)


@pytest.mark.parametrize("renamed", range(4))
def test_crash_between_the_files_of_a_batch_leaves_each_row_once(
    spark: SparkSession,
    prepared: Config,
    planned: dict[int, int],
    monkeypatch: pytest.MonkeyPatch,
    renamed: int,
) -> None:
    """What was renamed stays as it is, and the rest comes when the batch is run again."""
    planned[1] = LARGE
    start(spark, prepared)(frame(spark, event(0, version=1), event(1, version=1)), 0)
    rows = frame(
        spark,
        *(event(0, version=1), event(2, version=1), malformed(0)),
        *(event(1, "new e1", tconst=f"tt{int.from_bytes(b'e1')}", version=2), event(3, version=1)),
        malformed(1),
    )
    put, left = files.put_in_place, [renamed]

    def put_or_crash(*given: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        put(*given)

    with monkeypatch.context() as patch:
        patch.setattr(sinks, "put_in_place", put_or_crash)
        with pytest.raises(KeyboardInterrupt):
            start(spark, prepared, last_batch=0)(rows, 1)
    seen = {path: path.read_bytes() for path in prepared.silver_folder.glob("*.parquet")}
    again = start(spark, prepared, last_batch=0)
    again(rows, 1)
    assert ids(prepared) == ["e0", "e1", "e2", "e3", "new e1"]
    assert len(letters(prepared)) == 2
    assert {path: path.read_bytes() for path in seen} == seen
    assert again.table_rows == 5
    assert read_totals(prepared) == Totals(1, silver_rows=5, dead_letters=2, duplicates=1)


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
    assert spark.read.parquet(str(table)).schema.simpleString() == (
        DEAD_LETTERS_SCHEMA.simpleString()
    )
    assert letters(prepared) == list(range(25))
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
    assert sink.results[1] == sinks.BatchResult(0, 0, 0, 0, 0.0, None)


def test_identical_snapshot_is_not_touched(spark: SparkSession, prepared: Config) -> None:
    sink = start(spark, prepared)
    sink(frame(spark, event(0, tconst="tt0")), 0)
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
    (row,) = pq.read_table(local(table.parquet_file)).to_pylist()
    assert row["movie_count"] == 2


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
