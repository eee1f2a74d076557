#!/usr/bin/python
"""Ansible module: makes a Kafka topic, or brings it to what is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_wire import (
    Cluster,
    KafkaError,
    NotReadyError,
    array,
    check,
    number,
    patiently,
    text,
)

DOCUMENTATION = r"""
module: kafka_topic_state
short_description: Make a Kafka topic, or bring it to what is asked
description:
  - Creates the topic if it is missing, adds partitions, sets settings that differ.
  - Refuses what Kafka cannot do, fewer partitions and another replication factor, changing nothing.
  - Speaks Kafka's protocol itself (kafka_wire), as each of Kafka's own commands starts a JVM; a
    look at a topic that is as it should be takes a few milliseconds.
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
  accept_replicas:
    description: Whether a topic with another number of replicas is let be.
    type: bool
    default: false
  config:
    description: Settings of the topic; others are left alone.
    type: dict
    default: {}
  behind_ms:
    description:
      - Milliseconds that a message's own time may be behind the broker's clock, as
        C(message.timestamp.before.max.ms); -1 is as long as the topic keeps messages.
    type: int
    default: -1
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

CREATE_TOPICS, DESCRIBE_CONFIGS, CREATE_PARTITIONS, ALTER_CONFIGS = 19, 32, 37, 44
TOPIC_EXISTS = 36
TOPIC_RESOURCE = 2
SET_OPERATION = 0
BEFORE, RETENTION, POLICY = "message.timestamp.before.max.ms", "retention.ms", "cleanup.policy"
# As Kafka has it for no bound.
UNBOUNDED = 2**63 - 1


class Topics(Cluster):
    """What is asked of the brokers here; each method is one request."""

    def describe(self, topic: str) -> dict[int, dict[str, Any]] | None:
        """Partitions by number with leader, replicas and isr; None if there is no such topic."""
        return self.metadata([topic]).topics.get(topic)

    def settings(self, topic: str) -> dict[str, str | None]:
        """All settings of the topic, defaults included."""
        body = array([number("b", TOPIC_RESOURCE) + text(topic) + number("i", -1)]) + b"\0"
        reader = self.ask(DESCRIBE_CONFIGS, 1, body)
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
        reader = self.ask(ALTER_CONFIGS, 0, body)
        reader.number("i")  # throttle time
        for code, message, _, _ in reader.array(
            lambda: (reader.number("h"), reader.text(), reader.number("b"), reader.text())
        ):
            check(code, message, f"changing the settings of {topic}")

    def _change(
        self, api: int, version: int, body: bytes, doing: str, allowed: set[int] | None = None
    ) -> None:
        """Ask the controller for a change of a topic."""
        reader = self.ask_controller(api, version, body)
        reader.number("i")  # throttle time
        for _, code, message in reader.array(
            lambda: (reader.text(), reader.number("h"), reader.text())
        ):
            if code not in (allowed or set()):
                check(code, message, doing)


def find_impossible(
    name: str, partitions: dict[int, dict[str, Any]], wanted: int, replicas: int | None
) -> str | None:
    """Why Kafka cannot bring the topic to what is wanted, and what to do; None if it can.

    replicas: how many each partition should have; None is any number.
    """
    if len(partitions) > wanted:
        return (
            f"Topic {name} has {len(partitions)} partitions, {wanted} are asked for. Kafka cannot "
            f"take partitions away. Ask for {len(partitions)}, or make a topic of another name."
        )
    other = sorted({len(row["replicas"]) for row in partitions.values()} - {replicas})
    if other and replicas is not None:
        return (
            f"Topic {name} has replication factor {', '.join(map(str, other))}, {replicas} is "
            f"asked for. It is changed by moving replicas, not here. Ask for what it has, or let "
            f"them be moved: ansible-playbook ansible/scale.yml"
        )
    return None


def differing(config: dict[str, str], behind_ms: int, has: dict[str, str | None]) -> dict[str, str]:
    """The settings that a topic has otherwise.

    A message that is older than the topic keeps messages would be taken, acknowledged, and deleted
    at the next sweep: unless `behind_ms` says otherwise it is refused.
    """
    will = has | config
    if behind_ms < 0:
        kept = int(will.get(RETENTION) or -1)
        sweeps = "delete" in (will.get(POLICY) or "delete")
        behind_ms = kept if sweeps and kept >= 0 else UNBOUNDED
    wanted = {BEFORE: str(behind_ms)} | config
    # A broker of before 3.6 has no such setting.
    return {
        key: value
        for key, value in wanted.items()
        if has.get(key) != value and (key in has or key in config)
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    """Look, decide, change and look again. Raises KafkaError, TimeoutError."""
    name, wanted = module.params["name"], module.params["partitions"]
    replicas, timeout = module.params["replication_factor"], module.params["timeout"]
    config = {key: as_text(value) for key, value in module.params["config"].items()}
    cluster = Topics(module.params["bootstrap_servers"])
    steps: list[tuple[str, Callable[[], None]]] = []

    def differing_now() -> dict[str, str]:
        has = patiently(lambda: cluster.settings(name), time.monotonic() + timeout)
        return differing(config, module.params["behind_ms"], has)

    partitions = patiently(lambda: cluster.describe(name), time.monotonic() + timeout)
    if partitions is None:
        steps.append(("created", lambda: cluster.create(name, wanted, replicas, config)))
    else:
        expected = None if module.params["accept_replicas"] else replicas
        impossible = find_impossible(name, partitions, wanted, expected)
        if impossible:
            raise KafkaError(impossible)
        if len(partitions) < wanted:
            grown = f"grown from {len(partitions)} to {wanted} partitions"
            steps.append((grown, lambda: cluster.grow(name, wanted)))
        changed = differing_now()
        if changed:
            steps.append((settings_text(changed), lambda: cluster.alter(name, changed)))

    done = " and ".join(step for step, _ in steps)
    if module.check_mode and steps:
        return {"changed": True, "msg": f"Topic {name} would be {done}."}
    made = partitions is None
    for _, change in steps:
        patiently(change, time.monotonic() + timeout)
    if steps:
        partitions = patiently(lambda: settled(cluster, name, wanted), time.monotonic() + timeout)
    # What follows from settings that the brokers have given it is known by now.
    if made and (changed := differing_now()):
        patiently(lambda: cluster.alter(name, changed), time.monotonic() + timeout)
    rows = [
        f"partition {index}: leader {row['leader']}, replicas {row['replicas']}, "
        f"in sync {row['isr']}"
        for index, row in (partitions or {}).items()
    ]
    msg = f"Topic {name}" + (f" was {done}" if done else "") + "; " + "; ".join(rows) + "."
    return {"changed": bool(steps), "msg": msg, "partitions": partitions}


def settings_text(settings: dict[str, str]) -> str:
    """What is said of settings that are changed."""
    return "set to " + ", ".join(f"{key}={value}" for key, value in sorted(settings.items()))


def settled(cluster: Topics, name: str, wanted: int) -> dict[int, dict[str, Any]]:
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
            "accept_replicas": {"type": "bool", "default": False},
            "config": {"type": "dict", "default": {}},
            "behind_ms": {"type": "int", "default": -1},
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
