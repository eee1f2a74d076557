"""What the role removal leaves on a host, in its molecule scenario."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]
pytestmark = pytest.mark.molecule


def test_unit_is_gone(host: Host) -> None:
    assert host.check_output("systemctl show --property=LoadState --value leftover") == "not-found"
    assert host.run("pgrep --full 'sleep inf'").rc == 1


@pytest.mark.parametrize("path", ["/opt/leftover", "/etc/leftover", "/usr/local/bin/leftover"])
def test_files_are_gone(host: Host, path: str) -> None:
    assert not host.file(path).exists


def test_user_and_group_are_gone(host: Host) -> None:
    assert not host.user("leftover").exists
    assert not host.group("leftover").exists


def test_package_is_gone(host: Host) -> None:
    assert not host.package("less").is_installed


def test_data_stays(host: Host) -> None:
    assert host.file("/var/lib/leftover/data").exists
