"""The topic."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

from ..variables import HostVariables

testinfra_hosts = ["ansible://kafka"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("kafka")]


@pytest.fixture(scope="module")
def description(host: Host, variables: HostVariables) -> str:
    """What the broker says of the topic."""
    secured = bool(variables["kafka_certificate"])
    port = variables["kafka_secure_port" if secured else "kafka_port"]
    command = "timeout 300 kafka-topics.sh --bootstrap-server %s --describe --topic %s"
    if secured:
        command += " --command-config /etc/kafka/admin.properties"
    with host.sudo():
        answer: str = host.check_output(
            command, f"{variables['host_address']}:{port}", variables["kafka_topic_name"]
        )
    return answer


def test_partitions_are_the_inventorys(description: str, variables: HostVariables) -> None:
    match = re.search(r"PartitionCount: (\d+)", description)
    assert match, description
    assert int(match[1]) == variables["kafka_topic_partitions"]


def test_replication_is_the_inventorys(description: str, variables: HostVariables) -> None:
    match = re.search(r"ReplicationFactor: (\d+)", description)
    assert match, description
    assert int(match[1]) == variables["kafka_topic_replication_factor"]


def test_every_replica_is_in_sync(description: str) -> None:
    partitions = re.findall(r"Leader: (\S+)\s+Replicas: (\S+)\s+Isr: (\S+)", description)
    assert partitions, description
    for leader, replicas, in_sync in partitions:
        assert leader in in_sync.split(","), description
        assert sorted(replicas.split(",")) == sorted(in_sync.split(",")), description


def test_settings_are_the_inventorys(description: str, variables: HostVariables) -> None:
    match = re.search(r"Configs: (\S*)", description)
    assert match, description
    settings = dict(pair.split("=", 1) for pair in match[1].split(",") if pair)
    wanted = {"message.timestamp.after.max.ms": variables["kafka_topic_ahead_ms"]}
    wanted |= variables["kafka_topic_config"]
    wanted = {name: str(value) for name, value in wanted.items()}
    assert settings.items() >= wanted.items()


def test_what_is_older_than_it_is_kept_is_refused(
    host: Host, description: str, variables: HostVariables
) -> None:
    match = re.search(r"Configs: (\S*)", description)
    assert match, description
    settings = dict(pair.split("=", 1) for pair in match[1].split(",") if pair)
    behind = variables["kafka_topic_behind_ms"]
    if "delete" not in settings.get("cleanup.policy", "delete"):
        assert behind >= 0 or "message.timestamp.before.max.ms" not in settings
        return
    kept = settings.get("retention.ms", variables["kafka_log_retention_hours"] * 3_600_000)
    wanted = behind if behind >= 0 else int(kept)
    assert int(settings["message.timestamp.before.max.ms"]) == wanted
