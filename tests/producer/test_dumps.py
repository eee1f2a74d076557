"""From lines to records: what is kept, filtered and reported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from imdb_producer.dumps import _SETTINGS, NO_YEAR, NOT_A_MOVIE, TOO_FEW_VOTES, Counts, Dumps
from imdb_producer.errors import DataError, SourceError, StateError
from imdb_producer.records import Record

BASICS = (
    "tconst titleType primaryTitle originalTitle isAdult startYear endYear runtimeMinutes genres"
)
RATINGS = "tconst averageRating numVotes"
COLUMNS = BASICS.split()


def line(*fields: str) -> bytes:
    return ("\t".join(fields) + "\n").encode()


def row(**changes: str) -> bytes:
    """Give a row of title.basics that is kept, but for the changes."""
    fields = {
        "tconst": "tt0000001",
        "titleType": "movie",
        "primaryTitle": "Paper Tide",
        "originalTitle": "Paper Tide",
        "isAdult": "0",
        "startYear": "1994",
        "endYear": r"\N",
        "runtimeMinutes": "101",
        "genres": "Drama",
    }
    return line(*(fields | changes).values())


def movies(*rows: bytes, header: str = BASICS) -> tuple[list[Record], Counts]:
    with Dumps() as dumps:
        dumps.read_ratings([line(*RATINGS.split()), *rated(3)], 1000)
        counts = dumps.read_movies([line(*header.split()), *rows])
        return list(dumps.records()), counts


def ratings(*rows: bytes) -> tuple[dict[str, tuple[float, int]], Counts]:
    """Give rating and votes of each title, as records have them."""
    with Dumps() as dumps:
        counts = dumps.read_ratings([line(*RATINGS.split()), *rows], 1000)
        titles = [row(tconst=f"tt{number:07}") for number in range(1, 3)]
        dumps.read_movies([line(*COLUMNS), *titles])
        return {it.tconst: (it.averageRating, it.numVotes) for it in dumps.records()}, counts


def rated(width: int) -> list[bytes]:
    """Give two rows of title.ratings, with columns of no meaning behind."""
    more = ["x"] * (width - 3)
    return [line("tt0000001", "7.1", "1000", *more), line("tt0000002", "5.0", "2000", *more)]


def is_balanced(counts: Counts) -> bool:
    return counts.read == counts.kept + counts.filtered.total() + counts.malformed


def test_a_movie_becomes_a_record() -> None:
    records, counts = movies(row(genres="Action,Drama"))
    assert records == [Record("tt0000001", "Paper Tide", 1994, 101, ["Action", "Drama"], 7.1, 1000)]
    assert (counts.read, counts.kept) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"titleType": "tvMovie"}, NOT_A_MOVIE),
        ({"titleType": "short"}, NOT_A_MOVIE),
        ({"titleType": "tvEpisode", "primaryTitle": "a movie"}, NOT_A_MOVIE),
        ({"startYear": r"\N"}, NO_YEAR),
        ({"startYear": ""}, NO_YEAR),
        ({"tconst": "tt0000009"}, TOO_FEW_VOTES),
    ],
)
def test_a_row_that_is_not_wanted_is_counted_by_reason(
    changes: dict[str, str], reason: str
) -> None:
    records, counts = movies(row(**changes))
    assert records == []
    assert dict(counts.filtered) == {reason: 1}
    assert is_balanced(counts)


@pytest.mark.parametrize(
    "title",
    [
        '"The Unclosed Umbrella',
        '"Quoted" Start',
        '"',
        'A 12" Record',
        "'Tis",
        "Back\\slash \\t",
        "\\Nightfall",
        "Ends with \\",
        "Pipe | and, comma",
        "NaN",
        "null",
        "movie",
        " spaces ",
        "Ørsted crème brûlée",
        "東京の静かな庭",
        "حديقة المرآة",
        "🎭 👨‍👩‍👧‍👦",
        "Line\u2028Separator\u0085Next",
        "Long " * 500,
    ],
)
def test_a_title_is_taken_as_it_stands(title: str) -> None:
    records, counts = movies(row(primaryTitle=title), row(tconst="tt0000002"))
    assert [record.primaryTitle for record in records] == [title, "Paper Tide"]
    assert counts.malformed == 0


@pytest.mark.parametrize(
    ("text", "genres"),
    [
        (r"\N", []),
        ("Drama", ["Drama"]),
        ("Action,Drama,Sci-Fi", ["Action", "Drama", "Sci-Fi"]),
        ("Action|Drama", ["Action", "Drama"]),
        ("Action, Drama", ["Action", "Drama"]),
        ("Action,,Drama,", ["Action", "Drama"]),
        ("Drama,Action,Drama", ["Drama", "Action"]),
        ("", []),
    ],
)
def test_genres_are_split(text: str, genres: list[str]) -> None:
    records, _ = movies(row(genres=text))
    assert records[0].genres == genres


@pytest.mark.parametrize(
    ("text", "runtime"), [(r"\N", None), ("", None), ("0", 0), ("51420", 51420)]
)
def test_an_unknown_runtime_is_none(text: str, runtime: int | None) -> None:
    records, _ = movies(row(runtimeMinutes=text))
    assert records[0].runtimeMinutes == runtime


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row().rsplit(b"\t", 1)[0] + b"\n", "fewer than 9 columns"),
        (row(titleType="short").rsplit(b"\t", 1)[0] + b"\n", "fewer than 9 columns"),
        (row(genres="Drama\tAction"), "more than 9 columns"),
        (b"\n", "empty"),
        (row(startYear="19x4"), "startYear is '19x4'"),
        (row(startYear="٢٠٠١"), "startYear is"),
        (row(runtimeMinutes="Drama"), "runtimeMinutes is 'Drama'"),
        (row(runtimeMinutes="1_0"), "runtimeMinutes is '1_0'"),
        (row(runtimeMinutes="-1"), "runtimeMinutes is '-1'"),
        (row(runtimeMinutes="nan"), "runtimeMinutes is 'nan'"),
        (row(runtimeMinutes="2147483648"), "runtimeMinutes is '2147483648'"),
        (row(primaryTitle=r"\N"), "primaryTitle is unknown"),
        (row(primaryTitle=""), "primaryTitle is unknown"),
        (row().replace(b"Paper", b"Pap\xe9r"), "not UTF-8"),
    ],
)
def test_a_malformed_row_is_reported_and_the_next_is_read(bad: bytes, reason: str) -> None:
    records, counts = movies(bad, row(tconst="tt0000002"))
    assert [record.tconst for record in records] == ["tt0000002"]
    assert counts.malformed == 1
    assert counts.examples[0].startswith("line 2: ")
    assert reason in counts.examples[0]
    assert is_balanced(counts)


def test_only_the_first_malformed_rows_are_shown_but_all_are_counted() -> None:
    _, counts = movies(*[b"broken\n"] * 1000)
    assert counts.malformed == 1000
    assert len(counts.examples) == 5


def test_columns_are_found_by_name() -> None:
    header = " ".join(reversed(COLUMNS))
    fields = row(primaryTitle="Turned Around").decode().rstrip("\n").split("\t")
    records, _ = movies(line(*reversed(fields)), header=header)
    assert records[0].primaryTitle == "Turned Around"


def test_the_last_line_may_lack_its_end_and_lines_may_end_as_on_windows() -> None:
    records, _ = movies(
        row().replace(b"\n", b"\r\n"), row(tconst="tt0000002", genres="War").rstrip(b"\n")
    )
    assert [record.genres for record in records] == [["Drama"], ["War"]]


def test_a_header_whose_last_name_is_not_utf_8_hides_no_row() -> None:
    """The column is one that is not read."""
    with Dumps() as dumps:
        counts = dumps.read_ratings([b"tconst\taverageRating\tnumVotes\tm\xf6re\n", *rated(4)], 0)
    assert (counts.read, counts.kept, counts.malformed) == (2, 2, 0)


def test_a_dump_of_a_header_alone_has_no_rows() -> None:
    _, counts = ratings()
    assert str(counts) == "0 kept, 0 filtered, 0 malformed"


def test_what_a_killed_run_has_spilled_is_removed(tmp_path: Path) -> None:
    left, used = tmp_path / ".duckdb-999999999", tmp_path / f".duckdb-{os.getppid()}"
    for folder in (left, used):
        folder.mkdir()
        (folder / "duckdb_temp_storage_DEFAULT-0.tmp").touch()
    with Dumps(tmp_path):
        assert [it.name for it in tmp_path.iterdir()] == [used.name]


def test_movies_that_memory_does_not_hold_are_all_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A share of both: 400,000 movies in 60 MB, as four million would be in 600.
    monkeypatch.setitem(_SETTINGS, "memory_limit", "60MB")
    names = [f"tt{number:07}" for number in range(400_000)]
    with Dumps(tmp_path) as dumps:
        dumps.read_ratings([line(*RATINGS.split()), *(line(it, "7.1", "1000") for it in names)], 1)
        rows = (row(tconst=it, primaryTitle=f"The longer title of {it}") for it in names)
        counts = dumps.read_movies([line(*COLUMNS), *rows])
        assert [it.tconst for it in dumps.records()] == names
    assert counts.kept == len(names)


def test_a_disk_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"DuckDB cannot go on .* CACHE_DIR"), Dumps(tmp_path):
        raise duckdb.IOException("No space left on device")


def test_a_file_that_breaks_off_ends_the_reading_with_its_error() -> None:
    def blocks() -> Iterator[bytes]:
        yield line(*COLUMNS)
        yield from [row()] * 100_000
        raise SourceError("cut short")

    with Dumps() as dumps:
        dumps.read_ratings([line(*RATINGS.split()), *rated(3)], 1000)
        with pytest.raises(SourceError, match="cut short"):
            dumps.read_movies(blocks())


@pytest.mark.parametrize("column", ["tconst", "titleType", "primaryTitle", "startYear", "genres"])
def test_a_missing_column_is_named(column: str) -> None:
    header = BASICS.replace(column, "other")
    with pytest.raises(DataError, match=rf"title\.basics lacks the column {column}\b"):
        movies(row(), header=header)


def test_an_html_page_is_told_by_its_header() -> None:
    with pytest.raises(DataError, match="<html>"):
        Dumps().read_movies([b"<html>\n"])


@pytest.mark.parametrize("dump", ["title.basics", "title.ratings"])
def test_an_empty_dump_is_an_error(dump: str) -> None:
    with Dumps() as dumps, pytest.raises(DataError, match=f"{dump} is empty"):
        dumps.read_movies([]) if dump == "title.basics" else dumps.read_ratings([], 1000)


@pytest.mark.parametrize(("votes", "kept"), [("999", 0), ("1000", 1), ("1001", 1), ("5", 0)])
def test_ratings_are_kept_from_the_threshold_on(votes: str, kept: int) -> None:
    found, counts = ratings(line("tt0000001", "7.1", votes))
    assert len(found) == counts.kept == kept
    assert is_balanced(counts)


def test_a_rating_is_read_exactly() -> None:
    found, _ = ratings(line("tt0000001", "10.0", "2147483647"), line("tt0000002", "5.7", "1000"))
    assert found == {"tt0000001": (10.0, 2147483647), "tt0000002": (5.7, 1000)}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (("tt0000001", "nan", "1000"), "averageRating is 'nan'"),
        (("tt0000001", "inf", "1000"), "averageRating is 'inf'"),
        (("tt0000001", r"\N", "1000"), "averageRating is unknown"),
        (("tt0000001", "11.0", "1000"), "averageRating is '11.0'"),
        (("tt0000001", "0.9", "1000"), "averageRating is '0.9'"),
        (("tt0000001", "1e0", "1000"), "averageRating is '1e0'"),
        (("tt0000001", "7.1", "many"), "numVotes is 'many'"),
        (("tt0000001", "7.1", "9999999999"), "numVotes is '9999999999'"),
        (("tt0000001", "7.1", ""), "numVotes is unknown"),
        (("nm0000001", "7.1", "1000"), "tconst is 'nm0000001'"),
        (("tt0000001", "7.1"), "fewer than 3 columns"),
    ],
)
def test_a_malformed_rating_is_reported(fields: tuple[str, ...], reason: str) -> None:
    found, counts = ratings(line(*fields), line("tt0000002", "7.1", "1000"))
    assert found == {"tt0000002": (7.1, 1000)}
    assert reason in counts.examples[0]
    assert is_balanced(counts)


def test_counts_read_well() -> None:
    _, counts = movies(row(), row(startYear=r"\N"), row(titleType="short"), b"broken\n")
    assert str(counts) == "1 kept, 2 filtered (startYear unknown: 1, not a movie: 1), 1 malformed"
