"""What the page has of the tables is what a plain reader has, and each file is read once."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imdb_dashboard.errors import SourceError
from imdb_dashboard.files import TableFile
from imdb_dashboard.store import LETTERS_KEPT, ROWS_A_QUERY, Filter, Store
from imdb_dashboard.tables import BEST, Tables

from .written import NOW, Written, letter, moment, movie


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files of silver_movies that are read, as they are."""
    names: list[str] = []
    take_in = Store.take_in

    def noted(store: Store, files: Sequence[TableFile], rows: int) -> None:
        names.extend(file.path.name for file in files)
        take_in(store, files, rows)

    monkeypatch.setattr(Store, "take_in", noted)
    return names


def titles(tables: Tables, **wanted: Any) -> list[str]:
    return [it.title for it in tables.find(Filter(**wanted)).best]


def test_rows_are_counted_as_they_come_and_each_file_is_read_once(
    written: Written, tables: Tables, read: list[str]
) -> None:
    assert tables.refresh().rows == 0
    first = written.batch(movie(1), movie(2))
    assert (tables.refresh().rows, tables.refresh().movies) == (2, 2)
    second = written.batch(movie(3))
    state = tables.refresh()
    assert (state.rows, state.movies) == (3, 3)
    assert read == [first.name, second.name]


def test_a_generation_lasts_until_rows_come(written: Written, tables: Tables) -> None:
    written.batch(movie(1))
    generation = tables.refresh().generation
    assert tables.refresh().generation == generation
    written.batch(movie(2))
    assert tables.refresh().generation == generation + 1


def test_a_movie_is_shown_by_its_last_version_whichever_file_is_read_first(
    written: Written, tables: Tables
) -> None:
    written.batch(movie(1, primaryTitle="new", kafka_timestamp=moment(NOW + 2)))
    tables.refresh()
    written.batch(
        movie(1, primaryTitle="old", kafka_timestamp=moment(NOW)),
        movie(2, primaryTitle="first", kafka_timestamp=moment(NOW)),
        movie(2, primaryTitle="second", kafka_timestamp=moment(NOW + 1)),
    )
    state = tables.refresh()
    assert (state.rows, state.movies) == (4, 2)
    assert sorted(titles(tables)) == ["new", "second"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(1, 5), st.integers(0, 50)), max_size=6, unique_by=lambda it: it
        ),
        max_size=5,
    )
)
def test_any_order_of_versions_ends_with_the_last(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, int]]]
) -> None:
    written = Written(tmp_path_factory.mktemp("tables"))
    tables = Tables(written.folder, memory_mb=64)
    latest: dict[int, int] = {}
    for batch in batches:
        written.batch(
            *(movie(number, numVotes=at, kafka_timestamp=moment(NOW + at)) for number, at in batch)
        )
        for number, at in batch:
            latest[number] = max(at, latest.get(number, -1))
        assert tables.refresh().movies == len(latest)
    found = {it.title: it.votes for it in tables.find(Filter()).best}
    assert found == {f"Movie {number}": at for number, at in latest.items()}
    tables.close()


def test_compacted_files_are_known_and_not_read_again(
    written: Written, tables: Tables, read: list[str]
) -> None:
    for number in range(4):
        written.batch(movie(number), at=NOW)
    before = tables.refresh()
    read.clear()
    written.compact(0, 2)
    after = tables.refresh()
    assert (after.rows, after.movies, read) == (4, 4, [])
    assert after.generation == before.generation
    written.batch(movie(9))
    assert tables.refresh().rows == 5


def test_a_compacted_file_that_the_page_begins_with_is_read(
    written: Written, tables: Tables, read: list[str]
) -> None:
    for number in range(3):
        written.batch(movie(number))
    written.compact(0, 1)
    assert tables.refresh().rows == 3
    assert len(read) == 2


