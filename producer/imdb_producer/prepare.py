"""From the bytes of IMDb's two dumps to the records that are sent.

Pure: blocks of bytes in, records out, one pass over each dump. The format is IMDb's: one header
line, columns separated by tabs, `\\N` for unknown, and no quoting, so that a `"` is
nothing but a character (https://developer.imdb.com/non-commercial-datasets/).

Every line is counted once: read = kept + filtered + malformed.

Nine lines of ten are no movies. A block whose lines all have the right number of columns is known
by its tabs and line ends alone, and then only the lines that hold a column `movie` are taken
apart; in any other block each line is looked at by itself. Both ways give the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from imdb_producer import fields as read
from imdb_producer.errors import DataError
from imdb_producer.fields import UNKNOWN, Malformed
from imdb_producer.lines import whole_lines
from imdb_producer.ratings import Rating, Ratings
from imdb_producer.records import Record

NOT_A_MOVIE = "not a movie"
NO_YEAR = "startYear unknown"
TOO_FEW_VOTES = "too few votes"

BASICS_COLUMNS = (
    "tconst",
    "titleType",
    "primaryTitle",
    "startYear",
    "runtimeMinutes",
    "genres",
)

_MOVIE = b"\tmovie\t"
_ALL_BUT_TABS_AND_ENDS = bytes(set(range(256)) - set(b"\t\n"))
#: A row of title.ratings that is as it should be.
_RATING_ROW = re.compile(
    rb"^(tt[0-9]+)\t([0-9]{1,2}(?:\.[0-9]+)?)\t([0-9]{1,10})\r*$", re.MULTILINE
)

_EXAMPLES = 5


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

    def add_filtered(self, reason: str, number: int) -> None:
        """Count lines that are not wanted."""
        if number:
            self.filtered[reason] += number

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in self.filtered.items())
        filtered = f"{self.filtered.total()} filtered" + (f" ({reasons})" if reasons else "")
        return f"{self.kept} kept, {filtered}, {self.malformed} malformed"


def read_ratings(
    blocks: Iterable[bytes], min_votes: int, counts: Counts, ratings: Ratings | None = None
) -> Ratings:
    """Read title.ratings; keep the titles that have at least `min_votes` votes.

    Args:
        blocks: the file's bytes, in blocks that may end anywhere.
        min_votes: the least number of votes to keep a title.
        counts: filled in while reading.
        ratings: what to put them into.

    Returns:
        tconst -> rating; one title in a hundred has 1,000 votes.

    Raises:
        DataError: the dump is empty or lacks a column.
    """
    ratings = Ratings() if ratings is None else ratings
    rows = whole_lines(blocks)
    names = ("tconst", "averageRating", "numVotes")
    columns, width, first = _columns(rows, "title.ratings", names)
    in_order = columns == (0, 1, 2) and width == 3
    for lines in _chain(first, rows):
        found = _RATING_ROW.findall(lines) if in_order else []
        if len(found) == lines.count(b"\n"):
            before = counts.read
            few = 0
            for number, (tconst, average, votes) in enumerate(found, before + 1):
                if int(votes) < min_votes:
                    few += 1
                else:
                    counts.read = number
                    _keep_rating(ratings, tconst, average, votes, counts)
            counts.read = before + len(found)
            counts.add_filtered(TOO_FEW_VOTES, few)
        else:
            for line in lines[:-1].split(b"\n"):
                counts.read += 1
                _read_rating(line, columns, width, min_votes, ratings, counts)
    return ratings


def _read_rating(
    line: bytes,
    columns: tuple[int, ...],
    width: int,
    min_votes: int,
    ratings: Ratings,
    counts: Counts,
) -> None:
    fields = line.rstrip(b"\r").split(b"\t")
    try:
        read.check_width(len(fields), width)
        tconst, average, votes = (fields[column] for column in columns)
        if read.integer("numVotes", votes) < min_votes:
            counts.filtered[TOO_FEW_VOTES] += 1
            return
    except Malformed as reason:
        counts.report_malformed(reason)
    else:
        _keep_rating(ratings, tconst, average, votes, counts)


def _keep_rating(
    ratings: Ratings, tconst: bytes, average: bytes, votes: bytes, counts: Counts
) -> None:
    try:
        rating = Rating(read.rating(average), read.integer("numVotes", votes))
        ratings.put(read.tconst(tconst).encode(), rating)
    except Malformed as reason:
        counts.report_malformed(reason)
    else:
        counts.kept += 1


def read_movies(blocks: Iterable[bytes], ratings: Ratings, counts: Counts) -> Iterator[Record]:
    """Read title.basics; give the movies whose year is known and that are in `ratings`.

    Args:
        blocks: the file's bytes, in blocks that may end anywhere.
        ratings: what `read_ratings` kept.
        counts: filled in while reading; complete when the iterator is exhausted.

    Raises:
        DataError: the dump is empty or lacks a column.
    """
    rows = whole_lines(blocks)
    columns, width, first = _columns(rows, "title.basics", BASICS_COLUMNS)
    tconst, kind, _, year, *_ = columns
    # What stands between two tabs can be searched for; the last column ends otherwise.
    searchable = kind > 0 and max(kind, tconst, year) < width - 1
    tabs = b"\t" * (width - 1) + b"\n"
    for lines in _chain(first, rows):
        ends = lines.count(b"\n")
        if searchable and lines.translate(None, _ALL_BUT_TABS_AND_ENDS) == tabs * ends:
            before = counts.read
            end = movies = no_year = few = 0
            while (found := lines.find(_MOVIE, end)) >= 0:
                start = lines.rfind(b"\n", 0, found) + 1
                end = lines.find(b"\n", found)
                fields = lines[start:end].split(b"\t")
                if fields[kind] != b"movie":
                    continue
                movies += 1
                # As `_movie` says; a call for each of 700,000 takes its time.
                if fields[year] == UNKNOWN:
                    no_year += 1
                elif ratings.get(fields[tconst]) is None:
                    few += 1
                else:
                    # What is reported of a line is its number.
                    counts.read = before + 1
                    record = _movie(fields, columns, ratings, counts, lines, start)
                    if record is not None:
                        yield record
            counts.read = before + ends
            counts.add_filtered(NOT_A_MOVIE, ends - movies)
            counts.add_filtered(NO_YEAR, no_year)
            counts.add_filtered(TOO_FEW_VOTES, few)
            continue
        for line in lines[:-1].split(b"\n"):
            counts.read += 1
            fields = line.split(b"\t")
            fields[-1] = fields[-1].rstrip(b"\r")
            if len(fields) != width:
                counts.report_malformed(read.wrong_width(len(fields), width))
            elif fields[kind] != b"movie":
                counts.filtered[NOT_A_MOVIE] += 1
            elif (record := _movie(fields, columns, ratings, counts)) is not None:
                yield record


def _movie(
    fields: list[bytes],
    columns: tuple[int, ...],
    ratings: Ratings,
    counts: Counts,
    lines: bytes = b"",
    start: int = 0,
) -> Record | None:
    """Give a movie's record, or None and the reason counted."""
    fields[-1] = fields[-1].rstrip(b"\r")
    tconst, _, title, year, runtime, genres = columns
    if fields[year] == UNKNOWN:
        counts.filtered[NO_YEAR] += 1
        return None
    rating = ratings.get(fields[tconst])
    if rating is None:
        counts.filtered[TOO_FEW_VOTES] += 1
        return None
    try:
        record = Record(
            tconst=read.tconst(fields[tconst]),
            primaryTitle=read.title(fields[title]),
            startYear=read.year(fields[year]),
            runtimeMinutes=read.runtime(fields[runtime]),
            genres=read.genres(fields[genres]),
            averageRating=rating.average,
            numVotes=rating.votes,
        )
    except Malformed as reason:
        counts.read += lines.count(b"\n", 0, start)
        counts.report_malformed(reason)
        return None
    counts.kept += 1
    return record


def _columns(
    rows: Iterator[bytes], dump: str, names: tuple[str, ...]
) -> tuple[tuple[int, ...], int, bytes]:
    """Find the columns by the header's names.

    Returns:
        the columns' places; the number of all columns; the lines that follow the header and were
        read with it.
    """
    lines = next(rows, None)
    if lines is None:
        raise DataError(f"{dump} is empty: not even a header line. Fetch the file again.")
    header, _, rest = lines.partition(b"\n")
    found = header.rstrip(b"\r").decode("utf-8", "replace").split("\t")
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"{dump} lacks the column {', '.join(missing)}: its header is "
            f"{read.shorten(', '.join(found))!r}. Check that the URL names IMDb's {dump}.tsv.gz."
        )
    return tuple(found.index(name) for name in names), len(found), rest


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
