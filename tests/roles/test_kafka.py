"""The Kafka broker."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from .checks import (
    ends_without_memory,
    has_user,
    is_closed,
    is_confined,
    is_kept_from,
    is_up,
    listens,
    owns,
    properties,
    runs_as,
    runs_native_code,
    writes_only,
)

testinfra_hosts = ["ansible://kafka"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("kafka")]

# Beside kafka-topics.sh, which lists the topics below.
COMMANDS = [
    "kafka-configs.sh",
    "kafka-console-consumer.sh",
    "kafka-console-producer.sh",
    "kafka-consumer-groups.sh",
]


def bootstrap(variables: HostVariables) -> str:
    """Return the broker's address for hosts of the pipeline."""
    return f"{variables['host_address']}:{variables['kafka_port']}"


def test_unit_is_enabled_and_active(host: Host) -> None:
    is_up(host, "kafka")


@pytest.mark.parametrize("port", ["kafka_port", "kafka_external_port"])
def test_listener_takes_connections(host: Host, variables: HostVariables, port: str) -> None:
    listens(host, variables["host_address"], variables[port])


def test_each_listener_advertises_its_own_address(host: Host, variables: HostVariables) -> None:
    settings = properties(host, "/etc/kafka/server.properties")
    wanted = [
        f"{variables[f'{it}_listener_name']}://{variables[f'{it}_address']}:{variables[f'{it}_port']}"
        for it in ("kafka", "kafka_external")
    ]
    assert settings["advertised.listeners"].split(",") == wanted
    assert settings["inter.broker.listener.name"] == variables["kafka_listener_name"]


def test_settings_are_the_inventorys(host: Host, variables: HostVariables) -> None:
    settings = properties(host, "/etc/kafka/server.properties")
    assert settings["broker.id"] == str(variables["kafka_broker_id"])
    assert settings.get("broker.rack", "") == variables["kafka_rack"]
    assert settings["log.dirs"] == variables["kafka_data_dir"]
    assert settings["zookeeper.connect"] == variables["kafka_zookeeper_connect"]
    timeout = str(variables["kafka_zookeeper_session_timeout_ms"])
    assert settings["zookeeper.session.timeout.ms"] == timeout
    for name, value in variables["kafka_properties"].items():
        assert settings[name].lower() == str(value).lower()
    replicas = str(variables["kafka_default_replication_factor"])
    assert settings["default.replication.factor"] == replicas
    assert settings["offsets.topic.replication.factor"] == replicas


def test_heap_is_the_inventorys(host: Host, variables: HostVariables) -> None:
    pid = host.check_output("systemctl show --property=MainPID --value kafka")
    assert f"-Xmx{variables['kafka_heap_size']}" in host.process.get(pid=int(pid)).args


def test_runs_as_its_own_user(host: Host, variables: HostVariables) -> None:
    has_user(host, variables["kafka_user"], variables["kafka_uid"])
    runs_as(host, "kafka", variables["kafka_user"])


def test_data_folder_is_its_own(host: Host, variables: HostVariables) -> None:
    owns(host, variables["kafka_data_dir"], variables["kafka_user"])


def test_configuration_is_not_its_own(host: Host, variables: HostVariables) -> None:
    is_kept_from(host, "/etc/kafka", variables["kafka_user"])
    is_kept_from(host, "/etc/kafka/server.properties", variables["kafka_user"])


def test_settings_that_may_be_secrets_are_closed(host: Host) -> None:
    is_closed(host, "/etc/kafka/server.properties")


def test_heap_that_is_full_ends_it(host: Host) -> None:
    ends_without_memory(host, "kafka")


def test_native_code_may_be_run(host: Host) -> None:
    runs_native_code(host, "kafka")


def test_is_confined(host: Host) -> None:
    is_confined(host, "kafka")


def test_writes_nothing_but_its_data(host: Host, variables: HostVariables) -> None:
    writes_only(host, variables["kafka_user"], variables["kafka_data_dir"])


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_on_the_path_and_runs(host: Host, command: str) -> None:
    shown = host.run("timeout 300 %s --version", command)
    assert shown.rc == 0, shown
    assert shown.stdout.startswith("3.") or shown.stdout.startswith("4."), shown


def test_broker_answers_a_topic_listing(host: Host, variables: HostVariables) -> None:
    listing = host.run(
        "timeout 300 kafka-topics.sh --bootstrap-server %s --list", bootstrap(variables)
    )
    assert listing.rc == 0, listing
