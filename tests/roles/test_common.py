"""What every host has."""

from __future__ import annotations

import time

import pytest
from testinfra.host import Host

from ..variables import HostVariables, Variables
from .checks import properties

testinfra_hosts = ["ansible://all"]
pytestmark = pytest.mark.verify

SYSCTL = "/etc/sysctl.d/90-pipeline.conf"


def is_container(host: Host) -> bool:
    """Return whether a host has the kernel and clock of its machine."""
    return bool(host.run("systemd-detect-virt --container --quiet").rc == 0)


def test_packages_that_services_expect_are_installed(host: Host, variables: HostVariables) -> None:
    missing = [name for name in variables["common_packages"] if not host.package(name).is_installed]
    assert missing == []


def test_journal_is_capped(host: Host, variables: HostVariables) -> None:
    # The configuration as journald puts it together: drop-ins last, so that the last one counts.
    merged = host.check_output("systemd-analyze cat-config systemd/journald.conf")
    caps = [line for line in merged.splitlines() if line.startswith("SystemMaxUse=")]
    assert caps[-1:] == [f"SystemMaxUse={variables['common_journal_max_use']}"]


def test_journald_runs_with_what_is_written(host: Host) -> None:
    show = "systemctl show --timestamp=us+utc --property=ExecMainStartTimestamp --value"
    started = host.check_output(f"{show} systemd-journald")
    assert host.check_output("find /etc/systemd/journald.conf.d -newerct %s", started) == ""


def test_journal_outlives_a_reboot(host: Host) -> None:
    with host.sudo():
        assert "/var/log/journal/" in host.check_output("journalctl --header")


def test_ssh_takes_no_password_and_root_has_none(host: Host) -> None:
    with host.sudo():
        said = host.check_output("/usr/sbin/sshd -T")
        shadow = host.check_output("getent shadow root")
    settings = dict(line.split(maxsplit=1) for line in said.splitlines() if " " in line)
    assert settings["passwordauthentication"] == "no"
    assert settings["kbdinteractiveauthentication"] == "no"
    assert settings["permitemptypasswords"] == "no"
    assert settings["permitrootlogin"] != "yes"
    assert shadow.split(":")[1][:1] in {"*", "!"}


def test_who_logs_in_reads_the_journal(host: Host, variables: HostVariables) -> None:
    for user in [host.user().name, *variables["common_journal_users"]]:
        # sudo begins with the groups of now; the connection may be older than the membership.
        with host.sudo(user):
            assert host.check_output("journalctl --quiet --system --lines=1"), user


def test_kernel_settings_are_the_inventorys(host: Host, variables: HostVariables) -> None:
    if is_container(host):
        assert not host.file(SYSCTL).exists, "a container's settings would be its machine's"
        return
    wanted = {key: str(value) for key, value in variables["common_sysctl"].items()}
    assert properties(host, SYSCTL) == wanted
    assert {key: str(host.sysctl(key)) for key in wanted} == wanted


def test_clock_is_right(host: Host) -> None:
    before = time.time()
    told = float(host.check_output("date +%s.%N"))
    assert before - 1 < told < time.time() + 1


def test_clock_is_kept_right(host: Host, variables: HostVariables) -> None:
    if variables["common_time_sync"] and not is_container(host):
        programs = ("chrony", "ntpsec", "ntp", "openntpd", "systemd-timesyncd")
        assert any(host.service(name).is_running for name in programs)


def test_hosts_know_each_other_by_name(
    host: Host, variables: HostVariables, all_variables: Variables
) -> None:
    for name in variables["groups"]["all"]:
        address = all_variables.of(name)["host_address"]
        assert host.check_output("getent ahostsv4 %s", name).split()[0] == address


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""
