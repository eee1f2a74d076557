"""Services killed, restarted, cut off: all recover alone, and no row is lost or doubled.

A movie that was sent before does not come to silver again, so re-sending the dumps would not show
a loss. Hence a feeder beside the producer: it sends movies that nobody knows, twenty a second,
through all of this. After each fault those that the broker had acknowledged by then must be in
silver, and no event twice. The producer runs too, and is among the victims.

The movies stay in the tables and the topic: not for hosts whose tables are wanted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from typing import Any

import pytest
from hosts import Target, run

from ..variables import HostVariables
from ..waiting import wait_for
from .deployment import (
    UNITS,
    Unit,
    answers,
    as_root,
    asked,
    boot_id,
    comes_back,
    terraform,
    unit_state,
    unit_states,
)
from .expected import SILVER_COLUMNS, Expected, expected_genre_counts
from .messages import Connection, Feeder
from .power import cut_power, state_folder
from .tables import Tables, same_values

pytestmark = pytest.mark.faults

#: What watches the pipeline, by the group whose hosts run it.
WATCHERS = {
    "all": ("imdb-node-exporter", "imdb-exporters"),
    "monitoring": ("imdb-prometheus", "imdb-alertmanager"),
    "streaming": ("imdb-dashboard",),
}

# The executor's main class; in brackets, so that the pattern does not find the searching shell.
EXECUTOR = "[C]oarseGrainedExecutorBackend"


@pytest.fixture(scope="module")
def feeder(
    target: Target, finished: dict[str, Any], connection: Connection, topic: str
) -> Generator[Feeder]:
    """New movies at a steady rate, while the producer sends its own again."""
    assert finished["sent"] > 0
    send_again(target)
    with Feeder(connection, topic) as feeder:
        yield feeder


def nothing_lost_or_doubled(
    feeder: Feeder, tables: Tables, expected: Expected, seconds: float
) -> None:
    """Wait until silver has all that was acknowledged by now; assert that it has nothing twice."""
    tables.hold_each_once(feeder.sent(), seconds)
    lost = set(expected.silver["tconst"]) - set(tables.read_silver(["tconst"])["tconst"])
    assert lost == set(), "movies of the dumps are gone from silver"


@pytest.fixture
def recovery(
    feeder: Feeder, tables: Tables, expected: Expected, patience: float
) -> Generator[None]:
    """Data flows before the test, and all of it has arrived after."""
    feeder.flows(120 * patience)
    yield
    feeder.flows(120 * patience)
    nothing_lost_or_doubled(feeder, tables, expected, 180 * patience)


def all_active(target: Target, seconds: float) -> dict[str, Unit]:
    """Wait until every unit is active."""
    return wait_for(
        "every unit is active",
        lambda: unit_states(target),
        lambda units: all(unit.active == "active" for unit in units.values()),
        seconds,
    )


def send_again(target: Target) -> None:
    """Let the producer forget what it has sent, and start it."""
    script = "systemctl stop imdb-producer && rm -rf /var/lib/imdb-producer/state"
    as_root(target, "imdb-producer", "sh", "-c", f"'{script} && systemctl start imdb-producer'")


def running(target: Target, unit: str) -> Unit:
    """Return the state of a unit that has a process; a producer that is done is started again."""
    state = unit_state(target, unit)
    if state.main_pid == 0:
        assert unit == "imdb-producer", f"{unit} has no process"
        send_again(target)
        state = unit_state(target, unit)
    assert state.main_pid > 0, f"{unit} has no process to kill: {state}"
    return state


def kill(target: Target, unit: str) -> Unit:
    """Kill a unit's main process and return the state before."""
    before = running(target, unit)
    as_root(target, unit, "kill", "-KILL", str(before.main_pid))
    return before


@pytest.mark.usefixtures("recovery")
@pytest.mark.parametrize("unit", UNITS)
def test_killed_service_comes_back(target: Target, patience: float, unit: str) -> None:
    before = kill(target, unit)
    comes_back(target, unit, before, 120 * patience)


