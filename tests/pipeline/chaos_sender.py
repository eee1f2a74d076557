"""Sends a plan's messages through broken brokers, and reads a topic back."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from .chaos_expected import Position, Stored
from .chaos_messages import Planned
from .messages import Connection

#: While the broker is away the client holds so many unacknowledged messages, no more.
IN_FLIGHT = 2_000
READ_SECONDS = 300


class Sender:
    """Sends every message until the broker has acknowledged it; as far as it is allowed to.

    A message whose acknowledgement was lost is sent again, and may then be in the topic twice.
    """

    def __init__(
        self, connection: Connection, topic: str, messages: Iterable[Planned], rate: float
    ):
        """Begin, at so many messages a second; nothing is allowed yet."""
        #: Where each acknowledged message is.
        self.acknowledged: dict[Position, Planned] = {}
        self.problems: list[str] = []
        self._topic = topic
        self._pause = 1 / rate
        self._waiting = deque(messages)
        self._count = len(self._waiting)
        self._again: deque[Planned] = deque()
        self._started = 0
        self._allowed = 0
        self._stopping = threading.Event()
        self._producer = KafkaProducer(
            **connection,
            acks="all",
            delivery_timeout_ms=120_000,
            request_timeout_ms=10_000,
            max_block_ms=300_000,
            reconnect_backoff_max_ms=1_000,
            metadata_max_age_ms=10_000,
        )
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def allow(self, share: float) -> None:
        """Let it send so much of all messages, from 0 to 1."""
        self._allowed = round(share * self._count)

    @property
    def done(self) -> bool:
        """Whether every message is acknowledged."""
        return len(self.acknowledged) == self._count

    @property
    def state(self) -> str:
        """How far it is, in words."""
        return (
            f"{len(self.acknowledged)} of {self._count} messages are acknowledged, "
            f"{self._started} were sent, {self._allowed} may be"
        )

    def close(self) -> None:
        """Stop, also in the middle."""
        self._stopping.set()
        self._thread.join(60)
        self._producer.close(timeout=10)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._pause):
                if self._again:
                    self._send(self._again.popleft())
                elif self._waiting and self._may_send:
                    self._started += 1
                    self._send(self._waiting.popleft())
        except Exception as error:  # a thread's end would pass unseen
            self.problems.append(f"the sender ended: {type(error).__name__}: {error}")

    @property
    def _may_send(self) -> bool:
        in_flight = self._started - len(self.acknowledged)
        return self._started < self._allowed and in_flight < IN_FLIGHT

    def _send(self, message: Planned) -> None:
        def acknowledged(stored: Any) -> None:
            self.acknowledged[stored.partition, stored.offset] = message

        future = self._producer.send(
            self._topic,
            key=message.key,
            value=message.value,
            headers=list(message.headers),
            timestamp_ms=message.at,
        )
        future.add_callback(acknowledged)
        future.add_errback(lambda _: self._again.append(message))


def read_back(connection: Connection, topic: str, seconds: float = READ_SECONDS) -> list[Stored]:
    """Return every message that a topic holds now, those of a partition in their order.

    Raises:
        AssertionError: They did not all come in time.
    """
    consumer = KafkaConsumer(**connection, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        messages: list[Stored] = []
        limit = time.monotonic() + seconds
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            assert time.monotonic() < limit, f"{topic} was not read back within {seconds:g} s"
            for records in consumer.poll(timeout_ms=1000).values():
                messages += [
                    Stored(r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
                    for r in records
                ]
    finally:
        consumer.close()
    return [m for m in messages if m.offset < ends[TopicPartition(topic, m.partition)]]
