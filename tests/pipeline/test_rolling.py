"""Restarts on a running cluster: one host after the other, between gates, with nothing lost.

A feeder sends new movies through all of it (see messages.py). They stay in the tables.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial

import pytest
from hosts import Target, run
from status import collect

from ..variables import HostVariables
from ..waiting import wait_for
from .cluster import Watch, accepts, invocations, is_active, restarted
from .deployment import cut_off_after, run_playbook
from .messages import Feeder
from .silver_watch import SilverWatch
from .tables import Tables

pytestmark = pytest.mark.cluster

# Versions to come to and to go back from, in artifacts/artifacts.lock.
OTHER_KAFKA = "3.9.1"
OTHER_SPARK = "4.0.0"
GROUPS_OF_SPARK = {
    "spark-master": "spark_master",
    "spark-worker": "spark_worker",
    "imdb-streaming": "streaming",
}


@pytest.fixture
def brokers(target: Target, variables: HostVariables) -> list[tuple[str, int]]:
    """Host and port of each broker."""
    port = int(variables["kafka_external_port"])
    return [(target.hosts[host]["host_external_address"], port) for host in target.groups["kafka"]]


def test_a_roll_refuses_while_a_broker_is_down(target: Target, patience: float) -> None:
    host = target.groups["kafka"][1]
    number = target.hosts[host]["host_id"]
    run(target, host, "sudo", "systemctl", "stop", "kafka", timeout=150 * patience)
    try:
        before = invocations(target)
        roll = run_playbook(playbook="roll.yml")
        assert roll.exit_code != 0
        assert f"broker {number} on {host} is not up" in roll.output, roll.end
        assert "Stopped kafka.service" in roll.output, "its journal is not shown"
        assert set(roll.changed.values()) == {0}, roll.changed_tasks
        assert invocations(target) == before
    finally:
        run(target, host, "sudo", "systemctl", "start", "kafka", timeout=150 * patience)


@pytest.mark.slow
def test_a_roll_restarts_every_broker_and_server_and_loses_nothing(
    target: Target,
    steady_feeder: Feeder,
    brokers: list[tuple[str, int]],
    nothing_is_lost: Callable[[], None],
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    before, began = invocations(target), time.monotonic()
    with Watch(brokers, accepts) as watch:
        roll = run_playbook("-e", '{"roll_units": ["zookeeper", "kafka"]}', playbook="roll.yml")
    seconds = time.monotonic() - began
    assert roll.exit_code == 0, roll.end
    rolled = {"zookeeper", "kafka"}
    # A Spark master that loses its server of ZooKeeper gives up, and is started again by systemd.
    found = {
        (host, unit) for host, unit in restarted(before, invocations(target)) if unit in rolled
    }
    assert found == {(host, unit) for unit in rolled for host in target.groups[unit]}
    assert len(watch.most_away) == 1, f"away at once: {watch.most_away}"
    nothing_is_lost()
    stall = steady_feeder.longest_stall()
    record_property("roll_seconds", round(seconds, 1))
    record_property("longest_stall_seconds", round(stall, 1))
    say(f"rolled in {seconds:.1f} s, longest stall {stall:.1f} s, {len(steady_feeder.sent())} sent")


@pytest.mark.slow
def test_a_changed_setting_restarts_the_brokers_one_after_the_other(
    target: Target,
    variables: HostVariables,
    brokers: list[tuple[str, int]],
    nothing_is_lost: Callable[[], None],
) -> None:
    heap = str(variables["kafka_heap_size"])
    assert heap != "900m"
    for value in ("900m", heap):
        before = invocations(target)
        with Watch(brokers, accepts) as watch:
            deployed = run_playbook("-e", f"kafka_heap_size={value}")
        assert deployed.exit_code == 0, deployed.end
        assert len(watch.most_away) == 1, f"away at once: {watch.most_away}"
        assert restarted(before, invocations(target)) == {
            (host, "kafka") for host in target.groups["kafka"]
        }
    nothing_is_lost()


@pytest.mark.slow
def test_a_changed_setting_restarts_spark_one_host_after_the_other(
    target: Target, variables: HostVariables, nothing_is_lost: Callable[[], None]
) -> None:
    units = [
        (host, group.replace("_", "-"))
        for group in ("spark_master", "spark_worker")
        for host in target.groups[group]
    ]
    own = {
        name: int(variables[name])
        for name in ("spark_master_memory_mb", "spark_worker_daemon_memory_mb")
    }
    for more in (1, 0):
        asked = [f"-e{name}={value + more}" for name, value in own.items()]
        before, leader = invocations(target), leading_master(target)
        with Watch(units, partial(is_active, target)) as watch:
            deployed = run_playbook(*asked)
        assert deployed.exit_code == 0, deployed.end
        assert len(watch.most_away) == 1, f"away at once: {watch.most_away}"
        assert restarted(before, invocations(target)) == set(units)
        # The one that leads comes last, so that the lead moves once.
        assert leading_master(target) != leader
    nothing_is_lost()


def leading_master(target: Target) -> str:
    """Wait until a Spark master leads; return its host."""
    leading: list[str] = wait_for(
        "a Spark master leads",
        lambda: [
            host
            for host, found in collect(target)["hosts"].items()
            if (found["master"] or {}).get("role") == "alive"
        ],
        lambda found: len(found) == 1,
        90,
    )
    return leading[0]


@pytest.mark.slow
@pytest.mark.parametrize("playbook", ["upgrade.yml", "update.yml", "scale.yml", "replace.yml"])
def test_what_must_see_the_whole_refuses_a_part_of_it(target: Target, playbook: str) -> None:
    host = target.groups["kafka"][-1]
    refused = run_playbook("--limit", host, "-e", f"replace_host={host}", playbook=playbook)
    assert refused.exit_code != 0
    assert f"--limit is '{host}'" in refused.output, refused.end
    assert set(refused.changed.values()) <= {0}, refused.changed_tasks


@pytest.mark.slow
def test_kafka_is_upgraded_and_goes_back_without_a_pause(
    target: Target,
    variables: HostVariables,
    steady_feeder: Feeder,
    brokers: list[tuple[str, int]],
    nothing_is_lost: Callable[[], None],
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    own = str(variables["kafka_version"])
    assert own != OTHER_KAFKA
    for version in (OTHER_KAFKA, own):
        before = invocations(target)
        with Watch(brokers, accepts) as watch:
            done = run_playbook("-e", f"kafka_version={version}", playbook="upgrade.yml")
        assert done.exit_code == 0, done.end
        assert len(watch.most_away) == 1, f"away at once: {watch.most_away}"
        assert restarted(before, invocations(target)) == {
            (host, "kafka") for host in target.groups["kafka"]
        }
        for host in target.groups["kafka"]:
            assert run(target, host, "readlink", "/opt/kafka/current").strip() == version
    nothing_is_lost()
    stall = steady_feeder.longest_stall()
    record_property("longest_stall_seconds", round(stall, 1))
    say(f"there and back: longest stall {stall:.1f} s, {len(steady_feeder.sent())} sent")


@pytest.mark.slow
def test_spark_is_upgraded_and_goes_back_while_data_flows(
    target: Target,
    variables: HostVariables,
    steady_feeder: Feeder,
    tables: Tables,
    nothing_is_lost: Callable[[], None],
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    own = str(variables["spark_version"])
    assert own != OTHER_SPARK
    watch = SilverWatch(tables)
    pauses: list[float] = []
    # Cut off when the masters have changed and nothing else has, the next run does the rest.
    cut_off = {OTHER_SPARK: "service : Service | Look at spark-worker"}
    try:
        for version in (OTHER_SPARK, own):
            before, asked = invocations(target), ("-e", f"spark_version={version}")
            if version in cut_off:
                cut_off_after(cut_off[version], *asked, playbook="upgrade.yml")
            done = run_playbook(*asked, playbook="upgrade.yml")
            assert done.exit_code == 0, done.end
            told = re.search(r"ends of two batches of the job: ([0-9.]+) s", done.output)
            assert told, done.end
            pauses.append(float(told[1]))
            assert restarted(before, invocations(target)) == {
                (host, unit)
                for unit, group in GROUPS_OF_SPARK.items()
                for host in target.groups[group]
            }
            for host in target.groups["streaming"] + target.groups["spark_worker"]:
                assert run(target, host, "readlink", "/opt/spark/current").strip() == version
        nothing_is_lost()
        waits = [
            (watch.seen(row.event_id) or time.monotonic()) - row.begun
            for row in steady_feeder.acknowledged()
        ]
    finally:
        watch.stop()
    assert not watch.problems, watch.problems[:5]
    # A batch at least ends before the job stops, and another when it is back.
    assert all(pause > 0 for pause in pauses)
    stall = steady_feeder.longest_stall()
    record_property("job_pauses_seconds", pauses)
    record_property("longest_stall_seconds", round(stall, 1))
    record_property("longest_wait_for_silver_seconds", round(max(waits), 1))
    say(
        f"there and back: the job's pauses {pauses} s,"
        f" longest stall {stall:.1f} s, longest wait for silver {max(waits):.1f} s,"
        f" {len(waits)} sent"
    )


@pytest.mark.slow
def test_one_host_is_rolled_alone(target: Target, patience: float) -> None:
    host = target.groups["kafka"][-1]
    before = invocations(target)
    roll = run_playbook("--limit", host, "-e", '{"roll_units": ["kafka"]}', playbook="roll.yml")
    assert roll.exit_code == 0, roll.end
    assert restarted(before, invocations(target)) == {(host, "kafka")}
    wait_for(
        "every unit is as before",
        lambda: {key: state for key, (state, _) in invocations(target).items()},
        lambda states: states == {key: state for key, (state, _) in before.items()},
        60 * patience,
    )
