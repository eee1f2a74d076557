"""Messages that are no movie: never in silver, counted, and logged with their offsets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hosts import Target
from kafka import KafkaProducer

from ..waiting import wait_for
from .deployment import as_root, status_of
from .messages import Connection, canonical, event_id_of, movie
from .tables import Tables

pytestmark = pytest.mark.faults

# What is wrong, the message's value made from a movie, and what the journal says of it.
MALFORMED: dict[str, tuple[Callable[[dict[str, object]], bytes | None], str]] = {
    "no value": (lambda _: None, "empty"),
    "empty value": (lambda _: b"", "empty"),
    "not UTF-8": (lambda record: canonical(record) + b"\xff", "not UTF-8"),
    "not JSON": (lambda _: b"tt0000001,Carmencita", "not one JSON object"),
    "cut short": (lambda record: canonical(record)[:-5], "not one JSON object"),
    "trailing garbage": (lambda record: canonical(record) + b" }", "not one JSON object"),
    "a list": (lambda record: b"[" + canonical(record) + b"]", "not one JSON object"),
    "missing field": (
        lambda record: canonical({k: v for k, v in record.items() if k != "numVotes"}),
        "numVotes",
    ),
    "number for text": (lambda record: canonical(record | {"tconst": 7}), "tconst"),
    "text for number": (lambda record: canonical(record | {"startYear": "1999"}), "startYear"),
    "NaN": (lambda record: canonical(record | {"averageRating": float("nan")}), ""),
    "NaN as text": (lambda record: canonical(record | {"averageRating": "NaN"}), "averageRating"),
    "too large": (lambda record: canonical(record | {"numVotes": 2**31}), "numVotes"),
}


@dataclass(frozen=True)
class Sent:
    """A malformed message in the topic."""

    tconst: str
    event_id: str
    place: str


@pytest.fixture(scope="module")
def known(target: Target) -> int:
    """How many malformed messages the job had counted before."""
    return int(status_of(target, "imdb-streaming")["dead_letters"])


@pytest.fixture(scope="module")
def sent(
    target: Target, connection: Connection, topic: str, tables: Tables, known: int, patience: float
) -> dict[str, Sent]:
    """Each malformed message, once the job has passed them and the good one after them."""
    producer = KafkaProducer(**connection, acks="all")
    first = time.time_ns() // 1_000_000 * 100
    found = {}
    try:
        for number, (name, (make, _)) in enumerate(MALFORMED.items(), start=first):
            record = movie(number)
            value = make(record)
            event_id = event_id_of(value or name.encode())
            stored = producer.send(
                topic,
                key=record["tconst"].encode(),
                value=value,
                headers=[("event_id", event_id.encode())],
            ).get(timeout=60)
            place = f"{topic}/{stored.partition}/{stored.offset}"
            found[name] = Sent(record["tconst"], event_id, place)
        good = movie(first + len(MALFORMED))
        producer.send(topic, key=good["tconst"].encode(), value=canonical(good)).get(timeout=60)
    finally:
        producer.close(timeout=10)
    wait_for(
        f"the job has counted {known} + {len(MALFORMED)} malformed messages",
        lambda: status_of(target, "imdb-streaming")["dead_letters"],
        lambda rows: bool(rows >= known + len(MALFORMED)),
        120 * patience,
    )
    wait_for(
        "the good movie after the malformed messages is in silver",
        lambda: set(tables.read_silver(["tconst"])["tconst"]),
        lambda there: good["tconst"] in there,
        120 * patience,
    )
    return found


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_message_is_not_in_silver(
    tables: Tables, sent: dict[str, Sent], name: str
) -> None:
    silver = tables.read_silver(["tconst", "event_id"])
    assert sent[name].event_id not in set(silver["event_id"])
    assert sent[name].tconst not in set(silver["tconst"])


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_message_is_logged_with_offset_and_reason(
    target: Target, sent: dict[str, Sent], name: str
) -> None:
    journal = as_root(
        target,
        "imdb-streaming",
        *("journalctl", "--no-pager", "--output=cat", "--unit=imdb-streaming", "--since=-15min"),
    )
    lines = [line for line in journal.splitlines() if f"{sent[name].place}: " in line]
    assert len(lines) == 1, f"{sent[name].place} is not once in the journal"
    assert MALFORMED[name][1] in lines[0].rpartition(": ")[2]


def test_malformed_messages_are_counted_once(
    target: Target, known: int, sent: dict[str, Sent]
) -> None:
    assert status_of(target, "imdb-streaming")["dead_letters"] == known + len(sent)
