"""Hosts join, leave and are replaced while data flows; each step by terraform and one playbook."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hosts import Target, load, run
from kafka import KafkaAdminClient

from ..variables import HostVariables
from ..waiting import wait_for
from .deployment import name_of, run_playbook
from .power import apply, hosts_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# Beside those of terraform/topologies/cluster.tfvars.
NEW = {
    "broker-4": {"groups": ["kafka"], "memory_mb": 4096, "rack": "a"},
    "worker-4": {"groups": ["spark_worker"], "memory_mb": 4096},
}
NEW_ID = 4


def replicas(bootstrap: str) -> dict[str, set[int]]:
    """Return the brokers that hold each partition."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
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


def test_a_broker_and_a_worker_join_and_leave_again(
    target: Target,
    bootstrap: str,
    patience: float,
    nothing_is_lost: Callable[[], None],
) -> None:
    before = hosts_of(target)
    broker = f"{name_of(target)}-broker-4"
    try:
        apply(target, before | NEW)
        play(playbook="scale.yml")
        placed = replicas(bootstrap)
        assert all(len(brokers) == 3 for brokers in placed.values()), placed
        # It shares its rack with another, and with it the replicas of that rack.
        assert any(NEW_ID in brokers for brokers in placed.values()), placed

        leaving = json.dumps({"scale_leaving": [broker]})
        play("-e", leaving, playbook="scale.yml")
        placed = replicas(bootstrap)
        assert all(len(brokers - {NEW_ID}) == 3 for brokers in placed.values()), placed
        assert NEW_ID not in set().union(*placed.values())
    finally:
        apply(target, before)
    assert broker not in load(target.name).hosts
    play(playbook="site.yml")
    nothing_is_lost()


def test_a_lost_host_comes_back_empty_and_is_filled_again(
    target: Target,
    variables: HostVariables,
    bootstrap: str,
    patience: float,
    nothing_is_lost: Callable[[], None],
) -> None:
    host = target.groups["kafka"][1]
    key = host.removeprefix(f"{name_of(target)}-")
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
    assert all(target.hosts[host]["host_id"] in brokers for brokers in replicas(bootstrap).values())
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
