"""A second deployment changes nothing; a changed setting restarts its service, once."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from hosts import Target

from ..variables import HostVariables
from .deployment import (
    as_root,
    cut_off_after,
    restarts_just,
    run_playbook,
    starts_since,
    unit_states,
)

pytestmark = pytest.mark.deploy


@dataclass(frozen=True)
class Change:
    """A setting to change, and the unit that it concerns."""

    variable: str
    value: str
    unit: str


CHANGES = [
    Change("kafka_heap_size", "900m", "kafka"),
    Change("zookeeper_heap_size", "250m", "zookeeper"),
    Change("spark_master_memory_mb", "500", "spark-master"),
    Change("spark_worker_daemon_memory_mb", "500", "spark-worker"),
    Change("streaming_trigger_interval", "19 seconds", "imdb-streaming"),
    Change("producer_msgs_per_sec", "300", "imdb-producer"),
]


def test_second_run_changes_and_restarts_nothing(target: Target) -> None:
    before = unit_states(target)
    again = run_playbook()
    assert again.exit_code == 0, again.end
    assert again.changed == dict.fromkeys(target.hosts, 0), again.changed_tasks
    assert unit_states(target) == before


def test_check_of_a_converged_host_reports_no_change(target: Target) -> None:
    before = unit_states(target)
    check = run_playbook("--check")
    assert check.exit_code == 0, check.end
    assert check.changed == dict.fromkeys(target.hosts, 0), check.changed_tasks
    assert unit_states(target) == before


def test_a_pipeline_is_not_led_over_to_security_or_back_by_a_knob(
    target: Target, variables: HostVariables
) -> None:
    before = unit_states(target)
    other = "false" if variables["pipeline_security"] else "true"
    switched = run_playbook("-e", f"pipeline_security={other}")
    assert switched.exit_code != 0
    assert "by make switch-security NAME=" in " ".join(switched.end.split())
    assert unit_states(target) == before


# Of Kafka alone, the test of a run that was cut off sees the same.
@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.unit)
def test_changed_setting_restarts_just_its_service(
    target: Target, variables: HostVariables, patience: float, change: Change
) -> None:
    before = str(variables[change.variable])
    assert before != change.value, f"{change.variable} is {before} already: nothing would change"
    restarts_just(target, change.variable, change.value, {change.unit}, patience)
    # Going back is a change like any other.
    restarts_just(target, change.variable, before, {change.unit}, patience)


def test_a_run_that_was_cut_off_is_made_good_by_the_next(
    target: Target, variables: HostVariables, patience: float
) -> None:
    before, since = unit_states(target), time.time()
    heap = str(variables["kafka_heap_size"])
    assert heap != "950m"
    cut_off_after(
        "kafka : Configure | Write the command that all others are links to",
        "-e",
        "kafka_heap_size=950m",
    )
    assert unit_states(target) == before, "the play came further than it was meant to"

    again = run_playbook("-e", "kafka_heap_size=950m")
    assert again.exit_code == 0, again.end
    assert unit_states(target)["kafka"].invocation != before["kafka"].invocation
    assert starts_since(target, "kafka", since) == 1
    restarts_just(target, "kafka_heap_size", heap, {"kafka"}, patience)


def test_a_unit_edited_by_hand_is_reported_and_restored(target: Target, patience: float) -> None:
    edit = "echo Nice=5 >>/etc/systemd/system/zookeeper.service"
    as_root(target, "zookeeper", "sh", "-c", f"'{edit}'")
    before, since = unit_states(target), time.time()
    check = run_playbook("--check", "--diff")
    assert check.exit_code == 0, check.end
    assert sum(check.changed.values()) == 1, check.changed_tasks
    assert "-Nice=5" in check.output

    restored = run_playbook()
    assert restored.exit_code == 0, restored.end
    assert "Nice=5" not in as_root(target, "zookeeper", "systemctl", "cat", "zookeeper")
    after = unit_states(target)
    changed = {unit for unit in after if after[unit].invocation != before[unit].invocation}
    assert changed == {"zookeeper"}
    assert starts_since(target, "zookeeper", since) == 1
