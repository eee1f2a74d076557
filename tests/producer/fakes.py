"""A Kafka client that acknowledges when the test wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from imdb_producer.errors import DeliveryError
from imdb_producer.records import Message


@dataclass
class FakeClient:
    """Acknowledges at each flush, unless it is `silent` or has an error for the key.

    With `eager` it acknowledges each message at once.
    """

    silent: bool = False
    eager: bool = False
    errors: dict[bytes, BaseException] = field(default_factory=dict)
    on_send: Callable[[Message], None] = lambda _: None
    on_flush: Callable[[], None] = lambda: None
    on_wait: Callable[[], None] = lambda: None
    sent: list[Message] = field(default_factory=list)
    flushes: list[int] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)
    results: int = 0
    retries: int = 0

    def send(self, message: Message) -> None:
        """Take a message."""
        self.sent.append(message)
        if self.eager:
            self.results = len(self.sent)
        self.on_send(message)

    @property
    def failed(self) -> int:
        """Messages given up."""
        return sum(message.key in self.errors for message in self.sent[: self.results])

    def acknowledged(self) -> int:
        """Give the number up to the first that failed."""
        if self.failed:
            error = next(iter(self.errors.values()))
            raise DeliveryError(
                f"The broker did not take {self.failed} records: {type(error).__name__}: {error}"
            )
        return self.results

    def flush(self, timeout: float) -> None:
        """Give the results."""
        assert timeout > 0
        self.flushes.append(len(self.sent) - self.results)
        self.on_flush()
        if not self.silent:
            self.results = len(self.sent)

    def wait(self, timeout: float) -> None:
        """Give the results, as time passes."""
        assert timeout > 0
        self.on_wait()
        if not self.silent:
            self.results = len(self.sent)

    def close(self, timeout: float) -> None:
        """Note how long was waited at most."""
        self.closed.append(timeout)
