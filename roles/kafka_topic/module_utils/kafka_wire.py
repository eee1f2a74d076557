"""Kafka's protocol, as far as the playbooks need it, by Python's standard library alone.

Each of Kafka's own commands starts a JVM, a second and more; a request here takes milliseconds, and
a host needs nothing but Python. Layouts of requests: Kafka's protocol guide, by name and version.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

METADATA = 3
NONE, UNKNOWN_TOPIC, NOT_CONTROLLER = 0, 3, 41
SOCKET_TIMEOUT_SECONDS = 10
PAUSE_SECONDS = 0.3
# Answers that pass with time: no leader yet, not available, a request that timed out.
SOON = {5, 7, 8, 14, 15, NOT_CONTROLLER}
ERRORS = {
    17: "the name is not allowed",
    19: "too few in-sync replicas",
    29: "not authorized for the topic",
    31: "not authorized for the cluster",
    37: "the number of partitions is not allowed",
    38: "the replication factor is more than the brokers that are up",
    39: "the assignment of replicas is not allowed",
    40: "a setting is not known or its value not allowed",
    42: "the request is not allowed",
    44: "a policy of the brokers forbids it",
}


class KafkaError(Exception):
    """The broker refused a request; the text says which and why."""


class NotReadyError(Exception):
    """The broker cannot answer now but may soon."""


class Reader:
    """Reads the fields of an answer in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, code: str) -> int:
        """A number of the struct code given: b, h, i or q."""
        (value,) = struct.unpack_from(f">{code}", self._data, self._at)
        self._at += struct.calcsize(f">{code}")
        return int(value)

    def varint(self) -> int:
        """An unsigned number of seven bits a byte."""
        value, shift = 0, 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7

    def text(self) -> str | None:
        return self._take(self.number("h"))

    def compact_text(self) -> str | None:
        return self._take(self.varint() - 1)

    def array(self, item: Callable[[], Any]) -> list[Any]:
        return [item() for _ in range(self.number("i"))]

    def compact_array(self, item: Callable[[], Any]) -> list[Any]:
        return [item() for _ in range(self.varint() - 1)]

    def numbers(self) -> list[int]:
        return self.array(lambda: self.number("i"))

    def tags(self) -> None:
        """Skip the tagged fields at the end of a flexible structure."""
        for _ in range(self.varint()):
            self.varint()
            self._at += self.varint()

    def _take(self, length: int) -> str | None:
        if length < 0:
            return None
        self._at += length
        return self._data[self._at - length : self._at].decode()


def number(code: str, value: int) -> bytes:
    return struct.pack(f">{code}", value)


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def array(items: Iterable[bytes]) -> bytes:
    items = list(items)
    return struct.pack(">i", len(items)) + b"".join(items)


def varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def compact_text(value: str) -> bytes:
    data = value.encode()
    return varint(len(data) + 1) + data


def compact_array(items: Iterable[bytes]) -> bytes:
    items = list(items)
    return varint(len(items) + 1) + b"".join(items)


class Broker:
    """A connection to one broker. Any network trouble is an OSError."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=SOCKET_TIMEOUT_SECONDS)

    def ask(self, api: int, version: int, body: bytes, flexible: bool = False) -> Reader:
        """Send a request; return the answer behind its header."""
        header = struct.pack(">hhi", api, version, 1) + text("ansible")
        header += b"\0" if flexible else b""  # no tagged fields
        self._socket.sendall(number("i", len(header + body)) + header + body)
        (length,) = struct.unpack(">i", self._exactly(4))
        reader = Reader(self._exactly(length))
        reader.number("i")  # correlation id
        if flexible:
            reader.tags()
        return reader

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self._socket.recv(count - len(data))
            if not chunk:
                raise ConnectionError("the broker closed the connection")
            data += chunk
        return data


@dataclass(frozen=True)
class Metadata:
    """What the brokers say of themselves and of topics.

    brokers: host, port and rack of each broker that is up, by id.
    controller: id of the controller, -1 if there is none.
    topics: by name the partitions by number, each with leader, replicas and isr.
    """

    brokers: dict[int, tuple[str, int, str | None]]
    controller: int
    topics: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)


class Cluster:
    """The brokers behind some addresses; the first that takes a connection answers."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = []
        for server in bootstrap_servers.split(","):
            host, _, port = server.strip().rpartition(":")
            self._servers.append((host.strip("[]"), int(port)))

    def ask(self, api: int, version: int, body: bytes, flexible: bool = False) -> Reader:
        """Ask any broker."""
        return self._ask(self._servers, api, version, body, flexible)

    def ask_broker(self, address: tuple[str, int], api: int, version: int, body: bytes) -> Reader:
        """Ask one broker."""
        return self._ask([address], api, version, body, False)

    def ask_controller(self, api: int, version: int, body: bytes, flexible: bool = False) -> Reader:
        """Ask the controller, which alone makes changes. Raises NotReadyError if there is none."""
        metadata = self.metadata([])
        if metadata.controller not in metadata.brokers:
            raise NotReadyError("the brokers have no controller yet")
        host, port, _ = metadata.brokers[metadata.controller]
        return self._ask([(host, port)], api, version, body, flexible)

    def metadata(self, topics: list[str] | None = None) -> Metadata:
        """Ask for topics by name, none of them or (None) all."""
        named = number("i", -1) if topics is None else array(text(topic) for topic in topics)
        reader = self.ask(METADATA, 1, named)
        brokers: dict[int, tuple[str, int, str | None]] = {}
        for node, host, port, rack in reader.array(
            lambda: (reader.number("i"), reader.text(), reader.number("i"), reader.text())
        ):
            brokers[node] = (host, port, rack)
        controller = reader.number("i")
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for _ in range(reader.number("i")):
            code, name, _internal = reader.number("h"), reader.text(), reader.number("b")
            rows = reader.array(
                lambda: (
                    reader.number("h"),
                    reader.number("i"),
                    {
                        "leader": reader.number("i"),
                        "replicas": reader.numbers(),
                        "isr": reader.numbers(),
                    },
                )
            )
            if code != UNKNOWN_TOPIC:
                check(code, None, f"describing {name}")
                found[str(name)] = {row[1]: row[2] for row in sorted(rows, key=lambda row: row[1])}
        return Metadata(brokers, controller, found)

    def _ask(
        self, servers: list[tuple[str, int]], api: int, version: int, body: bytes, flexible: bool
    ) -> Reader:
        broker = self._connect(servers)
        try:
            return broker.ask(api, version, body, flexible)
        finally:
            broker.close()

    def _connect(self, servers: list[tuple[str, int]]) -> Broker:
        """A connection to the first server that takes one."""
        failures = []
        for host, port in servers:
            try:
                return Broker(host, port)
            except OSError as error:
                failures.append(f"{host}:{port}: {error}")
        raise ConnectionError("; ".join(failures))


def check(code: int, message: str | None, doing: str) -> None:
    """Raise for an error code of an answer: NotReadyError if it may pass, else KafkaError."""
    if code == NONE:
        return
    said = message or ERRORS.get(code, "see the list of error codes in Kafka's protocol guide")
    if code in SOON:
        raise NotReadyError(f"{doing}: {said} (error {code})")
    raise KafkaError(f"{doing} was refused: {said} (error {code})")


def patiently(action: Callable[[], Any], deadline: float) -> Any:
    """The action's result, tried until the deadline while brokers are away or not ready."""
    while True:
        try:
            return action()
        except (OSError, NotReadyError) as error:
            if time.monotonic() >= deadline:
                raise TimeoutError(str(error)) from error
            time.sleep(PAUSE_SECONDS)
