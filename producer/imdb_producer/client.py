"""The Kafka client, behind the three calls that sending needs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from imdb_producer.errors import DeliveryError, TopicError
from imdb_producer.records import Message, event_id

log = logging.getLogger(__name__)

#: Seconds to wait for the broker and the topic's metadata.
TOPIC_TIMEOUT = 90.0
_POLL = 1.0

#: kafka-python 3 keeps no cap on its buffer: send.py holds it to 128 MB.
SETTINGS: dict[str, object] = {
    "client_id": "imdb-producer",
    "acks": "all",
    "enable_idempotence": True,
    "compression_type": "gzip",
    "linger_ms": 100,
    "batch_size": 32 * 1024,
    "max_block_ms": 120_000,
    "request_timeout_ms": 30_000,
    # How long a record may wait for a broker that is away.
    "delivery_timeout_ms": 120_000,
    # The default of 30 s would leave a broker that is back unnoticed for that long.
    "reconnect_backoff_max_ms": 2_000,
    # The topic is made by its role, with its settings; a typing error must not make one.
    "allow_auto_create_topics": False,
}


class Client(Protocol):
    """What sending needs of a Kafka client."""

    def send(
        self,
        message: Message,
        on_success: Callable[[object], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Hand over a message; one of the two is called later, on any thread.

        Raises:
            DeliveryError: the message was not taken.
        """

    def flush(self, timeout: float) -> None:
        """Send what is buffered; wait for its results, at most about `timeout` seconds."""

    def close(self, timeout: float) -> None:
        """Give up the connection, waiting at most about `timeout` seconds for results."""


class _Producer(KafkaProducer):  # type: ignore[misc]  # kafka-python has no types
    """A producer whose flush returns when its time is over.

    kafka-python 3.0's raises instead, also in the midst of its own close(), which then never
    comes to give up what is out, and does so once more when the interpreter ends.
    """

    def flush(self, timeout: float | None = None) -> None:
        try:
            super().flush(timeout)
        except KafkaTimeoutError:
            log.debug("Results are still out after %s s", timeout)


class KafkaPythonClient:
    """A client by kafka-python 3."""

    def __init__(self, bootstrap_servers: Sequence[str], topic: str) -> None:
        """Connect.

        Raises:
            TopicError: no broker answers.
        """
        self._topic = topic
        try:
            self._producer = _Producer(bootstrap_servers=list(bootstrap_servers), **SETTINGS)
        except KafkaError as error:
            raise _unreachable(bootstrap_servers, error) from error

    def send(
        self,
        message: Message,
        on_success: Callable[[object], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """See `Client.send`."""
        headers = [("event_id", event_id(message.value).encode("ascii"))]
        try:
            future = self._producer.send(
                self._topic, key=message.key, value=message.value, headers=headers
            )
        except KafkaError as error:
            raise DeliveryError(
                f"Kafka did not take record {message.key.decode()}: {error}. "
                f"Check that the topic {self._topic} exists and that its broker is up."
            ) from error
        future.add_callback(on_success)
        future.add_errback(on_failure)

    def flush(self, timeout: float) -> None:
        """See `Client.flush`."""
        self._producer.flush(timeout)

    def close(self, timeout: float) -> None:
        """See `Client.close`."""
        self._producer.close(timeout)


def wait_for_topic(
    bootstrap_servers: Sequence[str], topic: str, timeout: float = TOPIC_TIMEOUT
) -> list[int]:
    """Wait until every partition of the topic has a leader; give the partitions.

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
            reconnect_backoff_max_ms=SETTINGS["reconnect_backoff_max_ms"],
        )
    except KafkaError as error:
        raise _unreachable(bootstrap_servers, error) from error
    try:
        while True:
            partitions, state = _partitions(admin, topic)
            if partitions:
                return partitions
            if time.monotonic() >= deadline:
                raise TopicError(
                    f"Topic {topic} is not ready after {timeout:.0f} s: {state}. "
                    "Check KAFKA_TOPIC, and that the topic was created on "
                    f"{','.join(bootstrap_servers)}."
                )
            time.sleep(_POLL)
    finally:
        admin.close()


def _partitions(admin: KafkaAdminClient, topic: str) -> tuple[list[int], str]:
    """Give the partitions if all have leaders, else none and what is missing."""
    try:
        described = admin.describe_topics([topic])
    except KafkaError as error:
        return [], f"the broker did not answer ({error})"
    partitions = [
        partition
        for found in described
        if found["name"] == topic and not found["error_code"]
        for partition in found["partitions"]
    ]
    if not partitions:
        return [], "the broker does not know it"
    leaderless = [p["partition_index"] for p in partitions if p["leader_id"] < 0]
    if leaderless:
        return [], f"partitions {sorted(leaderless)} have no leader"
    return sorted(p["partition_index"] for p in partitions), ""


def _unreachable(bootstrap_servers: Sequence[str], error: KafkaError) -> TopicError:
    return TopicError(
        f"No Kafka broker answers at {','.join(bootstrap_servers)}: {error}. "
        "Check KAFKA_BOOTSTRAP_SERVERS and that the broker is up (journalctl -u kafka there)."
    )
