"""Send messages at a steady rate and count what the broker acknowledged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from imdb_producer.client import Client
from imdb_producer.errors import DeliveryError
from imdb_producer.pacing import Pacer
from imdb_producer.records import Message
from imdb_producer.stop import Stop

log = logging.getLogger(__name__)

#: At most so many records, or bytes of them, are out without having been flushed.
FLUSH_RECORDS = 500
BUFFER_BYTES = 128 * 1024 * 1024
#: Seconds that a stop may take to get the last results; the whole of it stays within 5 s.
STOP_SECONDS = 4.0
#: Seconds after which progress is reported, and a request to stop seen, at the latest.
_TICK = 0.5


class Deliveries:
    """Counts results. The client calls it from its own thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._handed_over = 0
        self._acknowledged = 0
        self._failed = 0
        self._error: BaseException | None = None

    def handed_over(self) -> None:
        """Count a message that the client took."""
        with self._changed:
            self._handed_over += 1

    def succeeded(self, _metadata: object) -> None:
        """Count a message that the broker acknowledged."""
        with self._changed:
            self._acknowledged += 1
            self._changed.notify_all()

    def failed_with(self, error: BaseException) -> None:
        """Count a message that was given up; the first error is kept."""
        with self._changed:
            self._failed += 1
            self._error = self._error or error
            self._changed.notify_all()

    @property
    def acknowledged(self) -> int:
        """Messages that the broker has."""
        return self._acknowledged

    @property
    def failed(self) -> int:
        """Messages that were given up."""
        return self._failed

    @property
    def outstanding(self) -> int:
        """Messages whose result is not known yet."""
        with self._changed:
            return self._handed_over - self._acknowledged - self._failed

    def wait(self, timeout: float) -> None:
        """Wait for the next result, at most `timeout` seconds."""
        with self._changed:
            if self._handed_over > self._acknowledged + self._failed:
                self._changed.wait(timeout)

    def check(self) -> None:
        """Go on only if nothing failed.

        Raises:
            DeliveryError: with the first error.
        """
        if self._error is not None:
            raise DeliveryError(
                f"The broker did not take {self._failed} records, {self._acknowledged} are "
                f"delivered: {type(self._error).__name__}: {self._error}. Check the broker "
                "(journalctl -u kafka there); starting again sends every record once more, "
                "under the same event id."
            ) from self._error


@dataclass(frozen=True, slots=True)
class Progress:
    """How far sending is: acknowledged and failed records, and records a second."""

    sent: int
    failed: int
    rate: float


class Sender:
    """Sends messages one by one, when each is due."""

    def __init__(
        self,
        client: Client,
        pacer: Pacer,
        stop: Stop,
        report: Callable[[Progress], None],
        total: int,
    ) -> None:
        """Prepare to send `total` messages; `report` is called often and must be cheap."""
        self._client = client
        self._pacer = pacer
        self._stop = stop
        self._report = report
        self._total = total
        self._deliveries = Deliveries()

    @property
    def progress(self) -> Progress:
        """How far sending is."""
        return Progress(self._deliveries.acknowledged, self._deliveries.failed, self._pacer.rate())

    def send_all(self, messages: Iterable[Message]) -> bool:
        """Send until all are acknowledged or stopping is asked for.

        Returns:
            True if all are acknowledged, False if it was stopped before.

        Raises:
            DeliveryError: the broker did not take a record.
        """
        records = size = 0
        for message in messages:
            if not self._wait_for_turn():
                break
            self._client.send(message, self._deliveries.succeeded, self._deliveries.failed_with)
            self._deliveries.handed_over()
            self._pacer.sent()
            self._deliveries.check()
            records += 1
            size += len(message.key) + len(message.value)
            if records >= FLUSH_RECORDS or size >= BUFFER_BYTES:
                self._settle()
                self._log_progress()
                records = size = 0
        if records:
            self._settle()
            self._log_progress()
        return self._deliveries.acknowledged == self._total

    def _wait_for_turn(self) -> bool:
        """Wait until a message is due; say no if stopping is asked for."""
        while not self._stop.requested:
            self._report(self.progress)
            delay = self._pacer.delay()
            if not delay:
                return True
            self._stop.wait(min(delay, _TICK))
        return False

    def _settle(self) -> None:
        """Flush and wait for every result; after a request to stop only STOP_SECONDS."""
        while self._deliveries.outstanding:
            left = _TICK
            if self._stop.requested:
                left = min(left, STOP_SECONDS - self._stop.seconds_since())
                if left <= 0:
                    log.warning(
                        "Stopping with %d records unacknowledged: the next run sends them again",
                        self._deliveries.outstanding,
                    )
                    return
            self._client.flush(left)
            self._deliveries.check()
            self._report(self.progress)
            # A flush may come back early while a batch is split and sent again.
            self._deliveries.wait(min(left, 0.05))
        self._deliveries.check()

    def _log_progress(self) -> None:
        sent = self._deliveries.acknowledged
        log.info(
            "sent %d messages of %d (%.1f %%), %.1f/s",
            sent,
            self._total,
            100 * sent / self._total,
            self._pacer.rate(),
        )
