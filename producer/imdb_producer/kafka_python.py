"""The default client: kafka-python 3, all Python."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    InvalidRecordError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailedError,
    UnknownError,
)
from kafka.metrics.stats import Total

from imdb_producer import client
from imdb_producer.access import kafka_python_settings
from imdb_producer.errors import DeliveryError, RefusedError
from imdb_producer.records import Message
from imdb_producer.security import PLAIN, Security

log = logging.getLogger(__name__)

#: kafka-python 3 keeps no cap on its buffer: send.py holds it to 128 MB.
SETTINGS: dict[str, object] = {
    "client_id": client.CLIENT_ID,
    "acks": "all",
    "enable_idempotence": True,
    "compression_type": client.COMPRESSION,
    "linger_ms": client.LINGER_MS,
    "batch_size": client.BATCH_BYTES,
    "max_request_size": client.RECORD_BYTES,
    "max_block_ms": client.MAX_BLOCK_MS,
    "request_timeout_ms": client.REQUEST_TIMEOUT_MS,
    "delivery_timeout_ms": client.DELIVERY_TIMEOUT_MS,
    "reconnect_backoff_max_ms": client.RECONNECT_BACKOFF_MAX_MS,
    # The topic is made by its role, with its settings; a typing error must not make one.
    "allow_auto_create_topics": False,
}


#: What the broker says of a record, not of everything. A time that it does not take is of this
#: host's clock, which every record has.
_ABOUT_THE_RECORD = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)


def _is_about_the_record(error: BaseException) -> bool:
    # The others of a batch with an invalid record get an error without a kind.
    return isinstance(error, _ABOUT_THE_RECORD) or (
        type(error) is KafkaError and "part of a batch" in str(error)
    )


class _NoFailures(dict[Any, Any]):
    """In place of what kafka-python keeps of nodes that refused it, and then never asks again."""

    def __setitem__(self, node: Any, error: Any) -> None:
        log.debug("Node %s: %s", node, error)


class _Producer(KafkaProducer):  # type: ignore[misc]  # kafka-python has no types
    """A producer whose flush returns when its time is over, and that counts what is sent again.

    kafka-python 3.0's flush raises instead, also in the midst of its own close(), which then never
    comes to give up what is out, and does so once more when the interpreter ends. And where the
    broker refuses one record, an idempotent producer of 3.0.12 gives up all that is out, and can
    send nothing any more.

    A password that was changed makes it fail for good too. Here that is as a connection that is
    lost: what is out waits, and goes on by the same producer id, so that the broker takes each
    record once, when the password in the file is the right one.
    """

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.retries = Total()
        # It keeps a rate of them only.
        sensors = self._sender._sensors
        sensors.add_metric("record-retry-total", self.retries, sensor_name="record-retries")
        self._transactions = self._sender._transaction_manager
        self._classify = self._transactions.classify_batch_error
        self._transactions.classify_batch_error = self._judge
        self._sender._client._manager._auth_failures = _NoFailures()
        self._fail = self._sender._failed_produce
        self._sender._failed_produce = self._failed_produce

    def _failed_produce(self, batches: Any, node_id: Any, error: BaseException) -> None:
        if isinstance(error, SaslAuthenticationFailedError):
            error = KafkaConnectionError(str(error))
        self._fail(batches, node_id, error)

    def _judge(self, error: BaseException, batch: Any, log_start_offset: int = -1) -> Any:
        """Say what follows from a batch that failed: of one that was refused, nothing else."""
        transactions = self._transactions
        if not isinstance(error, _ABOUT_THE_RECORD):
            return self._classify(error, batch, log_start_offset)
        # The broker has not counted its records, and nothing of the partition is out behind it.
        if transactions.producer_id_and_epoch.match(batch):
            transactions.set_sequence_number(batch.topic_partition, batch.base_sequence)
        return transactions.ERROR_CLASS_RETRIABLE

    def flush(self, timeout: float | None = None) -> None:
        try:
            super().flush(timeout)
        except (KafkaTimeoutError, UnknownError) as error:
            # The latter comes of a batch that is split meanwhile.
            log.debug("Results are still out after %s s: %s", timeout, error)


def _text_of(error: BaseException) -> str:
    # The broker's own words, if it had any.
    said = error.args[0] if error.args else None
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class _NotTaken:
    """The result of a message that kafka-python itself finds too large."""

    is_done = True

    def __init__(self, error: KafkaError) -> None:
        self.exception = error
        # As kafka-python's own results have it: the second is the time in milliseconds.
        self.args = (0, int(time.time() * 1000))

    def failed(self) -> bool:
        return True

    def get(self, _timeout: float) -> None:
        raise self.exception


class KafkaPythonClient:
    """A client by kafka-python 3.

    It keeps the results of what is out in the order of sending, and looks at the oldest: that costs
    less than two callbacks for each message, and gives the number without a gap.
    """

    def __init__(
        self, bootstrap_servers: Sequence[str], topic: str, security: Security = PLAIN
    ) -> None:
        """Connect.

        Raises:
            TopicError: no broker answers.
        """
        self._topic = topic
        self._out: deque[Any] = deque()
        self._acknowledged = 0
        self._failed = 0
        try:
            self._producer = _Producer(
                bootstrap_servers=list(bootstrap_servers),
                **SETTINGS,
                **kafka_python_settings(security),
            )
        except KafkaError as error:
            raise client.unreachable(bootstrap_servers, error) from error

    def send(self, message: Message, timestamp_ms: int | None = None) -> None:
        """See `Client.send`."""
        try:
            self._out.append(
                self._producer.send(
                    self._topic, message.value, message.key, message.headers, None, timestamp_ms
                )
            )
        except MessageSizeTooLargeError as error:
            self._out.append(_NotTaken(error))
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
                if _is_about_the_record(out[0].exception):
                    raise RefusedError(self._acknowledged)
                raise self._not_delivered(out[0].exception) from out[0].exception
            out.popleft()
            done += 1
        self._acknowledged += done
        return self._acknowledged

    def _not_delivered(self, error: BaseException) -> DeliveryError:
        self._failed = sum(result.failed() for result in self._out)
        return DeliveryError(
            client.not_delivered(self._failed, self._acknowledged, _text_of(error))
        )

    def idle(self) -> bool:
        """See `Client.idle`."""
        return all(result.is_done for result in self._out)

    def take_back(self, messages: Sequence[Message]) -> list[client.GivenUp]:
        """See `Client.take_back`."""
        given_up = []
        for index, (_, result) in enumerate(zip(messages, self._out, strict=True)):
            error = result.exception
            if error is not None and not _is_about_the_record(error):
                raise self._not_delivered(error) from error
            if error is not None:
                given_up.append(client.GivenUp(index, result.args[1], _text_of(error)))
        self._acknowledged += len(self._out)
        self._out.clear()
        return given_up

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
