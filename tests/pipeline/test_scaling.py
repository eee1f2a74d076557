"""Hosts join, leave and are replaced while data flows; each step by terraform and one playbook."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hosts import Target, host_running, load, run
from kafka import KafkaAdminClient

from ..variables import HostVariables
from ..waiting import wait_for
from .deployment import asked, run_playbook
from .messages import Connection
from .power import apply, hosts_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# Beside those of terraform/topologies/cluster.tfvars.
NEW = {
    "broker-4": {"groups": ["kafka"], "memory_mb": 4096, "rack": "a"},
    "worker-4": {"groups": ["spark_worker"], "memory_mb": 4096},
}
NEW_ID = 4


def replicas(connection: Connection) -> dict[str, set[int]]:
    """Return the brokers that hold each partition."""
    admin = KafkaAdminClient(**connection)
    try:
        return {
            f"{topic['name']}-{row['partition_index']}": set(row["replica_nodes"])
            for topic in admin.describe_topics()
            for row in topic["partitions"]
        }
    finally:
        admin.close()


def play(*arguments: str, playbook: str) -> None:
    done = run_playbook(*arguments, playbook=playbook, seconds=1200)
    assert done.exit_code == 0, done.end


def leave(hosts: list[str]) -> None:
    """Take everything off these hosts."""
    play("-e", json.dumps({"scale_leaving": hosts}), playbook="scale.yml")


def state_of_worker(target: Target, host: str) -> str:
    return run(
        target, host, "systemctl", "show", "--property=ActiveState", "--value", "spark-worker"
    ).strip()


def test_a_broker_and_a_worker_join_and_leave_again(
    target: Target,
    connection: Connection,
    patience: float,
    nothing_is_lost: Callable[[], None],
) -> None:
    before = hosts_of(target)
    broker, worker = (f"{target.name}-{key}" for key in NEW)
    try:
        apply(target, before | NEW)
        play(playbook="scale.yml")
        placed = replicas(connection)
        assert all(len(brokers) == 3 for brokers in placed.values()), placed
        # It shares its rack with another, and with it the replicas of that rack.
        assert any(NEW_ID in brokers for brokers in placed.values()), placed

        leave([broker, worker])
        placed = replicas(connection)
        assert all(len(brokers - {NEW_ID}) == 3 for brokers in placed.values()), placed
        assert NEW_ID not in set().union(*placed.values())
        assert state_of_worker(load(target.name), worker) == "inactive"
    finally:
        apply(target, before)
    assert broker not in load(target.name).hosts
    play(playbook="site.yml")
    nothing_is_lost()


def test_a_worker_that_leaves_finishes_its_tasks(
    target: Target,
    patience: float,
    nothing_is_lost: Callable[[], None],
) -> None:
    busy = wait_for(
        "the job has executors",
        lambda: workers_in_use(target),
        lambda found: len(found) > 0,
        60 * patience,
    )
    job = host_running(target, "imdb-streaming")
    began = run(target, job, "date", "+%s").strip()
    try:
        leave(busy[:1])
        assert state_of_worker(target, busy[0]) == "inactive"
        said = run(target, job, "sudo", "journalctl", "--unit=imdb-streaming", f"--since=@{began}")
        assert "Lost task" not in said
    finally:
        play(playbook="site.yml")
    assert state_of_worker(target, busy[0]) == "active"
    nothing_is_lost()


def workers_in_use(target: Target) -> list[str]:
    """Return the hosts of the workers that have executors, as the leading master says."""
    names = {str(it["host_address"]): name for name, it in target.hosts.items()}
    found = []
    for host in target.groups["spark_master"]:
        workers = asked(target, host, "spark-master")["workers"]
        # Those that have left are listed for a while, as they were.
        alive = [it for it in workers if it["state"] == "ALIVE"]
        found += [names[it["host"]] for it in alive if it["coresused"] > 0]
    return found


@pytest.mark.parametrize(
    ("group", "named"),
    [
        (None, "scale_leaving names nobody-1"),
        ("spark_worker", "all workers"),
        ("kafka", "brokers would stay"),
        ("zookeeper", "ensemble"),
    ],
)
def test_who_cannot_leave_is_refused(target: Target, group: str | None, named: str) -> None:
    hosts = target.groups[group] if group else ["nobody-1"]
    arguments = ["-e", json.dumps({"scale_leaving": hosts})]
    # Where fewer brokers were enough, the ensemble would still need its servers.
    arguments += ["-e", "kafka_topic_replication_factor=0"] if group == "zookeeper" else []
    refused = run_playbook(*arguments, playbook="scale.yml")
    assert refused.exit_code != 0
    assert "scale_leaving names" in refused.output
    assert named in refused.output, refused.end
    assert "Nothing was changed" in refused.output
    assert set(refused.changed.values()) <= {0}, refused.changed_tasks


def test_a_lost_host_comes_back_empty_and_is_filled_again(
    target: Target,
    variables: HostVariables,
    connection: Connection,
    patience: float,
    nothing_is_lost: Callable[[], None],
) -> None:
    host = target.groups["kafka"][1]
    key = host.removeprefix(f"{target.name}-")
    meta = f"{variables['kafka_data_dir']}/meta.properties"
    apply(target, hosts_of(target), f'-replace=terraform_data.disk["{key}"]')
    assert run(target, host, "ls", "-A", "/opt").split() == ["spark-output"]

    play("-e", f"replace_host={host}", playbook="replace.yml")
    wanted = f"broker.id={target.hosts[host]['host_id']}"
    wait_for(
        "the broker has its old id",
        lambda: run(target, host, "sudo", "cat", meta),
        lambda text: wanted in text.split(),
        30 * patience,
    )
    assert all(
        target.hosts[host]["host_id"] in brokers for brokers in replicas(connection).values()
    )
    nothing_is_lost()


def test_no_host_is_replaced_while_another_is_away(target: Target, patience: float) -> None:
    lost, away = target.groups["kafka"][1:3]
    run(target, away, "sudo", "systemctl", "stop", "kafka", timeout=150 * patience)
    try:
        refused = run_playbook("-e", f"replace_host={lost}", playbook="replace.yml")
        assert refused.exit_code != 0
        assert f"broker {target.hosts[away]['host_id']} on {away} is not up" in refused.output
        assert set(refused.changed.values()) == {0}, refused.changed_tasks
    finally:
        run(target, away, "sudo", "systemctl", "start", "kafka", timeout=150 * patience)
