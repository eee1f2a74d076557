"""Wrong input is told with its name, the reason and what to do, before anything changes."""

from __future__ import annotations

import ipaddress
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hosts import ROOT, Target, inventory_path

from ..variables import HostVariables
from .deployment import PlaybookRun, run_playbook, unit_states

pytestmark = pytest.mark.deploy

SECONDS = 180


@dataclass(frozen=True)
class Wrong:
    """A value to refuse, and what must be said of it: the input's names, the reason, the advice."""

    variable: str
    value: str
    said: tuple[str, ...]


WRONG = [
    Wrong("producer_msgs_per_sec", "-1", ("MSGS_PER_SEC", "'-1'", "not a rate", "Give")),
    Wrong("kafka_topic_name", "", ("KAFKA_TOPIC", "''", "1 to 249", "give")),
]
MORE_WRONG = [
    Wrong("producer_msgs_per_sec", "ten", ("MSGS_PER_SEC", "'ten'", "not a rate", "Give")),
    Wrong("producer_limit", "0", ("PRODUCER_LIMIT", "'0'", "from 1 up", "Give")),
    Wrong("producer_basics", "data/nowhere.gz", ("BASICS", "nowhere.gz", "no file", "Give")),
    Wrong("spark_worker_memory_mb", "lots", ("'lots'", "MiB", "Give")),
    Wrong("streaming_trigger_interval", "soon", ("'soon'", "a unit", "Write")),
    Wrong("streaming_run_id", "../other", ("'../other'", "folder's name", "Use")),
]


def refuses(run: PlaybookRun, target: Target, *said: str) -> None:
    """Assert that a run ended before it changed anything, and said why."""
    assert run.exit_code != 0, run.end
    assert sum(run.changed.values()) == 0, run.changed_tasks
    assert set(run.changed) <= {*target.hosts, "localhost"}
    words = " ".join(run.output.split())
    missing = [text for text in said if text not in words]
    assert missing == [], run.end


@pytest.mark.parametrize(
    "wrong",
    [*WRONG, *(pytest.param(wrong, marks=pytest.mark.slow) for wrong in MORE_WRONG)],
    ids=lambda wrong: f"{wrong.variable}={wrong.value}",
)
def test_wrong_value_is_refused(target: Target, wrong: Wrong) -> None:
    before = unit_states(target)
    run = run_playbook("-e", f"{wrong.variable}='{wrong.value}'", seconds=SECONDS)
    refuses(run, target, wrong.variable, *wrong.said)
    assert unit_states(target) == before


def test_memory_is_measured_by_what_the_host_was_given(
    target: Target, variables: HostVariables
) -> None:
    given = int(variables["host_memory_mb"])
    run = run_playbook("-e", f"spark_worker_memory_mb={given + 1}", seconds=SECONDS)
    refuses(run, target, "spark_worker_memory_mb", str(given + 1), "of memory", "Ask for less")


def test_unreachable_host_is_named(target: Target, tmp_path: Path) -> None:
    everything = yaml.safe_load(inventory_path(target.name).read_text(encoding="utf-8"))
    hosts = everything["all"]["hosts"]
    name, host = next(iter(hosts.items()))
    taken = {ipaddress.ip_address(other["ansible_host"]) for other in hosts.values()}
    # Terraform gives numbers up to 249.
    free = next(
        address
        for number in range(250, 255)
        if (address := ipaddress.ip_network(f"{host['ansible_host']}/24", strict=False)[number])
        not in taken
    )
    host["ansible_host"] = str(free)
    copy = tmp_path / "hosts.yml"
    copy.write_text(yaml.safe_dump(everything), encoding="utf-8")
    run = run_playbook(
        inventories=[ROOT / "inventories" / "pipeline" / "hosts.yml", copy], seconds=SECONDS
    )
    refuses(run, target, name, str(free), "does not answer", "terraform apply")


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """The program that fetches archives, in a checkout of its own whose lock may be spoiled."""
    shutil.copytree(ROOT / "artifacts", tmp_path / "artifacts")
    for folder in ("roles", "producer", "spark"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    return tmp_path / "artifacts" / "artifacts.py"
