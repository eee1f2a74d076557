"""The parser as slow and obvious as can be: line by line, field by field, after the documents."""

from __future__ import annotations

import string
from typing import Any

from imdb_producer.dumps import LONGEST_LINE, LONGEST_TEXT
from imdb_producer.records import Record

BASICS = [
    "tconst",
    "titleType",
    "primaryTitle",
    "originalTitle",
    "isAdult",
    "startYear",
    "endYear",
    "runtimeMinutes",
    "genres",
]
#: The columns that are read.
USED = ["tconst", "titleType", "primaryTitle", "startYear", "runtimeMinutes", "genres"]
RATINGS = ["tconst", "averageRating", "numVotes"]
MAX_INT = 2**31 - 1


class Outcome:
    """What became of every line."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.filtered: dict[str, int] = {}
        self.malformed: list[int] = []
        self.read = 0

    def skip(self, reason: str) -> None:
        """Count a line that is not wanted."""
        self.filtered[reason] = self.filtered.get(reason, 0) + 1


def rows(
    content: bytes, columns: list[str], used: list[str], outcome: Outcome
) -> list[tuple[int, dict[str, bytes]]]:
    """Take a file apart; lines of another width are noted."""
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    header = [name.decode() for name in lines[0].removesuffix(b"\r").split(b"\t")]
    assert sorted(header) == sorted(columns)
    found = []
    for number, line in enumerate(lines[1:], 2):
        outcome.read += 1
        line = line.removesuffix(b"\r")
        fields = line.split(b"\t")
        row = dict(zip(header, fields, strict=False))
        read = [row.get(name, b"") for name in [*used, header[-1]]]
        bad = len(line) > LONGEST_LINE or not all(map(is_text, read))
        if bad or len(fields) != len(header):
            outcome.malformed.append(number)
        else:
            found.append((number, row))
    return found


def is_text(value: bytes) -> bool:
    """Say whether it is UTF-8, and without a CR."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return b"\r" not in value


def is_unknown(value: bytes) -> bool:
    """Say whether it says nothing."""
    return value in (b"", rb"\N")


def digits(value: bytes, least: int, most: int) -> bool:
    """Say whether it is made of so many digits, and nothing else."""
    return least <= len(value) <= most and all(chr(it) in string.digits for it in value)


def is_title(value: bytes) -> bool:
    """Say whether it is tt and a number."""
    return value[:2] == b"tt" and digits(value[2:], 1, 10**9)


def read_ratings(content: bytes, min_votes: int) -> tuple[dict[bytes, tuple[float, int]], Outcome]:
    """Read title.ratings."""
    outcome = Outcome()
    ratings: dict[bytes, tuple[float, int]] = {}
    for number, row in rows(content, RATINGS, RATINGS, outcome):
        if not digits(row["numVotes"], 1, 10) or int(row["numVotes"]) > MAX_INT:
            outcome.malformed.append(number)
            continue
        if int(row["numVotes"]) < min_votes:
            outcome.skip("too few votes")
            continue
        whole, point, part = row["averageRating"].partition(b".")
        good = digits(whole, 1, 2) and (digits(part, 1, 10**9) if point else True)
        if not good or not 1 <= float(row["averageRating"]) <= 10 or not is_title(row["tconst"]):
            outcome.malformed.append(number)
            continue
        ratings[row["tconst"]] = (float(row["averageRating"]), int(row["numVotes"]))
        outcome.kept.append(row["tconst"])
    return ratings, outcome


def read_movies(content: bytes, ratings: dict[bytes, tuple[float, int]]) -> Outcome:
    """Read title.basics."""
    outcome = Outcome()
    for number, row in rows(content, BASICS, USED, outcome):
        if row["titleType"] != b"movie":
            outcome.skip("not a movie")
        elif is_unknown(row["startYear"]):
            outcome.skip("startYear unknown")
        elif row["tconst"] not in ratings:
            outcome.skip("too few votes")
        else:
            record = movie(row, *ratings[row["tconst"]])
            if record is None:
                outcome.malformed.append(number)
            else:
                outcome.kept.append(record)
    return outcome


def movie(row: dict[str, bytes], average: float, votes: int) -> Record | None:
    """Make a record; None if a field is not as it should be."""
    if max(len(row["primaryTitle"]), len(row["genres"])) > LONGEST_TEXT:
        return None
    title, genres = row["primaryTitle"].decode(), row["genres"].decode()
    if is_unknown(row["primaryTitle"]) or not digits(row["startYear"], 4, 4):
        return None
    runtime = None
    if not is_unknown(row["runtimeMinutes"]):
        if not digits(row["runtimeMinutes"], 1, 10) or int(row["runtimeMinutes"]) > MAX_INT:
            return None
        runtime = int(row["runtimeMinutes"])
    names: list[str] = []
    if not is_unknown(row["genres"]):
        for name in genres.replace("|", ",").split(","):
            if name.strip() and name.strip() not in names:
                names.append(name.strip())
    return Record(
        row["tconst"].decode(), title, int(row["startYear"]), runtime, names, average, votes
    )