@pytest.fixture
def watchers(target: Target, variables: HostVariables) -> list[tuple[str, str]]:
    """Host and unit of each; none without `pipeline_monitoring`."""
    if not variables["pipeline_monitoring"]:
        return []
    hosts = target.groups | {"all": sorted(target.hosts)}
    return [
        (host, unit) for group, units in WATCHERS.items() for unit in units for host in hosts[group]
    ]


def watching(target: Target, watchers: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return each watcher's invocation; it is empty for one that is not active."""
    show = "systemctl --quiet is-active {0} && systemctl show --property=InvocationID --value {0}"
    return {
        (host, unit): run(target, host, f"{show.format(unit)} || true").strip()
        for host, unit in watchers
    }


def test_killed_watchers_come_back(
    target: Target, watchers: list[tuple[str, str]], patience: float
) -> None:
    if not watchers:
        pytest.skip("pipeline_monitoring is false")
    before = watching(target, watchers)
    assert all(before.values()), before
    for host, unit in watchers:
        run(target, host, f"sudo systemctl kill --signal=KILL --kill-whom=main {unit}")
    wait_for(
        "all that watches the pipeline comes back by itself",
        lambda: watching(target, watchers),
        lambda now: all(now[it] not in {"", before[it]} for it in before),
        120 * patience,
    )


@pytest.mark.usefixtures("recovery")
def test_killed_executor_is_replaced(target: Target, patience: float) -> None:
    def executors() -> set[str]:
        return set(as_root(target, "spark-worker", f"pgrep -f '{EXECUTOR}' || true").split())

    before = wait_for("there is an executor", executors, bool, 60 * patience)
    as_root(target, "spark-worker", "kill", "-KILL", *before)
    wait_for("there is a new executor", executors, lambda now: bool(now - before), 60 * patience)


@pytest.mark.usefixtures("recovery")
def test_stopped_worker_lets_its_executor_finish_its_tasks(target: Target, patience: float) -> None:
    began = as_root(target, "imdb-streaming", "date", "+%s").strip()
    as_root(target, "spark-worker", "systemctl", "restart", "spark-worker", seconds=120 * patience)
    since = ("journalctl", "--output=cat", f"--since=@{began}")
    worker = as_root(target, "spark-worker", *since, "--unit=spark-worker")
    assert "Decommission worker" in worker, worker
    assert "finished with state EXITED" in worker, worker
    job = as_root(target, "imdb-streaming", *since, "--unit=imdb-streaming")
    assert "Lost task" not in job, job


@pytest.mark.slow
@pytest.mark.usefixtures("recovery")
@pytest.mark.parametrize("unit", UNITS)
def test_restarted_service_comes_back(target: Target, patience: float, unit: str) -> None:
    before = unit_states(target)
    as_root(target, unit, "systemctl", "restart", unit, seconds=180 * patience)
    now = all_active(target, 120 * patience)
    restarted = {name for name in now if now[name].invocation != before[name].invocation}
    assert restarted == {unit}


@pytest.mark.slow
@pytest.mark.usefixtures("recovery")
def test_job_that_has_long_had_no_executor_starts_anew(
    target: Target, variables: HostVariables, patience: float
) -> None:
    before = unit_state(target, "imdb-streaming")
    as_root(target, "spark-worker", "systemctl", "stop", "spark-worker")
    try:
        wait_for(
            "the job has started anew",
            lambda: unit_state(target, "imdb-streaming"),
            lambda state: state.invocation != before.invocation and state.active == "active",
            int(variables["streaming_executor_timeout"]) + 120 * patience,
        )
    finally:
        as_root(target, "spark-worker", "systemctl", "start", "spark-worker")


def said_by(target: Target, worker: int) -> str:
    """Return what a process of Spark's worker has said so far."""
    return as_root(target, "spark-worker", "journalctl", "--quiet", f"_PID={worker}")


def worker_id(target: Target) -> str:
    """Return the id that Spark's worker has for itself; empty while it does not answer."""
    said = as_root(target, "spark-worker", "sh", "-c", "'spark-worker-ask || true'")
    return str(json.loads(said)["id"]) if said.startswith("{") else ""


def alive_workers(target: Target) -> set[str]:
    """Return the ids of the workers that Spark's master counts on."""
    workers = asked(target, target.host_of("spark-master"), "spark-master")["workers"]
    return {worker["id"] for worker in workers if worker["state"] == "ALIVE"}


@pytest.mark.slow
@pytest.mark.usefixtures("recovery")
def test_worker_that_starts_while_its_master_is_down_is_registered(
    target: Target, patience: float
) -> None:
    as_root(target, "spark-master", "systemctl", "stop", "spark-master")
    try:
        before = kill(target, "spark-worker").main_pid
        wait_for(
            "the worker's next process has looked for its master",
            lambda: unit_state(target, "spark-worker").main_pid,
            lambda now: now not in {0, before} and "Failed to connect" in said_by(target, now),
            120 * patience,
        )
    finally:
        as_root(target, "spark-master", "systemctl", "start", "spark-master")
    wait_for(
        "the master has the worker that runs",
        lambda: (worker_id(target), alive_workers(target)),
        lambda seen: seen[0] in seen[1],
        180 * patience,
    )


@pytest.mark.usefixtures("recovery")
def test_rebooted_host_comes_back(
    target: Target, watchers: list[tuple[str, str]], patience: float
) -> None:
    host = target.host_of("kafka")
    before = boot_id(target, host)
    # A moment later, so that ssh has its answer before the host goes down.
    run(target, host, "sudo systemd-run --quiet --on-active=1 systemctl reboot")
    wait_for(
        f"{host} has booted again",
        lambda: boot_id(target, host),
        lambda now: now != before,
        60 * patience,
    )
    all_active(target, 180 * patience)
    wait_for(
        "all that watches the pipeline is active",
        lambda: watching(target, watchers),
        lambda now: all(now.values()),
        60 * patience,
    )
    assert answers(target, host) == "running"


@pytest.mark.slow
@pytest.mark.usefixtures("recovery")
def test_host_without_power_comes_back_by_terraform_with_its_data(
    target: Target, tables: Tables, patience: float
) -> None:
    host = target.host_of("kafka")
    before = boot_id(target, host)
    cut_power(state_folder(target, tables, host), 30 * patience)
    terraform("apply", target.name, f"-var=arch={target.hosts[host]['host_arch']}")
    wait_for(
        f"{host} has booted again",
        lambda: boot_id(target, host),
        lambda now: now != before,
        60 * patience,
    )
    all_active(target, 180 * patience)


@pytest.mark.slow
@pytest.mark.usefixtures("recovery")
def test_minute_without_broker_and_two_kills_of_the_job_lose_nothing(
    target: Target, patience: float
) -> None:
    as_root(target, "kafka", "systemctl kill --signal=KILL kafka && sudo systemctl stop kafka")
    down_since = time.monotonic()
    # Once while there is no broker, and once when it has just begun to catch up.
    kill(target, "imdb-streaming")
    time.sleep(max(0, 60 - (time.monotonic() - down_since)))
    as_root(target, "kafka", "systemctl", "start", "kafka", seconds=120 * patience)
    all_active(target, 180 * patience)
    comes_back(target, "imdb-streaming", kill(target, "imdb-streaming"), 180 * patience)


def test_tables_are_right_after_all_of_it(
    feeder: Feeder, tables: Tables, expected: Expected, patience: float
) -> None:
    feeder.close()
    nothing_lost_or_doubled(feeder, tables, expected, 180 * patience)
    silver = tables.read_silver().sort_values("kafka_timestamp")
    of_dumps = silver[silver["tconst"].isin(expected.silver["tconst"])]
    assert len(of_dumps) == len(expected.silver)
    for column in SILVER_COLUMNS:
        same_values(of_dumps.sort_values("tconst")[column], expected.silver[column])

    counts = expected_genre_counts(silver.drop_duplicates("tconst", keep="last"))
    wait_for(
        "genre_counts counts every movie of silver, in order",
        tables.read_genre_counts,
        lambda actual: bool(actual.astype(object).equals(counts.astype(object))),
        120 * patience,
    )