@pytest.mark.parametrize("what", ["gone", "replaced"])
def test_tables_that_are_others_than_before_are_read_anew(
    written: Written, tables: Tables, what: str
) -> None:
    first = written.batch(movie(1), movie(2))
    written.batch(movie(3))
    tables.refresh()
    if what == "gone":
        first.unlink()
        assert tables.refresh().movies == 1
    else:
        written.batches = 0
        written.batch(movie(7))
        assert tables.refresh().rows == 2
        assert sorted(titles(tables)) == ["Movie 3", "Movie 7"]


def test_a_file_that_is_gone_when_it_is_read_makes_the_page_look_again(
    written: Written, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.batch(movie(1))
    written.batch(movie(2))
    rows_of = Store.rows_of
    gone: list[Path] = []

    def compacted_meanwhile(store: Store, files: Sequence[TableFile]) -> dict[str, int]:
        if files and not gone:
            gone.append(written.compact(0, 1))
        return rows_of(store, files)

    monkeypatch.setattr(Store, "rows_of", compacted_meanwhile)
    assert tables.refresh().rows == 2
    assert gone


def test_a_large_file_is_read_in_slices(written: Written, tables: Tables) -> None:
    number = ROWS_A_QUERY + 10
    written.batch(*(movie(it) for it in range(number)))
    written.batch(movie(0, tconst="no number", primaryTitle="other"))
    state = tables.refresh()
    assert (state.rows, state.movies) == (number + 1, number + 1)
    assert titles(tables, title="other") == ["other"]


def test_what_the_job_is_at_is_not_read(written: Written, tables: Tables) -> None:
    silver = written.batch(movie(1)).parent
    for name in (".main-0000000009.parquet", "_main-0000000009.parquet", "main.txt"):
        (silver / name).write_text("half a file")
    assert tables.refresh().rows == 1


def test_filters(written: Written, tables: Tables) -> None:
    written.batch(
        movie(1, primaryTitle="100% Wolf", startYear=1990, genres=["Action", "Drama"]),
        movie(2, primaryTitle='It\'s "A" Trap_', startYear=2010, genres=[], numVotes=9000),
        movie(3, primaryTitle="Wolfsburg", startYear=2020, genres=["Science", "Drama II"]),
    )
    tables.refresh()
    assert sorted(titles(tables, title="wolf")) == ["100% Wolf", "Wolfsburg"]
    assert titles(tables, title="%") == ["100% Wolf"]
    assert titles(tables, title='\'s "a"') == ['It\'s "A" Trap_']
    assert titles(tables, title="_") == ['It\'s "A" Trap_']
    assert titles(tables, genre="Drama") == ["100% Wolf"]
    assert titles(tables, first_year=2010, last_year=2019) == ['It\'s "A" Trap_']
    assert titles(tables, least_votes=6000) == ['It\'s "A" Trap_']
    nothing = tables.find(Filter(title="nothing of the kind"))
    assert (nothing.count, nothing.best, nothing.cells) == (0, (), ())


def test_the_best_come_first_and_all_are_counted(written: Written, tables: Tables) -> None:
    written.batch(*(movie(it, weighted_score=it / 10) for it in range(60)))
    tables.refresh()
    found = tables.find(Filter())
    assert found.count == sum(number for _, _, number in found.cells) == 60
    assert [it.title for it in found.best] == [f"Movie {it}" for it in range(59, 59 - BEST, -1)]


def test_an_answer_is_new_when_rows_came(written: Written, tables: Tables) -> None:
    written.batch(movie(1))
    tables.refresh()
    assert tables.find(Filter()).count == 1
    written.batch(movie(2))
    tables.refresh()
    assert tables.find(Filter()).count == 2


def test_rows_a_minute_and_their_latency(written: Written, tables: Tables) -> None:
    now = time.time()
    minute = now // 60 * 60 - 120
    latencies = [it / 10 for it in range(1, 101)]
    written.batch(
        *(movie(n, kafka_timestamp=moment(minute - it)) for n, it in enumerate(latencies)),
        at=minute,
    )
    state = tables.refresh()
    (found,) = [it for it in state.minutes if it.rows]
    assert (found.at, found.rows) == (minute, 100)
    assert found.p50 == pytest.approx(statistics.median(latencies), rel=0.06)
    assert found.p99 == pytest.approx(9.9, rel=0.06)
    assert state.newest == pytest.approx(minute)
    assert state.rows_since(300, now) == 100


def test_when_compacted_rows_came_is_not_guessed(written: Written, tables: Tables) -> None:
    for number in range(3):
        written.batch(movie(number, kafka_timestamp=moment(time.time() - 4000)))
    written.compact(0, 1)
    state = tables.refresh()
    assert (state.rows, sum(it.rows for it in state.minutes)) == (3, 1)


def test_years_and_genres(written: Written, tables: Tables) -> None:
    assert tables.refresh().years is None
    written.batch(movie(1, startYear=1927), movie(2, startYear=2031))
    written.genres(Drama=2, Action=7)
    state = tables.refresh()
    assert state.years == (1927, 2031)
    assert state.genres == (("Action", 7), ("Drama", 2))
    written.genres(Drama=9, Action=7)
    assert tables.refresh().genres == (("Drama", 9), ("Action", 7))


def test_dead_letters_are_shown_with_what_can_be_read_of_them(
    written: Written, tables: Tables
) -> None:
    written.letters(letter(1, "not JSON", b"\xff{<script>", at=NOW))
    written.letters(letter(2, "no value", None, at=NOW + 1))
    written.letters(letter(3, "not JSON", b"long" * 1250, at=NOW + 2))
    state = tables.refresh()
    assert state.letters == 3
    assert state.reasons == (("not JSON", 2), ("no value", 1))
    long, none, odd = state.latest_letters
    assert long.value.startswith("longlong")
    assert long.value.endswith("… (5,000 bytes)")
    assert len(long.value) < 300
    assert (none.value, none.place) == ("(no value)", "imdb-movies/0/2")
    assert odd.value == "\ufffd{<script>"


def test_of_many_dead_letters_the_latest_are_kept(written: Written, tables: Tables) -> None:
    for batch in range(3):
        numbers = range(40 * batch, 40 * batch + 40)
        written.letters(*(letter(it, "no", b"", at=NOW + it) for it in numbers))
        tables.refresh()
    state = tables.refresh()
    assert state.letters == 120
    assert [it.place for it in state.latest_letters[:2]] == [
        "imdb-movies/0/119",
        "imdb-movies/0/118",
    ]
    assert len(state.latest_letters) == LETTERS_KEPT


def test_a_folder_that_is_missing_is_told_of_and_found_when_it_comes(
    written: Written, tables: Tables
) -> None:
    written.folder.rmdir()
    with pytest.raises(SourceError, match="is not there"):
        tables.refresh()
    written.batch(movie(1))
    assert tables.refresh().rows == 1


def test_a_folder_that_may_not_be_read_is_told_of(
    written: Written, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.batch(movie(1))

    # root, which may run this, may read everything.
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(SourceError, match="may not be read by the page's user"):
        tables.refresh()


def test_a_file_that_is_no_table_is_told_of(written: Written, tables: Tables) -> None:
    silver = written.batch(movie(1)).parent
    (silver / "main-0000000007.parquet").write_text("no Parquet")
    with pytest.raises(SourceError, match="cannot be read"):
        tables.refresh()
    (silver / "main-0000000007.parquet").unlink()
    assert tables.refresh().rows == 1


def test_memory_that_does_not_do_is_told_of(written: Written) -> None:
    tables = Tables(written.folder, memory_mb=3)
    for _ in range(3):
        written.batch(*(movie(it, primaryTitle=os.urandom(60).hex()) for it in range(20_000)))
    with pytest.raises(SourceError, match="dashboard_memory_mb"):
        tables.refresh()
    tables.close()


def test_the_database_reads_nothing_else(written: Written, tmp_path: Path) -> None:
    store = Store(written.folder, 64)
    other = tmp_path / "secret.parquet"
    other.write_text("secret")
    with pytest.raises(Exception, match=r"Permission|disabled"):
        store.genres(TableFile(other, (0, 0, 0), 0))
    store.close()
