"""Wrong input is told with its name, the reason and what to do, before anything changes."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hosts import ROOT, Target, inventory_path

from ..variables import HostVariables
from .deployment import PlaybookRun, run_playbook, unit_states

pytestmark = pytest.mark.deploy

SECONDS = 180
# A release that is not as locked is fetched anew, to tell a bad cache from a bad lock.
FETCH_SECONDS = 300


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
    Wrong("producer_msgs_per_sec", "ten", ("unable to convert to float",)),
    Wrong("streaming_cores_max", "x", ("'x'", "cannot be converted to an int")),
    Wrong("kafka_data_dir", "/data", ("'/data'", "two folders deep", "Give")),
    Wrong("producer_limit", "0", ("PRODUCER_LIMIT", "'0'", "from 1 up", "Give")),
    Wrong("producer_basics", "data/nowhere.gz", ("BASICS", "nowhere.gz", "no file", "Give")),
    Wrong("spark_worker_memory_mb", "lots", ("'lots'", "cannot be converted to an int")),
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


def test_a_host_too_small_for_its_services_is_refused(target: Target) -> None:
    run = run_playbook(
        "-e", "host_memory_mb=512", "-e", "spark_worker_memory_mb=300", seconds=SECONDS
    )
    refuses(
        run, target, "512 MiB", "kafka_heap_size=1024", "give the host more", "Nothing was changed"
    )


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
def cache(tmp_path: Path) -> Path:
    """A cache of archives that may be spoiled; big files are links to the real ones."""
    root = Path(os.environ.get("IMDB_PIPELINE_CACHE") or Path.home() / ".cache" / "imdb-pipeline")
    folder = tmp_path / "cache" / "artifacts"
    folder.mkdir(parents=True)
    for path in (root / "artifacts").iterdir():
        if path.is_file():
            (folder / path.name).symlink_to(path)
    shutil.copytree(root / "artifacts" / "files", folder / "files")
    return folder


def test_truncated_archive_is_refused(
    target: Target, variables: HostVariables, cache: Path
) -> None:
    # A cache may have several of one version, packed from other files.
    sums = {}
    for archive in cache.glob(f"zookeeper-{variables['zookeeper_version']}-*.tar"):
        content = archive.read_bytes()
        half = content[: len(content) // 2]
        archive.unlink()
        archive.write_bytes(half)
        sums[archive.name] = [hashlib.sha256(it).hexdigest() for it in (content, half)]
    run = run_playbook(
        environment={"IMDB_PIPELINE_CACHE": str(cache.parent)}, seconds=FETCH_SECONDS
    )
    named = [name for name in sums if name in run.output]
    assert len(named) == 1, run.end
    wanted, found = sums[named[0]]
    refuses(run, target, f"expected sha256 {wanted}", f"found {found}", "Delete")


def test_changed_digit_in_the_lock_is_refused(
    target: Target, variables: HostVariables, cache: Path, tmp_path: Path
) -> None:
    # The program that fetches, in a checkout of its own: the real lock is not touched.
    shutil.copytree(ROOT / "artifacts", tmp_path / "artifacts")
    for name in ("roles", "producer", "spark", "dashboard", "requirements.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    lock = tmp_path / "artifacts" / "artifacts.lock"
    text = lock.read_text(encoding="utf-8")
    release = re.escape(f"zookeeper-{variables['zookeeper_version']}")
    line = re.search(rf"^([0-9a-f]{{64}})  ({release}/\S+)$", text, re.MULTILINE)
    assert line, "the lock does not list ZooKeeper"
    wrong = line[1][:-1] + ("0" if line[1][-1] != "0" else "1")
    lock.write_text(text.replace(line[1], wrong), encoding="utf-8")
    run = run_playbook(
        "-e",
        f"release_tool={tmp_path / 'artifacts' / 'artifacts.py'}",
        environment={"IMDB_PIPELINE_CACHE": str(cache.parent)},
        seconds=FETCH_SECONDS,
    )
    refuses(run, target, line[2], wrong, line[1], "Nothing of it is used", "refresh the lock")
