"""What the tables must hold after a topic's messages, in plain Python.

Independent of the streaming job on purpose: json of the standard library and dictionaries, one
message after the other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

C, M = 6.5, 3000.0

Position = tuple[int, int]

INT32 = range(-(2**31), 2**31)
INT64 = range(-(2**63), 2**63)
COUNTS = range(2**31)


@dataclass(frozen=True)
class Stored:
    """A message as the topic has it; `at` is its timestamp in milliseconds of the epoch."""

    partition: int
    offset: int
    at: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass
class ExpectedTables:
    """The tables' rows.

    silver: by event id and time in milliseconds, the columns. dead_letters: by partition and
    offset, reason, key, value and time. duplicates: how many events were sent again; stale: how
    many were older than what their movie had.
    """

    silver: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    dead_letters: dict[Position, tuple[str, bytes | None, bytes | None, int]] = field(
        default_factory=dict
    )
    genre_counts: list[tuple[str, int]] = field(default_factory=list)
    duplicates: int = 0
    stale: int = 0


@dataclass
class Movie:
    """What is known of a movie: its last version, the content of that, and its genres."""

    version: int
    event_id: str
    genres: list[str]


class NotAMovieError(ValueError):
    """A message does not satisfy the contract; the text is the reason."""


def expected_tables(messages: Iterable[Stored], c: float = C, m: float = M) -> ExpectedTables:
    """Compute the tables.

    Args:
        messages: the topic's; those of a partition in the order of their offsets. An event and
            its repetitions must be in one partition, as messages are keyed by movie.
        c: GLOBAL_MEAN_RATING.
        m: MIN_VOTES_PRIOR.
    """
    tables = ExpectedTables()
    movies: dict[str, Movie] = {}
    for message in messages:
        try:
            record = parsed(message.value)
            given = version_of(message)
        except NotAMovieError as reason:
            tables.dead_letters[message.partition, message.offset] = (
                str(reason),
                message.key,
                message.value,
                message.at,
            )
            continue
        event_id = event_id_of(message)
        version = message.at if given is None else given
        last = movies.get(record["tconst"])
        if last and version < last.version:
            tables.stale += 1
            continue
        is_copy = last is not None and version == last.version and given is not None
        if last and (event_id == last.event_id or is_copy):
            tables.duplicates += 1
            last.version = version
            continue
        votes, rating = float(record["numVotes"]), record["averageRating"]
        tables.silver[event_id, message.at] = record | {
            "weighted_score": votes / (votes + m) * rating + m / (votes + m) * c,
            "kafka_timestamp": message.at,
        }
        movies[record["tconst"]] = Movie(version, event_id, record["genres"])
    counts: Counter[str] = Counter()
    for movie in movies.values():
        counts.update({name for name in movie.genres if name.strip(" ")} or {"(unknown)"})
    tables.genre_counts = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    return tables


def event_id_of(message: Stored) -> str:
    """Return the last header event_id that is text, else the digest of the value."""
    return _header(message, "event_id") or hashlib.sha256(message.value or b"").hexdigest()


def version_of(message: Stored) -> int | None:
    """Return the last header movie_version; None if there is none that is text.

    Raises:
        NotAMovieError: It is no version.
    """
    text = _header(message, "movie_version")
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) not in INT64:
        raise NotAMovieError(
            "the header movie_version is not a whole number from 0 to 9223372036854775807"
        )
    return int(text)


def _header(message: Stored, name: str) -> str:
    last = [value for found, value in message.headers if found == name][-1:]
    try:
        return last[0].decode() if last and last[0] else ""
    except UnicodeDecodeError:
        return ""


def parsed(value: bytes | None) -> dict[str, Any]:
    """Return the movie that a message's value is: silver's columns without score, id and time.

    Raises:
        NotAMovieError: It is none.
    """
    if not value:
        raise NotAMovieError("the message is empty")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise NotAMovieError("the message is not UTF-8") from None
    try:
        found = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        raise NotAMovieError("the message is not one JSON object") from None
    if not isinstance(found, dict):
        raise NotAMovieError("the message is not one JSON object")
    for name, (wanted, is_right) in TYPES.items():
        if name not in found:
            raise NotAMovieError(f"{name} is missing")
        if not is_right(found[name]):
            raise NotAMovieError(f"{name} is not {wanted}")
    for problem, is_right in VALUES.items():
        if not is_right(found):
            raise NotAMovieError(problem)
    return {name: found[name] for name in TYPES} | {"averageRating": float(found["averageRating"])}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a field stands twice")
    return dict(pairs)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in INT64


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _can_be_held(text: str) -> bool:
    # As a message is UTF-8, a half of a pair of surrogates comes from an escape.
    return not re.search("[\ud800-\udfff]", text)


#: The fields' types, in words and as a check.
TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "tconst": ("a string", _is_text),
    "primaryTitle": ("a string", _is_text),
    "startYear": ("an integer", _is_integer),
    "runtimeMinutes": ("an integer or null", lambda value: value is None or _is_integer(value)),
    "genres": (
        "a list of strings",
        lambda value: isinstance(value, list) and all(map(_is_text, value)),
    ),
    "averageRating": (
        "a number",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    ),
    "numVotes": ("an integer", _is_integer),
}

#: What can be wrong with values of the right types, and when it is not.
VALUES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "tconst is not tt and digits": lambda movie: bool(re.fullmatch(r"tt[0-9]+", movie["tconst"])),
    "primaryTitle is empty": lambda movie: bool(movie["primaryTitle"].strip(" ")),
    "primaryTitle has an unpaired surrogate": (lambda movie: _can_be_held(movie["primaryTitle"])),
    "startYear does not fit 32 bits": lambda movie: movie["startYear"] in INT32,
    "runtimeMinutes is not from 0 to 2147483647": lambda movie: (
        movie["runtimeMinutes"] is None or movie["runtimeMinutes"] in COUNTS
    ),
    "genres has an unpaired surrogate": (lambda movie: all(map(_can_be_held, movie["genres"]))),
    "averageRating is not from 0 to 10": lambda movie: 0 <= movie["averageRating"] <= 10,
    "numVotes is not from 0 to 2147483647": lambda movie: movie["numVotes"] in COUNTS,
}


def differences(actual: Mapping[Any, Any], expected: Mapping[Any, Any], most: int = 5) -> str:
    """Say how two tables differ, by their rows' keys; empty if they do not."""
    said = []
    for what, keys in (
        ("missing", expected.keys() - actual.keys()),
        ("too much", actual.keys() - expected.keys()),
        ("other", {key for key in expected.keys() & actual.keys() if actual[key] != expected[key]}),
    ):
        if keys:
            examples = [
                f"{key}: {actual.get(key)} instead of {expected.get(key)}"
                for key in sorted(keys)[:most]
            ]
            said.append(f"{len(keys)} rows {what}, such as\n  " + "\n  ".join(examples))
    return "\n".join(said)
