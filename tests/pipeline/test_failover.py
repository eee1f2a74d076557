"""The job fails on the host that runs it, and another takes over, while data flows."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial

import pytest
from hosts import STANDING_BY, HostsError, Target, host_running, run

from ..waiting import wait_for
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


def test_a_paused_job_is_replaced_and_changes_nothing_when_it_wakes(
    target: Target,
    leader: str,
    steady_feeder: Feeder,
    tables: Tables,
    patience: float,
    nothing_is_lost: Callable[[], None],
    record_property: Callable[[str, object], None],
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
    print(f"{leader} paused: {successor} leads after {led:.1f} s, rows after {flowed:.1f} s")


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
