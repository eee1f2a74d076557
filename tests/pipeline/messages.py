"""A Kafka client on the operator's machine: reads the topic, and feeds it."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any, NamedTuple, Self

from hosts import Target
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from ..variables import HostVariables
from ..waiting import wait_for

#: How a client on this machine connects to the brokers, as options of kafka-python.
Connection = dict[str, Any]

READ_SECONDS = 60

# Movies of the tests' own have ids that IMDb does not give (its have seven or eight digits).
FED_PREFIX = "tt9"
FED_DIGITS = 15


@dataclass(frozen=True)
class Message:
    """A message of the topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    @property
    def event_id(self) -> str:
        """The header that names the event; empty if there is none."""
        return self.headers.get("event_id", b"").decode()


class Acknowledged(NamedTuple):
    """A movie that was sent; moments are of time.monotonic()."""

    event_id: str
    partition: int
    begun: float
    at: float


def connection_of(target: Target, variables: HostVariables) -> Connection:
    """Return how tools on this machine connect: as the operator, where brokers ask for a login."""
    addresses = [target.hosts[host]["host_external_address"] for host in target.groups["kafka"]]
    servers = [f"{address}:{variables['kafka_external_port']}" for address in addresses]
    # The same login as on the hosts, where the CA's certificate lies elsewhere.
    login = dict(variables["kafka_topic_security"])
    if login:
        login["ssl_cafile"] = f"{variables['certificates_store']}/ca.pem"
    return {"bootstrap_servers": servers} | login


def read_topic(connection: Connection, topic: str, seconds: float = READ_SECONDS) -> list[Message]:
    """Return every message that the topic holds now.

    Raises:
        AssertionError: They did not all come in time.
    """
    return list(stream_topic(connection, topic, seconds))


def stream_topic(
    connection: Connection, topic: str, seconds: float = READ_SECONDS
) -> Iterator[Message]:
    """Give every message that the topic holds now, for topics that are large.

    Raises:
        AssertionError: They did not all come in time.
    """
    consumer = KafkaConsumer(**connection, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        limit = time.monotonic() + seconds
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            at = {tp.partition: consumer.position(tp) for tp in partitions}
            assert time.monotonic() < limit, (
                f"{topic} was not read within {seconds:g} s: "
                f"at {at} of { ({tp.partition: end for tp, end in ends.items()}) }"
            )
            for records in consumer.poll(timeout_ms=1000).values():
                for r in records:
                    if r.offset < ends[TopicPartition(topic, r.partition)]:
                        yield Message(r.partition, r.offset, r.key, r.value, dict(r.headers))
    finally:
        consumer.close()


def canonical(record: dict[str, Any]) -> bytes:
    """Return a record as the producer would send it: sorted keys, no spaces, UTF-8."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def event_id_of(value: bytes) -> str:
    """Return the id of the event that a message's value is."""
    return hashlib.sha256(value).hexdigest()


class Feeder:
    """Sends movies of the tests' own, each once, at a steady rate, until it is closed.

    It is a well-behaved application: it takes a movie for sent when the broker has acknowledged
    it, and sends again what was not. So each movie that it counts as sent must be in silver, once.
    """

    def __init__(self, connection: Connection, topic: str, per_second: float = 20) -> None:
        """Begin to send."""
        self._topic = topic
        self._per_second = per_second
        # A new series of ids each time, so that the tests can run again on the same tables.
        self._first = time.time_ns() // 1_000_000 * 100
        # In the order of their acknowledgement, and what waits in the order of sending.
        self._sent: list[Acknowledged] = []
        self._waiting: dict[str, float] = {}
        self._failed: list[str] = []
        self._again: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._producer = KafkaProducer(
            **connection,
            acks="all",
            delivery_timeout_ms=300_000,
            request_timeout_ms=10_000,
            max_block_ms=300_000,
            reconnect_backoff_max_ms=1_000,
            metadata_max_age_ms=10_000,
        )
        self._thread = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self._thread.start()

    def sent(self) -> set[str]:
        """Return the event ids of the acknowledged movies."""
        return {row.event_id for row in self.acknowledged()}

    def acknowledged(self, since: int = 0) -> list[Acknowledged]:
        """Return the movies in the order of their acknowledgement, from the one of this number."""
        with self._guard:
            return self._sent[since:]

    def sent_since(self, seconds: float) -> int:
        """Return how many movies were acknowledged in the last seconds."""
        since = time.monotonic() - seconds
        with self._guard:
            return len(self._sent) - bisect_left(self._sent, since, key=lambda row: row.at)

    def longest_waiting(self) -> float:
        """Return for how many seconds the oldest movie has waited that is not acknowledged."""
        with self._guard:
            begun = next(iter(self._waiting.values()), None)
        return 0.0 if begun is None else time.monotonic() - begun

    def failed(self) -> list[str]:
        """Return why the client gave up on a send, once for each; these were sent again."""
        with self._guard:
            return list(self._failed)

    def longest_stall(self) -> float:
        """Return the most seconds that passed from one acknowledgement to the next."""
        rows = self.acknowledged()
        return max((b.at - a.at for a, b in pairwise(rows)), default=0.0)

    def flows(self, seconds: float) -> None:
        """Wait until the broker acknowledges new movies."""
        wait_for(
            "the broker acknowledges new movies",
            lambda: self.sent_since(1),
            lambda fresh: fresh > 0,
            seconds,
        )

    def close(self, seconds: float = 120) -> None:
        """Stop; wait for the acknowledgement of what is on its way. May be called again."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._thread.join(seconds)
        self._producer.flush(timeout=seconds)
        self._producer.close(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _feed(self) -> None:
        number, due = 0, time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            self._send(movie(self._first + number))
            number += 1
            # What a full buffer has held up is not made up for in a burst.
            due = max(due + 1 / self._per_second, time.monotonic() - 1)
            while not self._again.empty():
                self._send(self._again.get())

    def _send(self, record: dict[str, Any]) -> None:
        value = canonical(record)
        event_id = event_id_of(value)
        with self._guard:
            self._waiting.setdefault(event_id, time.monotonic())

        def acknowledged(sent: Any) -> None:
            with self._guard:
                begun = self._waiting.pop(event_id)
                self._sent.append(Acknowledged(event_id, sent.partition, begun, time.monotonic()))

        future = self._producer.send(
            self._topic,
            key=record["tconst"].encode(),
            value=value,
            headers=[("event_id", event_id.encode())],
        )
        future.add_callback(acknowledged)

        # The client gives up on what was in flight when it had to begin a new epoch.
        def refused(error: Any) -> None:
            with self._guard:
                self._failed.append(repr(error))
            self._again.put(record)

        future.add_errback(refused)


def movie(number: int) -> dict[str, Any]:
    """Return a movie that no dump holds; the same for the same number."""
    return {
        "tconst": f"{FED_PREFIX}{number:0{FED_DIGITS}d}",
        "primaryTitle": f'Fed "{number}" \u00e9\u4e2d',
        "startYear": 1900 + number % 120,
        "runtimeMinutes": None if number % 7 == 0 else 60 + number % 90,
        "genres": ["Drama", "Comedy", "News"][: number % 4],
        "averageRating": round(1 + number % 90 / 10, 1),
        "numVotes": 1000 + number % 100_000,
    }
