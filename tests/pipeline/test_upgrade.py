"""Another version of ZooKeeper, Kafka and Spark, and back: by one variable, on hosts that run.

It is put beside the present one, which stays for the way back; what it concerns is restarted once;
data stays. A feeder sends new movies through all of it (see messages.py): those that the broker has
acknowledged must be in silver, each once. They stay in the tables: not for hosts whose tables are
wanted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import dataclass

import pytest
from hosts import Target, run

from ..variables import HostVariables
from ..waiting import wait_for
from .deployment import (
    as_root,
    cut_off_after,
    restarts_just,
    run_playbook,
    unit_state,
    unit_states,
    web_page,
)
from .messages import Connection, Feeder, read_topic
from .tables import Tables

pytestmark = [pytest.mark.deploy, pytest.mark.slow]

# Versions to come to and to go back from, each in artifacts/artifacts.lock.
OTHER_ZOOKEEPER = "3.8.4"
OTHER_KAFKA = "3.9.1"
OTHER_SPARK = "4.0.0"

SPARK_UNITS = {"spark-master", "spark-worker", "imdb-streaming"}

# What a JVM says when the jars that it began with are not there any more.
LOST_CLASSES = r"NoClassDefFoundError|ClassNotFoundException|NoSuchMethodError"


@dataclass(frozen=True)
class Installed:
    """What a host has of a release: where the link leads, and a mark of each version's folder.

    The mark is another one when the folder was made or renamed anew.
    """

    current: str
    marks: dict[str, str]


def installed(target: Target, unit: str, name: str) -> Installed:
    """Return what a unit's host has of a release."""
    host = target.host_of(unit)
    look = f"find /opt/{name} -mindepth 1 -maxdepth 1 -type d -printf '%f %i %C@\\n'"
    return Installed(
        run(target, host, "readlink", f"/opt/{name}/current").strip(),
        dict(line.split(maxsplit=1) for line in run(target, host, look).splitlines()),
    )


@pytest.fixture(scope="module")
def feeder(connection: Connection, topic: str) -> Generator[Feeder]:
    """New movies at a steady rate."""
    with Feeder(connection, topic) as feeder:
        yield feeder


@pytest.fixture
def _nothing_lost_or_doubled(feeder: Feeder, tables: Tables, patience: float) -> Generator[None]:
    """Data flows before the test, and all of it has arrived after."""
    feeder.flows(120 * patience)
    yield
    feeder.flows(120 * patience)
    tables.hold_each_once(feeder.sent(), 300 * patience)


def test_check_with_other_versions_changes_nothing(target: Target) -> None:
    files = "find /etc /opt /usr/local -xdev -printf '%p %M %U:%G %l %C@\\n' | sort"

    def state() -> tuple[object, ...]:
        hosts = (run(target, host, f"sudo {files}", timeout=120) for host in target.hosts)
        return unit_states(target), *hosts

    before = state()
    check = run_playbook(
        "--check", "-e", f"kafka_version={OTHER_KAFKA}", "-e", f"spark_version={OTHER_SPARK}"
    )
    assert check.exit_code == 0, check.end
    assert f"kafka {OTHER_KAFKA}" in check.output
    assert f"spark {OTHER_SPARK}" in check.output
    assert state() == before


@pytest.mark.usefixtures("_nothing_lost_or_doubled")
def test_zookeeper_goes_to_another_version_and_back(
    target: Target, variables: HostVariables, patience: float
) -> None:
    own = str(variables["zookeeper_version"])
    start = installed(target, "zookeeper", "zookeeper")
    assert start.current == own != OTHER_ZOOKEEPER
    kept = topics_in_zookeeper(target)
    assert "imdb" in kept

    for version in (OTHER_ZOOKEEPER, own):
        restarts_just(target, "zookeeper_version", version, {"zookeeper"}, patience)
        said = as_root(target, "zookeeper", "zookeeper-ask", "srvr")
        assert f"Zookeeper version: {version}-" in said
        now = installed(target, "zookeeper", "zookeeper")
        assert (now.current, set(now.marks)) == (version, {own, OTHER_ZOOKEEPER})
        assert now.marks[own] == start.marks[own], "it was copied or unpacked again"
        assert topics_in_zookeeper(target) == kept


