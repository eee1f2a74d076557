#!/usr/bin/python
"""Ansible module: moves replicas to where they should be, at a bounded pace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_plan import moved, plan
from ansible.module_utils.kafka_wire import (
    Cluster,
    KafkaError,
    NotReadyError,
    array,
    check,
    compact_array,
    compact_text,
    number,
    patiently,
    text,
    varint,
)

DOCUMENTATION = r"""
module: kafka_placement
short_description: Move the replicas of a Kafka cluster to where they should be
description:
  - Spreads replicas over the brokers that are up and their racks, by few moves; takes them off
    brokers that leave; gives partitions the replicas that they lack.
  - Copies at a bounded pace, waits until all is in sync, and takes the bound away.
  - Waits first for what an earlier run has begun; one that was cut off is made good by the next.
    What was begun towards a broker that is no more is given up.
author: imdb-pipeline
options:
  bootstrap_servers:
    description: Brokers to ask, as host:port[,host:port...].
    type: str
    required: true
  brokers:
    description: Ids of all brokers that must be up.
    type: list
    elements: int
    required: true
  leaving:
    description: Ids of brokers that shall have no replica any more.
    type: list
    elements: int
    default: []
  replication_factor:
    description: Replicas that every partition of every topic shall have at least.
    type: int
    required: true
  bytes_per_second:
    description: Most bytes a second that a broker takes in, and gives out, for this.
    type: int
    default: 20000000
  timeout:
    description: Seconds to wait until all is moved. It ends sooner where a broker stays away.
    type: int
    default: 86400
"""
EXAMPLES = r"""
- name: Spread the replicas
  kafka_placement:
    bootstrap_servers: 192.0.2.1:9092
    brokers: [1, 2, 3, 4]
    replication_factor: 3
"""
RETURN = r"""
msg:
  description: What was moved, or would be.
  type: str
  returned: always
moves:
  description: Replicas that were copied.
  type: int
  returned: always
"""

ALTER_CONFIGS = 44
ALTER_REASSIGNMENTS = 45
LIST_REASSIGNMENTS = 46
TOPIC_RESOURCE = 2
BROKER_RESOURCE = 4
SET_OPERATION = 0
DELETE_OPERATION = 1
RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
THROTTLED = ("leader.replication.throttled.replicas", "follower.replication.throttled.replicas")
PAUSE_SECONDS = 1.0
REQUEST_MILLISECONDS = 30000
# For a controller that moves, and for a broker that restarts.
PATIENCE_SECONDS = 60
AWAY_SECONDS = 300


class Placement(Cluster):
    """The requests that move replicas."""

    def moving(self) -> dict[tuple[str, int], list[int]]:
        """Partitions whose replicas are being moved, each with the brokers that get one."""
        body = number("i", REQUEST_MILLISECONDS) + varint(0) + b"\0"  # of all topics
        reader = self.ask_controller(LIST_REASSIGNMENTS, 0, body, flexible=True)
        reader.number("i")  # throttle time
        check(reader.number("h"), reader.compact_text(), "listing moves")
        found = {}

        def partition(topic: str) -> None:
            index = reader.number("i")
            # Replicas, those that come, those that go.
            _, found[topic, index], _ = [
                reader.compact_array(lambda: reader.number("i")) for _ in range(3)
            ]
            reader.tags()

        def topic() -> None:
            name = str(reader.compact_text())
            reader.compact_array(lambda: partition(name))
            reader.tags()

        reader.compact_array(topic)
        return found

    def move(self, changes: Mapping[tuple[str, int], list[int] | None]) -> None:
        """Begin to move replicas; None gives up a move that goes on."""
        topics = []
        for name in sorted({topic for topic, _ in changes}):
            rows = [
                number("i", index)
                + (varint(0) if replicas is None else compact_array(map(broker_id, replicas)))
                + b"\0"
                for (topic, index), replicas in sorted(changes.items())
                if topic == name
            ]
            topics.append(compact_text(name) + compact_array(rows) + b"\0")
        body = number("i", REQUEST_MILLISECONDS) + compact_array(topics) + b"\0"
        reader = self.ask_controller(ALTER_REASSIGNMENTS, 0, body, flexible=True)
        reader.number("i")  # throttle time
        check(reader.number("h"), reader.compact_text(), "moving replicas")

        def partition(topic: str) -> None:
            index = reader.number("i")
            code, message = reader.number("h"), reader.compact_text()
            check(code, message, f"moving {topic}-{index}")
            reader.tags()

        def topic() -> None:
            name = str(reader.compact_text())
            reader.compact_array(lambda: partition(name))
            reader.tags()

        reader.compact_array(topic)

    def bound(self, topics: set[str], bytes_per_second: int | None) -> None:
        """Bound the pace of the copies of topics; None takes the bound away."""
        value = None if bytes_per_second is None else str(bytes_per_second)
        for broker, (host, port, _) in self.metadata([]).brokers.items():
            settings = dict.fromkeys(RATES, value)
            # A broker takes settings of its own alone.
            self._set((host, port), BROKER_RESOURCE, str(broker), settings)
        for topic in sorted(topics):
            everything = None if bytes_per_second is None else "*"
            self._set(None, TOPIC_RESOURCE, topic, dict.fromkeys(THROTTLED, everything))

    def _set(
        self,
        address: tuple[str, int] | None,
        kind: int,
        name: str,
        settings: dict[str, str | None],
    ) -> None:
        rows = [
            text(key)
            + number("b", DELETE_OPERATION if value is None else SET_OPERATION)
            + (number("h", -1) if value is None else text(value))
            for key, value in settings.items()
        ]
        body = array([number("b", kind) + text(name) + array(rows)]) + b"\0"
        if address is None:
            reader = self.ask(ALTER_CONFIGS, 0, body)
        else:
            reader = self.ask_broker(address, ALTER_CONFIGS, 0, body)
        reader.number("i")  # throttle time
        for code, message, _, _ in reader.array(
            lambda: (reader.number("h"), reader.text(), reader.number("b"), reader.text())
        ):
            check(code, message, f"changing the settings of {name}")


def broker_id(broker: int) -> bytes:
    """A broker's id in a request."""
    return number("i", broker)


