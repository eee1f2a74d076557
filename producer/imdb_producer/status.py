"""Tell how far the run is: a status file for `make status`, a line for systemctl."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from imdb_producer.errors import ConfigError

log = logging.getLogger(__name__)

State = Literal["preparing", "sending", "finished", "failed"]

#: Seconds between two writes, unless the state changes.
_INTERVAL = 1.0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(slots=True)
class Status:
    """The status file's content: counts of records, records a second, times in UTC."""

    basics: str
    ratings: str
    state: State = "preparing"
    total: int = 0
    sent: int = 0
    failed: int = 0
    rate: float = 0.0
    started_at: str = field(default_factory=_now)
    updated_at: str = field(default_factory=_now)

    def line(self) -> str:
        """Give the status in a few words."""
        if self.state == "preparing":
            return "preparing"
        share = 100 * self.sent / self.total if self.total else 100.0
        failed = f", {self.failed} failed" if self.failed else ""
        return (
            f"{self.state}: sent {self.sent:,} of {self.total:,} ({share:.1f} %), "
            f"{self.rate:.1f}/s{failed}"
        )


class Reporter:
    """Publishes a status, at most once a second."""

    def __init__(
        self,
        status: Status,
        path: Path | None,
        notify_socket: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Publish to the file `path` and to systemd's NOTIFY_SOCKET, where they are given.

        Raises:
            ConfigError: the status file cannot be written.
        """
        self.status = status
        self._path = path
        self._notify_socket = notify_socket
        self._clock = clock
        self._last = 0.0
        self._troubled = False
        try:
            self._write()
        except OSError as error:
            raise ConfigError(
                f"STATUS_FILE={str(path)!r}: cannot be written: {error.strerror or error}. "
                "Name a file in a folder that the service may write to, or leave it empty."
            ) from error
        self._publish()

    def counts(self, sent: int, failed: int, rate: float) -> None:
        """Take new counts; publish them if the last time is a second ago."""
        self.status.sent, self.status.failed, self.status.rate = sent, failed, round(rate, 3)
        if self._clock() - self._last >= _INTERVAL:
            self._publish()

    def state(self, state: State, total: int | None = None) -> None:
        """Take and publish a new state."""
        self.status.state = state
        if total is not None:
            self.status.total = total
        self._publish()

    def _publish(self) -> None:
        """Publish; trouble with it is told once, and does not stop the sending."""
        self._last = self._clock()
        self.status.updated_at = _now()
        try:
            self._write()
            self._notify()
        except OSError as error:
            if not self._troubled:
                log.warning("Cannot report the status: %s", error)
            self._troubled = True
        else:
            self._troubled = False

    def _write(self) -> None:
        if self._path is None:
            return
        partial = self._path.with_name(f".{self._path.name}.partial")
        partial.write_text(json.dumps(asdict(self.status)) + "\n", encoding="utf-8")
        partial.chmod(0o644)
        partial.replace(self._path)

    def _notify(self) -> None:
        """See sd_notify(3): a datagram of NAME=VALUE lines."""
        if not self._notify_socket:
            return
        address = self._notify_socket
        if address.startswith("@"):
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.sendto(f"STATUS={self.status.line()}".encode(), address)


def notify_socket() -> str:
    """Give the address of systemd's notification socket, empty where there is none."""
    return os.environ.get("NOTIFY_SOCKET", "")
