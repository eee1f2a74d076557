"""The Spark worker."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from .checks import fetch_json, is_confined, is_up, listens, owns, runs_as

testinfra_hosts = ["ansible://spark_worker"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("spark-worker")]


def test_unit_is_enabled_and_active(host: Host) -> None:
    is_up(host, "spark-worker")


@pytest.mark.parametrize("port", ["spark_worker_port", "spark_worker_webui_port"])
def test_port_takes_connections(host: Host, variables: HostVariables, port: str) -> None:
    listens(host, variables["host_address"], variables[port])


def test_runs_as_sparks_user(host: Host, variables: HostVariables) -> None:
    runs_as(host, "spark-worker", variables["spark_worker_user"])


def test_work_folder_is_its_own(host: Host, variables: HostVariables) -> None:
    owns(host, variables["spark_worker_work_dir"], variables["spark_worker_user"])


def test_is_confined(host: Host) -> None:
    is_confined(host, "spark-worker")


def test_offers_what_the_inventory_says(host: Host, variables: HostVariables) -> None:
    address, port = variables["host_address"], variables["spark_worker_webui_port"]
    state = fetch_json(host, f"http://{address}:{port}/json/")
    assert state["cores"] == variables["spark_worker_cores"]
    assert state["memory"] == variables["spark_worker_memory_mb"]
