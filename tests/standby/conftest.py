"""A real ZooKeeper, and hosts that are processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.producer.broker import REPOSITORY, Broker

SESSION_SECONDS = 4
#: The program of every host: it tells its process id and lives until it is told to end.
PROGRAM = "echo $$ >{mark}; trap 'exit 7' TERM; while :; do sleep 0.1; done"

Start = Callable[..., "Host"]


class Host:
    """A host that stands by or leads."""

    def __init__(
        self, name: str, folder: Path, servers: str, program: list[str], meanwhile: str = ""
    ) -> None:
        """Start it."""
        self.name = name
        self._status = folder / f"{name}.json"
        self._log = folder / f"{name}.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "imdb_standby", "run", "--wait=20"),
                    *([f"--meanwhile={meanwhile}"] if meanwhile else []),
                    *(f"--status-file={self._status}", "trial", "--", *program),
                ],
                stderr=log,
                env=os.environ
                | {
                    "PYTHONPATH": str(REPOSITORY / "standby"),
                    "STANDBY_SERVERS": servers,
                    "STANDBY_NAME": name,
                    "STANDBY_SESSION_SECONDS": str(SESSION_SECONDS),
                },
            )

    @property
    def role(self) -> str:
        """What it says of itself; empty if nothing yet."""
        try:
            said: dict[str, Any] = json.loads(self._status.read_text())
        except FileNotFoundError:
            return ""
        return str(said["role"])

    @property
    def log(self) -> str:
        return self._log.read_text()

    def signal(self, number: signal.Signals, program: int | None = None) -> None:
        """Send a signal to the host's process, and to its program's if that is given."""
        self.process.send_signal(number)
        if program is not None:
            os.killpg(program, number)

    def end(self) -> None:
        """End it, whatever its state."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real ZooKeeper; its Kafka is not started."""
    broker = Broker(tmp_path_factory.mktemp("zookeeper"))
    try:
        broker.start_zookeeper()
        yield broker
    finally:
        broker.close()


@pytest.fixture
def start(broker: Broker, tmp_path: Path) -> Iterator[Start]:
    """Starts hosts by name; ends them all at the end."""
    started: list[Host] = []

    def start(name: str, program: str = "", meanwhile: str = "") -> Host:
        command = ["bash", "-c", program or PROGRAM.format(mark=tmp_path / f"{name}.pid")]
        started.append(Host(name, tmp_path, broker.zookeeper_address, command, meanwhile))
        return started[-1]

    yield start
    for host in started:
        host.end()


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[str], int | None]:
    """The process id of the program that runs on a host; None if none does."""

    def runs(name: str) -> int | None:
        try:
            number = int((tmp_path / f"{name}.pid").read_text())
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ValueError):
            return None
        return None if state == "Z" else number

    return runs
