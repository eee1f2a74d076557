"""How the program is asked to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequested(BaseException):
    """SIGTERM or SIGINT came while nothing was under way that must be finished."""


class Stop:
    """A request to stop: seen by loops, and an exception in phases that may be cut off."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._interruptible = False
        self._at = 0.0

    def install(self) -> None:
        """Take SIGTERM and SIGINT as the request."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.request()
        if self._interruptible:
            self._interruptible = False
            raise StopRequested

    def request(self) -> None:
        """Ask to stop."""
        if not self._event.is_set():
            self._at = time.monotonic()
            self._event.set()

    @property
    def requested(self) -> bool:
        """Whether stopping was asked for."""
        return self._event.is_set()

    def seconds_since(self) -> float:
        """Give the seconds since the request; 0 without one."""
        return time.monotonic() - self._at if self.requested else 0.0

    def wait(self, seconds: float) -> bool:
        """Sleep until the time is over or stopping is asked for; say whether it was."""
        return self._event.wait(seconds)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal end the block at once, by StopRequested."""
        self._interruptible = True
        try:
            if self.requested:
                raise StopRequested
            yield
        finally:
            self._interruptible = False
