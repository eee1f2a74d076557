"""Settings as a command reads them, and a Kafka client that acknowledges when the test wants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from imdb_producer.cli import program
from imdb_producer.client import GivenUp
from imdb_producer.config import Config
from imdb_producer.errors import DeliveryError, RefusedError
from imdb_producer.records import Message


def configured(environment: Mapping[str, str], *options: str, command: str = "run") -> Config:
    """Give the settings of a command that is given these options."""
    context = program.commands[command].make_context(command, list(options), obj=environment)
    return Config.of(context)


@dataclass
class FakeClient:
    """Acknowledges at each flush, unless it is `silent` or has an error for the key.

    With `eager` it acknowledges each message at once. `batch` messages at a time are refused if one
    of them has a key of `refuses`; `topic` is what was taken.
    """

    silent: bool = False
    eager: bool = False
    errors: dict[bytes, BaseException] = field(default_factory=dict)
    refuses: set[bytes] = field(default_factory=set)
    batch: int = 3
    on_send: Callable[[Message], None] = lambda _: None
    on_flush: Callable[[], None] = lambda: None
    on_wait: Callable[[], None] = lambda: None
    sent: list[Message] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    topic: list[Message] = field(default_factory=list)
    taken_back: int = 0
    flushes: list[int] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)
    results: int = 0
    retries: int = 0

    def send(self, message: Message, timestamp_ms: int | None = None) -> None:
        """Take a message."""
        self.sent.append(message)
        self.times.append(timestamp_ms)
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
        if self._refused():
            raise RefusedError(self.taken_back + self._refused()[0])
        return self.results

    def _refused(self) -> list[int]:
        """Give the places, behind what was taken back, of all in a batch that was refused."""
        out = self.sent[self.taken_back : self.results]
        batches = [out[at : at + self.batch] for at in range(0, len(out), self.batch)]
        return [
            number * self.batch + place
            for number, batch in enumerate(batches)
            if any(message.key in self.refuses for message in batch)
            for place in range(len(batch))
        ]

    def idle(self) -> bool:
        """Say whether there is a result for each."""
        return self.results == len(self.sent)

    def take_back(self, messages: Sequence[Message]) -> list[GivenUp]:
        """Give those in refused batches."""
        out = self.sent[self.taken_back :]
        first = len(out) - len(messages)
        assert out[first:] == list(messages)
        refused = self._refused()
        self.topic += [it for place, it in enumerate(out) if place not in refused]
        self.taken_back = len(self.sent)
        return [GivenUp(place - first, 1000 + place, "TooLarge") for place in refused]

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
