"""What the role gives to a Grafana: readable for it, read by it, and the checkout's own."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from ..variables import HostVariables
from .checks import fetch, is_installed, is_kept_from, is_up

testinfra_hosts = ["ansible://all"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("grafana-server")]

DASHBOARDS = Path(__file__).resolve().parents[2] / "monitoring/grafana/dashboards"


@pytest.fixture(autouse=True)
def grafana_is_here(variables: HostVariables) -> None:
    """Leave out pipelines whose dashboards are in no Grafana, and their other hosts."""
    with suppress(KeyError):  # a scenario of the role's own knows no pipeline
        if not (variables["pipeline_monitoring"] and variables["pipeline_grafana"]):
            pytest.skip("pipeline_grafana is false")
        if "monitoring" not in variables["group_names"]:
            pytest.skip("Grafana is on another host")


def provisioned(host: Host, variables: HostVariables, kind: str) -> dict[str, Any]:
    """Return the content of the file of data sources, or of that of dashboards."""
    path = f"{variables['grafana_settings']}/provisioning/{kind}/imdb-pipeline.yml"
    found: dict[str, Any] = yaml.safe_load(host.file(path).content_string)
    return found


def test_service_runs_at_boot(host: Host, variables: HostVariables) -> None:
    is_up(host, variables["grafana_unit"])


def test_the_data_source_is_prometheus(host: Host, variables: HostVariables) -> None:
    (source,) = provisioned(host, variables, "datasources")["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"] == variables["grafana_prometheus_url"]
    assert source["jsonData"]["timeInterval"] == f"{variables['grafana_scrape_seconds']}s"
    if is_installed(host, "imdb-prometheus"):
        answer = json.loads(fetch(host, f"{source['url']}/api/v1/query?query=up"))
        assert answer["status"] == "success"


def test_the_dashboards_are_those_of_the_checkout(host: Host, variables: HostVariables) -> None:
    (provider,) = provisioned(host, variables, "dashboards")["providers"]
    assert provider["folder"] == variables["grafana_title"]
    folder = provider["options"]["path"]
    found = {
        name: host.file(f"{folder}/{name}").content_string for name in host.file(folder).listdir()
    }
    assert found == {path.name: path.read_text() for path in DASHBOARDS.glob("*.json")}


def test_grafana_cannot_change_them(host: Host, variables: HostVariables) -> None:
    settings = variables["grafana_settings"]
    for path in (
        "provisioning/datasources/imdb-pipeline.yml",
        "provisioning/dashboards/imdb-pipeline.yml",
        "imdb-pipeline/overview.json",
    ):
        is_kept_from(host, f"{settings}/{path}", "grafana")


@pytest.mark.molecule
def test_it_has_started_with_them_and_with_what_was_there(
    host: Host, variables: HostVariables
) -> None:
    settings = variables["grafana_settings"]
    read = json.loads(fetch(host, "http://127.0.0.1:3000/"))
    for kind in ("datasources", "dashboards"):
        path = f"{settings}/provisioning/{kind}/imdb-pipeline.yml"
        assert yaml.safe_load(read[path]) == provisioned(host, variables, kind)
    assert {path for path in read if path.endswith(".json")} == {
        f"{settings}/imdb-pipeline/{path.name}" for path in DASHBOARDS.glob("*.json")
    }
    assert "of-the-user" in read[f"{settings}/grafana.ini"]
