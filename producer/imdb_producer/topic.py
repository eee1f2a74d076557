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

from imdb_producer.access import GRACE, asks_for_tls, kafka_python_settings, wait_for_access
from imdb_producer.client import RECONNECT_BACKOFF_MAX_MS, unreachable
from imdb_producer.errors import AccessError, CredentialsError, TopicError
from imdb_producer.security import PLAIN, Security

log = logging.getLogger(__name__)

#: Seconds to wait for the broker and the topic's metadata.
TOPIC_TIMEOUT = 90.0
_POLL = 1.0
_LIMIT = "max.message.bytes"
_NOT_AUTHORIZED = 29


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
    bootstrap_servers: Sequence[str],
    topic: str,
    timeout: float = TOPIC_TIMEOUT,
    security: Security = PLAIN,
) -> Topic:
    """Wait until every partition of the topic has a leader.

    Args:
        bootstrap_servers: host:port of one broker or more.
        topic: the topic's name; it is not created.
        timeout: seconds, for broker and topic together.
        security: how the broker is spoken to.

    Raises:
        TopicError: not ready in time; says which of the two is missing.
        ConfigError, CredentialsError, AccessError: it does not let this host in, or not write.
    """
    deadline = time.monotonic() + timeout
    if security.enabled:
        wait_for_access(bootstrap_servers, security, timeout)
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=list(bootstrap_servers),
            bootstrap_timeout_ms=int(max(1.0, deadline - time.monotonic()) * 1000),
            reconnect_backoff_max_ms=RECONNECT_BACKOFF_MAX_MS,
            **kafka_python_settings(security),
        )
    except KafkaError as error:
        if not security.enabled and (secured := asks_for_tls(bootstrap_servers)):
            raise AccessError(
                f"{secured} speaks TLS, and KAFKA_SECURITY_PROTOCOL is {security.protocol}. Set it "
                "to SASL_SSL, with user, password and CA, or name the port of another listener."
            ) from error
        raise unreachable(bootstrap_servers, error) from error
    refused = min(deadline, time.monotonic() + GRACE)
    try:
        while True:
            found, state = _look(admin, topic)
            if found is not None:
                return found
            if security.enabled and state == _NO_RIGHT and time.monotonic() >= refused:
                raise CredentialsError(
                    f"The user {security.username} may not write to the topic {topic}. Give it the "
                    "right WRITE on that topic, and see that KAFKA_TOPIC is its name."
                )
            if time.monotonic() >= deadline:
                raise TopicError(
                    f"Topic {topic} is not ready after {timeout:.0f} s: {state}. "
                    "Check KAFKA_TOPIC, and that the topic was created on "
                    f"{','.join(bootstrap_servers)}."
                )
            time.sleep(_POLL)
    finally:
        admin.close()


_NO_RIGHT = "it may not be written to"


def _look(admin: KafkaAdminClient, topic: str) -> tuple[Topic | None, str]:
    """Give the topic if all partitions have leaders, else none and what is missing."""
    try:
        described = [it for it in admin.describe_topics([topic]) if it["name"] == topic]
        cluster = admin.describe_cluster()
    except KafkaError as error:
        return None, f"the broker did not answer ({error})"
    if any(
        it["error_code"] == _NOT_AUTHORIZED
        or "WRITE" not in it.get("authorized_operations", "WRITE")
        for it in described
    ):
        return None, _NO_RIGHT
    partitions = [p for it in described if not it["error_code"] for p in it["partitions"]]
    if not partitions:
        return None, "the broker does not know it"
    leaderless = [p["partition_index"] for p in partitions if p["leader_id"] < 0]
    if leaderless:
        return None, f"partitions {sorted(leaderless)} have no leader"
    numbers = tuple(sorted(p["partition_index"] for p in partitions))
    return Topic(numbers, _identity(cluster, described[0]), _limit(admin, topic)), ""


def _may_be_written_to(topic: dict[str, Any]) -> bool:
    if topic["error_code"]:
        return bool(topic["error_code"] != _NOT_AUTHORIZED)
    # A broker older than 2.3 does not tell.
    rights = topic.get("authorized_operations")
    return rights is None or "WRITE" in rights


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
