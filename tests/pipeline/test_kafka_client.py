"""A Kafka client on the operator's machine, through the external listener."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pandas as pd
import pytest
from hosts import ROOT, Target

from ..releases import home_of
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


@pytest.fixture(scope="module")
def settings(target: Target) -> dict[str, str]:
    """What `make client` writes for this machine's tools: each file's path by its name."""
    done = subprocess.run(
        ["make", "client", f"NAME={target.name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = ROOT / "inventories" / target.name
    paths = {name: folder / name for name in ("client.properties", "client.json")}
    assert {path.stat().st_mode & 0o777 for path in paths.values()} == {0o600}
    return {name: str(path) for name, path in paths.items()}


def test_the_documents_python_reads_the_topic(
    settings: dict[str, str], topic: str, patience: float
) -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    _, begins, after = page.partition("    import json, kafka\n")
    program = textwrap.dedent(begins + after.partition("\n\n")[0])
    program = program.replace("inventories/prod/client.json", settings["client.json"])
    program = program.replace('"imdb-movies"', repr(topic))
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120 * patience,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # A title may hold what Python's splitlines() takes for the end of a line.
    lines = done.stdout.split("\n")[:-1]
    assert lines
    assert all("tconst" in json.loads(line) for line in lines)


@pytest.mark.slow
def test_kafkas_own_tools_list_the_topic(
    settings: dict[str, str], connection: Connection, topic: str, patience: float
) -> None:
    done = subprocess.run(
        [
            *("java", "-cp", f"{home_of('kafka')}/libs/*", "org.apache.kafka.tools.TopicCommand"),
            *("--bootstrap-server", ",".join(connection["bootstrap_servers"])),
            *("--command-config", settings["client.properties"], "--list"),
        ],
        capture_output=True,
        text=True,
        timeout=120 * patience,
        check=False,
    )
    assert topic in done.stdout.splitlines(), done.stdout + done.stderr
