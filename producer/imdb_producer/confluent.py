"""The fast client, of the extra `fast`: confluent-kafka, which is librdkafka, in C."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from imdb_producer import client
from imdb_producer.errors import ConfigError, DeliveryError, RefusedError
from imdb_producer.records import Message, event_id
from imdb_producer.security import MECHANISM, PLAIN, Security

log = logging.getLogger(__name__)

#: The same as the default client's, by librdkafka's names, but for larger batches that wait
#: less, as this client is for replays. lz4 would take a third less, but not every reader has it.
SETTINGS: dict[str, Any] = {
    "client.id": client.CLIENT_ID,
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": client.COMPRESSION,
    # The fastest: it makes some more bytes, and takes less than half the time.
    "compression.level": 1,
    "linger.ms": 10,
    "batch.size": 8 * client.BATCH_BYTES,
    "message.max.bytes": client.RECORD_BYTES,
    "queue.buffering.max.kbytes": client.BUFFER_BYTES // 1024,
    "queue.buffering.max.messages": 1_000_000,
    "request.timeout.ms": client.REQUEST_TIMEOUT_MS,
    "delivery.timeout.ms": client.DELIVERY_TIMEOUT_MS,
    "reconnect.backoff.max.ms": client.RECONNECT_BACKOFF_MAX_MS,
    "allow.auto.create.topics": False,
    # The partition of a key is the one that the default client and Kafka's own take.
    "partitioner": "murmur2_random",
    "statistics.interval.ms": 1000,
}
#: Messages whose results are counted together, and after which those that came are taken. One
#: by one it took a fifth of the time.
_GROUP = 64
#: What the broker, or the client in its place, says of a record and of those in its batch.
_ABOUT_THE_RECORD = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError._INVALID_DIFFERENT_RECORD,
}


class _Group:
    """Some messages that were handed over one after the other."""

    __slots__ = ("_client", "delivered", "on_delivery", "size")

    def __init__(self, owner: ConfluentClient) -> None:
        self._client = owner
        self.size = 0
        self.delivered = 0
        # Bound once, not for each message.
        self.on_delivery = self._on_delivery

    def _on_delivery(self, error: Any, message: Any) -> None:
        if error is None:
            self.delivered += 1
        else:
            # Of what was not delivered it tells no time, but how long ago that was.
            moment = time.time() - max(message.latency() or 0.0, 0.0)
            if error.code() == KafkaError._AUTHENTICATION:
                again = _Again(self, message.key(), message.value(), int(moment * 1000))
                self._client.to_send_again.append(again)
            else:
                self._client.give_up(message.value(), int(moment * 1000), error)


class _Again(NamedTuple):
    """A message that was under way when the broker stopped taking the password: it has not it."""

    group: _Group
    key: bytes
    value: bytes
    timestamp_ms: int


class ConfluentClient:
    """A client by confluent-kafka."""

    def __init__(
        self, bootstrap_servers: Sequence[str], topic: str, security: Security = PLAIN
    ) -> None:
        """Make it; it connects when it sends."""
        self._topic = topic
        self._acknowledged = 0
        self._groups = deque([_Group(self)])
        #: By value, the time and the reason of each message that was given up.
        self._given_up: defaultdict[bytes, list[tuple[int, Any]]] = defaultdict(list)
        self._failed = 0
        self._error: Any = None
        self._retries = 0
        self._security = security
        self._not_let_in = False
        self.to_send_again: deque[_Again] = deque()
        self._password = security.password() if security.enabled else ""
        self._version = b""
        self._producer = Producer(
            SETTINGS
            | self._security_settings()
            | {
                "bootstrap.servers": ",".join(bootstrap_servers),
                "stats_cb": self._take_statistics,
                "logger": log,
            }
        )
        self._produce = self._producer.produce

    def _security_settings(self) -> dict[str, Any]:
        if not self._security.enabled:
            return {}
        return {
            "security.protocol": self._security.protocol,
            "ssl.ca.location": self._security.cafile,
            "sasl.mechanism": MECHANISM,
            "sasl.username": self._security.username,
            "sasl.password": self._password,
            "error_cb": self._take_error,
        }

    def _take_error(self, error: Any) -> None:
        """Take what is wrong with a connection, which librdkafka tries again by itself."""
        log.warning("%s", error.str())
        if error.code() == KafkaError._AUTHENTICATION:
            # Not here: the library takes no call of this kind in the midst of another.
            self._not_let_in = True

    def _take_password(self) -> None:
        """Take the password anew: it may have been changed since."""
        self._not_let_in = False
        try:
            password = self._security.password()
        except ConfigError as reason:
            log.warning("%s", reason)
            return
        if password != self._password:
            self._password = password
            self._producer.set_sasl_credentials(self._security.username, password)

    def send(self, message: Message, timestamp_ms: int | None = None) -> None:
        """See `Client.send`."""
        # It is the same for all of a run, and what is sent again comes back without it.
        self._version = message.version
        group = self._groups[-1]
        # The client takes no time of None; 0 is now.
        moment = timestamp_ms or 0
        deadline = 0.0
        while True:
            try:
                self._produce(
                    self._topic,
                    message.value,
                    message.key,
                    on_delivery=group.on_delivery,
                    timestamp=moment,
                    headers=message.headers,
                )
                break
            except BufferError:
                now = time.monotonic()
                deadline = deadline or now + client.MAX_BLOCK_MS / 1000
                if now > deadline:
                    raise self._not_taken(message, "its buffer stays full") from None
                self._producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() not in _ABOUT_THE_RECORD:
                    raise self._not_taken(message, error) from error
                self.give_up(message.value, moment or int(time.time() * 1000), error.args[0])
                break
        group.size += 1
        if group.size == _GROUP:
            self._groups.append(_Group(self))
            self._producer.poll(0)

    def _not_taken(self, message: Message, reason: object) -> DeliveryError:
        return DeliveryError(
            f"Kafka did not take record {message.key.decode()}: {reason}. "
            f"Check that the topic {self._topic} exists and that its broker is up."
        )

    def give_up(self, value: bytes, timestamp_ms: int, error: Any) -> None:
        """Take that a message was given up."""
        self._failed += 1
        if error.code() in _ABOUT_THE_RECORD:
            self._given_up[value].append((timestamp_ms, error))
        else:
            self._error = self._error or error

    def _take_statistics(self, text: str) -> None:
        brokers = json.loads(text).get("brokers", {}).values()
        self._retries = sum(broker.get("txretries", 0) for broker in brokers)

    def acknowledged(self) -> int:
        """See `Client.acknowledged`."""
        self._producer.poll(0)
        if self._not_let_in:
            self._take_password()
        self._send_again()
        groups = self._groups
        while len(groups) > 1 and groups[0].delivered == _GROUP:
            groups.popleft()
            self._acknowledged += _GROUP
        acknowledged = self._acknowledged
        # Those of several partitions come in any order, so a group counts when all of it is there.
        if len(groups) == 1 and groups[0].delivered == groups[0].size:
            acknowledged += groups[0].size
        if self._error is not None:
            raise DeliveryError(client.not_delivered(self._failed, acknowledged, self._error))
        if self._given_up:
            raise RefusedError(acknowledged)
        return acknowledged

    def _send_again(self) -> None:
        while self.to_send_again:
            group, key, value, moment = self.to_send_again[0]
            try:
                self._produce(
                    self._topic,
                    value,
                    key,
                    on_delivery=group.on_delivery,
                    timestamp=moment,
                    headers=Message(key, value, event_id(value).encode(), self._version).headers,
                )
            except BufferError:
                break
            self.to_send_again.popleft()

    def idle(self) -> bool:
        """See `Client.idle`."""
        self._send_again()
        return len(self._producer) == 0 and not self.to_send_again

    def take_back(self, messages: Sequence[Message]) -> list[client.GivenUp]:
        """See `Client.take_back`."""
        if self._error is not None:
            # With which it says how many are there.
            self.acknowledged()
        given_up = []
        for index, message in enumerate(messages):
            if self._given_up.get(message.value):
                moment, error = self._given_up[message.value].pop(0)
                given_up.append(client.GivenUp(index, moment, f"{error.name()}: {error.str()}"))
        self._given_up.clear()
        self._failed = 0
        self._acknowledged += len(messages)
        self._groups = deque([_Group(self)])
        return given_up

    @property
    def failed(self) -> int:
        """See `Client.failed`."""
        return self._failed

    @property
    def retries(self) -> int:
        """See `Client.retries`."""
        return self._retries

    def wait(self, timeout: float) -> None:
        """See `Client.wait`."""
        self._producer.poll(timeout)

    def flush(self, timeout: float) -> None:
        """See `Client.flush`."""
        self._producer.flush(timeout)

    def close(self, timeout: float) -> None:
        """See `Client.close`."""
        self._producer.flush(timeout)
        # What is still out is given up, else the interpreter would wait for it at its end.
        self._producer.purge()
        self._producer.flush(timeout)
