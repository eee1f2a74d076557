"""ZooKeeper."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from .checks import (
    ends_without_memory,
    has_user,
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

testinfra_hosts = ["ansible://zookeeper"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("zookeeper")]


def four_letter_word(host: Host, variables: HostVariables, word: str) -> str:
    """Return what the server answers to one of its commands."""
    address, port = variables["host_address"], variables["zookeeper_client_port"]
    script = f"exec 3<>/dev/tcp/{address}/{port}; printf {word} >&3; timeout 30 cat <&3"
    return str(host.check_output(f"bash -c '{script}'"))


def test_unit_is_enabled_and_active(host: Host) -> None:
    is_up(host, "zookeeper")


def test_client_port_takes_connections(host: Host, variables: HostVariables) -> None:
    listens(host, variables["host_address"], variables["zookeeper_client_port"])


def test_answers_ruok(host: Host, variables: HostVariables) -> None:
    assert four_letter_word(host, variables, "ruok") == "imok"


def test_serves_in_the_mode_that_its_servers_mean(host: Host, variables: HostVariables) -> None:
    answer = four_letter_word(host, variables, "srvr")
    mode = next(line for line in answer.splitlines() if line.startswith("Mode: "))
    alone = len(variables["zookeeper_servers"]) < 2
    assert mode.removeprefix("Mode: ") in ({"standalone"} if alone else {"leader", "follower"})


def test_settings_are_the_inventorys(host: Host, variables: HostVariables) -> None:
    settings = properties(host, "/etc/zookeeper/zoo.cfg")
    assert settings["tickTime"] == str(variables["zookeeper_tick_time"])
    assert settings["maxSessionTimeout"] == str(variables["zookeeper_max_session_timeout_ms"])
    assert settings["dataDir"] == variables["zookeeper_data_dir"]
    assert settings["clientPort"] == str(variables["zookeeper_client_port"])


def test_heap_is_the_inventorys(host: Host, variables: HostVariables) -> None:
    pid = host.check_output("systemctl show --property=MainPID --value zookeeper")
    assert f"-Xmx{variables['zookeeper_heap_size']}" in host.process.get(pid=int(pid)).args


def test_runs_as_its_own_user(host: Host, variables: HostVariables) -> None:
    has_user(host, variables["zookeeper_user"], variables["zookeeper_uid"])
    runs_as(host, "zookeeper", variables["zookeeper_user"])


def test_data_folder_is_its_own(host: Host, variables: HostVariables) -> None:
    owns(host, variables["zookeeper_data_dir"], variables["zookeeper_user"])


def test_configuration_is_not_its_own(host: Host, variables: HostVariables) -> None:
    is_kept_from(host, "/etc/zookeeper", variables["zookeeper_user"])
    is_kept_from(host, "/etc/zookeeper/zoo.cfg", variables["zookeeper_user"])


def test_its_id_is_not_its_own(host: Host, variables: HostVariables) -> None:
    if variables["zookeeper_servers"]:
        path = f"{variables['zookeeper_data_dir']}/myid"
        is_kept_from(host, path, variables["zookeeper_user"])


def test_heap_that_is_full_ends_it(host: Host) -> None:
    ends_without_memory(host, "zookeeper")


def test_native_code_may_be_run(host: Host) -> None:
    runs_native_code(host, "zookeeper")


def test_is_confined(host: Host) -> None:
    is_confined(host, "zookeeper")


def test_writes_nothing_but_its_data(host: Host, variables: HostVariables) -> None:
    writes_only(host, variables["zookeeper_user"], variables["zookeeper_data_dir"])


def test_shell_lists_the_root(host: Host, variables: HostVariables) -> None:
    server = f"{variables['host_address']}:{variables['zookeeper_client_port']}"
    assert "zookeeper" in host.check_output("timeout 300 zkCli.sh -server %s ls /", server)
