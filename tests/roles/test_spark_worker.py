"""The Spark worker."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from .checks import (
    asked,
    ends_without_memory,
    is_confined,
    is_up,
    keeps_to_itself,
    listens,
    owns,
    runs_as,
    runs_native_code,
    shows_itself_to_its_host_alone,
)

testinfra_hosts = ["ansible://spark_worker"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("spark-worker")]


def test_unit_is_enabled_and_active(host: Host) -> None:
    is_up(host, "spark-worker")


def test_port_takes_connections(host: Host, variables: HostVariables) -> None:
    listens(host, variables["host_address"], variables["spark_worker_port"])


def test_web_ui_with_tls_is_for_the_host_itself(host: Host, variables: HostVariables) -> None:
    if not variables["spark_worker_webui_certificate"]:
        pytest.skip("the web UI is asked for no TLS")
    shows_itself_to_its_host_alone(host, variables, "spark_worker")


def test_secret_is_not_shown(host: Host, variables: HostVariables) -> None:
    if not variables["spark_secret"]:
        pytest.skip("there is no secret")
    keeps_to_itself(host, variables, "spark-worker")


def test_runs_as_sparks_user(host: Host, variables: HostVariables) -> None:
    runs_as(host, "spark-worker", variables["spark_worker_user"])


def test_work_folder_is_its_own(host: Host, variables: HostVariables) -> None:
    owns(host, variables["spark_worker_work_dir"], variables["spark_worker_user"])


def test_heap_that_is_full_ends_it_and_no_executor_takes_it_along(host: Host) -> None:
    ends_without_memory(host, "spark-worker", "continue")


def test_native_code_may_be_run(host: Host) -> None:
    runs_native_code(host, "spark-worker")


def test_is_confined(host: Host) -> None:
    is_confined(host, "spark-worker")


def test_offers_what_the_inventory_says(host: Host, variables: HostVariables) -> None:
    state = asked(host, "spark-worker")
    assert state["cores"] == variables["spark_worker_cores"]
    assert state["memory"] == variables["spark_worker_memory_mb"]


def test_its_count_is_looked_at(host: Host) -> None:
    worker = host.check_output("systemctl show --property=MainPID --value spark-worker")
    with host.sudo():
        beside = host.check_output("pgrep --parent %s --full spark-worker-count", worker)
        asked_as_itself = host.run("sudo -u spark /usr/local/bin/spark-worker-ask")
    assert len(beside.split()) == 1
    assert asked_as_itself.rc == 0, asked_as_itself.stderr


def test_executors_write_little_and_within_bounds(host: Host, variables: HostVariables) -> None:
    with host.sudo():
        settings = host.check_output("cat /etc/spark/spark-defaults.conf")
        written = host.check_output("find %s -name 'std*'", variables["spark_worker_work_dir"])
        for name in written.split():
            assert not host.run("grep --max-count=3 '^INFO ' %s", name).stdout, name
    rolling = dict(line.split() for line in settings.splitlines() if ".rolling." in line)
    assert rolling == {
        "spark.executor.logs.rolling.strategy": "size",
        "spark.executor.logs.rolling.maxSize": str(variables["spark_executor_log_mb"] * 1048576),
        "spark.executor.logs.rolling.maxRetainedFiles": str(variables["spark_executor_log_files"]),
    }