def out_of_sync(cluster: Placement) -> list[str]:
    """Partitions that lack a replica in sync."""
    topics = cluster.metadata().topics
    return [
        f"{topic}-{index}"
        for topic, partitions in sorted(topics.items())
        for index, row in partitions.items()
        if set(row["replicas"]) - set(row["isr"])
    ]


def settle(cluster: Placement, brokers: list[int], deadline: float) -> None:
    """Wait until nothing is being moved and every replica is in sync.

    Raises:
        TimeoutError: The time is up, or one of the brokers stays away.
    """

    def on_the_way() -> list[str]:
        return sorted(f"{topic}-{index}" for topic, index in cluster.moving()) or out_of_sync(
            cluster
        )

    seen_whole = time.monotonic()
    while left := patiently(on_the_way, time.monotonic() + PATIENCE_SECONDS):
        up = patiently(lambda: cluster.metadata([]).brokers, time.monotonic() + PATIENCE_SECONDS)
        away = sorted(set(brokers) - set(up))
        now = time.monotonic()
        seen_whole = seen_whole if away else now
        if now >= seen_whole + AWAY_SECONDS:
            raise TimeoutError(f"brokers {away} are not up, and {left[:5]} wait for them")
        if now >= deadline:
            raise TimeoutError(f"{len(left)} partitions are still on their way: {left[:5]}")
        time.sleep(PAUSE_SECONDS)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Wait for what goes on, plan, move, wait. Raises KafkaError, TimeoutError, ValueError."""
    given = module.params
    cluster = Placement(given["bootstrap_servers"])
    seen = patiently(cluster.metadata, time.monotonic() + PATIENCE_SECONDS)
    missing = sorted(set(given["brokers"]) - set(seen.brokers))
    if missing:
        raise KafkaError(f"brokers {missing} are not up; nothing is moved while one is away")
    deadline = time.monotonic() + given["timeout"]
    underway = patiently(cluster.moving, time.monotonic() + PATIENCE_SECONDS)
    if underway and not module.check_mode:
        in_vain = {key: None for key, coming in underway.items() if set(coming) - set(seen.brokers)}
        if in_vain:
            cluster.move(in_vain)
        settle(cluster, given["brokers"], deadline)
        seen = patiently(cluster.metadata, time.monotonic() + PATIENCE_SECONDS)
    before = {
        (topic, index): row["replicas"]
        for topic, partitions in seen.topics.items()
        for index, row in partitions.items()
    }
    # A broker that is up but none of the inventory's is on its way out.
    racks = {
        broker: rack for broker, (_, _, rack) in seen.brokers.items() if broker in given["brokers"]
    }
    changes = plan(before, racks, given["leaving"], given["replication_factor"])
    moves = moved(before, changes)
    told = f"{moves} replicas of {len(changes)} partitions"
    if module.check_mode:
        return {"changed": bool(changes), "moves": moves, "msg": f"Would move {told}."}
    topics = {topic for topic, _ in before}
    if changes:
        cluster.bound(topics, given["bytes_per_second"])
        cluster.move(changes)
        settle(cluster, given["brokers"], deadline)
    # Always: a run may have been cut off before it came to this.
    patiently(lambda: cluster.bound(topics, None), time.monotonic() + PATIENCE_SECONDS)
    began = f"; {len(underway)} that an earlier run had begun are done" if underway else ""
    return {"changed": bool(changes or underway), "moves": moves, "msg": f"Moved {told}{began}."}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "bootstrap_servers": {"type": "str", "required": True},
            "brokers": {"type": "list", "elements": "int", "required": True},
            "leaving": {"type": "list", "elements": "int", "default": []},
            "replication_factor": {"type": "int", "required": True},
            "bytes_per_second": {"type": "int", "default": 20_000_000},
            "timeout": {"type": "int", "default": 86400},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except (KafkaError, TimeoutError, ValueError, OSError, NotReadyError) as error:
        module.fail_json(msg=f"{error}. What was begun goes on; run it again to wait for it.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
