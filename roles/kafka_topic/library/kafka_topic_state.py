#!/usr/bin/python
"""Ansible module: makes a Kafka topic, or brings it to what is asked."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kafka_topic_state
short_description: Make a Kafka topic, or bring it to what is asked
description:
  - Creates the topic if it is missing, adds partitions, sets settings that differ.
  - Refuses what Kafka cannot do, fewer partitions and another replication factor, changing nothing.
  - Speaks Kafka's protocol by Python's standard library alone. Each of Kafka's own commands starts
    a JVM, a second and more; a look at a topic that is as it should be takes a few milliseconds.
author: imdb-pipeline
options:
  bootstrap_servers:
    description: Brokers to ask, as host:port[,host:port...].
    type: str
    required: true
  name:
    description: Name of the topic.
    type: str
    required: true
  partitions:
    description: Partitions that it should have.
    type: int
    required: true
  replication_factor:
    description: Replicas of each partition.
    type: int
    required: true
  config:
    description: Settings of the topic; others are left alone.
    type: dict
    default: {}
  timeout:
    description: Seconds to wait for a broker, and for each change to show.
    type: int
    default: 60
"""
EXAMPLES = r"""
- name: Make the topic
  kafka_topic_state:
    bootstrap_servers: 192.0.2.1:9092
    name: imdb-movies
    partitions: 3
    replication_factor: 1
    config:
      retention.ms: 604800000
"""
RETURN = r"""
msg:
  description: What is so now, or would be.
  type: str
  returned: always
partitions:
  description: Partitions by number, each with its leader, replicas and in-sync replicas.
  type: dict
  returned: when a broker answered
unpredictable:
  description: Check mode found no broker to ask.
  type: bool
  returned: always
"""

METADATA, CREATE_TOPICS, DESCRIBE_CONFIGS, CREATE_PARTITIONS, ALTER_CONFIGS = 3, 19, 32, 37, 44
NONE, UNKNOWN_TOPIC, NOT_CONTROLLER, TOPIC_EXISTS = 0, 3, 41, 36
TOPIC_RESOURCE = 2
SET_OPERATION = 0
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

    def text(self) -> str | None:
        length = self.number("h")
        if length < 0:
            return None
        self._at += length
        return self._data[self._at - length : self._at].decode()

    def array(self, item: Callable[[], Any]) -> list[Any]:
        return [item() for _ in range(self.number("i"))]

    def numbers(self) -> list[int]:
        return self.array(lambda: self.number("i"))


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def array(items: list[bytes]) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)


def number(code: str, value: int) -> bytes:
    return struct.pack(f">{code}", value)


class Broker:
    """A connection to one broker. Any network trouble is an OSError."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=SOCKET_TIMEOUT_SECONDS)

    def ask(self, api: int, version: int, body: bytes) -> Reader:
        header = struct.pack(">hhi", api, version, 1) + text("ansible")
        self._socket.sendall(number("i", len(header + body)) + header + body)
        (length,) = struct.unpack(">i", self._exactly(4))
        reader = Reader(self._exactly(length))
        reader.number("i")  # correlation id
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


class Cluster:
    """What is asked of the brokers here; each method is one request."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = []
        for server in bootstrap_servers.split(","):
            host, _, port = server.strip().rpartition(":")
            self._servers.append((host.strip("[]"), int(port)))

    def describe(self, topic: str) -> dict[int, dict[str, Any]] | None:
        """Partitions by number with leader, replicas and isr; None if there is no such topic."""
        return self._metadata(topic)[1]

    def settings(self, topic: str) -> dict[str, str | None]:
        """All settings of the topic, defaults included."""
        body = array([number("b", TOPIC_RESOURCE) + text(topic) + number("i", -1)]) + b"\0"
        with_broker = self._connect(self._servers)
        try:
            reader = with_broker.ask(DESCRIBE_CONFIGS, 1, body)
        finally:
            with_broker.close()
        reader.number("i")  # throttle time
        found: dict[str, str | None] = {}

        def entry() -> None:
            name, value = reader.text(), reader.text()
            for _ in range(3):  # read-only, source, sensitive
                reader.number("b")
            reader.array(lambda: (reader.text(), reader.text(), reader.number("b")))
            found[str(name)] = value

        def resource() -> None:
            check(reader.number("h"), reader.text(), f"reading the settings of {topic}")
            reader.number("b")
            reader.text()
            reader.array(entry)

        reader.array(resource)
        return found

    def create(self, topic: str, partitions: int, replicas: int, config: dict[str, str]) -> None:
        settings = [text(key) + text(value) for key, value in sorted(config.items())]
        wanted = text(topic) + number("i", partitions) + number("h", replicas)
        body = array([wanted + array([]) + array(settings)]) + number("i", 10000) + b"\0"
        self._change(CREATE_TOPICS, 2, body, f"creating {topic}", allowed={TOPIC_EXISTS})

    def grow(self, topic: str, partitions: int) -> None:
        body = array([text(topic) + number("i", partitions) + number("i", -1)])
        body += number("i", 10000) + b"\0"
        self._change(CREATE_PARTITIONS, 1, body, f"growing {topic} to {partitions} partitions")

    def alter(self, topic: str, config: dict[str, str]) -> None:
        settings = [
            text(key) + number("b", SET_OPERATION) + text(value)
            for key, value in sorted(config.items())
        ]
        body = array([number("b", TOPIC_RESOURCE) + text(topic) + array(settings)]) + b"\0"
        broker = self._connect(self._servers)
        try:
            reader = broker.ask(ALTER_CONFIGS, 0, body)
        finally:
            broker.close()
        reader.number("i")  # throttle time
        for code, message, _, _ in reader.array(
            lambda: (reader.number("h"), reader.text(), reader.number("b"), reader.text())
        ):
            check(code, message, f"changing the settings of {topic}")

    def _change(
        self, api: int, version: int, body: bytes, doing: str, allowed: set[int] | None = None
    ) -> None:
        """Ask the controller for a change of a topic."""
        broker = self._connect([self._metadata(None)[0]])
        try:
            reader = broker.ask(api, version, body)
        finally:
            broker.close()
        reader.number("i")  # throttle time
        for _, code, message in reader.array(
            lambda: (reader.text(), reader.number("h"), reader.text())
        ):
            if code not in (allowed or set()):
                check(code, message, doing)

    def _metadata(
        self, topic: str | None
    ) -> tuple[tuple[str, int], dict[int, dict[str, Any]] | None]:
        """The controller's address, and the topic's partitions."""
        broker = self._connect(self._servers)
        try:
            reader = broker.ask(METADATA, 1, array([text(topic)] if topic else []))
        finally:
            broker.close()
        brokers: dict[int, tuple[str, int]] = {}
        for node, host, port, _ in reader.array(
            lambda: (reader.number("i"), reader.text(), reader.number("i"), reader.text())
        ):
            brokers[node] = (host, port)
        controller = reader.number("i")
        if controller not in brokers:
            raise NotReadyError("the brokers have no controller yet")
        partitions: dict[int, dict[str, Any]] | None = None
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
                partitions = {row[1]: row[2] for row in sorted(rows, key=lambda row: row[1])}
        return brokers[controller], partitions

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


