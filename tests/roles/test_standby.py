"""Hosts that stand by for the job or the producer, and what elects the one that does not."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from ..waiting import wait_for
from .checks import is_installed
from .conftest import role_of

# testinfra takes no pattern of several groups.
testinfra_hosts = ["ansible://streaming", "ansible://producer"]
pytestmark = pytest.mark.verify

PROGRAM = "/usr/local/bin/imdb-standby"
GROUPS = {"imdb-streaming": "streaming", "imdb-producer": "producer"}


@pytest.fixture
def installed(host: Host) -> None:
    """Leave out hosts without peers: they have no need of it."""
    if not host.file(PROGRAM).exists:
        pytest.skip("this host has no peers to stand by for")


@pytest.mark.usefixtures("installed")
def test_settings_are_those_asked_for(host: Host, variables: HostVariables) -> None:
    settings = host.file("/etc/imdb-standby/standby.env")
    assert (settings.user, settings.group, settings.mode) == ("root", "root", 0o644)
    for name in ("servers", "root", "name", "session_seconds"):
        wanted = f'STANDBY_{name.upper()}="{variables[f"standby_{name}"]}"'
        assert wanted in settings.content_string.splitlines()
    for name in ("certificate", "ca"):
        wanted = variables[f"standby_{name}"]
        assert (f"STANDBY_{name.upper()}-{wanted}}}" in settings.content_string) == bool(wanted)
    link = host.file("/opt/imdb-standby/current")
    assert link.linked_to == f"/opt/imdb-standby/{variables['standby_version']}"


@pytest.mark.usefixtures("installed")
def test_of_two_that_want_to_run_one_does(host: Host, variables: HostVariables) -> None:
    with host.sudo():
        for unit in ("one", "two"):
            host.check_output(
                f"systemd-run --quiet --collect --unit=standby-test-{unit} --property=Type=notify "
                f"--property=NotifyAccess=all {PROGRAM} run --status-file=/run/standby-{unit}.json "
                "standby-test -- sh -c 'systemd-notify --ready; exec sleep 300'"
            )
        try:
            assert roles(host) == {"one": "leads", "two": "stands by"}
            found = host.check_output(f"{PROGRAM} leader standby-test")
            assert found == variables["standby_name"]
            host.check_output("systemctl stop standby-test-one")
            wait_for(
                "the other leads",
                lambda: roles(host),
                lambda found: found == {"one": "stopped", "two": "leads"},
                60,
            )
        finally:
            host.run("systemctl stop standby-test-one standby-test-two")
            host.run("rm -f /run/standby-one.json /run/standby-two.json")


@pytest.mark.usefixtures("installed")
def test_a_certificate_that_is_missing_is_named(host: Host, variables: HostVariables) -> None:
    if not variables["standby_certificate"]:
        pytest.skip("ZooKeeper asks for none")
    with host.sudo():
        asked = host.run(f"STANDBY_CERTIFICATE=/none.pem {PROGRAM} leader standby-test")
    assert asked.rc == 2
    assert "STANDBY_CERTIFICATE='/none.pem': there is no such file" in asked.stderr


def roles(host: Host) -> dict[str, str]:
    return {
        unit: json.loads(host.file(f"/run/standby-{unit}.json").content_string)["role"]
        for unit in ("one", "two")
    }


def test_the_beginning_of_a_units_name_is_no_unit(host: Host) -> None:
    assert is_installed(host, "ssh")
    assert not is_installed(host, "ss")
    assert not is_installed(host, "imdb")


@pytest.mark.parametrize("unit", GROUPS)
def test_a_unit_runs_on_every_host_of_its_group(
    host: Host, variables: HostVariables, unit: str
) -> None:
    try:
        assert variables["pipeline_standby"] in {True, False}
    except KeyError:
        pytest.skip("a scenario of one role has no pipeline")
    members = variables["groups"][GROUPS[unit]]
    here = host.backend.get_hostname()
    service = host.service(unit)
    assert is_installed(host, unit) == (here in members)
    assert service.is_running == service.is_enabled == (here in members)
    if here in members and len(members) > 1:
        assert role_of(host, unit) in {"leads", "stands by", "stopped"}
        # A certificate is not for everybody.
        with host.sudo():
            leader = host.run(f"{PROGRAM} leader {unit}").stdout.strip()
        # A producer that has sent everything leads no more.
        assert leader in members or unit == "imdb-producer"
