"""A unit that the role service keeps up, in its molecule scenarios."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from .checks import is_up

testinfra_hosts = ["ansible://all"]
pytestmark = pytest.mark.molecule


def test_unit_is_enabled_and_active(host: Host, variables: HostVariables) -> None:
    is_up(host, variables["service_name"])


def test_it_runs_with_what_is_written(host: Host, variables: HostVariables) -> None:
    show = "systemctl show --property=MainPID --value %s"
    pid = host.check_output(show, variables["service_name"])
    assert host.process.get(pid=int(pid)).args == "/usr/bin/sleep 1000000"