def find_impossible(
    name: str, partitions: dict[int, dict[str, Any]], wanted: int, replicas: int
) -> str | None:
    """Why Kafka cannot bring the topic to what is wanted, and what to do; None if it can."""
    if len(partitions) > wanted:
        return (
            f"Topic {name} has {len(partitions)} partitions, {wanted} are asked for. Kafka cannot "
            f"take partitions away. Ask for {len(partitions)}, or make a topic of another name."
        )
    other = sorted({len(row["replicas"]) for row in partitions.values()} - {replicas})
    if other:
        return (
            f"Topic {name} has replication factor {', '.join(map(str, other))}, {replicas} is "
            f"asked for. It is changed by moving replicas (kafka-reassign-partitions.sh), not "
            f"here. Ask for what it has, or move the replicas first."
        )
    return None


def run(module: AnsibleModule) -> dict[str, Any]:
    """Look, decide, change and look again. Raises KafkaError, TimeoutError."""
    name, wanted = module.params["name"], module.params["partitions"]
    replicas, timeout = module.params["replication_factor"], module.params["timeout"]
    config = {key: as_text(value) for key, value in module.params["config"].items()}
    cluster = Cluster(module.params["bootstrap_servers"])
    steps: list[tuple[str, Callable[[], None]]] = []

    partitions = patiently(lambda: cluster.describe(name), time.monotonic() + timeout)
    if partitions is None:
        steps.append(("created", lambda: cluster.create(name, wanted, replicas, config)))
    else:
        impossible = find_impossible(name, partitions, wanted, replicas)
        if impossible:
            raise KafkaError(impossible)
        if len(partitions) < wanted:
            grown = f"grown from {len(partitions)} to {wanted} partitions"
            steps.append((grown, lambda: cluster.grow(name, wanted)))
        if config:
            has = patiently(lambda: cluster.settings(name), time.monotonic() + timeout)
            differing = {key: value for key, value in config.items() if has.get(key) != value}
            if differing:
                shown = ", ".join(f"{key}={value}" for key, value in sorted(differing.items()))
                steps.append((f"set to {shown}", lambda: cluster.alter(name, differing)))

    done = " and ".join(step for step, _ in steps)
    if module.check_mode and steps:
        return {"changed": True, "msg": f"Topic {name} would be {done}."}
    for _, change in steps:
        patiently(change, time.monotonic() + timeout)
    if steps:
        partitions = patiently(lambda: settled(cluster, name, wanted), time.monotonic() + timeout)
    rows = [
        f"partition {index}: leader {row['leader']}, replicas {row['replicas']}, "
        f"in sync {row['isr']}"
        for index, row in (partitions or {}).items()
    ]
    msg = f"Topic {name}" + (f" was {done}" if done else "") + "; " + "; ".join(rows) + "."
    return {"changed": bool(steps), "msg": msg, "partitions": partitions}


def settled(cluster: Cluster, name: str, wanted: int) -> dict[int, dict[str, Any]]:
    """The topic's partitions once all have a leader. Raises NotReadyError until then."""
    partitions = cluster.describe(name) or {}
    if len(partitions) < wanted or any(row["leader"] < 0 for row in partitions.values()):
        raise NotReadyError(f"{len(partitions)} of {wanted} partitions of {name} are there")
    return partitions


def as_text(value: object) -> str:
    """A setting's value as Kafka writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "bootstrap_servers": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "partitions": {"type": "int", "required": True},
            "replication_factor": {"type": "int", "required": True},
            "config": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    servers, timeout = module.params["bootstrap_servers"], module.params["timeout"]
    try:
        result = run(module)
    except TimeoutError as error:
        if module.check_mode:
            msg = f"No broker answers at {servers} yet, so what becomes of the topic is not known."
            module.exit_json(changed=False, unpredictable=True, msg=msg)
        module.fail_json(
            msg=f"The brokers at {servers} were not ready within {timeout} s ({error}). "
            f"See `journalctl -u kafka` there."
        )
    except KafkaError as error:
        module.fail_json(msg=str(error))
    else:
        module.exit_json(unpredictable=False, **result)


if __name__ == "__main__":
    main()
