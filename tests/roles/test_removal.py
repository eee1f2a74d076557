"""What the role removal leaves on a host, in its molecule scenario."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]
pytestmark = pytest.mark.molecule


@pytest.mark.parametrize("unit", ["leftover.timer", "leftover.service", "leftover-failed.service"])
def test_unit_is_gone(host: Host, unit: str) -> None:
    assert host.check_output(f"systemctl show --property=LoadState --value {unit}") == "not-found"
    assert host.run("pgrep --full 'sleep inf'").rc == 1


def test_systemd_has_forgotten_the_unit_that_failed(host: Host) -> None:
    units = "systemctl list-units --all --plain --no-legend"
    assert host.check_output(f"{units} 'leftover*'") == ""
    assert host.check_output(f"{units} --state=failed") == ""


@pytest.mark.parametrize("path", ["/opt/leftover", "/etc/leftover", "/usr/local/bin/leftover"])
def test_files_are_gone(host: Host, path: str) -> None:
    assert not host.file(path).exists


def test_user_and_group_are_gone(host: Host) -> None:
    assert not host.user("leftover").exists
    assert not host.group("leftover").exists


def test_package_is_gone(host: Host) -> None:
    assert not host.package("leftover-alone").is_installed


@pytest.mark.parametrize("name", ["leftover-automatic", "leftover-needed", "leftover-needing"])
def test_packages_that_nobody_named_stay(host: Host, name: str) -> None:
    assert host.package(name).is_installed


def test_data_stays_unless_asked_for_twice(host: Host) -> None:
    assert host.file("/var/lib/leftover/data").exists
    # Of a removal that was refused, nothing was done.
    assert host.file("/srv/data/plain/deep/file").exists


def test_data_that_was_asked_for_twice_is_gone(host: Host) -> None:
    assert not host.file("/srv/data/around/file").exists
    assert not host.file("/srv/parent").exists


def test_a_mount_point_is_emptied_and_stays(host: Host) -> None:
    assert host.mount_point("/srv/data/mounted").exists
    assert host.file("/srv/data/mounted").listdir() == []


def test_what_is_mounted_below_data_is_let_be(host: Host) -> None:
    assert host.file("/srv/data/around/mounted/file").exists
