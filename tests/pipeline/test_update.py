"""Debian's updates while data flows: host by host, between health checks, with nothing lost.

Each host is given an archive of its own with a newer zlib1g, which JVMs and Python have loaded, in
place of its archives. A feeder sends new movies through all of it (see messages.py). They stay in
the tables, and zlib1g keeps its version.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hosts import Target, run

from ..variables import HostVariables
from .cluster import Watch, accepts, invocations, restarted
from .deployment import STARTED, PlaybookRun, boot_id, cut_off_after, run_playbook
from .messages import Feeder

pytestmark = [pytest.mark.deploy, pytest.mark.cluster, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("planted_updates.sh").read_text()
SECONDS = 1500
VERSIONS = ("dpkg-query", "--show", "--showformat='${Package} ${Version}\\n'")
#: Prints those of some services that have mapped zlib1g, whose line ends so.
MAPPED = """
for unit in $1; do
    for group in $(grep -lsF "/$unit.service" /proc/[0-9]*/cgroup); do
        if grep -qs "r-xp.*/libz[.]so[^ ]*$2$" "${group%cgroup}maps"; then echo "$unit"; fi
    done
done
"""


@pytest.fixture
def planted(target: Target) -> Generator[None]:
    """An archive of its own on each host."""
    plant(target, "plant")
    yield
    plant(target, "remove")


def plant(target: Target, what: str) -> None:
    for host in target.hosts:
        run(target, host, "sudo", "bash", "-s", what, stdin=SCRIPT, timeout=120)


@pytest.fixture
def brokers(target: Target, variables: HostVariables) -> list[tuple[str, int]]:
    """Host and port of each broker."""
    port = int(variables["kafka_external_port"])
    return [(target.hosts[host]["host_external_address"], port) for host in target.groups["kafka"]]


def update(*arguments: str) -> PlaybookRun:
    return run_playbook(*arguments, playbook="update.yml", seconds=SECONDS)


def mapped(target: Target, ending: str) -> set[tuple[str, str]]:
    """Return the hosts and units of the pipeline that have zlib1g mapped, by their processes."""
    found = set()
    for host in target.hosts:
        command = ("sudo", "bash", "-s", "--", f"'{' '.join(target.units(host))}'", f"'{ending}'")
        said = run(target, host, *command, stdin=MAPPED)
        found |= {(host, unit) for unit in said.split()}
    return found


def versions(target: Target) -> dict[str, dict[str, str]]:
    """Return the versions of the packages of the test on each host."""
    packages = ("zlib1g", "planted-held", "planted-foreign")
    return {
        host: dict(
            line.split() for line in run(target, host, *VERSIONS, *packages).splitlines() if line
        )
        for host in target.hosts
    }


def starts(target: Target, host: str, unit: str, moment: float) -> int:
    """Return how often a host has started a unit since a moment (seconds of the epoch)."""
    command = ("sudo", "journalctl", "--quiet", "--output=cat", f"--since=@{moment:.0f}")
    said = run(target, host, *command, f"MESSAGE_ID={STARTED}", f"UNIT={unit}.service")
    return len(said.splitlines())


def test_what_runs_with_an_updated_library_restarts_once_and_nothing_is_lost(
    planted: None,
    target: Target,
    steady_feeder: Feeder,
    brokers: list[tuple[str, int]],
    nothing_is_lost: Callable[[], None],
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    before, old, began = invocations(target), versions(target), time.time()
    affected = mapped(target, "")
    assert {"zookeeper", "kafka"} <= {unit for _, unit in affected}

    checked = update("--check")
    assert checked.exit_code == 0, checked.end
    assert "would update zlib1g" in checked.output, checked.end
    assert set(checked.changed.values()) == {0}, checked.changed_tasks
    assert versions(target) == old

    with Watch(brokers, accepts) as watch:
        # The packages are there, and nothing has restarted yet: the next run goes on.
        cut_off_after("gates : Restart | Look before", playbook="update.yml", seconds=SECONDS)
        taken = [host for host, it in versions(target).items() if it != old[host]]
        assert len(taken) == 1, taken
        assert restarted(before, invocations(target)) == set()
        done = update()
    assert done.exit_code == 0, done.end
    assert len(watch.most_away) <= 1, f"away at once: {watch.most_away}"
    now = versions(target)
    for host in target.hosts:
        assert now[host] == old[host] | {"zlib1g": f"{old[host]['zlib1g']}+planted"}
    assert "left alone: planted-held (held" in done.output
    assert "left alone: planted-foreign 2 (from Elsewhere" in done.output
    assert restarted(before, invocations(target)) == affected
    assert mapped(target, " (deleted)") == set()
    assert {key: starts(target, *key, began) for key in affected} == dict.fromkeys(affected, 1)

    again = update()
    assert again.exit_code == 0, again.end
    assert set(again.changed.values()) == {0}, again.changed_tasks
    nothing_is_lost()
    tell(record_property, say, "updated", began, steady_feeder)


def test_hosts_that_ask_for_it_are_rebooted_one_by_one_and_nothing_is_lost(
    target: Target,
    steady_feeder: Feeder,
    brokers: list[tuple[str, int]],
    nothing_is_lost: Callable[[], None],
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    boots = ask_for_reboots(target)
    before, began = invocations(target), time.time()
    with Watch(brokers, accepts) as watch:
        done = update()
    assert done.exit_code == 0, done.end
    assert len(watch.most_away) <= 1, f"away at once: {watch.most_away}"
    assert [host for host, boot in boots.items() if boot_id(target, host) == boot] == []
    rebooted = {key for key in before if key[0] in boots}
    assert rebooted <= restarted(before, invocations(target))
    assert {key: starts(target, *key, began) for key in rebooted} == dict.fromkeys(rebooted, 1)

    again = update()
    assert again.exit_code == 0, again.end
    assert set(again.changed.values()) == {0}, again.changed_tasks
    nothing_is_lost()
    tell(record_property, say, "rebooted", began, steady_feeder)


def test_a_host_whose_service_does_not_come_back_stops_the_run_which_is_gone_on_with(
    target: Target, patience: float, nothing_is_lost: Callable[[], None]
) -> None:
    boots = ask_for_reboots(target)
    for host in boots:
        # As an update may have spoiled it: it does not come back by itself.
        run(target, host, "sudo", "systemctl", "disable", "kafka")
    stopped = update("-e", "updates_timeout=60")
    assert stopped.exit_code != 0
    (first,) = [host for host, boot in boots.items() if boot_id(target, host) != boot]
    # What needs the broker is not back either.
    assert re.search(rf"kafka\b.* did not come back on {first} within", stopped.output), stopped.end

    for host in boots:
        run(target, host, "sudo", "systemctl", "enable", "--now", "kafka", timeout=150 * patience)
    done = update()
    assert done.exit_code == 0, done.end
    assert [host for host, boot in boots.items() if boot_id(target, host) == boot] == []
    nothing_is_lost()


def ask_for_reboots(target: Target) -> dict[str, str]:
    """Let the brokers' hosts ask for a reboot; return their boots."""
    boots = {}
    for host in target.groups["kafka"]:
        boots[host] = boot_id(target, host)
        run(target, host, "sudo", "touch", "/run/reboot-required")
    return boots


def tell(
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
    what: str,
    began: float,
    feeder: Feeder,
) -> None:
    seconds, stall = time.time() - began, feeder.longest_stall()
    record_property("seconds", round(seconds))
    record_property("longest_stall_seconds", round(stall, 1))
    say(f"{what}: {seconds:.0f} s, longest stall {stall:.1f} s, {len(feeder.sent())} sent")
