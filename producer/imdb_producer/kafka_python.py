"""The default client: kafka-python 3, all Python."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.metrics.stats import Total

from imdb_producer import client
from imdb_producer.errors import DeliveryError
from imdb_producer.records import Message

log = logging.getLogger(__name__)

#: kafka-python 3 keeps no cap on its buffer: send.py holds it to 128 MB.
SETTINGS: dict[str, object] = {
    "client_id": client.CLIENT_ID,
    "acks": "all",
    "enable_idempotence": True,
    "compression_type": client.COMPRESSION,
    "linger_ms": client.LINGER_MS,
    "batch_size": client.BATCH_BYTES,
    "max_block_ms": client.MAX_BLOCK_MS,
    "request_timeout_ms": client.REQUEST_TIMEOUT_MS,
    "delivery_timeout_ms": client.DELIVERY_TIMEOUT_MS,
    "reconnect_backoff_max_ms": client.RECONNECT_BACKOFF_MAX_MS,
    # The topic is made by its role, with its settings; a typing error must not make one.
    "allow_auto_create_topics": False,
}


class _Producer(KafkaProducer):  # type: ignore[misc]  # kafka-python has no types
    """A producer whose flush returns when its time is over, and that counts what is sent again.

    kafka-python 3.0's flush raises instead, also in the midst of its own close(), which then never
    comes to give up what is out, and does so once more when the interpreter ends.
    """

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.retries = Total()
        # It keeps a rate of them only.
        sensors = self._sender._sensors
        sensors.add_metric("record-retry-total", self.retries, sensor_name="record-retries")

    def flush(self, timeout: float | None = None) -> None:
        try:
            super().flush(timeout)
        except KafkaTimeoutError:
            log.debug("Results are still out after %s s", timeout)


class KafkaPythonClient:
    """A client by kafka-python 3.

    It keeps the results of what is out in the order of sending, and looks at the oldest: that costs
    less than two callbacks for each message, and gives the number without a gap.
    """

    def __init__(self, bootstrap_servers: Sequence[str], topic: str) -> None:
        """Connect.

        Raises:
            TopicError: no broker answers.
        """
        self._topic = topic
        self._out: deque[Any] = deque()
        self._acknowledged = 0
        self._failed = 0
        try:
            self._producer = _Producer(bootstrap_servers=list(bootstrap_servers), **SETTINGS)
        except KafkaError as error:
            raise client.unreachable(bootstrap_servers, error) from error

    def send(self, message: Message) -> None:
        """See `Client.send`."""
        key, value, event_id = message
        try:
            self._out.append(self._producer.send(self._topic, value, key, [("event_id", event_id)]))
        except KafkaError as error:
            raise DeliveryError(
                f"Kafka did not take record {message.key.decode()}: {error}. "
                f"Check that the topic {self._topic} exists and that its broker is up."
            ) from error

    def acknowledged(self) -> int:
        """See `Client.acknowledged`."""
        out = self._out
        done = 0
        while out and out[0].is_done:
            if out[0].exception is not None:
                self._acknowledged += done
                self._failed = sum(result.failed() for result in out)
                error = out[0].exception
                raise DeliveryError(
                    client.not_delivered(
                        self._failed, self._acknowledged, f"{type(error).__name__}: {error}"
                    )
                ) from error
            out.popleft()
            done += 1
        self._acknowledged += done
        return self._acknowledged

    @property
    def failed(self) -> int:
        """See `Client.failed`."""
        return self._failed

    @property
    def retries(self) -> int:
        """See `Client.retries`."""
        return int(self._producer.retries.measure(None, 0))

    def wait(self, timeout: float) -> None:
        """See `Client.wait`."""
        if self._out:
            try:
                self._out[0].get(timeout)
            except KafkaError:
                # Time is over, or it failed, which `acknowledged` tells.
                log.debug("The oldest message is not acknowledged")

    def flush(self, timeout: float) -> None:
        """See `Client.flush`."""
        self._producer.flush(timeout)

    def close(self, timeout: float) -> None:
        """See `Client.close`."""
        self._producer.close(timeout)
