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


def four_letter_word(host: Host, word: str) -> str:
    """Return what the server answers to one of its commands."""
    with host.sudo():
        return str(host.check_output("timeout 30 zookeeper-ask %s", word))


def port(variables: HostVariables) -> int:
    """Return the port for clients, by TLS if there is one."""
    kind = "secure_client" if variables["zookeeper_certificate"] else "client"
    return int(variables[f"zookeeper_{kind}_port"])


def test_unit_is_enabled_and_active(host: Host) -> None:
    is_up(host, "zookeeper")


def test_client_port_takes_connections(host: Host, variables: HostVariables) -> None:
    listens(host, variables["host_address"], port(variables))


def test_only_the_ports_that_are_asked_for_are_open(host: Host, variables: HostVariables) -> None:
    plain = host.socket(
        f"tcp://{variables['zookeeper_address']}:{variables['zookeeper_client_port']}"
    )
    assert plain.is_listening == bool(variables["zookeeper_plaintext"])
    secured = variables["zookeeper_secure_client_port"]
    with host.sudo():
        held = host.check_output("ss --no-header --listening --tcp --numeric")
    assert (f":{secured} " in held) == bool(variables["zookeeper_certificate"])


def test_a_client_without_a_certificate_gets_no_answer(
    host: Host, variables: HostVariables
) -> None:
    if not variables["zookeeper_certificate"]:
        pytest.skip("the server is asked for no TLS")
    address = f"{variables['host_address']}/{port(variables)}"
    said = host.run(
        f"bash -c 'exec 3<>/dev/tcp/{address}; printf ruok >&3; timeout 5 cat <&3'"
    ).stdout
    assert "imok" not in said
    openssl = f"openssl s_client -connect {address.replace('/', ':')} -quiet"
    with host.sudo():
        known = f"-CAfile {variables['zookeeper_ca']} -verify_return_error"
        own = (
            f"-cert {variables['zookeeper_certificate']} -key {variables['zookeeper_certificate']}"
        )
        assert "imok" not in host.run(f"printf ruok | timeout 10 {openssl} {known}").stdout
        assert "imok" in host.run(f"printf ruok | timeout 10 {openssl} {known} {own}").stdout


def test_a_name_and_password_of_a_clients_own_are_not_taken(
    host: Host, variables: HostVariables
) -> None:
    server = f"{variables['host_address']}:{port(variables)}"
    asked = r"printf 'addauth digest a:b\nls /\nquit\n'"
    with host.sudo():
        said = host.run(f"{asked} | timeout 120 zkCli.sh -server {server}")
    # The last of what the root holds.
    listed = "zookeeper]" in said.stdout
    assert listed == (not variables["zookeeper_certificate"]), said


def test_answers_ruok(host: Host) -> None:
    assert four_letter_word(host, "ruok") == "imok"


def test_serves_in_the_mode_that_its_servers_mean(host: Host, variables: HostVariables) -> None:
    answer = four_letter_word(host, "srvr")
    mode = next(line for line in answer.splitlines() if line.startswith("Mode: "))
    alone = len(variables["zookeeper_servers"]) < 2
    assert mode.removeprefix("Mode: ") in ({"standalone"} if alone else {"leader", "follower"})


def test_settings_are_the_inventorys(host: Host, variables: HostVariables) -> None:
    settings = properties(host, "/etc/zookeeper/zoo.cfg")
    assert settings["tickTime"] == str(variables["zookeeper_tick_time"])
    assert settings["maxSessionTimeout"] == str(variables["zookeeper_max_session_timeout_ms"])
    assert settings["dataDir"] == variables["zookeeper_data_dir"]
    secured = bool(variables["zookeeper_certificate"])
    assert settings["secureClientPort" if secured else "clientPort"] == str(port(variables))


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
    server = f"{variables['host_address']}:{port(variables)}"
    # Who may read the certificate may ask.
    with host.sudo():
        assert "zookeeper" in host.check_output("timeout 300 zkCli.sh -server %s ls /", server)
