"""What the table of rules names answers, and what it does not name is dropped and counted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from ..waiting import wait_for

testinfra_hosts = ["ansible://all"]
pytestmark = pytest.mark.molecule

#: No rule names it.
UNNAMED = 7099
TABLE = "table inet imdb_pipeline"


def dropped(host: Host, protocol: str) -> int:
    """Return how many packets of a protocol were dropped since the rules were loaded."""
    with host.sudo():
        said = host.check_output(f"nft list counter inet imdb_pipeline dropped_{protocol}")
    return int(said.partition("packets ")[2].split()[0])


@contextmanager
def listening(host: Host, port: int) -> Iterator[None]:
    """Let a program of the host listen on a port."""
    unit = f"listener-{port}"
    with host.sudo():
        host.check_output(f"systemd-run --collect --unit={unit} python3 -m http.server {port}")
        try:
            host.check_output(
                f"timeout 20 sh -c 'until ss -Hltn sport = :{port} | grep -q .; do sleep 0.1; done'"
            )
            yield
        finally:
            host.check_output(f"systemctl stop {unit}")


def answers(variables: HostVariables, port: int) -> bool:
    """Return whether a port takes a connection; one that is refused is an error."""
    try:
        with socket.create_connection((variables["host_address"], port), timeout=3):
            return True
    except TimeoutError:
        return False


def test_a_port_that_a_rule_names_answers(host: Host, variables: HostVariables) -> None:
    port = variables["firewall_rules"][0]["ports"][0]
    with listening(host, port):
        assert answers(variables, port)


def test_a_port_that_no_rule_names_is_dropped_and_counted(
    host: Host, variables: HostVariables
) -> None:
    before = dropped(host, "tcp")
    with listening(host, UNNAMED):
        assert not answers(variables, UNNAMED)
        # From the host itself it answers, by whichever address.
        host.check_output(f"timeout 5 bash -c '</dev/tcp/{variables['host_address']}/{UNNAMED}'")
    assert dropped(host, "tcp") > before


def test_a_rule_lets_in_its_own_sources_alone(host: Host, variables: HostVariables) -> None:
    rules = variables["firewall_rules"]
    for rule in rules:
        if rule["name"] == "named for others":
            with listening(host, rule["ports"][0]):
                assert not answers(variables, rule["ports"][0])


def test_datagrams_that_no_rule_names_are_counted(host: Host, variables: HostVariables) -> None:
    before = dropped(host, "udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", (variables["host_address"], UNNAMED))
    wait_for("it is counted", lambda: dropped(host, "udp"), lambda count: count > before, 10)


def test_an_echo_is_answered(host: Host, variables: HostVariables) -> None:
    local = Host.get_host("local://")
    if local.exists("ping"):
        local.check_output(f"ping -c 1 -W 3 {variables['host_address']}")


def test_the_rules_in_force_are_those_of_the_next_start(host: Host) -> None:
    with host.sudo():
        kept = host.check_output(
            f"unshare --net sh -c 'nft -f /etc/imdb-firewall.nft && nft --stateless list {TABLE}'"
        )
        assert host.check_output(f"nft --stateless list {TABLE}") == kept
    assert host.service("imdb-firewall").is_enabled
    assert host.service("imdb-firewall").is_running
    assert not host.file("/run/imdb-firewall/before.nft").exists


def test_the_unit_is_confined(host: Host) -> None:
    said = host.check_output("systemd-analyze security --no-pager imdb-firewall.service")
    assert float(said.splitlines()[-1].split()[6]) <= 2.0, said
