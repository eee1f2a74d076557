"""The chaos test's own computation and its readers' checks, on what can be followed by eye."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ..waiting import wait_for
from .chaos_expected import (
    NotAMovieError,
    Stored,
    differences,
    event_id_of,
    expected_tables,
    parsed,
)
from .chaos_kills import VICTIMS, kill_plan
from .chaos_messages import MALFORMED, Planned, plan
from .chaos_readers import Rising, Rows, Snapshots
from .messages import canonical, movie
from .readers_apart import ReadersApart
from .tables import Tables


def stored(
    offset: int, at: int, value: bytes | None, event_id: bytes = b"", version: bytes = b""
) -> Stored:
    given = (("event_id", event_id), ("movie_version", version))
    return Stored(0, offset, at, b"key", value, tuple(it for it in given if it[1]))


def of(number: int, **changes: object) -> bytes:
    return canonical(movie(number) | changes)


def escaped(number: int, **changes: object) -> bytes:
    return json.dumps(movie(number) | changes).encode()


def test_valid_movie_is_taken_over() -> None:
    record = movie(3) | {"primaryTitle": "\U0001f600", "genres": ["Dra\rma"]}
    assert parsed(canonical(record | {"more": 1})) == record
    assert parsed(json.dumps(record).encode()) == record


@pytest.mark.parametrize("kind", range(len(MALFORMED)))
def test_each_malformed_kind_is_no_movie(kind: int) -> None:
    with pytest.raises(NotAMovieError):
        parsed(MALFORMED[kind](movie(3)))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the message is empty"),
        (b"\xff", "the message is not UTF-8"),
        (b"[]", "the message is not one JSON object"),
        (b'{"tconst":"tt1","tconst":"tt1"}', "the message is not one JSON object"),
        (b"{}", "tconst is missing"),
        (of(3, startYear=True), "startYear is not an integer"),
        (of(3, startYear=2**31), "startYear does not fit 32 bits"),
        (of(3, averageRating=11), "averageRating is not from 0 to 10"),
        (escaped(3, primaryTitle="A\ud83d"), "primaryTitle has an unpaired surrogate"),
        (escaped(3, genres=["Drama", "\udfff"]), "genres has an unpaired surrogate"),
    ],
)
def test_reason_is_the_first_thing_wrong(value: bytes | None, reason: str) -> None:
    with pytest.raises(NotAMovieError, match=f"^{reason}$"):
        parsed(value)


@pytest.mark.parametrize("event_id", [b"", b"\xff"])
def test_event_without_a_header_is_known_by_its_value(event_id: bytes) -> None:
    with_header, without = (stored(0, 0, b"x", name) for name in (event_id, b""))
    assert event_id_of(with_header) == event_id_of(without)


def test_tables_of_a_few_messages() -> None:
    tables = expected_tables(
        [
            stored(0, 50, b"no movie", b"a"),
            stored(1, 40, of(1, genres=["Old"], numVotes=3000, averageRating=9.0), b"a"),
            # Later in the topic, but an older event.
            stored(2, 30, of(1, genres=["Older"]), b"b"),
            # Sent again: the first counts, with its time.
            stored(3, 60, of(1, genres=["Old"]), b"a"),
            stored(4, 45, of(2, genres=["Old", "Old", " "]), b"c"),
            stored(5, 46, of(3, genres=[]), b"d"),
        ]
    )
    assert list(tables.silver) == [("a", 40), ("c", 45), ("d", 46)]
    assert tables.silver["a", 40]["weighted_score"] == 7.75
    assert tables.silver["a", 40]["kafka_timestamp"] == 40
    assert tables.dead_letters == {
        (0, 0): ("the message is not one JSON object", b"key", b"no movie", 50)
    }
    assert tables.genre_counts == [("Old", 2), ("(unknown)", 1)]
    assert (tables.duplicates, tables.stale) == (1, 1)


def test_movie_that_changes_back_has_three_rows() -> None:
    a, b = of(1, genres=["A"]), of(1, genres=["B"])
    tables = expected_tables(
        [
            stored(0, 10, a, b"a", b"100"),
            stored(1, 20, b, b"b", b"200"),
            stored(2, 30, a, b"a", b"300"),
            # Sent again, an older one too; and a later version of the same content.
            stored(3, 40, a, b"a", b"300"),
            stored(4, 50, b, b"b", b"200"),
            stored(5, 60, a, b"a", b"400"),
            stored(6, 70, b, b"b", b"350"),
            # The same version cannot be another one.
            stored(7, 80, b, b"b", b"400"),
            stored(8, 90, b, b"b", b"0x1"),
        ]
    )
    assert list(tables.silver) == [("a", 10), ("b", 20), ("a", 30)]
    assert tables.genre_counts == [("A", 1)]
    assert (tables.duplicates, tables.stale) == (3, 2)
    assert list(tables.dead_letters) == [(0, 8)]


def test_time_stands_in_for_a_version_that_no_header_gives() -> None:
    tables = expected_tables(
        [
            stored(0, 10, of(1, genres=["A"]), b"a"),
            stored(1, 10, of(1, genres=["B"]), b"b"),
            stored(2, 10, of(1, genres=["B"]), b"b"),
            stored(3, 9, of(1, genres=["C"]), b"c"),
            stored(4, 5, of(1, genres=["D"]), b"d", b"11"),
        ]
    )
    assert list(tables.silver) == [("a", 10), ("b", 10), ("d", 5)]
    assert (tables.duplicates, tables.stale) == (1, 1)


@pytest.mark.parametrize(
    ("actual", "words"),
    [
        ({"a": 1, "b": 2}, ""),
        ({"a": 1}, "1 rows missing"),
        ({"a": 1, "b": 2, "c": 3}, "1 rows too much"),
        ({"a": 1, "b": 3}, "1 rows other"),
    ],
)
def test_differences_are_told(actual: dict[str, int], words: str) -> None:
    assert differences(actual, {"a": 1, "b": 2}).startswith(words)
    assert bool(differences(actual, {"a": 1, "b": 2})) == bool(words)


@pytest.fixture(scope="module")
def planned() -> list[Planned]:
    return list(plan(7, 20_000, first=5_000_000, begin=0))


def test_plan_follows_from_its_seed(planned: list[Planned]) -> None:
    assert list(plan(7, 20_000, first=5_000_000, begin=0)) == planned
    assert list(plan(8, 20_000, first=5_000_000, begin=0)) != planned


def test_plan_has_what_the_test_is_about(planned: list[Planned]) -> None:
    assert len({message.at for message in planned if message.value}) > 19_000
    tables = expected_tables(
        stored(number, message.at, message.value, dict(message.headers).get("event_id", b""))
        for number, message in enumerate(planned)
    )
    assert 0.007 < len(tables.dead_letters) / len(planned) < 0.013
    assert 0.02 < tables.duplicates / len(planned) < 0.08
    assert 0.02 < tables.stale / len(planned) < 0.1
    assert len(tables.silver) - len({event_id for event_id, _ in tables.silver}) > 100
    assert len({reason for reason, *_ in tables.dead_letters.values()}) > 12
    late = sum(later.at < before.at for before, later in pairwise(planned))
    assert late > 500


def test_plan_never_lets_the_counts_sum_fall(planned: list[Planned]) -> None:
    genres: dict[str, int] = {}
    for message in planned:
        try:
            record: dict[str, Any] = parsed(message.value)
        except NotAMovieError:
            continue
        count = len({name for name in record["genres"] if name.strip()}) or 1
        assert genres.setdefault(record["tconst"], count) == count


def test_kills_follow_from_their_seed_and_spare_nobody() -> None:
    kills = list(kill_plan(3, 35))
    assert kills == list(kill_plan(3, 35)) != list(kill_plan(4, 35))
    victims = [victim for _, victim in kills]
    assert {victims.count(name) for name in VICTIMS} == {5}


@pytest.mark.parametrize(
    ("check", "reads", "words"),
    [
        (Rising(), [[("a",)], [("a",), ("b",)], [("b",)]], "are gone"),
        (Rising(), [[("a",), ("a",)]], "are doubled"),
        (Snapshots(), [[]], "no row"),
        (Snapshots(), [[("a", 3)], [("b", 2)]], "fell from 3 to 2"),
        (Snapshots(), [[("a", 1), ("b", 2)]], "not in order"),
    ],
)
def test_readers_complain(check: Rising | Snapshots, reads: list[Rows], words: str) -> None:
    *good, bad = reads
    for rows in good:
        check(rows)
    with pytest.raises(AssertionError, match=words):
        check(bad)


def test_readers_apart_end_at_the_first_problem(tmp_path: Path) -> None:
    tables = Tables(tmp_path / "parquet", tmp_path / "csv")
    tables.genre_counts_csv.parent.mkdir(parents=True)
    tables.genre_counts_csv.write_text("genre,movie_count\nDrama,2\n")
    readers = ReadersApart(tables, tmp_path / "log", ["CSV, plain"], 0.01)
    try:
        readers.lives()
        tables.genre_counts_csv.write_text("genre,movie_count\nDrama,1")

        def ended() -> str:
            try:
                readers.lives()
            except AssertionError as error:
                return str(error)
            return ""

        assert "ends within a line" in wait_for("the readers end", ended, bool, 60)
        with pytest.raises(AssertionError, match="ends within a line"):
            readers.ask()
    finally:
        readers.close()


def test_readers_apart_say_how_often_they_have_read(tmp_path: Path) -> None:
    tables = Tables(tmp_path / "parquet", tmp_path / "csv")
    tables.genre_counts_csv.parent.mkdir(parents=True)
    tables.genre_counts_csv.write_text("genre,movie_count\nDrama,2\n")
    readers = ReadersApart(tables, tmp_path / "log", ["CSV, plain", "CSV, pandas"], 0.01)
    try:
        assert readers.ask().keys() == {"CSV, plain", "CSV, pandas"}
    finally:
        readers.close()
