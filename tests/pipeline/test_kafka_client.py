"""A Kafka client on the operator's machine, through the external listener."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from ..variables import HostVariables
from ..waiting import wait_for
from .expected import Expected
from .messages import Connection, Message, canonical, event_id_of, read_topic
from .tables import Tables

pytestmark = pytest.mark.verify

FIELDS = [
    "tconst",
    "primaryTitle",
    "startYear",
    "runtimeMinutes",
    "genres",
    "averageRating",
    "numVotes",
]


@pytest.fixture(scope="module")
def messages(
    finished: dict[str, Any], connection: Connection, topic: str, patience: float
) -> list[Message]:
    """Every message of the topic, once the producer has sent everything."""
    return read_topic(connection, topic, seconds=60 * patience)


@pytest.fixture(scope="module")
def wanted(expected: Expected) -> dict[str, bytes]:
    """The value that each movie's message must have, by tconst."""
    frame = expected.silver[FIELDS].astype(object)
    frame = frame.where(frame.map(lambda value: isinstance(value, list) or pd.notna(value)), None)
    return {
        row["tconst"]: canonical({field: row[field] for field in FIELDS})
        for row in frame.to_dict("records")
    }


def test_topic_holds_every_movie(messages: list[Message], wanted: dict[str, bytes]) -> None:
    assert {message.key for message in messages} == {tconst.encode() for tconst in wanted}


def test_each_message_is_its_movie(messages: list[Message], wanted: dict[str, bytes]) -> None:
    wrong = [m for m in messages if m.value != wanted[(m.key or b"").decode()]]
    assert wrong == []


def test_event_ids_are_the_digests_of_the_values(
    messages: list[Message], wanted: dict[str, bytes]
) -> None:
    assert {m.event_id for m in messages} == {event_id_of(value) for value in wanted.values()}


def test_a_movie_is_always_in_the_same_partition(messages: list[Message]) -> None:
    places = {(message.key, message.partition) for message in messages}
    assert len(places) == len({message.key for message in messages})


def test_every_partition_is_used(messages: list[Message], variables: HostVariables) -> None:
    used = {message.partition for message in messages}
    assert used == set(range(variables["kafka_topic_partitions"]))


def test_silver_holds_the_topics_events(
    messages: list[Message], tables: Tables, patience: float
) -> None:
    ids = {message.event_id for message in messages}
    wait_for(
        f"silver holds the topic's {len(ids)} events and no other",
        lambda: len(set(tables.event_ids()) ^ ids),
        lambda different: different == 0,
        120 * patience,
    )
