"""What the chaos test sends: events of movies that change, also back; events sent again; no movies.

All of it follows from a seed, and from the number of the first movie.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .messages import canonical, event_id_of, movie

MALFORMED_SHARE = 0.01
RESENT_SHARE = 0.05
#: Of the events, so many come with an older version and timestamp than what went before.
LATE_SHARE = 0.05
#: Of the events, so many have the content of an earlier one of their movie.
BACK_SHARE = 0.05
#: Of the messages, so many have no header: their id is the digest of the value, and their version
#: is their timestamp.
PLAIN_SHARE = 0.1
EVENTS_A_MOVIE = 5
#: A message that is sent again soon was among the last so many.
SOON = 50

GENRES = ["Action", "Comedy", "Crime", "Drama", "Horror", "News", "Sci-Fi", "War", "Western"]


@dataclass(frozen=True)
class Planned:
    """A message to be sent; `at` is its timestamp in milliseconds of the epoch, its own."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    at: int


def _changed(**changes: object) -> Callable[[dict[str, Any]], bytes]:
    return lambda record: canonical(record | changes)


def _escaped(**changes: object) -> Callable[[dict[str, Any]], bytes]:
    return lambda record: json.dumps(record | changes).encode()


#: What makes a message of a movie's record that is no movie.
MALFORMED: list[Callable[[dict[str, Any]], bytes | None]] = [
    lambda _: None,
    lambda _: b"",
    lambda _: b" ",
    lambda _: b"{}",
    lambda _: b"null",
    lambda _: b"tt0000001,Carmencita",
    lambda _: b"{'tconst': 'tt1'}",
    lambda _: b"[" * 5_000,
    lambda record: canonical(record) + b"\xff",
    lambda record: b"\xff\xfe" + canonical(record),
    lambda record: b"\xef\xbb\xbf" + canonical(record),
    lambda record: canonical(record)[:-5],
    lambda record: canonical(record) + b" }",
    lambda record: canonical(record) + b"\x00",
    lambda record: canonical(record) * 2,
    lambda record: b"[" + canonical(record) + b"]",
    *(
        lambda record, name=name: canonical({k: v for k, v in record.items() if k != name})
        for name in ("tconst", "primaryTitle", "genres", "numVotes", "runtimeMinutes")
    ),
    _changed(tconst=7),
    _changed(tconst="nm0000001"),
    _changed(tconst="tt1\n"),
    _changed(primaryTitle="  "),
    _changed(primaryTitle=None),
    _escaped(primaryTitle="A\ud83d"),
    _escaped(genres=["\udfffDrama"]),
    _changed(startYear="1994"),
    _changed(startYear=1994.5),
    _changed(startYear=3_000_000_000),
    _changed(runtimeMinutes=-1),
    _changed(genres="Drama"),
    _changed(genres=["Drama", None]),
    _changed(averageRating="NaN"),
    _changed(averageRating=float("nan")),
    _changed(averageRating=10.01),
    _changed(numVotes=-1),
    _changed(numVotes=2**31),
    _changed(numVotes=True),
]


def plan(seed: int, count: int, first: int, begin: int) -> Iterator[Planned]:
    """Give the messages in the order of sending.

    The number of a movie's genres never changes (none counts as one), so that the sum of
    genre_counts never falls.

    Args:
        seed: what all is drawn from.
        count: how many.
        first: the number of the first movie, see `messages.movie`.
        begin: the first timestamp, in milliseconds of the epoch; they run for 2 ms a message.
    """
    draw = random.Random(seed)
    sent: list[Planned] = []
    records: dict[str, list[dict[str, Any]]] = {}
    for number in range(count):
        at = begin + 2 * number
        record = _event(draw, first + draw.randrange(max(1, count // EVENTS_A_MOVIE)), number)
        kind = draw.random()
        # The first is one, so that the table of dead letters is there from the beginning.
        if kind < MALFORMED_SHARE or number == 0:
            make = draw.choice(MALFORMED)
            # With the id of a movie that may come later, for which it must not be taken.
            yield _message(draw, record, make(record), at)
            if draw.random() < 0.5:
                continue
        elif kind < MALFORMED_SHARE + RESENT_SHARE and sent:
            again = draw.choice(sent[-SOON:] if draw.random() < 0.5 else sent)
            # As a client does that has no answer: a time that is none of a version may be another.
            yield again if not again.headers else replace(again, at=at)
            continue
        before = records.setdefault(record["tconst"], [])
        if before and draw.random() < BACK_SHARE:
            record = draw.choice(before)
        before.append(record)
        if draw.random() < LATE_SHARE:
            # Odd, so that it is no other message's.
            at -= 2 * draw.randrange(count // 4 + 1) + 1
        message = _message(draw, record, canonical(record), at)
        sent.append(message)
        yield message


def _event(draw: random.Random, movie_number: int, number: int) -> dict[str, Any]:
    """A movie as it is now: other votes, rating and genres than before."""
    record = movie(movie_number)
    genres = draw.sample(GENRES, movie_number % 4)
    if movie_number % 4 == 1 and draw.random() < 0.2:
        genres = draw.choice([[], [" "], [genres[0], genres[0]]])
    return record | {
        "numVotes": 1000 + number,
        "averageRating": draw.choice([7, 0, 10, round(draw.uniform(0, 10), 2)]),
        "genres": genres,
    }


def _message(draw: random.Random, record: dict[str, Any], value: bytes | None, at: int) -> Planned:
    event_id = event_id_of(canonical(record)).encode()
    plain = draw.random() < PLAIN_SHARE
    version = b"%d" % at
    headers = (("trace", b"\xff\x00"), ("event_id", event_id), ("movie_version", version))
    return Planned(str(record["tconst"]).encode(), value, () if plain else headers, at)
