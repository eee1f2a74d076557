"""A command that a standby runs while it waits: at low priority, and never beside the program."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

log = logging.getLogger(__name__)

#: Seconds between two runs: after one that was done, and after one that failed.
_AGAIN_SECONDS = 86_400.0
_RETRY_SECONDS = 3_600.0
#: Looks at whether killed processes are gone, and the pause between two: 2 s in all.
_LOOKS, _LOOK_SECONDS = 100, 0.02
#: The kernel ends it when this process is killed; what else the machine does goes first.
_LOW_PRIORITY = ("setpriv", "--pdeathsig", "KILL", "nice", "-n", "19", "ionice", "-t", "-c", "3")


class Meanwhile:
    """The command; its failure is logged and has no other effect. Used by one thread."""

    def __init__(self, command: Sequence[str]) -> None:
        """Prepare to run it; without a command nothing is ever run."""
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._due = time.monotonic()

    def look(self) -> None:
        """Start it if it is due; log its outcome if it has ended."""
        self._end_if_done()
        if self._command and self._process is None and time.monotonic() >= self._due:
            self._start()

    def end(self) -> None:
        """End it, with all processes of its group, whatever they do."""
        self._end_if_done()
        if self._process is None:
            return
        _kill_group(self._process)
        self._process = None
        log.info("Ended before it was done: %s", shlex.join(self._command))

    def _start(self) -> None:
        self._started = time.monotonic()
        # What it might tell systemd would count as said by the service.
        environment = {name: it for name, it in os.environ.items() if name != "NOTIFY_SOCKET"}
        command = [*_LOW_PRIORITY, *self._command]
        try:
            self._process = subprocess.Popen(
                command, process_group=0, stdin=subprocess.DEVNULL, env=environment
            )
        except OSError as error:
            self._failed(f"cannot be started: {error}")

    def _end_if_done(self) -> None:
        code = None if self._process is None else self._process.poll()
        if self._process is None or code is None:
            return
        # What it has left behind would go on beside the program.
        _kill_group(self._process)
        self._process = None
        seconds = time.monotonic() - self._started
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            self._failed(f"failed with {how} after {seconds:.0f} s")
        else:
            self._due = time.monotonic() + _AGAIN_SECONDS
            log.info("Done after %.0f s while standing by: %s", seconds, shlex.join(self._command))

    def _failed(self, how: str) -> None:
        self._due = time.monotonic() + _RETRY_SECONDS
        log.warning(
            "%s %s; this host stands by all the same, and tries again in %.0f minutes",
            shlex.join(self._command),
            how,
            _RETRY_SECONDS / 60,
        )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all that it has started, and wait until none of it is there, as far as can be."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for _ in range(_LOOKS):
            os.killpg(process.pid, 0)
            time.sleep(_LOOK_SECONDS)
