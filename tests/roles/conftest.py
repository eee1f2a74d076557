"""What the tests of the roles share: a host's variables, and its journal when a test fails."""

from __future__ import annotations

import json
import os
from collections.abc import Generator

import pytest
from hosts import HostsError, load
from testinfra.host import Host

from ..variables import HostVariables, Variables

JOURNAL_LINES = 40


def missing_hosts(config: pytest.Config) -> str:
    """Return why there is nothing to test, or nothing."""
    if config.getoption("ansible_inventory") is None:
        try:
            load(os.environ["ENVIRONMENT"])
        except HostsError as error:
            return str(error)
    return ""


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let these tests be collected where there are no hosts: others may be wanted."""
    if missing_hosts(metafunc.config):
        metafunc.module.testinfra_hosts = ["local://"]


@pytest.fixture(scope="session", autouse=True)
def hosts_are_there(request: pytest.FixtureRequest) -> None:
    """Say what to do where there are no hosts to test."""
    if why := missing_hosts(request.config):
        pytest.fail(why, pytrace=False)


@pytest.fixture(scope="session")
def all_variables(request: pytest.FixtureRequest) -> Variables:
    """Every host's variables: of the inventory that testinfra reads too."""
    given = request.config.getoption("ansible_inventory") or os.environ["ANSIBLE_INVENTORY"]
    return Variables(given.split(","))


@pytest.fixture(scope="module")
def variables(host: Host, all_variables: Variables) -> HostVariables:
    """The variables of the host under test, as the deployment had them."""
    return all_variables.of(host.backend.get_hostname())


def role_of(host: Host, unit: str) -> str:
    """Whether the host leads or stands by for a unit's program; empty if it is alone."""
    file = host.file(f"/run/{unit}/standby.json")
    return str(json.loads(file.content_string)["role"]) if file.exists else ""


@pytest.fixture(autouse=True)
def unit_runs_here(request: pytest.FixtureRequest) -> None:
    """Leave out the hosts that stand by for a unit: what holds there is in test_standby.py."""
    marker = request.node.get_closest_marker("unit")
    if marker is None or "host" not in request.fixturenames:
        return
    host = request.getfixturevalue("host")
    if marker.args[0] == "zookeeper":
        variables = request.getfixturevalue("variables")
        if variables["kafka_mode"] == "kraft":
            pytest.skip("there is no ZooKeeper (kafka_mode: kraft)")
    if role_of(host, marker.args[0]) not in {"", "leads"}:
        pytest.skip(f"{host.backend.get_hostname()} stands by for {marker.args[0]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of the journal to the report of a failed test of a unit."""
    report = yield
    marker = item.get_closest_marker("unit")
    host = getattr(item, "funcargs", {}).get("host")
    if report.failed and marker and isinstance(host, Host):
        unit = marker.args[0]
        with host.sudo():
            journal = host.run(f"journalctl --no-pager --lines={JOURNAL_LINES} --unit={unit}")
        report.sections.append((f"journal of {unit}", journal.stdout or journal.stderr))
    return report
