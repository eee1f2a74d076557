#!/usr/bin/python
"""Ansible module: makes a Kafka topic, brings it to what is asked, or deletes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_admin import (
    SECURITY,
    UNKNOWN_TOPIC,
    Cluster,
    KafkaError,
    NotReadyError,
    check,
    library,
    patiently,
)

DOCUMENTATION = r"""
module: kafka_topic_state
short_description: Make a Kafka topic, bring it to what is asked, or delete it
description:
  - Creates the topic if it is missing, adds partitions, sets settings that differ.
  - Refuses what Kafka cannot do, fewer partitions and another replication factor, changing nothing.
  - Needs kafka-python on the host (role kafka); a look at a topic that is as it should be takes a
    few milliseconds.
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
  state:
    description: Whether there should be the topic; C(absent) deletes it with its records.
    type: str
    choices: [present, absent]
    default: present
  partitions:
    description: Partitions that it should have; required unless it is deleted.
    type: int
  replication_factor:
    description: Replicas of each partition; required unless it is deleted.
    type: int
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
  security:
    description: How to log in, as C(security_protocol) and other options of kafka-python.
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

TOPIC_EXISTS = 36
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
        doing = f"reading the settings of {topic}"
        with self.asking(doing) as admin:
            resource = library().admin.ConfigResource("topic", topic)
            said = admin.describe_configs([resource], config_filter="all")["topic"][topic]
        if not said:
            raise KafkaError(
                f"{doing} was refused: it needs the right DESCRIBE_CONFIGS on the topic"
            )
        return {name: setting["value"] for name, setting in said.items()}

    def create(self, topic: str, partitions: int, replicas: int, config: dict[str, str]) -> None:
        wanted = {"num_partitions": partitions, "replication_factor": replicas, "configs": config}
        with self.asking(f"creating {topic}") as admin:
            said = admin.create_topics({topic: wanted}, raise_errors=False)["topics"][0]
        if said["error_code"] != TOPIC_EXISTS:
            check(said["error_code"], said["error_message"], f"creating {topic}")

    def delete(self, topic: str) -> None:
        with self.asking(f"deleting {topic}") as admin:
            said = admin.delete_topics([topic], raise_errors=False)["topics"][0]
        if said["error_code"] != UNKNOWN_TOPIC:
            check(said["error_code"], None, f"deleting {topic}")

    def grow(self, topic: str, partitions: int) -> None:
        doing = f"growing {topic} to {partitions} partitions"
        with self.asking(doing) as admin:
            said = admin.create_partitions({topic: partitions}, raise_errors=False).results[0]
        check(said.error_code, said.error_message, doing)


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
    with Topics(module.params["bootstrap_servers"], module.params["security"]) as cluster:
        return bring(module, cluster)


def bring(module: AnsibleModule, cluster: Topics) -> dict[str, Any]:
    """Bring the topic to what is asked, by brokers that may be away. See run()."""
    name, wanted = module.params["name"], module.params["partitions"]
    replicas, timeout = module.params["replication_factor"], module.params["timeout"]
    config = {key: as_text(value) for key, value in module.params["config"].items()}
    steps: list[tuple[str, Callable[[], None]]] = []

    def differing_now() -> dict[str, str]:
        has = patiently(lambda: cluster.settings(name), time.monotonic() + timeout)
        return differing(config, module.params["behind_ms"], has)

    partitions = patiently(lambda: cluster.describe(name), time.monotonic() + timeout)
    if module.params["state"] == "absent":
        if partitions is not None and not module.check_mode:
            patiently(lambda: cluster.delete(name), time.monotonic() + timeout)
        return {
            "changed": partitions is not None,
            "msg": f"There is no topic {name}, or not for long.",
        }
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
            steps.append((settings_text(changed), lambda: cluster.alter("topic", name, changed)))

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
        patiently(lambda: cluster.alter("topic", name, changed), time.monotonic() + timeout)
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
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "partitions": {"type": "int"},
            "replication_factor": {"type": "int"},
            "accept_replicas": {"type": "bool", "default": False},
            "config": {"type": "dict", "default": {}},
            "behind_ms": {"type": "int", "default": -1},
            "security": SECURITY,
            "timeout": {"type": "int", "default": 60},
        },
        required_if=[("state", "present", ("partitions", "replication_factor"))],
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
