"""A unit that the role service keeps up, in its molecule scenario."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from .checks import is_up

testinfra_hosts = ["ansible://all"]
pytestmark = [pytest.mark.molecule, pytest.mark.unit("sleeper")]


def test_unit_is_enabled_and_active(host: Host) -> None:
    is_up(host, "sleeper")


def test_it_runs_with_what_is_written(host: Host) -> None:
    pid = host.check_output("systemctl show --property=MainPID --value sleeper")
    assert host.process.get(pid=int(pid)).args == "/usr/bin/sleep 1000000"
