"""A topic that refuses what it would not keep, on a real broker."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.errors import InvalidTimestampError

from ..producer.broker import Broker
from .modules import load, load_utility

load_utility("kafka_admin")
state = load("roles/kafka_topic/library/kafka_topic_state.py", "kafka_topic_state")

HOUR = 3_600_000
BEFORE = "message.timestamp.before.max.ms"


def run(broker: Broker, name: str, behind_ms: int = -1, **config: Any) -> Any:
    """Run the module; the names of settings have underscores here."""
    params = {
        "bootstrap_servers": broker.address,
        "name": name,
        "partitions": 1,
        "replication_factor": 1,
        "accept_replicas": False,
        "config": {key.replace("_", "."): value for key, value in config.items()},
        "behind_ms": behind_ms,
        "security": {},
        "state": "present",
        "timeout": 30,
    }
    return state.run(SimpleNamespace(params=params, check_mode=False))


def before(broker: Broker, name: str) -> int:
    with state.Topics(broker.address) as topics:
        return int(topics.settings(name)[BEFORE])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # The broker's default is a week.
        ({}, 168 * HOUR),
        ({"retention_ms": HOUR}, HOUR),
        ({"retention_ms": -1}, state.UNBOUNDED),
        ({"retention_ms": HOUR, "cleanup_policy": "compact"}, state.UNBOUNDED),
        ({"retention_ms": HOUR, "cleanup_policy": "compact,delete"}, HOUR),
        ({"message_timestamp_before_max_ms": 5}, 5),
    ],
)
def test_a_message_may_be_as_old_as_the_topic_keeps_it(
    broker: Broker, config: dict[str, Any], expected: int
) -> None:
    name = "kept-" + "-".join(f"{key}.{value}" for key, value in config.items()).replace(",", "_")
    assert run(broker, name, **config)["changed"]
    assert before(broker, name) == expected
    assert not run(broker, name, **config)["changed"]


def test_it_follows_the_retention(broker: Broker) -> None:
    run(broker, "followed", retention_ms=HOUR)
    changed = run(broker, "followed", retention_ms=2 * HOUR)
    assert f"set to {BEFORE}={2 * HOUR}, retention.ms={2 * HOUR}" in changed["msg"]
    assert before(broker, "followed") == 2 * HOUR
    run(broker, "followed", behind_ms=10, retention_ms=2 * HOUR)
    assert before(broker, "followed") == 10


def test_an_older_message_is_refused_at_once_and_a_younger_one_is_taken(broker: Broker) -> None:
    run(broker, "stamped", retention_ms=HOUR)
    producer = KafkaProducer(bootstrap_servers=broker.address, acks="all", enable_idempotence=False)
    try:
        now = int(time.time() * 1000)
        producer.send("stamped", b"{}", timestamp_ms=now - HOUR // 2).get(30)
        with pytest.raises(InvalidTimestampError):
            producer.send("stamped", b"{}", timestamp_ms=now - 2 * HOUR).get(30)
    finally:
        producer.close(timeout=10)