@pytest.mark.usefixtures("_nothing_lost_or_doubled")
def test_kafka_goes_to_another_version_and_back(
    target: Target, variables: HostVariables, connection: Connection, topic: str, patience: float
) -> None:
    own = str(variables["kafka_version"])
    start = installed(target, "kafka", "kafka")
    assert start.current == own != OTHER_KAFKA

    for version in (OTHER_KAFKA, own):
        records = {(it.partition, it.offset): it for it in read_topic(connection, topic)}
        stopped = unit_state(target, "kafka")
        restarts_just(target, "kafka_version", version, {"kafka"}, patience)
        assert broker_version(target) == {version}
        now = installed(target, "kafka", "kafka")
        assert (now.current, set(now.marks)) == (version, {own, OTHER_KAFKA})
        assert now.marks[own] == start.marks[own], "it was copied or unpacked again"

        journal = as_root(target, "kafka", *of_invocation(stopped.invocation))
        assert not re.search(LOST_CLASSES, journal), journal
        assert "shut down completed" in journal
        after = {(it.partition, it.offset): it for it in read_topic(connection, topic)}
        assert {at: after.get(at) for at in records} == records


@pytest.mark.usefixtures("_nothing_lost_or_doubled")
def test_sparks_parts_go_to_another_version_together_and_back(
    target: Target, variables: HostVariables, patience: float
) -> None:
    own = str(variables["spark_version"])
    start = installed(target, "spark-master", "spark")
    assert start.current == own != OTHER_SPARK
    wait_for_spark(target, variables, own, patience)

    # Cut off when the master has changed and nothing else has, the next run does the rest.
    cut_off_after("service : Service | Look at spark-worker", "-e", f"spark_version={OTHER_SPARK}")
    restarts_just(target, "spark_version", OTHER_SPARK, SPARK_UNITS - {"spark-master"}, patience)
    wait_for_spark(target, variables, OTHER_SPARK, patience)

    restarts_just(target, "spark_version", own, SPARK_UNITS, patience)
    wait_for_spark(target, variables, own, patience)
    end = installed(target, "spark-master", "spark")
    assert (end.current, set(end.marks)) == (own, {own, OTHER_SPARK})
    assert end.marks[own] == start.marks[own], "it was copied or unpacked again"


def of_invocation(invocation: str) -> list[str]:
    """Return the command that prints what one start of a unit has said until its end."""
    return ["journalctl", "--quiet", "--output=cat", f"_SYSTEMD_INVOCATION_ID={invocation}"]


def topics_in_zookeeper(target: Target) -> str:
    """Return the topics that ZooKeeper knows of, by its own shell."""
    said = as_root(target, "zookeeper", "zkCli.sh", "ls", "/brokers/topics", seconds=120)
    return said.splitlines()[-1]


def broker_version(target: Target) -> set[str]:
    """Return the version that the running broker said it is of."""
    journal = as_root(target, "kafka", *of_invocation(unit_state(target, "kafka").invocation))
    return set(re.findall(r"Kafka version: (\S+)", journal))


def wait_for_spark(target: Target, variables: HostVariables, version: str, patience: float) -> None:
    """Wait until all that runs of Spark runs in a version: its command, daemons, job, executor."""

    def page(unit: str, port: str, path: str) -> str:
        return web_page(target, variables, target.host_of(unit), port, path)

    def versions() -> dict[str, set[str]]:
        submit = as_root(target, "imdb-streaming", "spark-submit --version 2>&1")
        shown = r'class="version"[^>]*>\s*([0-9.]+)'
        job = page("imdb-streaming", "streaming_webui_port", "/api/v1/version")
        worker = target.host_of("spark-worker")
        executors = run(target, worker, "pgrep -af '[C]oarseGrainedExecutorBackend'")
        return {
            "command": set(re.findall(r"version ([0-9.]+)\n", submit)),
            "master": set(re.findall(shown, page("spark-master", "spark_master_webui_port", "/"))),
            "worker": set(re.findall(shown, page("spark-worker", "spark_worker_webui_port", "/"))),
            "job": {json.loads(job)["spark"]},
            "executor": set(re.findall(r"/opt/spark/([^/:]+)/jars/", executors)),
        }

    wait_for(
        f"all of Spark is {version}",
        versions,
        lambda found: all(it == {version} for it in found.values()),
        120 * patience,
        every=3,
    )
