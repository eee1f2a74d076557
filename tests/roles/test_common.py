"""What every host has."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ..variables import HostVariables, Variables

testinfra_hosts = ["ansible://all"]
pytestmark = pytest.mark.verify


def test_packages_that_services_expect_are_installed(host: Host, variables: HostVariables) -> None:
    missing = [name for name in variables["common_packages"] if not host.package(name).is_installed]
    assert missing == []


def test_journal_is_capped(host: Host, variables: HostVariables) -> None:
    # The configuration as journald puts it together: drop-ins last, so that the last one counts.
    merged = host.check_output("systemd-analyze cat-config systemd/journald.conf")
    caps = [line for line in merged.splitlines() if line.startswith("SystemMaxUse=")]
    assert caps[-1:] == [f"SystemMaxUse={variables['common_journal_max_use']}"]


def test_journal_outlives_a_reboot(host: Host) -> None:
    with host.sudo():
        assert "/var/log/journal/" in host.check_output("journalctl --header")


def test_hosts_know_each_other_by_name(
    host: Host, variables: HostVariables, all_variables: Variables
) -> None:
    for name in variables["groups"]["all"]:
        address = all_variables.of(name)["host_address"]
        assert host.check_output("getent ahostsv4 %s", name).split()[0] == address


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""
