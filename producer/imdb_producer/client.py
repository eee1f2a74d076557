"""The Kafka client, behind the few calls that sending needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from imdb_producer.errors import TopicError
from imdb_producer.records import Message

CLIENT_ID = "imdb-producer"
COMPRESSION = "gzip"
LINGER_MS = 100
BATCH_BYTES = 32 * 1024
BUFFER_BYTES = 128 * 1024 * 1024
MAX_BLOCK_MS = 120_000
REQUEST_TIMEOUT_MS = 30_000
#: The broker says what is too large (`max.message.bytes`, of what is left after compression), not
#: the client; a broker ends the connection at 100 MiB (`socket.request.max.bytes`).
RECORD_BYTES = 64 * 1024 * 1024
#: How long a record may wait for a broker that is away.
DELIVERY_TIMEOUT_MS = 120_000
#: The client's default would leave a broker that is back unnoticed for long.
RECONNECT_BACKOFF_MAX_MS = 2_000


class GivenUp(NamedTuple):
    """A message that was given up: its place among those asked for, its time, and why."""

    place: int
    timestamp_ms: int
    reason: str


class Client(Protocol):
    """What sending needs of a Kafka client. Used by one thread.

    Every client sends with acks=all and idempotence: a record that is taken is in the topic once
    and in order, whatever is sent again, for as long as the client lives.
    """

    def send(self, message: Message, timestamp_ms: int | None = None) -> None:
        """Hand over a message; its time is now if none is given.

        Raises:
            DeliveryError: it was not taken.
        """

    def acknowledged(self) -> int:
        """Give how many messages the broker has, counted from the first on without a gap.

        Raises:
            DeliveryError: a message was given up.
            RefusedError: the broker refuses a batch for what is in it.
        """

    def idle(self) -> bool:
        """Say whether all that was handed over has its result."""

    def take_back(self, messages: Sequence[Message]) -> list[GivenUp]:
        """Give those that were given up, and count all of them as acknowledged from here on.

        Args:
            messages: all that were handed over since the last that `acknowledged` counted, in
                their order. Each has its result.

        Raises:
            DeliveryError: one was given up for what is not about the message.
        """

    @property
    def failed(self) -> int:
        """How many messages were given up, as far as it was noticed."""

    @property
    def retries(self) -> int:
        """How many messages were sent once more."""

    def wait(self, timeout: float) -> None:
        """Wait for the next acknowledgement, at most about `timeout` seconds."""

    def flush(self, timeout: float) -> None:
        """Send what is buffered; wait for its results, at most about `timeout` seconds."""

    def close(self, timeout: float) -> None:
        """Give up the connection, waiting at most about `timeout` seconds for results."""


def unreachable(bootstrap_servers: Sequence[str], error: object) -> TopicError:
    """Make the error of brokers that do not answer."""
    return TopicError(
        f"No Kafka broker answers at {','.join(bootstrap_servers)}: {error}. "
        "Check KAFKA_BOOTSTRAP_SERVERS and that the broker is up (journalctl -u kafka there)."
    )


def not_delivered(failed: int, acknowledged: int, error: object) -> str:
    """Give the text of the error of messages that were given up."""
    return (
        f"The broker did not take {failed} records, {acknowledged} are delivered: "
        f"{error}. {_advice(str(error))}; starting again goes on after the last record that was "
        "acknowledged."
    )


def _advice(error: str) -> str:
    if "timestamp" in error.lower():
        return (
            "A record's time is that of this host's clock: compare it with the broker's "
            "(timedatectl on both), and with the topic's message.timestamp.after.max.ms and "
            "message.timestamp.before.max.ms"
        )
    return "Check the broker (journalctl -u kafka there)"
