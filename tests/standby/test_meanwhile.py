"""What a standby runs while it waits: once, at low priority, and never beside the program."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imdb_standby import cli
from imdb_standby.meanwhile import Meanwhile
from tests.producer.broker import wait_until

from .conftest import Host, Start

Runs = Callable[[str], int | None]

#: Tells its process id and its child's, takes no hint to end, and would run for ever.
HANGS = (
    "trap '' TERM; sleep infinity & echo $! >{folder}/child.pid; echo $$ >{folder}/ahead.pid; wait"
)


def script(tmp_path: Path, lines: str) -> str:
    """The command that runs these lines."""
    file = tmp_path / "meanwhile.sh"
    file.write_text(lines.format(folder=tmp_path) + "\n")
    return f"bash {file}"


def end(host: Host) -> None:
    host.signal(signal.SIGTERM)
    host.process.wait(30)


def test_a_command_that_hangs_is_killed_before_the_program_starts(
    start: Start, runs: Runs, tmp_path: Path
) -> None:
    one = start("one")
    wait_until("one runs", lambda: runs("one") is not None)
    # The program tells what it finds of the command and of its child.
    found = tmp_path / "found"
    program = (
        f"for name in ahead child; do kill -0 $(cat {tmp_path}/$name.pid) 2>/dev/null && "
        f"! grep -q '^State:.Z' /proc/$(cat {tmp_path}/$name.pid)/status && echo $name; done "
        f">{found}; exit 0"
    )
    two = start("two", program, meanwhile=script(tmp_path, HANGS))
    wait_until("the command runs", lambda: runs("ahead") is not None)
    child = runs("child")
    assert child is not None
    assert (two.role, os.getpriority(os.PRIO_PROCESS, child)) == ("stands by", 19)

    end(one)
    assert two.process.wait(30) == 0
    assert found.read_text() == ""
    assert (runs("ahead"), runs("child")) == (None, None)
    assert two.log.count("Ended before it was done") == 1


def test_it_ends_with_the_standby(start: Start, runs: Runs, tmp_path: Path) -> None:
    start("one")
    wait_until("one runs", lambda: runs("one") is not None)
    two = start("two", meanwhile=script(tmp_path, HANGS))
    wait_until("the command runs", lambda: runs("ahead") is not None)
    end(two)
    assert (runs("ahead"), runs("child")) == (None, None)


def test_it_ends_when_the_standby_is_killed(start: Start, runs: Runs, tmp_path: Path) -> None:
    start("one")
    wait_until("one runs", lambda: runs("one") is not None)
    two = start("two", meanwhile=script(tmp_path, HANGS))
    wait_until("the command runs", lambda: runs("ahead") is not None)
    child = runs("child")
    assert child is not None
    two.end()
    wait_until("the command has ended", lambda: runs("ahead") is None)
    # On a host that is systemd's part.
    os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        ("exit 5", "failed with exit code 5"),
        ("kill -KILL $$", "failed with signal 9"),
        ("exit 0", "Done after"),
    ],
)
def test_its_outcome_is_told_and_the_host_stands_by(
    start: Start, runs: Runs, tmp_path: Path, lines: str, outcome: str
) -> None:
    one = start("one")
    wait_until("one runs", lambda: runs("one") is not None)
    two = start("two", meanwhile=script(tmp_path, lines))
    wait_until("the outcome is told", lambda: outcome in two.log)
    assert two.role == "stands by"
    end(one)
    wait_until("two runs", lambda: runs("two") is not None)
    assert two.log.count("meanwhile.sh") == 1


def test_the_host_that_leads_at_once_runs_it_not(start: Start, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    # Whoever led in the test before may be known for the length of a session.
    first = start("one")
    wait_until("one leads", lambda: first.role == "leads")
    end(first)
    again = start("one", "exit 0", meanwhile=f"touch {mark}")
    assert again.process.wait(30) == 0
    assert not mark.exists()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test makes pass."""
    now = [0.0]
    monkeypatch.setattr("imdb_standby.meanwhile.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("code", "hours"), [(0, 24), (1, 1)])
def test_it_runs_again_after_a_day_and_after_an_hour_if_it_failed(
    tmp_path: Path, clock: list[float], code: int, hours: int
) -> None:
    counted = tmp_path / "counted"
    meanwhile = Meanwhile(["bash", "-c", f"echo >>{counted}; exit {code}"])

    def run() -> int:
        meanwhile.look()
        if meanwhile._process is not None:
            meanwhile._process.wait(30)
        meanwhile.look()
        return len(counted.read_text().splitlines())

    assert run() == 1
    clock[0] = hours * 3600 - 1
    assert run() == 1
    clock[0] = hours * 3600 + 1
    assert run() == 2
    meanwhile.end()


def test_what_it_leaves_behind_is_ended(
    tmp_path: Path, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    lines = f"sleep infinity & echo $! >{tmp_path}/child.pid"
    meanwhile = Meanwhile(["bash", "-c", lines])
    meanwhile.look()
    assert meanwhile._process is not None
    meanwhile._process.wait(30)
    meanwhile.end()
    wait_until("the child has ended", lambda: runs("child") is None)
    assert "Done after" in caplog.text


def test_it_says_nothing_to_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))
    shown = tmp_path / "shown"
    code = f"import os; open({str(shown)!r}, 'w').write(os.environ.get('NOTIFY_SOCKET', 'none'))"
    meanwhile = Meanwhile([sys.executable, "-c", code])
    meanwhile.look()
    assert meanwhile._process is not None
    assert meanwhile._process.wait(30) == 0
    assert shown.read_text() == "none"


def test_what_cannot_be_started_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("imdb_standby.meanwhile._LOW_PRIORITY", ("/nowhere/setpriv",))
    meanwhile = Meanwhile(["true"])
    meanwhile.look()
    assert "true cannot be started: " in caplog.text
    meanwhile.end()


@pytest.mark.parametrize(
    ("given", "reason"), [("", "no command"), ("a 'b", "No closing quotation")]
)
def test_a_command_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], given: str, reason: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        cli.main(["run", f"--meanwhile={given}", "trial", "--", "true"], {})
    assert refused.value.code == cli.REFUSED
    assert f"--meanwhile: {given!r}: {reason}" in capsys.readouterr().err
