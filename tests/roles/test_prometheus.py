"""Prometheus and Alertmanager: what they read, whom they tell, and how they are confined."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from ..waiting import wait_for
from .checks import (
    fetch,
    has_user,
    is_closed,
    is_confined,
    is_kept_from,
    is_up,
    owns,
    patience,
    runs_as,
)

testinfra_hosts = ["ansible://all"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("imdb-prometheus")]

UNITS = ("imdb-prometheus", "imdb-alertmanager")
SETTINGS = "/etc/imdb-prometheus"
#: Takes what is posted to it, for as long as it runs.
LISTENER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        said = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print(self.path, said, flush=True)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 19408), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def prometheus_is_here(host: Host, variables: HostVariables) -> None:
    """Leave out pipelines without monitoring, and their other hosts."""
    with suppress(KeyError):  # a scenario of the role's own knows no pipeline
        if not variables["pipeline_monitoring"]:
            pytest.skip("pipeline_monitoring is false")
        if "monitoring" not in variables["group_names"]:
            pytest.skip("Prometheus is on another host")


def asked(host: Host, variables: HostVariables, path: str) -> Any:
    """Return what Prometheus answers."""
    url = f"http://127.0.0.1:{variables['prometheus_port']}/api/v1/{path}"
    return json.loads(fetch(host, url))["data"]


@pytest.mark.parametrize("unit", UNITS)
def test_service_runs_at_boot_as_its_user(host: Host, variables: HostVariables, unit: str) -> None:
    is_up(host, unit)
    has_user(host, variables["prometheus_user"], variables["prometheus_uid"])
    runs_as(host, unit, variables["prometheus_user"])
    owns(host, variables["prometheus_data_dir"], variables["prometheus_user"])


def test_all_that_it_is_given_is_scraped(host: Host, variables: HostVariables) -> None:
    wanted = {(it["job"], it["instance"]) for it in variables["prometheus_targets"]}
    assert wanted

    def active() -> dict[tuple[str, str], str]:
        found = asked(host, variables, "targets")["activeTargets"]
        return {(it["labels"]["job"], it["labels"]["instance"]): it["health"] for it in found}

    found = wait_for(
        "each host tells of itself",
        active,
        lambda it: (
            it.keys() >= wanted and all(up == "up" for (job, _), up in it.items() if job == "node")
        ),
        60 * patience(variables),
    )
    assert {key for key in found if key[0] not in {"prometheus", "alertmanager"}} == wanted
    assert {job for job, _ in found} >= {"prometheus", "alertmanager"}


def test_rules_are_evaluated_and_one_always_fires(host: Host, variables: HostVariables) -> None:
    firing = wait_for(
        "the alert that always fires",
        lambda: [it["labels"]["alertname"] for it in asked(host, variables, "alerts")["alerts"]],
        lambda names: "Watchdog" in names,
        60 * patience(variables),
    )
    assert firing
    groups = asked(host, variables, "rules")["groups"]
    assert [it["name"] for group in groups for it in group["rules"] if it["health"] == "err"] == []
    assert len({group["name"] for group in groups}) >= 8


def test_what_it_keeps_is_bounded(host: Host, variables: HostVariables) -> None:
    flags = asked(host, variables, "status/flags")
    assert flags["storage.tsdb.retention.time"] == f"{variables['prometheus_retention_days']}d"
    ((number, unit),) = re.findall(r"^(\d+)(\w+)$", flags["storage.tsdb.retention.size"])
    megabytes = int(number) * {"GiB": 1024, "MiB": 1}[unit]
    assert megabytes == int(variables["prometheus_retention_mb"])


def test_alerts_are_posted_to_who_is_named(host: Host, variables: HostVariables) -> None:
    if "19408" not in variables["prometheus_watchdog_webhook"]:
        pytest.skip("nobody is named in this scenario")
    with host.sudo():
        host.check_output("systemd-run --quiet --collect --unit=listener python3 -c %s", LISTENER)
        try:
            said = wait_for(
                "the watchdog is told of",
                lambda: host.check_output("journalctl --no-pager --output=cat --unit=listener"),
                lambda said: "/watchdog" in said,
                150 * patience(variables),
            )
        finally:
            host.check_output("systemctl stop listener")
    (line, *_) = [it for it in said.splitlines() if it.startswith("/watchdog ")]
    alert = json.loads(line.partition(" ")[2])["alerts"][0]
    assert alert["labels"]["alertname"] == "Watchdog"
    assert alert["labels"]["runbook"] == "docs/runbook.md#watchdog"


def test_both_listen_for_their_host_alone(host: Host, variables: HostVariables) -> None:
    with host.sudo():
        found = host.check_output("ss -Hltunp")
    own = [line.split()[4] for line in found.splitlines() if '"prometheus' in line]
    ports = {
        f"127.0.0.1:{variables[name]}"
        for name in ("prometheus_port", "prometheus_alertmanager_port")
    }
    assert ports <= set(own)
    assert [it for it in own if not it.startswith("127.0.0.1:")] == []


def test_debians_own_services_do_not_run(host: Host) -> None:
    for unit in ("prometheus", "prometheus-alertmanager"):
        assert not host.service(unit).is_running


def test_settings_are_not_its_own_to_change(host: Host, variables: HostVariables) -> None:
    for name in ("prometheus.yml", "alertmanager.yml", "alerts/kafka.yml"):
        is_kept_from(host, f"{SETTINGS}/{name}", variables["prometheus_user"])
    is_closed(host, f"{SETTINGS}/alertmanager.yml")


def test_is_confined(host: Host) -> None:
    is_confined(host, *UNITS)
