"""What goes beside a Spark worker ends it when it counts what no executor has, and else never."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..waiting import wait_for

Begin = Callable[..., "subprocess.Popen[str]"]
ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "roles/spark_worker/templates/spark-worker-count.j2"
EXECUTOR = {"id": 0, "memory": 1024}


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    """Start a process that stands for a worker, with the program beside it."""

    def started(answer: dict[str, Any] | None, child: str = "true") -> subprocess.Popen[str]:
        ask, count = tmp_path / "ask", tmp_path / "count"
        said = f"echo '{json.dumps(answer)}'" if answer else "exit 1"
        ask.write_text(f"#!/bin/sh\necho >>{tmp_path}/asked\n{said}\n")
        ask.chmod(0o755)
        program = TEMPLATE.read_text().replace("{{ ansible_managed | comment }}", "# ours")
        for name, value in {"ASK": repr(str(ask)), "PAUSE": "0.05"}.items():
            assert program.count(f"\n{name} = ") == 1
            program = re.sub(rf"(?m)^{name} = .*$", f"{name} = {value}", program)
        count.write_text(program)
        return subprocess.Popen(
            ["bash", "-c", f"{child} & python3 -I {count} & exec sleep 60"],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return started


@contextmanager
def ended(worker: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Give the worker, and end it and what it started."""
    try:
        yield worker
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(30)
        assert worker.stderr
        worker.stderr.close()


def asked(folder: Path) -> int:
    """Return how often it was asked."""
    file = folder / "asked"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize(
    ("answer", "child"),
    [
        ({"memoryused": 0, "executors": []}, "true"),
        ({"memoryused": 2048, "executors": [EXECUTOR, EXECUTOR]}, "true"),
        (None, "true"),
        ({"memoryused": 2048, "executors": [EXECUTOR]}, "exec -a DriverWrapper sleep 60"),
    ],
    ids=["idle", "at work", "no answer", "a driver of its own"],
)
def test_a_worker_that_counts_rightly_goes_on(
    begin: Begin, tmp_path: Path, answer: dict[str, Any] | None, child: str
) -> None:
    with ended(begin(answer, child)) as worker:
        wait_for("three looks", lambda: asked(tmp_path), lambda times: times > 3, 30, 0.05)
        assert worker.poll() is None


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        ({"memoryused": 2048, "executors": [EXECUTOR]}, 1024),
        ({"memoryused": 1024, "executors": []}, 1024),
    ],
    ids=["an executor twice", "an executor that has ended"],
)
def test_a_worker_that_counts_what_no_executor_has_is_ended(
    begin: Begin, answer: dict[str, Any], lost: int
) -> None:
    with ended(begin(answer)) as worker:
        assert worker.wait(30) == -signal.SIGKILL
        assert worker.stderr
        said = worker.stderr.readline()
        assert said.startswith(f"spark-worker-count: {lost} MiB count as used")
