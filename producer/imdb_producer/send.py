"""Send messages at a steady rate and count what the broker acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from imdb_producer.client import BUFFER_BYTES, Client, GivenUp
from imdb_producer.errors import RefusedError
from imdb_producer.pacing import Pacer
from imdb_producer.records import Message
from imdb_producer.refused import Refusal
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
    """How far sending is, counted over all runs: records that are through; and of this run.

    `refused` are through too: the broker does not take them.
    """

    sent: int
    refused: int
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
        set_aside: Callable[[list[Refusal]], None],
        reread: Callable[[int, int], Iterable[Message]],
        total: int,
        position: int = 0,
    ) -> None:
        """Prepare to send what is left of `total` messages.

        Args:
            client: takes them.
            pacer: says when.
            stop: says when to stop.
            report: takes how far it is, often; must be cheap.
            keep: takes the number of messages that are acknowledged or set aside, counted from the
                first of all without a gap; when it returns, a crash does not undo it. It fails if
                another producer has taken over.
            set_aside: takes messages that the broker refuses; when it returns, a crash does not
                undo it.
            reread: gives the messages from a number to before another, counted like that.
            total: messages in all.
            position: so many were acknowledged before; they do not come.
        """
        self._client = client
        self._pacer = pacer
        self._stop = stop
        self._report = report
        self._keep = keep
        self._set_aside = set_aside
        self._reread = reread
        self._total = total
        self._position = position
        self._handed_over = 0
        self._acknowledged = 0
        self._refused = 0
        #: So many were handed over once more.
        self._again = 0
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
            self._refused,
            self._client.failed,
            self._pacer.rate(),
            self._handed_over,
            self._client.retries,
        )

    def send_all(self, messages: Iterable[Message]) -> bool:
        """Send until all are acknowledged or set aside, or stopping is asked for.

        Returns:
            True if all are, False if it was stopped before.

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
        self._take_results()
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
                if self._handed_over == self._acknowledged or not self._flush():
                    break
                # A flush may come back early while a batch is split and sent again.
                self._take_results()
                if self._acknowledged < self._handed_over and not self._gave_up:
                    self._client.wait(0.05)
        finally:
            self._keep_position()
        self._log_progress(last=True)

    def _flush(self) -> bool:
        """Flush, for a moment; say no when it is time to stop."""
        left = _TICK
        if self._stop.requested:
            left = min(left, STOP_SECONDS - self._stop.seconds_since())
            if left <= 0 and not self._gave_up:
                log.warning(
                    "Stopping with %d records unacknowledged: the next run sends them again",
                    self._handed_over - self._acknowledged,
                )
                self._gave_up = True
        if not self._gave_up:
            self._client.flush(left)
        return not self._gave_up

    def _take_results(self) -> None:
        if self._gave_up:
            return
        try:
            self._acknowledged = self._client.acknowledged() - self._again
        except RefusedError as error:
            self._acknowledged = error.acknowledged - self._again
            self._sort_out()

    def _sort_out(self) -> None:
        """Find which of the records that are out the broker refuses, and send the others.

        It refuses a batch as a whole. So when all results are there, each that was given up is sent
        by itself, with its former time. One that came behind it and is of the same movie follows
        it once more, so that the last of a movie stays the last.
        """
        if not self._wait_for_results():
            return
        first = self._position + self._acknowledged
        out = list(self._reread(first, self._position + self._handed_over))
        given_up = {it.place: it for it in self._client.take_back(out)}
        # The client has no open results; what it counts is brought back to what is through.
        self._again += len(out)
        refused: list[Refusal] = []
        later: set[bytes] = set()
        through = 0
        for index, message in enumerate(out):
            before = given_up.get(index)
            if before is not None or message.key in later:
                failed = self._send_alone(message, before.timestamp_ms if before else None)
                if failed is None:
                    break
                if failed and before is not None:
                    refused.append(Refusal(message, failed[0].reason))
                elif before is not None:
                    later.add(message.key)
            through += 1
        if refused:
            self._set_aside(refused)
            self._refused += len(refused)
        self._again -= through
        self._acknowledged += through
        self._keep_position()

    def _send_alone(self, message: Message, timestamp_ms: int | None) -> Sequence[GivenUp] | None:
        """Send one; give it if it was given up, or None when it is time to stop."""
        self._client.send(message, timestamp_ms)
        if not self._wait_for_results():
            return None
        self._again += 1
        return self._client.take_back([message])

    def _wait_for_results(self) -> bool:
        """Wait until nothing is out; say no when it is time to stop."""
        while not self._client.idle():
            self._report(self.counters)
            if time.monotonic() - self._kept_at >= _KEEP_SECONDS:
                # It may take long: another producer may have taken over.
                self._kept_at = time.monotonic()
                self._keep(self._position + max(self._acknowledged, self._kept))
            if not self._flush():
                return False
            if not self._client.idle():
                self._client.wait(0.05)
        return True

    def _log_progress(self, last: bool = False) -> None:
        """Log each full FLUSH_RECORDS, but not every one where they are many; and the end."""
        sent = self._position + self._acknowledged
        if not last:
            sent -= sent % FLUSH_RECORDS
        if sent <= self._logged:
            return
        self._logged = sent
        taken = sent - self._refused
        log.info(
            "sent %d messages of %d (%.1f %%), %.1f/s",
            taken,
            self._total,
            100 * taken / self._total,
            self._pacer.rate(),
        )
