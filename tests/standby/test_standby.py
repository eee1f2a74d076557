"""One of several hosts runs the program, whatever happens to it; with a real ZooKeeper."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from imdb_standby import cli
from imdb_standby.election import Election
from tests.producer.broker import REPOSITORY, Broker, cut_off_port, wait_until

from .conftest import SESSION_SECONDS, Start

Runs = Callable[[str], int | None]


def leader(broker: Broker) -> subprocess.CompletedProcess[str]:
    """What the command `leader` says."""
    return subprocess.run(
        [sys.executable, "-m", "imdb_standby", "leader", "trial"],
        env=os.environ
        | {
            "PYTHONPATH": str(REPOSITORY / "standby"),
            "STANDBY_SERVERS": broker.zookeeper_address,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_one_runs_and_the_next_follows_when_it_is_stopped(
    broker: Broker, start: Start, runs: Runs
) -> None:
    assert leader(broker).returncode == 1
    one = start("one")
    wait_until("one runs", lambda: runs("one") is not None)
    two = start("two")
    wait_until("two stands by", lambda: two.role == "stands by")
    assert (one.role, runs("two")) == ("leads", None)
    asked = leader(broker)
    assert (asked.stdout, asked.stderr) == ("one\n", "")

    one.signal(signal.SIGTERM)
    wait_until("two runs", lambda: runs("two") is not None)
    assert runs("one") is None
    assert one.process.wait(10) == 7, "the program's exit code is not passed on"
    assert (one.role, leader(broker).stdout) == ("stopped", "two\n")


@pytest.mark.parametrize("victim", ["the host's process", "its program"])
def test_the_next_follows_when_one_is_killed(start: Start, runs: Runs, victim: str) -> None:
    one = start("one")
    wait_until("one runs", lambda: runs("one") is not None)
    two = start("two")
    wait_until("two stands by", lambda: two.role == "stands by")
    program = runs("one")
    assert program is not None
    os.kill(one.process.pid if victim == "the host's process" else program, signal.SIGKILL)
    wait_until("two runs", lambda: runs("two") is not None)
    assert runs("one") is None
    assert one.process.wait(10) == (-9 if victim == "the host's process" else 128 + 9)


@pytest.mark.parametrize("round_", [1, 2])  # without the rule it would be one that is drawn
def test_one_that_was_killed_and_starts_again_comes_after_the_others(
    start: Start, runs: Runs, round_: int
) -> None:
    one = start("one")
    wait_until("one runs", lambda: runs("one") is not None)
    two = start("two")
    wait_until("two stands by", lambda: two.role == "stands by")
    one.end()
    again = start("one")
    wait_until("two runs", lambda: runs("two") is not None)
    wait_until("one stands by", lambda: again.role == "stands by")
    assert runs("one") is None


def test_one_that_was_paused_ends_its_program_when_it_wakes(start: Start, runs: Runs) -> None:
    one = start("one")
    wait_until("one runs", lambda: runs("one") is not None)
    two = start("two")
    wait_until("two stands by", lambda: two.role == "stands by")
    program = runs("one")
    one.signal(signal.SIGSTOP, program)
    wait_until("two runs", lambda: runs("two") is not None)
    one.signal(signal.SIGCONT, program)
    assert one.process.wait(30) == 1
    assert runs("one") is None
    assert runs("two") is not None
    assert "The lead is lost" in one.log


def test_without_zookeeper_the_leader_goes_on(broker: Broker, start: Start, runs: Runs) -> None:
    one = start("one")
    wait_until("one runs", lambda: runs("one") is not None)
    two = start("two")
    wait_until("two stands by", lambda: two.role == "stands by")
    program = runs("one")
    broker.stop_zookeeper()
    try:
        wait_until("both notice", lambda: "is away" in one.log and "is away" in two.log)
        wait_until("two has asked in vain", lambda: "does not answer" in two.log)
        assert (runs("one"), runs("two")) == (program, None)
    finally:
        broker.start_zookeeper()
    wait_until("it is seen again", lambda: one.log.count("Connected to ZooKeeper") == 2)
    assert (runs("one"), runs("two")) == (program, None)
    assert (one.process.poll(), two.process.poll()) == (None, None)


def test_of_hosts_that_start_together_one_runs(start: Start, runs: Runs) -> None:
    names = [f"host-{number}" for number in range(4)]
    hosts = [start(name) for name in names]
    # Whoever led in the test before may be known for the length of a session.
    wait_until("one leads", lambda: any(host.role == "leads" for host in hosts))
    wait_until("all know their part", lambda: all(host.role for host in hosts))
    roles = sorted(host.role for host in hosts)
    assert roles == ["leads", "stands by", "stands by", "stands by"]
    wait_until("one runs", lambda: any(map(runs, names)))
    assert [runs(host.name) is not None for host in hosts] == [it.role == "leads" for it in hosts]


def test_programs_exit_code_is_passed_on(start: Start) -> None:
    assert start("one", "exit 2").process.wait(30) == 2


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("STANDBY_SERVERS", "", "not servers"),
        ("STANDBY_SERVERS", "host", "not servers"),
        ("STANDBY_ROOT", "pipeline", "not a path"),
        ("STANDBY_NAME", "a b", "not a host's name"),
        ("STANDBY_SESSION_SECONDS", "1", "not a time-out"),
    ],
)
def test_wrong_setting_is_named(
    caplog: pytest.LogCaptureFixture, name: str, value: str, reason: str
) -> None:
    environment = {"STANDBY_SERVERS": "127.0.0.1:1"} | {name: value}
    assert cli.main(["run", "trial", "--", "true"], environment) == cli.REFUSED
    assert f"{name}={value!r}: {reason}" in caplog.text


def test_servers_that_are_cut_off_leave_time_for_another(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asked in the order given, the one that answers last.
    monkeypatch.setattr("kazoo.protocol.connection.random.shuffle", lambda _servers: None)
    with cut_off_port() as one, cut_off_port() as two:
        servers = f"127.0.0.1:{one},127.0.0.1:{two},{broker.zookeeper_address}"
        election = Election(servers, "/tests/cut_off", "here", session_seconds=SESSION_SECONDS)
        # Later the session would have ended.
        election.connect(SESSION_SECONDS)
        assert election.run_for_it() == "here"
        election.close()


def test_no_server_is_told(caplog: pytest.LogCaptureFixture) -> None:
    given = ["run", "--wait=1", "trial", "--", "true"]
    assert cli.main(given, {"STANDBY_SERVERS": "127.0.0.1:1"}) == cli.FAILED
    assert "No ZooKeeper server answers at 127.0.0.1:1 within 1 s" in caplog.text
