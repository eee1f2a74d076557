"""Spark's cluster computes for who has its secret, and for nobody else.

On a cluster that does nothing else: the job of a pipeline would have all cores.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from .checks import asked, web_ui

testinfra_hosts = ["ansible://spark_worker"]
pytestmark = pytest.mark.molecule


def test_an_application_computes_and_what_it_sends_is_encrypted_with_a_secret(
    host: Host, variables: HostVariables
) -> None:
    secured = bool(variables["spark_secret"])
    driver = "https://127.0.0.1:4440" if secured else f"http://{variables['host_address']}:4040"
    master, worker = (web_ui(variables, role) for role in ("spark_master", "spark_worker"))
    pages = [
        *(f"{master}{path}" for path in ("/", "/json/", "/environment/")),
        f"{worker}/",
        *(f"{driver}{path}" for path in ("/environment/", "/jobs/", "/api/v1/applications")),
    ]
    arguments = [
        variables["spark_user"],
        variables["spark_worker_masters"],
        variables["host_address"],
        f"marker{uuid.uuid4().hex}",
        *pages,
    ]
    script = Path(__file__).with_name("spark_trial.py").read_text()
    with host.sudo():
        told = host.check_output("python3 -c %s " + " %s" * len(arguments), script, *arguments)
    found = json.loads(told)
    assert found["counted"] == 300, found
    assert found["executors"] == 1, found
    assert [text for text in found["pages"].values() if "Error" in text] == []
    assert found["wire"]["bytes"] > 10_000, found
    # Without a secret all is to be seen, so that the test would see it.
    assert (found["wire"]["markers"] == 0) == secured, found
    assert (found["kill_links"] == 0) == secured, found
    assert found["secret_in"] == [], found
    if secured:
        work = variables["spark_worker_work_dir"]
        with host.sudo():
            assert host.check_output("find %s -name stderr", work)
            kept = host.run("find %s -type f -exec cat {} +", work).stdout
        assert variables["spark_secret"] not in kept


IMPOSTOR = """
from pyspark.sql import SparkSession
print("computed", SparkSession.builder.getOrCreate().sparkContext.parallelize([1, 2], 2).sum())
"""
REFUSED = {"none": "Unknown challenge message", "another": "Authentication failed"}
# Settings of who has no secret, and of who has another one.
IMPOSTORS = {
    "none": "spark.authenticate=false spark.network.crypto.enabled=false",
    "another": "spark.authenticate.secret=another-secret-of-nobody",
}


@pytest.mark.parametrize("secret", IMPOSTORS)
def test_an_application_without_the_secret_is_refused(
    host: Host, variables: HostVariables, secret: str
) -> None:
    if not variables["spark_secret"]:
        pytest.skip("there is no secret")
    settings = " ".join(f"--conf {it}" for it in IMPOSTORS[secret].split())
    with host.sudo(variables["spark_user"]):
        # It tries a master that refuses it for a minute, and then ends.
        run = host.run(
            f"cd / && program=$(mktemp --suffix=.py) && echo '{IMPOSTOR}' >$program; "
            f"timeout 40 spark-submit {settings} --name impostor --executor-memory 512m "
            f"--master {variables['spark_worker_masters']} $program; rm $program"
        )
    assert "computed" not in run.stdout
    assert REFUSED[secret] in run.stdout + run.stderr
    state = asked(host, "spark-master")
    known = [app["name"] for app in state["activeapps"] + state["completedapps"]]
    assert "impostor" not in known


@pytest.mark.parametrize("secret", IMPOSTORS)
def test_a_worker_without_the_secret_is_refused(
    host: Host, variables: HostVariables, secret: str
) -> None:
    if not variables["spark_secret"]:
        pytest.skip("there is no secret")
    settings = " ".join(f"-D{it}" for it in IMPOSTORS[secret].split())
    folder = f"{variables['spark_work_root']}/work"
    with host.sudo(variables["spark_user"]):
        run = host.run(
            f"cd / && SPARK_WORKER_OPTS='{settings}' timeout 30 spark-class "
            f"org.apache.spark.deploy.worker.Worker --host {variables['host_address']} "
            f"--port 17078 --webui-port 0 --work-dir {folder} {variables['spark_worker_masters']}"
        )
    assert REFUSED[secret] in run.stdout + run.stderr
    known = [worker["port"] for worker in asked(host, "spark-master")["workers"]]
    assert known == [variables["spark_worker_port"]]
