#!/usr/bin/python
"""Ansible module: moves replicas to where they should be, at a bounded pace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_admin import (
    SECURITY,
    Cluster,
    KafkaError,
    NotReadyError,
    check,
    library,
    patiently,
)
from ansible.module_utils.kafka_plan import moved, plan

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
  security:
    description: How to log in, as C(security_protocol) and other options of kafka-python.
    type: dict
    default: {}
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

RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
THROTTLED = ("leader.replication.throttled.replicas", "follower.replication.throttled.replicas")
PAUSE_SECONDS = 1.0
# For a controller that moves, and for a broker that restarts.
PATIENCE_SECONDS = 60
AWAY_SECONDS = 300


class Placement(Cluster):
    """The requests that move replicas."""

    def moving(self) -> dict[tuple[str, int], list[int]]:
        """Partitions whose replicas are being moved, each with the brokers that get one."""
        with self.asking("listing moves") as admin:
            said = admin.list_partition_reassignments()
        return {(it.topic, it.partition): row["adding_replicas"] for it, row in said.items()}

    def move(self, changes: Mapping[tuple[str, int], list[int] | None]) -> None:
        """Begin to move replicas; None gives up a move that goes on."""
        with self.asking("moving replicas") as admin:
            said = admin.alter_partition_reassignments(
                {library().TopicPartition(*key): replicas for key, replicas in changes.items()}
            )
        for it, error in said.items():
            check(error.errno if error else 0, None, f"moving {it.topic}-{it.partition}")

    def bound(self, topics: set[str], bytes_per_second: int | None) -> None:
        """Bound the pace of the copies of topics; None takes the bound away."""
        pace = None if bytes_per_second is None else str(bytes_per_second)
        for broker in self.metadata([]).brokers:
            self.alter("broker", str(broker), dict.fromkeys(RATES, pace))
        for topic in sorted(topics):
            self.alter("topic", topic, dict.fromkeys(THROTTLED, None if pace is None else "*"))


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
    with Placement(module.params["bootstrap_servers"], module.params["security"]) as cluster:
        return bring(module, cluster)


def bring(module: AnsibleModule, cluster: Placement) -> dict[str, Any]:
    """Bring the replicas to where they should be. See run()."""
    given = module.params
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
            "security": SECURITY,
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
