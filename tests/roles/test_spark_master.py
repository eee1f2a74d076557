"""The Spark master."""

from __future__ import annotations

from typing import Any

import pytest
from testinfra.host import Host

from ..variables import HostVariables, Variables
from ..waiting import wait_for
from .checks import (
    asked,
    ends_without_memory,
    is_confined,
    is_up,
    keeps_to_itself,
    listens,
    owns,
    patience,
    runs_as,
    runs_native_code,
    shows_itself_to_its_host_alone,
    web_ui,
)

testinfra_hosts = ["ansible://spark_master"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("spark-master")]


def test_unit_is_enabled_and_active(host: Host) -> None:
    is_up(host, "spark-master")


def test_port_takes_connections(host: Host, variables: HostVariables) -> None:
    listens(host, variables["host_address"], variables["spark_master_port"])


def test_web_ui_answers(host: Host) -> None:
    assert "workers" in asked(host, "spark-master")


def test_web_ui_with_tls_is_for_the_host_itself(host: Host, variables: HostVariables) -> None:
    if not variables["spark_master_webui_certificate"]:
        pytest.skip("the web UI is asked for no TLS")
    shows_itself_to_its_host_alone(host, variables, "spark_master")


def test_secret_is_not_shown(host: Host, variables: HostVariables) -> None:
    if not variables["spark_secret"]:
        pytest.skip("there is no secret")
    keeps_to_itself(host, variables, "spark-master")


def test_runs_as_sparks_user(host: Host, variables: HostVariables) -> None:
    runs_as(host, "spark-master", variables["spark_master_user"])


def test_recovery_folder_is_its_own(host: Host, variables: HostVariables) -> None:
    owns(host, variables["spark_master_recovery_dir"], variables["spark_master_user"])


def test_state_is_kept_where_all_masters_find_it(host: Host, variables: HostVariables) -> None:
    unit = host.check_output("systemctl cat spark-master")
    servers = variables["spark_master_recovery_zookeeper"]
    mode = "ZOOKEEPER" if servers else "FILESYSTEM"
    assert f"-Dspark.deploy.recoveryMode={mode} " in unit
    assert (f"-Dspark.deploy.zookeeper.url={servers} " in unit) == bool(servers)


def test_state_is_kept_by_tls_where_asked_for(host: Host, variables: HostVariables) -> None:
    if not variables["spark_master_zookeeper_certificate"]:
        pytest.skip("ZooKeeper is asked by no TLS")
    # It leads, so it has reached ZooKeeper, which has no other port.
    pid = host.check_output("systemctl show --property=MainPID --value spark-master")
    with host.sudo():
        held = host.check_output("ss --no-header --tcp --numeric --processes state established")
    servers = variables["spark_master_recovery_zookeeper"].split(",")
    connected = [line for line in held.splitlines() if f"pid={pid}," in line]
    # Java's sockets are of IPv6.
    peers = {line.split()[3].replace("[::ffff:", "").replace("]", "") for line in connected}
    assert peers & set(servers), held


def test_recovery_folder_is_for_the_release_that_runs(host: Host, variables: HostVariables) -> None:
    with host.sudo():
        stamp = host.file(f"{variables['spark_master_recovery_dir']}/.release")
        assert stamp.content_string == f"/opt/spark/{variables['spark_version']}\n"


def test_takes_no_applications_by_http(host: Host) -> None:
    assert ":6066 " not in host.check_output("ss --listening --tcp --numeric")


def test_web_ui_sends_no_worker_away(host: Host, variables: HostVariables) -> None:
    if not variables["spark_secret"]:
        pytest.skip("there is no secret")
    # Of no worker here: were it not refused, the answer would be that there is none (404).
    answer = host.check_output(
        "python3 -c %s %s",
        "import ssl, sys, urllib.error, urllib.request\n"
        "try:\n"
        "    urllib.request.urlopen(urllib.request.Request(sys.argv[1], method='POST'), timeout=30,"
        " context=ssl._create_unverified_context())\n"
        "except urllib.error.HTTPError as error:\n"
        "    print(error.code)\n",
        f"{web_ui(variables, 'spark_master')}/workers/kill/?host=none.invalid",
    )
    assert answer == "405"


def test_heap_that_is_full_ends_it(host: Host) -> None:
    ends_without_memory(host, "spark-master")


def test_native_code_may_be_run(host: Host) -> None:
    runs_native_code(host, "spark-master")


def test_is_confined(host: Host) -> None:
    is_confined(host, "spark-master")


def test_heap_is_the_inventorys(host: Host, variables: HostVariables) -> None:
    pid = host.check_output("systemctl show --property=MainPID --value spark-master")
    assert f"-Xmx{variables['spark_master_memory_mb']}m" in host.process.get(pid=int(pid)).args


def test_leads_alone_or_waits_for_another_to_fall(host: Host, variables: HostVariables) -> None:
    alone = len(variables["groups"]["spark_master"]) == 1
    wait_for(
        "the master knows whether it leads",
        lambda: asked(host, "spark-master")["status"],
        lambda status: status in ({"ALIVE"} if alone else {"ALIVE", "STANDBY"}),
        30 * patience(variables),
    )


def test_every_worker_is_registered_with_the_master_that_leads(
    host: Host, variables: HostVariables, all_variables: Variables
) -> None:
    def alive(answer: dict[str, Any]) -> list[tuple[str, int, int]]:
        return sorted(
            (worker["host"], worker["cores"], worker["memory"])
            for worker in answer["workers"]
            if worker["state"] == "ALIVE"
        )

    workers = [all_variables.of(name) for name in variables["groups"]["spark_worker"]]
    wanted = sorted(
        (it["host_address"], int(it["spark_worker_cores"]), int(it["spark_worker_memory_mb"]))
        for it in workers
    )
    wait_for(
        f"the workers {wanted} are registered",
        lambda: asked(host, "spark-master"),
        lambda answer: alive(answer) == ([] if answer["status"] == "STANDBY" else wanted),
        30 * patience(variables),
    )


def test_streaming_job_is_registered(host: Host, variables: HostVariables) -> None:
    answer = wait_for(
        "the streaming job is registered and has cores, if this master leads",
        lambda: asked(host, "spark-master"),
        lambda answer: (
            answer["status"] == "STANDBY" or any(app["cores"] > 0 for app in answer["activeapps"])
        ),
        60 * patience(variables),
    )
    if answer["status"] == "STANDBY":
        assert answer["activeapps"] == []
        return
    assert [app["name"] for app in answer["activeapps"]] == ["imdb-streaming"]
    assert answer["activeapps"][0]["state"] == "RUNNING"
    assert answer["activeapps"][0]["cores"] <= variables["streaming_cores_max"]
