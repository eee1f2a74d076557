"""From the lines of IMDb's two dumps to the records that are sent.

Pure: lines in, records out, one pass over each dump. The format is IMDb's: one header
line, columns separated by tabs, `\\N` for unknown, and no quoting, so that a `"` is
nothing but a character (https://developer.imdb.com/non-commercial-datasets/).

Every line is counted once: read = kept + filtered + malformed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from imdb_producer.errors import DataError
from imdb_producer.records import Record

UNKNOWN = b"\\N"

NOT_A_MOVIE = "not a movie"
NO_YEAR = "startYear unknown"
TOO_FEW_VOTES = "too few votes"

_TCONST = re.compile(rb"tt[0-9]+")
_YEAR = re.compile(rb"[0-9]{4}")
_RATING = re.compile(rb"[0-9]{1,2}(\.[0-9]+)?")
_COUNT = re.compile(rb"[0-9]{1,10}")
_MAX_INT = 2**31 - 1
_EXAMPLES = 5


class Rating(NamedTuple):
    """A title's rating: the mean on a scale of 1 to 10, and the number of votes."""

    average: float
    votes: int


class Malformed(ValueError):  # noqa: N818 - a finding about one line, counted and passed over
    """A line that does not follow the format; the message says how."""


@dataclass(slots=True)
class Counts:
    """What became of each line of a dump (the header is not counted)."""

    read: int = 0
    kept: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    malformed: int = 0
    examples: list[str] = field(default_factory=list)

    def report_malformed(self, reason: object) -> None:
        """Count a malformed line; the first few are kept, with line number and reason."""
        self.malformed += 1
        if len(self.examples) < _EXAMPLES:
            # The header is line 1 of the file.
            self.examples.append(f"line {self.read + 1}: {reason}")

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in self.filtered.items())
        filtered = f"{self.filtered.total()} filtered" + (f" ({reasons})" if reasons else "")
        return f"{self.kept} kept, {filtered}, {self.malformed} malformed"


def read_ratings(lines: Iterable[bytes], min_votes: int, counts: Counts) -> dict[bytes, Rating]:
    """Read title.ratings; keep the titles that have at least `min_votes` votes.

    Args:
        lines: the header, then the rows, as bytes.
        min_votes: the least number of votes to keep a title.
        counts: filled in while reading.

    Returns:
        tconst -> rating, small: one title in a hundred has 1,000 votes.

    Raises:
        DataError: the dump is empty or lacks a column.
    """
    rows = iter(lines)
    (tconst, average, votes), width = _columns(
        rows, "title.ratings", ("tconst", "averageRating", "numVotes")
    )
    ratings: dict[bytes, Rating] = {}
    for line in rows:
        counts.read += 1
        fields = line.rstrip(b"\r\n").split(b"\t")
        try:
            _check_width(len(fields), width)
            number = _integer("numVotes", fields[votes])
            if number < min_votes:
                counts.filtered[TOO_FEW_VOTES] += 1
                continue
            rating = Rating(_rating(fields[average]), number)
            ratings[_tconst(fields[tconst]).encode()] = rating
        except Malformed as reason:
            counts.report_malformed(reason)
        else:
            counts.kept += 1
    return ratings


def read_movies(
    lines: Iterable[bytes], ratings: dict[bytes, Rating], counts: Counts
) -> Iterator[Record]:
    """Read title.basics; give the movies whose year is known and that are in `ratings`.

    Args:
        lines: the header, then the rows, as bytes.
        ratings: what `read_ratings` kept.
        counts: filled in while reading; complete when the iterator is exhausted.

    Raises:
        DataError: the dump is empty or lacks a column.
    """
    rows = iter(lines)
    (tconst, kind, title, year, runtime, genres), width = _columns(
        rows,
        "title.basics",
        ("tconst", "titleType", "primaryTitle", "startYear", "runtimeMinutes", "genres"),
    )
    filtered = counts.filtered
    for line in rows:
        counts.read += 1
        # Nine lines of ten are no movies: they are told without taking them apart.
        if line.count(b"\t") == width - 1 and b"movie" not in line:
            filtered[NOT_A_MOVIE] += 1
            continue
        fields = line.rstrip(b"\r\n").split(b"\t")
        try:
            _check_width(len(fields), width)
            if fields[kind] != b"movie":
                filtered[NOT_A_MOVIE] += 1
                continue
            if fields[year] == UNKNOWN:
                filtered[NO_YEAR] += 1
                continue
            rating = ratings.get(fields[tconst])
            if rating is None:
                filtered[TOO_FEW_VOTES] += 1
                continue
            record = Record(
                tconst=_tconst(fields[tconst]),
                primaryTitle=_title(fields[title]),
                startYear=_year(fields[year]),
                runtimeMinutes=_runtime(fields[runtime]),
                genres=_genres(fields[genres]),
                averageRating=rating.average,
                numVotes=rating.votes,
            )
        except Malformed as reason:
            counts.report_malformed(reason)
        else:
            counts.kept += 1
            yield record


def _columns(
    rows: Iterator[bytes], dump: str, names: tuple[str, ...]
) -> tuple[tuple[int, ...], int]:
    """Find the columns by the header's names; also give the number of all columns."""
    header = next(rows, None)
    if header is None:
        raise DataError(f"{dump} is empty: not even a header line. Fetch the file again.")
    found = header.rstrip(b"\r\n").decode("utf-8", "replace").split("\t")
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"{dump} lacks the column {', '.join(missing)}: its header is "
            f"{_shorten(', '.join(found))!r}. Check that the URL names IMDb's {dump}.tsv.gz."
        )
    return tuple(found.index(name) for name in names), len(found)


def _check_width(found: int, expected: int) -> None:
    if found != expected:
        raise Malformed(f"{found} columns instead of {expected}")


def _tconst(value: bytes) -> str:
    if not _TCONST.fullmatch(value):
        raise Malformed(f"tconst is {_show(value)}")
    return value.decode("ascii")


def _title(value: bytes) -> str:
    if value in (UNKNOWN, b""):
        raise Malformed("primaryTitle is missing")
    return _text("primaryTitle", value)


def _year(value: bytes) -> int:
    if not _YEAR.fullmatch(value):
        raise Malformed(f"startYear is {_show(value)}")
    return int(value)


def _runtime(value: bytes) -> int | None:
    return None if value == UNKNOWN else _integer("runtimeMinutes", value)


def _genres(value: bytes) -> list[str]:
    """Split by comma, as IMDb does, or by `|`, as older copies do; each genre once."""
    if value == UNKNOWN:
        return []
    names = _text("genres", value).replace("|", ",").split(",")
    return list(dict.fromkeys(name for name in map(str.strip, names) if name))


def _rating(value: bytes) -> float:
    if not _RATING.fullmatch(value) or not 1 <= (rating := float(value)) <= 10:
        raise Malformed(f"averageRating is {_show(value)}")
    return rating


def _integer(name: str, value: bytes) -> int:
    if not _COUNT.fullmatch(value) or (number := int(value)) > _MAX_INT:
        raise Malformed(f"{name} is {_show(value)}")
    return number


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"{name} is not UTF-8: {_show(value)}") from None


def _show(value: bytes) -> str:
    return repr(_shorten(value.decode("utf-8", "backslashreplace")))


def _shorten(text: str, length: int = 120) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
