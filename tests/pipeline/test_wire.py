"""Nothing between the parts of a secured pipeline can be read: no title, no id, no secret.

The hosts' bridge is captured, and on each host what it asks of itself by its own address: of one
host that is nearly all. Meanwhile movies are sent, all is deployed again, and the job starts anew,
so that Spark hands out what its executors need. In the same captures a connection in the clear
shows that they, and the search, would find it.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import vault
from hosts import ROOT, Target

from ..variables import HostVariables
from ..waiting import wait_for
from .deployment import as_root, comes_back, run_playbook, unit_state
from .messages import Connection, Feeder, Message, movie, read_topic
from .places import Bridge, Place, program, stranger
from .tables import Tables
from .wire import SECONDS, captured, openings, seen

pytestmark = pytest.mark.secured

FED_PER_SECOND = 50
#: Movies that are sent in the clear, and to no broker. Feeders begin at millions of millions.
CLEAR = 100
#: Shorter texts could be there by chance.
SHORTEST = 8
#: Ports that take TLS alone.
BY_TLS = (
    "zookeeper_secure_client_port",
    "zookeeper_peer_port",
    "zookeeper_election_port",
    "kafka_secure_port",
    "kafka_external_port",
)
#: The first bytes of each end: a record of a handshake.
HANDSHAKE = b"\x16\x03"
#: What Kafka's records, and Spark's messages, hold in the clear.
WORDS = (b"primaryTitle", b'"tconst"', b"event_id", b"org.apache.spark", b"_SPARK_AUTH_SECRET")


def texts_of(record: dict[str, Any]) -> set[bytes]:
    """Return what of a movie would be read: its id and its title, as it is and as JSON has it."""
    title = str(record["primaryTitle"])
    inner = json.dumps(title, ensure_ascii=False)[1:-1]
    found = {text.encode() for text in (str(record["tconst"]), title, inner)}
    return {it for it in found if len(it) >= SHORTEST and b"\n" not in it}


@dataclass(frozen=True)
class Wire:
    """What was captured, and what was sent meanwhile."""

    #: By the name of where it was captured.
    captures: dict[str, Path]
    messages: list[Message]
    #: Texts that were sent in the clear.
    clear: set[bytes]


def secret_texts(held_secrets: dict[str, Any], store: Path) -> dict[bytes, str]:
    """Return all secrets of the environment, each with what it is."""
    found = {str(held_secrets[name]).encode(): name for name in vault.NAMES}
    password = vault.password_file(store.parent)
    if password.exists():
        found[password.read_bytes().strip()] = password.name
    for key in store.rglob("*.key"):
        for line in key.read_bytes().splitlines():
            if not line.startswith(b"-----"):
                found[line] = f"{key.parent.name}/{key.name}"
    return found


def told_in_the_clear(here: Place, there: Place, lines: list[str]) -> None:
    """Send lines from one place to another by a plain connection."""
    module = "tests.pipeline.in_the_clear"
    command = there.enter("env", f"PYTHONPATH={ROOT}", "python3", "-m", module)
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as listener:
        assert listener.stdin is not None
        assert listener.stdout is not None
        listener.stdin.write(json.dumps({"listen": there.address}) + "\n")
        listener.stdin.flush()
        port = int(listener.stdout.readline())
        given = {"address": there.address, "port": port, "lines": lines}
        assert here.module(module, given, 120) == len(lines)


@pytest.fixture(scope="module")
def wire(
    target: Target,
    variables: HostVariables,
    connection: Connection,
    topic: str,
    tables: Tables,
    patience: float,
    bridge: Bridge,
    away: Place,
    places: dict[str, Place],
    tmp_path_factory: pytest.TempPathFactory,
    say: Callable[[str], None],
) -> Generator[Wire]:
    """Capture while movies flow, all is deployed again and the job starts anew."""
    assert variables["pipeline_security"], "this is for a pipeline that is secured"
    folder = tmp_path_factory.mktemp("wire")
    tcpdump = ["timeout", str(SECONDS), program("tcpdump")]
    captures = {name: folder / f"{name}.pcap" for name in ("bridge", *places)}
    before = {(it.partition, it.offset) for it in read_topic(connection, topic, 300)}
    with ExitStack() as stack:
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        stack.enter_context(captured([*sudo, *tcpdump], bridge.name, "ip", captures["bridge"]))
        for name, place in places.items():
            # What a program tells another by 127.0.0.1 is between the two alone.
            stack.enter_context(
                captured(place.enter(*tcpdump), "lo", "ip and not net 127.0.0.0/8", captures[name])
            )
        with Feeder(connection, topic, FED_PER_SECOND) as feeder:
            feeder.flows(120 * patience)
            again = run_playbook()
            assert again.exit_code == 0, again.end
            running = unit_state(target, "imdb-streaming")
            as_root(target, "imdb-streaming", "systemctl", "restart", "imdb-streaming", seconds=300)
            comes_back(target, "imdb-streaming", running, 300 * patience)
            wait_for(
                "a thousand movies were sent",
                lambda: len(feeder.acknowledged()),
                lambda count: count >= 1000,
                120 * patience,
            )
        tables.hold_each_once(feeder.sent(), 300 * patience)
        clear = [texts_of(movie(number)) for number in range(CLEAR)]
        clear.append({secrets.token_urlsafe(vault.BYTES).encode()})
        lines = ["\t".join(sorted(text.decode() for text in texts)) for texts in clear]
        other = stack.enter_context(stranger(bridge, 1))
        told_in_the_clear(away, other, lines)
        for place in places.values():
            told_in_the_clear(place, place, lines)
        for path in captures.values():
            wait_for(
                f"{path.name} has the last that was sent",
                partial(seen, clear[-1], path),
                bool,
                60,
            )
    messages = [
        it for it in read_topic(connection, topic, 300) if (it.partition, it.offset) not in before
    ]
    say("\n".join(f"{path.name}: {path.stat().st_size:,} bytes" for path in captures.values()))
    yield Wire(captures, messages, set().union(*clear))
    for path in captures.values():
        path.unlink()


def test_a_connection_in_the_clear_would_be_seen(wire: Wire) -> None:
    assert len(wire.clear) > 2 * CLEAR
    for name, path in wire.captures.items():
        assert seen(wire.clear, path) == wire.clear, name


def test_no_title_and_no_id_is_seen(wire: Wire) -> None:
    assert len(wire.messages) >= 1000
    texts: set[bytes] = set()
    for message in wire.messages:
        assert message.value is not None
        texts |= texts_of(json.loads(message.value)) | {message.event_id.encode()}
    found = {name: sorted(seen(texts, path))[:10] for name, path in wire.captures.items()}
    assert not any(found.values()), found


def test_no_secret_is_seen(wire: Wire, held_secrets: dict[str, Any], store: Path) -> None:
    texts = secret_texts(held_secrets, store)
    assert len(texts) > len(vault.NAMES)
    found = {
        name: sorted(texts[it] for it in seen(texts, path)) for name, path in wire.captures.items()
    }
    assert not any(found.values()), found


def test_no_word_of_kafkas_or_sparks_messages_is_seen(wire: Wire) -> None:
    found = {name: sorted(seen(WORDS, path)) for name, path in wire.captures.items()}
    assert not any(found.values()), found


def test_ports_of_tls_are_told_nothing_else(wire: Wire, variables: HostVariables) -> None:
    # What is compressed, as the producer's messages are, could not be read in the clear either.
    ports = {int(variables[name]): name for name in BY_TLS}
    found = [
        (name, it)
        for name, path in wire.captures.items()
        for it in openings(path.read_bytes())
        if it.port in ports
    ]
    assert {it.by_server for _, it in found} == {True, False}
    assert {it.port for _, it in found} >= {
        int(variables["kafka_secure_port"]),
        int(variables["kafka_external_port"]),
    }
    others = [
        f"{name}: {ports[it.port]} {it.said[:40]!r}"
        for name, it in found
        if not it.said.startswith(HANDSHAKE)
    ]
    assert not others, "\n".join(others)
