"""When the next message is due."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds by which sending may be late and still catch up; more is forgotten.
MAX_DEBT = 1.0


class Pacer:
    """Deadlines at even distances on a monotonic clock.

    A late message is followed by the next ones sooner, so that the rate asked for is
    the rate achieved. After a stall of more than MAX_DEBT the plan begins anew instead:
    there is no burst.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Plan `rate` messages a second; 0 means that each is due at once."""
        self._interval = 1 / rate if rate else 0.0
        self._clock = clock
        self._start: float | None = None
        self._planned = 0
        self._first: float | None = None
        self._last = 0.0
        self._sent = 0

    @property
    def paced(self) -> bool:
        """Whether there is a rate to keep."""
        return self._interval > 0

    def delay(self) -> float:
        """Give the seconds until the next message is due; 0 if it is due now."""
        if not self._interval:
            return 0.0
        now = self._clock()
        if self._start is None:
            self._start = now
        due = self._start + self._planned * self._interval
        if now - due > MAX_DEBT:
            self._start, self._planned, due = now, 0, now
        return max(0.0, due - now)

    def sent(self, count: int = 1) -> None:
        """Say that so many messages were sent just now."""
        self._last = self._clock()
        if self._first is None:
            # The first may take long, as the client has yet to meet the broker.
            self._first = self._start = self._last
        self._planned += count
        self._sent += count

    def rate(self) -> float:
        """Give the messages a second so far: (n - 1) / (last - first), 0 for fewer than two."""
        if self._first is None or self._last <= self._first:
            return 0.0
        return (self._sent - 1) / (self._last - self._first)
