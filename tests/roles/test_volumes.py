"""Data volumes: each is mounted by a name that stays, now and at boot."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ..variables import HostVariables

testinfra_hosts = ["ansible://all"]
pytestmark = pytest.mark.verify


def test_each_volume_is_mounted(host: Host, variables: HostVariables) -> None:
    for volume in variables["volumes_mounts"]:
        mount = host.mount_point(volume["path"])
        assert mount.exists, f"nothing is mounted on {volume['path']}"
        assert mount.filesystem == "xfs"
        assert mount.device == host.check_output("realpath %s", volume["device"])
        assert "noatime" in mount.options


def test_each_comes_back_at_boot_and_holds_it_up_in_no_case(
    host: Host, variables: HostVariables
) -> None:
    with host.sudo():
        lines = [line.split() for line in host.file("/etc/fstab").content_string.splitlines()]
    at_boot = {line[0]: line[1:4] for line in lines if len(line) > 3}
    for volume in variables["volumes_mounts"]:
        options = str(variables["volumes_options"])
        assert at_boot[volume["device"]] == [volume["path"], "xfs", options]
        assert "nofail" in options.split(",")
