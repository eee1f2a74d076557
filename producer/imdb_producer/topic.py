"""Wait for the topic."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from imdb_producer.client import RECONNECT_BACKOFF_MAX_MS, unreachable
from imdb_producer.errors import TopicError

log = logging.getLogger(__name__)

#: Seconds to wait for the broker and the topic's metadata.
TOPIC_TIMEOUT = 90.0
_POLL = 1.0
_LIMIT = "max.message.bytes"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that is ready: its partitions, and a name that no other topic ever has.

    A topic that was deleted and made again is another one, and so is one of another cluster.
    `limit` is its `max.message.bytes`, 0 if the broker does not tell.
    """

    partitions: tuple[int, ...]
    identity: str
    limit: int = 0


def wait_for_topic(
    bootstrap_servers: Sequence[str], topic: str, timeout: float = TOPIC_TIMEOUT
) -> Topic:
    """Wait until every partition of the topic has a leader.

    Args:
        bootstrap_servers: host:port of one broker or more.
        topic: the topic's name; it is not created.
        timeout: seconds, for broker and topic together.

    Raises:
        TopicError: not ready in time; says which of the two is missing.
    """
    deadline = time.monotonic() + timeout
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=list(bootstrap_servers),
            bootstrap_timeout_ms=int(timeout * 1000),
            reconnect_backoff_max_ms=RECONNECT_BACKOFF_MAX_MS,
        )
    except KafkaError as error:
        raise unreachable(bootstrap_servers, error) from error
    try:
        while True:
            found, state = _look(admin, topic)
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                raise TopicError(
                    f"Topic {topic} is not ready after {timeout:.0f} s: {state}. "
                    "Check KAFKA_TOPIC, and that the topic was created on "
                    f"{','.join(bootstrap_servers)}."
                )
            time.sleep(_POLL)
    finally:
        admin.close()


def _look(admin: KafkaAdminClient, topic: str) -> tuple[Topic | None, str]:
    """Give the topic if all partitions have leaders, else none and what is missing."""
    try:
        described = [it for it in admin.describe_topics([topic]) if it["name"] == topic]
        cluster = admin.describe_cluster()
    except KafkaError as error:
        return None, f"the broker did not answer ({error})"
    partitions = [p for it in described if not it["error_code"] for p in it["partitions"]]
    if not partitions:
        return None, "the broker does not know it"
    leaderless = [p["partition_index"] for p in partitions if p["leader_id"] < 0]
    if leaderless:
        return None, f"partitions {sorted(leaderless)} have no leader"
    numbers = tuple(sorted(p["partition_index"] for p in partitions))
    return Topic(numbers, _identity(cluster, described[0]), _limit(admin, topic)), ""


def _limit(admin: KafkaAdminClient, topic: str) -> int:
    """Give a topic's `max.message.bytes`; 0 if the broker does not tell, as it need not."""
    try:
        asked = ConfigResource(ConfigResourceType.TOPIC, topic, [_LIMIT])
        found = admin.describe_configs([asked], config_filter="all")
        return int(found["topic"][topic][_LIMIT]["value"])
    except (KafkaError, LookupError, TypeError, ValueError) as error:
        log.debug("The broker does not tell the settings of %s: %r", topic, error)
        return 0


def _identity(cluster: dict[str, Any], topic: dict[str, Any]) -> str:
    """Name a topic by its cluster, its name and, where the broker has them, its id."""
    return f"{cluster.get('cluster_id') or ''}/{topic['name']}/{topic.get('topic_id') or ''}"
