"""Tell how far the run is, to whoever wants to know."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from imdb_producer.files import replace_for_all

log = logging.getLogger(__name__)

State = Literal["preparing", "sending", "finished", "failed", "stopped"]

#: Seconds between two reports, unless the state changes.
_INTERVAL = 1.0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(slots=True)
class Status:
    """The status file's content: counts of records, records a second, times in UTC.

    `sent` counts what the broker has acknowledged, of earlier runs of the same data set too;
    `handed_over`, `resumed_at` and `refused_now` tell of this run; `refused` counts what is kept
    aside, as the broker does not take it; `eta_seconds` is None where it is not known.
    """

    basics: str
    ratings: str
    state: State = "preparing"
    total: int = 0
    sent: int = 0
    failed: int = 0
    rate: float = 0.0
    eta_seconds: int | None = None
    handed_over: int = 0
    resumed_at: int = 0
    retries: int = 0
    refused: int = 0
    refused_now: int = 0
    activity: str = ""
    activity_done: int = 0
    activity_total: int | None = None
    data_modified: float = 0.0
    last_error: str = ""
    started_at: str = field(default_factory=_now)
    updated_at: str = field(default_factory=_now)

    def line(self) -> str:
        """Give the status in a few words."""
        if self.state == "preparing":
            return self._preparing()
        share = 100 * self.sent / self.total if self.total else 100.0
        line = f"sent {self.sent:,} of {self.total:,} ({share:.1f} %), {self.rate:.1f}/s"
        if self.state == "sending":
            eta = "unknown" if self.eta_seconds is None else timedelta(seconds=self.eta_seconds)
            line += f", ETA {eta}"
        else:
            line = f"{self.state}: {line}"
        line += f", {self.failed} failed" if self.failed else ""
        return line + (f", {self.refused} refused" if self.refused else "")

    def step(self) -> tuple[int, int]:
        """Give how much of the present step is done, and of how much; 0 where that is unknown."""
        if self.state == "preparing":
            return self.activity_done, self.activity_total or 0
        return self.sent, self.total

    def _preparing(self) -> str:
        if not self.activity:
            return "preparing"
        total = f" of {self.activity_total:,}" if self.activity_total else ""
        return f"preparing: {self.activity}, {self.activity_done:,}{total}"


class Sink(Protocol):
    """Somebody who wants to know."""

    def publish(self, status: Status) -> None:
        """Take the status.

        Raises:
            OSError: it cannot be passed on.
        """


class StatusFile:
    """The status in a file, for `make status`: JSON, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        """Write to `path`."""
        self._path = path

    def publish(self, status: Status) -> None:
        """See `Sink.publish`."""
        replace_for_all(self._path, json.dumps(asdict(status)).encode() + b"\n")


class Reporter:
    """Publishes a status, at most once a second."""

    def __init__(
        self,
        status: Status,
        sinks: Sequence[Sink] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Publish to `sinks`."""
        self.status = status
        self._sinks = sinks
        self._clock = clock
        self._last = 0.0
        self._troubled = False
        self.publish()

    def counts(
        self,
        sent: int,
        failed: int,
        rate: float,
        handed_over: int = 0,
        retries: int = 0,
        refused: int = 0,
    ) -> None:
        """Take new counts, `refused` of this run; publish them if the last time is a second ago."""
        status = self.status
        status.refused += refused - status.refused_now
        status.sent, status.failed, status.rate = sent, failed, round(rate, 3)
        status.handed_over, status.retries, status.refused_now = handed_over, retries, refused
        left = status.total - sent - refused
        status.eta_seconds = round(left / rate) if rate > 0 else (None if left else 0)
        self._publish_if_due()

    def activity(self, what: str, done: int, total: int | None = None) -> None:
        """Take what is done before sending; publish it if the last time is a second ago."""
        status = self.status
        status.activity, status.activity_done, status.activity_total = what, done, total
        self._publish_if_due()

    def state(self, state: State) -> None:
        """Take and publish a new state."""
        self.status.state = state
        self.publish()

    def failed(self, error: BaseException) -> None:
        """Take and publish that the run failed."""
        self.status.last_error = type(error).__name__
        self.state("failed")

    def _publish_if_due(self) -> None:
        if self._clock() - self._last >= _INTERVAL:
            self.publish()

    def publish(self) -> None:
        """Publish; trouble with it is told once, and does not stop the sending."""
        self._last = self._clock()
        self.status.updated_at = _now()
        troubled = False
        for sink in self._sinks:
            try:
                sink.publish(self.status)
            except OSError as error:
                troubled = True
                if not self._troubled:
                    log.warning("Cannot report the status: %s", error)
        self._troubled = troubled


def last_error_in(path: Path | None) -> str:
    """Give the last error of an earlier run, as its status file tells; empty if there was none."""
    try:
        content = json.loads(path.read_bytes()) if path else {}
        return str(content.get("last_error", ""))
    except (OSError, ValueError, AttributeError):
        # None was written yet, or by another version.
        return ""
