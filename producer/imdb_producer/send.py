"""Send messages at a steady rate and count what the broker acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from imdb_producer.client import BUFFER_BYTES, Client
from imdb_producer.pacing import Pacer
from imdb_producer.records import Message
from imdb_producer.stop import Stop

log = logging.getLogger(__name__)

#: At a steady rate everything is flushed, and how far it came is kept, at least every so many
#: records: after a crash no more than these can be sent twice.
FLUSH_RECORDS = 500
#: As fast as possible a flush would be a standstill: batches fill by themselves. Instead so many
#: records at most are out, or not yet kept as acknowledged.
WINDOW_RECORDS = 16_384
#: Seconds that a stop may take to get the last results; the whole of it stays within 5 s.
STOP_SECONDS = 4.0
#: Seconds after which progress is reported, and a request to stop seen, at the latest.
_TICK = 0.5
#: Seconds between two looks at what is acknowledged, and after which it is kept at the latest.
_LOOK_SECONDS = 0.1
_KEEP_SECONDS = 1.0
#: After a pause of so many seconds another producer may have taken over: it is asked for before
#: anything more is sent.
_PAUSE_SECONDS = 5.0
#: Unthrottled, so many records are sent between two looks at the clock and at what came back.
_LOOK_RECORDS = 64


@dataclass(frozen=True, slots=True)
class Counters:
    """How far sending is, counted over all runs: acknowledged records; and of this run."""

    sent: int
    failed: int
    rate: float
    handed_over: int
    retries: int


class Sender:
    """Sends messages one by one, when each is due."""

    def __init__(
        self,
        client: Client,
        pacer: Pacer,
        stop: Stop,
        *,
        report: Callable[[Counters], None],
        keep: Callable[[int], None],
        total: int,
        position: int = 0,
    ) -> None:
        """Prepare to send what is left of `total` messages.

        Args:
            client: takes them.
            pacer: says when.
            stop: says when to stop.
            report: takes how far it is, often; must be cheap.
            keep: takes the number of messages that are acknowledged, counted from the first of all
                without a gap; when it returns, a crash does not undo it. It fails if another
                producer has taken over.
            total: messages in all.
            position: so many were acknowledged before; they do not come.
        """
        self._client = client
        self._pacer = pacer
        self._stop = stop
        self._report = report
        self._keep = keep
        self._total = total
        self._position = position
        self._handed_over = 0
        self._acknowledged = 0
        self._kept = 0
        self._kept_at = self._looked_at = 0.0
        self._logged = position
        self._gave_up = False
        self._window = FLUSH_RECORDS if pacer.paced else WINDOW_RECORDS

    @property
    def counters(self) -> Counters:
        """How far sending is."""
        return Counters(
            self._position + self._acknowledged,
            self._client.failed,
            self._pacer.rate(),
            self._handed_over,
            self._client.retries,
        )

    def send_all(self, messages: Iterable[Message]) -> bool:
        """Send until all are acknowledged or stopping is asked for.

        Returns:
            True if all are acknowledged, False if it was stopped before.

        Raises:
            DeliveryError: the broker did not take a record.
        """
        paced = self._pacer.paced
        send, sent = self._client.send, self._pacer.sent
        records = size = 0
        self._kept_at = time.monotonic()
        rest = iter(messages)
        # What is done for each message is what a replay takes: it is little.
        while some := list(islice(rest, 1 if paced else _LOOK_RECORDS)):
            if paced:
                if not self._wait_for_turn():
                    break
            else:
                self._look()
                if self._stop.requested:
                    break
            for message in some:
                send(message)
            sent(len(some))
            self._handed_over += len(some)
            records += len(some)
            size += sum([len(message.value) for message in some])
            if (paced and records >= FLUSH_RECORDS) or size >= BUFFER_BYTES:
                self._settle()
                records = size = 0
            elif self._handed_over - self._kept >= self._window:
                self._make_room()
        if not self._gave_up:
            self._settle()
        return self._position + self._acknowledged == self._total

    def _wait_for_turn(self) -> bool:
        """Wait until a message is due; say no if stopping is asked for."""
        while not self._stop.requested:
            if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
                self._look()
            delay = self._pacer.delay()
            if not delay:
                return True
            self._stop.wait(min(delay, _TICK))
        return False

    def _look(self) -> None:
        """See what is acknowledged; keep and report it when it is time to."""
        before, self._looked_at = self._looked_at, time.monotonic()
        self._acknowledged = self._client.acknowledged()
        if before and self._looked_at - before > _PAUSE_SECONDS:
            self._keep(self._position + self._acknowledged)
        if self._looked_at - self._kept_at >= _KEEP_SECONDS:
            self._keep_position()
        self._log_progress()
        self._report(self.counters)

    def _keep_position(self) -> None:
        self._kept_at = time.monotonic()
        if self._acknowledged > self._kept:
            self._keep(self._position + self._acknowledged)
            self._kept = self._acknowledged

    def _make_room(self) -> None:
        """Wait until at most half of the window is out, and keep how far it came."""
        while not self._stop.requested:
            self._look()
            if self._handed_over - self._acknowledged <= self._window // 2:
                break
            self._client.wait(_TICK)
        self._keep_position()

    def _settle(self) -> None:
        """Flush and wait for every result; after a request to stop only STOP_SECONDS."""
        try:
            while True:
                self._look()
                out = self._handed_over - self._acknowledged
                if not out:
                    break
                left = _TICK
                if self._stop.requested:
                    left = min(left, STOP_SECONDS - self._stop.seconds_since())
                    if left <= 0:
                        self._gave_up = True
                        log.warning(
                            "Stopping with %d records unacknowledged: the next run sends them "
                            "again",
                            out,
                        )
                        break
                self._client.flush(left)
                # A flush may come back early while a batch is split and sent again.
                self._acknowledged = self._client.acknowledged()
                if self._acknowledged < self._handed_over:
                    self._client.wait(min(left, 0.05))
        finally:
            self._keep_position()
        self._log_progress(last=True)

    def _log_progress(self, last: bool = False) -> None:
        """Log each full FLUSH_RECORDS, but not every one where they are many; and the end."""
        sent = self._position + self._acknowledged
        if not last:
            sent -= sent % FLUSH_RECORDS
        if sent <= self._logged:
            return
        self._logged = sent
        log.info(
            "sent %d messages of %d (%.1f %%), %.1f/s",
            sent,
            self._total,
            100 * sent / self._total,
            self._pacer.rate(),
        )
