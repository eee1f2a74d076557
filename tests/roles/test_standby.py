"""Hosts that stand by for the job or the producer: all is installed, nothing runs."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from .conftest import RUNS_ON

testinfra_hosts = ["ansible://streaming:producer"]
pytestmark = pytest.mark.verify

GROUPS = {"imdb-streaming": "streaming", "imdb-producer": "producer"}


@pytest.mark.parametrize("unit", RUNS_ON)
def test_a_unit_runs_on_its_host_alone(host: Host, variables: HostVariables, unit: str) -> None:
    members = variables["groups"][GROUPS[unit]]
    active, here = variables[RUNS_ON[unit]], host.backend.get_hostname()
    assert active in members
    service = host.service(unit)
    assert service.is_running == (here == active)
    assert service.is_enabled == (here == active)
    assert service.exists == (here in members)
