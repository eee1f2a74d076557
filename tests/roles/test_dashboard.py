"""The page of movies and pipeline: served, fed by its sources, and confined."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from ..waiting import wait_for
from .checks import (
    fetch,
    has_user,
    is_confined,
    is_kept_from,
    is_up,
    patience,
    runs_as,
    writes_only,
)

testinfra_hosts = ["ansible://all"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("imdb-dashboard")]

UNIT = "imdb-dashboard"
SETTINGS = "/etc/imdb-dashboard/settings.json"
#: Most that it may take with nobody at it, in MiB.
IDLE_MB = 100


@pytest.fixture(autouse=True)
def page_is_here(variables: HostVariables) -> None:
    """Leave out pipelines without monitoring, and hosts without the tables."""
    with suppress(KeyError):  # a scenario of the role's own knows no pipeline
        if not variables["pipeline_monitoring"]:
            pytest.skip("pipeline_monitoring is false")
        if "streaming" not in variables["group_names"]:
            pytest.skip("the page is on the hosts of the job")


def settings(host: Host) -> dict[str, Any]:
    """Return what the page is told."""
    found: dict[str, Any] = json.loads(host.file(SETTINGS).content_string)
    return found


def checked(host: Host, variables: HostVariables) -> list[str]:
    """Return what `imdb-dashboard check` says as the page's user: a line of each source."""
    with host.sudo(variables["dashboard_user"]):
        return list(host.run("imdb-dashboard check").stdout.splitlines())


def test_service_runs_at_boot_as_its_user(host: Host, variables: HostVariables) -> None:
    is_up(host, UNIT)
    has_user(host, variables["dashboard_user"], variables["dashboard_uid"])
    runs_as(host, UNIT, variables["dashboard_user"])


def test_the_page_is_served(host: Host, variables: HostVariables) -> None:
    page = fetch(host, f"http://127.0.0.1:{variables['dashboard_port']}/")
    assert 'id="root"' in page


def test_it_listens_for_its_host_alone(host: Host, variables: HostVariables) -> None:
    pid = host.check_output("systemctl show --property=MainPID --value %s", UNIT)
    with host.sudo():
        found = host.check_output("ss -Hltunp")
    own = [line.split()[4] for line in found.splitlines() if f"pid={pid}," in line]
    assert own == [f"127.0.0.1:{variables['dashboard_port']}"]


def test_prometheus_answers_the_page(host: Host, variables: HostVariables) -> None:
    lines = wait_for(
        "Prometheus answers",
        lambda: checked(host, variables),
        lambda lines: any(it.startswith("Prometheus: Dump ") for it in lines),
        60 * patience(variables),
    )
    assert not any("Traceback" in line for line in lines)


def test_tables_are_read_or_a_sentence_says_why_not(host: Host, variables: HostVariables) -> None:
    (said,) = [it for it in checked(host, variables) if it.startswith("Tables: ")]
    folder = settings(host)["tables"]
    if not folder.startswith("/"):
        assert f"The tables are in {folder}" in said
    elif host.file(folder).exists:
        assert " rows of " in said
    else:
        assert f"The folder of the tables, {folder}, is not there" in said


# Where another host runs the job, its status here is of the day when this one did.
@pytest.mark.unit("imdb-streaming")
def test_rows_are_those_that_the_job_has_written(host: Host, variables: HostVariables) -> None:
    status = host.file("/run/imdb-streaming/status.json")
    if not status.exists:
        pytest.skip("no job runs here")

    def both() -> tuple[str, str]:
        written = json.loads(status.content_string)["silver_rows"]
        (said,) = [it for it in checked(host, variables) if it.startswith("Tables: ")]
        return f"Tables: {written:,} rows of ", said

    wait_for(
        "the page has the rows that the job has",
        both,
        lambda it: it[1].startswith(it[0]),
        120 * patience(variables),
    )


def test_it_takes_little_memory(host: Host) -> None:
    pid = host.check_output("systemctl show --property=MainPID --value %s", UNIT)
    resident = host.check_output("awk '/^VmRSS/ { print $2 }' /proc/%s/status", pid)
    # Whoever looks at it when this is run has the tables in memory beside.
    assert int(resident) / 1024 < IDLE_MB + int(settings(host)["memory_mb"])


def test_it_writes_nothing(host: Host, variables: HostVariables) -> None:
    writes_only(host, variables["dashboard_user"])
    is_kept_from(host, SETTINGS, variables["dashboard_user"])
    assert host.check_output("systemctl show --property=ReadWritePaths --value %s", UNIT) == ""


def test_its_memory_is_bounded(host: Host, variables: HostVariables) -> None:
    most = host.check_output("systemctl show --property=MemoryMax --value %s", UNIT)
    assert int(most) == int(variables["dashboard_memory_max_mb"]) * 1024 * 1024


def test_is_confined(host: Host) -> None:
    is_confined(host, UNIT)
    shown = host.run(f"systemd-analyze security --no-pager --threshold=20 {UNIT}")
    assert shown.rc == 0, shown.stdout
