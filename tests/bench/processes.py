"""Programs that a benchmark starts, what they use, and their end: by their own ids, always."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Program:
    """A program in a process group of its own, with its output in a file."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Start it."""
        self.name = name
        self.log = log
        self.started_at = time.time()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def alive(self) -> None:
        """Check that it runs.

        Raises:
            RuntimeError: It has ended; the text has the end of its log.
        """
        if self.exit_code is not None:
            raise RuntimeError(f"{self.name} ended with {self.exit_code}:\n{self.tail()}")

    def tail(self, lines: int = 25) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, seconds: float = 40) -> int:
        """Ask it to end, then make it and its group end; return the exit code."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        return self.kill()

    def kill(self) -> int:
        """Kill it and what is left of its group; return the exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait(30)


@dataclass(frozen=True)
class Sample:
    """What a tree of processes had used at a moment (seconds of the epoch)."""

    at: float
    cpu_seconds: float
    rss_bytes: int


class Meter:
    """Samples CPU time and memory of processes and all their descendants, from /proc.

    The CPU time of a process that has ended counts as it was last seen, so at most one interval
    of it is missed.
    """

    def __init__(self, roots: Iterable[int], but: Iterable[int] = (), every: float = 0.25) -> None:
        """Begin.

        Args:
            roots: the trees' first processes.
            but: processes that do not count themselves; their descendants do.
            every: seconds between two samples.
        """
        self.samples: list[Sample] = []
        self._roots = set(roots)
        self._but = set(but)
        self._every = every
        self._cpu: dict[tuple[int, str], float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and stop."""
        self._stopping.set()
        self._thread.join(30)

    def cpu_between(self, start: float, end: float) -> float:
        """Return the CPU seconds used between two moments."""
        return self._cpu_at(end) - self._cpu_at(start)

    @property
    def peak_rss(self) -> int:
        """The most memory at one moment, in bytes: resident, shared pages counted repeatedly."""
        return max((sample.rss_bytes for sample in self.samples), default=0)

    def _cpu_at(self, moment: float) -> float:
        """The sum at a moment, linear between two samples."""
        index = bisect_right([sample.at for sample in self.samples], moment)
        if index == 0:
            return 0.0
        before = self.samples[index - 1]
        if index == len(self.samples):
            return before.cpu_seconds
        after = self.samples[index]
        share = (moment - before.at) / (after.at - before.at)
        return before.cpu_seconds + share * (after.cpu_seconds - before.cpu_seconds)

    def _run(self) -> None:
        while True:
            last = self._stopping.is_set()
            self._sample()
            if last:
                return
            self._stopping.wait(self._every)

    def _sample(self) -> None:
        parents: dict[int, int] = {}
        found: dict[int, tuple[str, float, int]] = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                stat = (folder / "stat").read_text()
            except OSError:  # it has ended since
                continue
            fields = stat.rpartition(")")[2].split()
            pid = int(folder.name)
            parents[pid] = int(fields[1])
            cpu = (int(fields[11]) + int(fields[12])) / TICKS
            found[pid] = (fields[19], cpu, int(fields[21]) * PAGE)
        rss = 0
        for pid, (began, cpu, resident) in found.items():
            if pid not in self._but and self._is_ours(pid, parents):
                self._cpu[pid, began] = cpu
                rss += resident
        self.samples.append(Sample(time.time(), sum(self._cpu.values()), rss))

    def _is_ours(self, pid: int, parents: dict[int, int]) -> bool:
        while pid > 1:
            if pid in self._roots:
                return True
            pid = parents.get(pid, 0)
        return False
