"""Stand by until this host leads, then run the program for as long as it does."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from imdb_standby.election import Election, UnreachableError
from imdb_standby.meanwhile import Meanwhile
from imdb_standby.notify import notify

log = logging.getLogger(__name__)

#: Seconds between two signs of life, and between two attempts to lead.
_BEAT_SECONDS = 5.0
#: Seconds between two looks at what has happened.
_LOOK_SECONDS = 0.2
#: Seconds by which a host that was killed as leader comes after the others.
_BEHIND_SECONDS = 2.0

LEADS, STANDS_BY, STOPPED = "leads", "stands by", "stopped"


class Standby:
    """One host's program, and its part in the election for it."""

    def __init__(
        self,
        election: Election,
        name: str,
        command: Sequence[str],
        status: Path | None,
        meanwhile: Sequence[str] = (),
    ):
        """Prepare to run `command`, and `meanwhile` while this host is a standby.

        The role of this host is told in the file `status`.
        """
        self._election = election
        self._name = name
        self._command = command
        self._status = status
        self._meanwhile = Meanwhile(meanwhile)
        self._told_at = 0.0
        # Set by a signal's handler, which must take no lock.
        self._stopping = False
        self._program: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Return the program's exit code; 1 if the lead was lost, 0 if it was stopped before."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            return self._run()
        finally:
            self._meanwhile.end()
            self._tell(STOPPED, "")

    def _run(self) -> int:
        told = ""
        while not self._stopping:
            try:
                leader = self._election.run_for_it()
            except UnreachableError as error:
                # Who leads goes on without us, and is not to be replaced by a guess.
                leader = "nobody knows who"
                log.warning("%s", error)
            if self._election.leads:
                log.info("This host, %s, leads", self._name)
                self._meanwhile.end()
                return self._run_program()
            if leader != told:
                log.info("Standing by: %s leads", leader)
                told = leader
            self._tell(STANDS_BY, leader)
            notify("READY=1", f"STATUS=standing by: {leader} leads", "WATCHDOG=1")
            self._meanwhile.look()
            self._wait(_BEAT_SECONDS, self._election.changed)
            if leader == self._name:
                # It was killed, and its session of before goes on: one that stood by goes first.
                self._wait(_BEHIND_SECONDS)
        return 0

    def _wait(self, seconds: float, event: threading.Event | None = None) -> None:
        """Wait for a time, for the event at most, and not when it is to stop."""
        event = event or threading.Event()
        end = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < end:
            if event.wait(_LOOK_SECONDS):
                break

    def _run_program(self) -> int:
        notify("STATUS=leads, and starts its program")
        self._tell(LEADS, self._name)
        # The kernel ends it when this process is killed; systemd ends what it has started in turn.
        command = ["setpriv", "--pdeathsig", "KILL", *self._command]
        self._program = program = subprocess.Popen(command, process_group=0)
        if self._stopping:
            program.terminate()
        while True:
            if time.monotonic() - self._told_at >= _BEAT_SECONDS:
                self._tell(LEADS, self._name)
            try:
                code = program.wait(_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                if self._election.lost.is_set():
                    return self._give_up(program)
            else:
                return code if code >= 0 else 128 - code

    def _give_up(self, program: subprocess.Popen[bytes]) -> int:
        """Another host may lead by now: nothing of the program may live on."""
        log.error("The lead is lost: ending the program at once")
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        return 0 if self._stopping else 1

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._program is not None and self._program.poll() is None:
            self._program.send_signal(number)

    def _tell(self, role: str, leader: str) -> None:
        self._told_at = time.monotonic()
        if self._status is None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        content = {"host": self._name, "role": role, "leader": leader, "updated_at": now}
        temporary = self._status.with_name(f".{self._status.name}.tmp")
        try:
            temporary.write_text(json.dumps(content) + "\n")
            temporary.chmod(0o644)
            temporary.replace(self._status)
        except OSError as error:
            log.warning("Cannot tell the role in %s: %s", self._status, error)
