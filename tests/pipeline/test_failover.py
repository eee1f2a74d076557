"""The job, the producer or a Spark master fails on the host that leads, and another takes over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest
from hosts import STANDING_BY, HostsError, Target, host_running, run

from ..waiting import wait_for
from .deployment import asked
from .messages import Feeder
from .tables import Tables

pytestmark = pytest.mark.cluster


def shown(target: Target, host: str, unit: str, name: str) -> str:
    """Return a property of a unit as systemd shows it; empty while the host does not answer."""
    try:
        return run(target, host, "systemctl", "show", f"--property={name}", "--value", unit).strip()
    except HostsError:
        return ""


def kill(target: Target, host: str, unit: str, signal: str) -> None:
    """Send a signal to all processes of a unit."""
    run(target, host, "sudo", "systemctl", "kill", f"--signal={signal}", "--kill-whom=all", unit)


def another_leads(target: Target, leader: str, patience: float) -> str:
    """Wait until another host runs the job; return which."""
    return wait_for(
        "another host leads",
        lambda: host_running(target, "imdb-streaming"),
        lambda host: host != leader,
        120 * patience,
    )


def all_is_in_silver(feeder: Feeder, tables: Tables, patience: float) -> None:
    """Wait until silver has all that was acknowledged until now."""
    sent = feeder.sent()
    wait_for(
        "what was sent by then is in silver",
        lambda: len(sent - set(tables.event_ids())),
        lambda missing: missing == 0,
        240 * patience,
    )


@pytest.fixture
def leader(target: Target, patience: float) -> Generator[str]:
    """The host that runs the job; at the end, all hosts have a part again."""
    hosts = target.groups["streaming"]
    if len(hosts) < 2:
        pytest.fail("this topology has no standby for the job: use three or cluster")
    yield host_running(target, "imdb-streaming")
    for unit in STANDING_BY:
        for host in hosts:
            wait_for(
                f"{unit} on {host} is up",
                partial(shown, target, host, unit, "ActiveState"),
                lambda state: state == "active",
                120 * patience,
            )


@pytest.mark.slow
def test_a_paused_job_is_replaced_and_changes_nothing_when_it_wakes(
    target: Target,
    leader: str,
    steady_feeder: Feeder,
    tables: Tables,
    patience: float,
    nothing_is_lost: Callable[[], None],
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    rows = len(tables.event_ids())
    wait_for("rows flow", lambda: len(tables.event_ids()), lambda n: n > rows, 90 * patience)
    began = time.monotonic()
    kill(target, leader, "imdb-streaming", "STOP")
    try:
        successor = another_leads(target, leader, patience)
        led = time.monotonic() - began
        all_is_in_silver(steady_feeder, tables, patience)
        flowed = time.monotonic() - began
    finally:
        kill(target, leader, "imdb-streaming", "CONT")
    wait_for(
        "the one that was paused stands by",
        lambda: shown(target, leader, "imdb-streaming", "StatusText"),
        lambda text: text.startswith("standing by"),
        120 * patience,
    )
    assert host_running(target, "imdb-streaming") == successor
    nothing_is_lost()
    record_property("seconds_until_another_leads", round(led, 1))
    record_property("seconds_until_rows", round(flowed, 1))
    say(f"{leader} paused: {successor} leads after {led:.1f} s, rows after {flowed:.1f} s")


def test_a_job_that_is_killed_is_replaced_at_once(
    target: Target,
    leader: str,
    steady_feeder: Feeder,
    tables: Tables,
    patience: float,
    nothing_is_lost: Callable[[], None],
) -> None:
    kill(target, leader, "imdb-streaming", "KILL")
    another_leads(target, leader, patience)
    all_is_in_silver(steady_feeder, tables, patience)
    nothing_is_lost()


@pytest.fixture
def sending(target: Target, patience: float) -> str:
    """The host that runs the producer, in the midst of sending everything anew."""
    hosts = target.groups["producer"]
    if len(hosts) < 2:
        pytest.fail("this topology has no standby for the producer: use three or cluster")
    for host in hosts:
        run(target, host, "sudo", "systemctl", "stop", "imdb-producer", timeout=60 * patience)
    forget = ("sudo", "zkCli.sh", "deleteall", "/imdb-pipeline/imdb-producer-progress")
    run(target, target.groups["zookeeper"][0], *forget, timeout=60 * patience)
    for host in hosts:
        run(target, host, "sudo", "systemctl", "start", "--no-block", "imdb-producer")
    found: list[str] = wait_for(
        "a part of the records is sent",
        lambda: [host for host in hosts if is_sending(producer_status(target, host))],
        lambda found: len(found) == 1,
        120 * patience,
        every=0.2,
    )
    return found[0]


def is_sending(found: dict[str, Any]) -> bool:
    """Return whether some records are sent and some are not."""
    return bool(found["state"] == "sending" and 500 < found["sent"] < found["total"] - 500)


def producer_status(target: Target, host: str) -> dict[str, Any]:
    """Return what a host's producer last said of itself."""
    try:
        text = run(target, host, "cat", "/run/imdb-producer/status.json")
        status: dict[str, Any] = json.loads(text)
    except (HostsError, ValueError):  # it stands by, and has not led yet
        return {"state": "", "sent": 0, "total": 0}
    return status


@pytest.mark.slow
def test_a_producer_that_is_killed_is_replaced_and_goes_on(
    target: Target, sending: str, patience: float
) -> None:
    others = [host for host in target.groups["producer"] if host != sending]
    before = producer_status(target, sending)
    kill(target, sending, "imdb-producer", "KILL")
    after = wait_for(
        "another host has sent the rest",
        lambda: [producer_status(target, host) for host in others],
        lambda found: any(is_the_rest(it, before) for it in found),
        180 * patience,
    )
    rest = next(it for it in after if is_the_rest(it, before))
    assert rest["sent"] == rest["total"] == before["total"]
    # What was acknowledged is kept each second, and at least each 500 records.
    assert rest["resumed_at"] >= before["sent"] - 500


def is_the_rest(found: dict[str, Any], before: dict[str, Any]) -> bool:
    """Return whether a producer has finished what another had begun."""
    return bool(found["state"] == "finished" and found["started_at"] > before["started_at"])


@pytest.mark.slow
def test_a_spark_master_that_is_killed_is_replaced(
    target: Target,
    patience: float,
    nothing_is_lost: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    if len(target.groups["spark_master"]) < 2:
        pytest.fail("this topology has no second Spark master: use three or cluster")
    look = partial(leading_masters, target)
    everything = {"workers": len(target.groups["spark_worker"]), "applications": 1}

    def all_is_known(found: dict[str, dict[str, int]]) -> bool:
        return list(found.values()) == [everything]

    (killed,) = wait_for("one master leads", look, all_is_known, 120 * patience)
    began = time.monotonic()
    kill(target, killed, "spark-master", "KILL")
    (successor,) = wait_for(
        "another master knows all workers and the job",
        look,
        lambda found: all_is_known(found) and killed not in found,
        120 * patience,
    )
    say(f"master on {killed} killed: {successor} leads after {time.monotonic() - began:.1f} s")
    nothing_is_lost()


def leading_masters(target: Target) -> dict[str, dict[str, int]]:
    """Return the numbers of live workers and applications that each leading master knows."""
    found = {}
    for host in target.groups["spark_master"]:
        state = asked(target, host, "spark-master")
        if state["status"] == "ALIVE":
            found[host] = {
                "workers": state["aliveworkers"],
                "applications": len(state["activeapps"]),
            }
    return found
