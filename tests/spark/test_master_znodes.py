"""Spark's masters keep what they know below nodes of ZooKeeper that are theirs alone."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import ACL, Id

from imdb_producer.tls import Tls, kazoo_settings

from ..producer.broker import SecuredBroker, free_port, wait_until
from ..releases import home_of

# The loopback needs no proxy, whatever the environment says.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
ROOT = "/of-masters"
ABOVE = [f"{ROOT}/leader_election", f"{ROOT}/master_status"]


@contextmanager
def client(zookeeper: SecuredBroker, name: str) -> Iterator[KazooClient]:
    """Give a client with the certificate of a subject."""
    tls = Tls(str(zookeeper.ca), str(zookeeper.authority.certificate(name)))
    it = KazooClient(zookeeper.secured_zookeeper_address, **kazoo_settings(tls))
    it.start(60)
    try:
        yield it
    finally:
        it.stop()
        it.close()


@contextmanager
def daemon(
    folder: Path, kind: str, *arguments: str, options: tuple[str, ...] = ()
) -> Iterator[Any]:
    """Run a master or a worker; give what its page says, nothing as long as there is none."""
    port = free_port()
    command = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *options]
    command += ["-cp", f"{home_of('spark')}/jars/*", f"org.apache.spark.deploy.{kind}"]
    command += ["--host", "127.0.0.1", "--webui-port", str(port)]
    with (folder / f"{kind}-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=os.environ | {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home_of("spark"))},
        )

    def said() -> dict[str, Any]:
        assert process.poll() is None, Path(log.name).read_text()[-3000:]
        try:
            with DIRECT.open(f"http://127.0.0.1:{port}/json/", timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
        except OSError:
            return {}
        return found

    try:
        yield said
    finally:
        process.kill()
        process.wait(30)


def test_a_master_leads_and_keeps_workers_where_others_may_not(
    secured_zookeeper: SecuredBroker, tmp_path: Path
) -> None:
    certificate = secured_zookeeper.authority.certificate("spark")
    options = (
        "-Dspark.deploy.recoveryMode=ZOOKEEPER",
        f"-Dspark.deploy.zookeeper.url={secured_zookeeper.secured_zookeeper_address}",
        f"-Dspark.deploy.zookeeper.dir={ROOT}",
        "-Dspark.master.rest.enabled=false",
        "-Dzookeeper.client.secure=true",
        "-Dzookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty",
        f"-Dzookeeper.ssl.keyStore.location={certificate}",
        "-Dzookeeper.ssl.keyStore.type=PEM",
        f"-Dzookeeper.ssl.trustStore.location={secured_zookeeper.ca}",
        "-Dzookeeper.ssl.trustStore.type=PEM",
        "-Dzookeeper.sasl.client=false",
    )
    port = str(free_port())
    master = ("master.Master", "--port", port)
    with client(secured_zookeeper, "kafka") as operator:
        rights = [ACL(31, Id("auth", "")), ACL(15, Id("x509", "CN=spark"))]
        for path in (ROOT, *ABOVE):
            operator.create(path, b"", acl=rights)
        with daemon(
            tmp_path, "worker.Worker", "--cores", "1", "-m", "512m", f"spark://127.0.0.1:{port}"
        ):
            with daemon(tmp_path, *master, options=options) as said:
                wait_until("it leads", lambda: said().get("status") == "ALIVE")
                wait_until("it knows a worker", lambda: bool(said()["workers"]))
                assert operator.get_children(ABOVE[0])
                kept = operator.get_children(ABOVE[1])
                assert any("worker_" in it for it in kept)
                with client(secured_zookeeper, "imdb-producer") as stranger:
                    for path in ABOVE:
                        with pytest.raises(NoAuthError):
                            stranger.create(f"{path}/x", b"")
                        with pytest.raises(NoAuthError):
                            stranger.get_children(path)
                    with pytest.raises(NoAuthError):
                        stranger.delete(f"{ABOVE[1]}/{kept[0]}")
                    # Spark gives none itself (SECURITY.md): whoever knows the name gets in.
                    assert stranger.get(f"{ABOVE[1]}/{kept[0]}")[0]
            with daemon(tmp_path, *master, options=options) as said:
                wait_until("it leads", lambda: said().get("status") == "ALIVE")
                wait_until(
                    "it knows the worker of before",
                    lambda: [it["state"] for it in said()["workers"]].count("ALIVE") == 1,
                )
                assert f"worker_{said()['workers'][0]['id']}" in kept
