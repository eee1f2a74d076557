"""A Kafka client that acknowledges when the test wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from imdb_producer.records import Message

OnSuccess = Callable[[object], None]
OnFailure = Callable[[BaseException], None]


@dataclass
class FakeClient:
    """Acknowledges at each flush, unless it is `silent` or has an error for the key."""

    silent: bool = False
    errors: dict[bytes, BaseException] = field(default_factory=dict)
    on_send: Callable[[Message], None] = lambda _: None
    on_flush: Callable[[], None] = lambda: None
    sent: list[Message] = field(default_factory=list)
    pending: list[tuple[Message, OnSuccess, OnFailure]] = field(default_factory=list)
    flushes: list[int] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)

    def send(self, message: Message, on_success: OnSuccess, on_failure: OnFailure) -> None:
        """Take a message."""
        self.sent.append(message)
        self.pending.append((message, on_success, on_failure))
        self.on_send(message)

    def flush(self, timeout: float) -> None:
        """Give the results."""
        assert timeout > 0
        self.flushes.append(len(self.pending))
        self.on_flush()
        if self.silent:
            return
        pending, self.pending = self.pending, []
        for message, on_success, on_failure in pending:
            if error := self.errors.get(message.key):
                on_failure(error)
            else:
                on_success(object())

    def close(self, timeout: float) -> None:
        """Note how long was waited at most."""
        self.closed.append(timeout)
