"""A worker that Spark's master counts twice is found out by what goes beside it, and comes back.

As in findings/spark-standalone-executor-counted-twice.sh: a proxy holds the worker's own retry
until the restarted master recovers, and the worker answers that recovery late.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..producer.broker import free_port
from ..releases import home_of
from ..waiting import wait_for

pytestmark = pytest.mark.slow

TEMPLATE = (
    Path(__file__).resolve().parents[2] / "roles/spark_worker/templates/spark-worker-count.j2"
)
# The loopback needs no proxy, whatever the environment says.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SECONDS = 180
APPLICATION = """
import time
from pyspark.sql import SparkSession
context = SparkSession.builder.getOrCreate().sparkContext
print("counted", context.parallelize([1, 2]).count(), flush=True)
time.sleep(600)
"""


class Cluster:
    """A master that keeps what it knows in files, a worker behind a proxy, and their pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("master", "Master", "Worker", "proxy")}
        self.started: list[subprocess.Popen[bytes]] = []
        self.held = threading.Event()
        (folder / "spark.conf").write_text(
            "spark.deploy.recoveryMode FILESYSTEM\n"
            f"spark.deploy.recoveryDirectory {folder}/recovery\n"
            "spark.master.rest.enabled false\n"
            "spark.worker.preferConfiguredMasterAddress true\n"
        )
        (folder / "application.py").write_text(APPLICATION)
        threading.Thread(target=self._serve, daemon=True).start()

    def start(self, log: str, *command: str) -> subprocess.Popen[bytes]:
        settings = os.environ | {
            "SPARK_HOME": str(home_of("spark")),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_CONF_DIR": str(self.folder),
        }
        with (self.folder / log).open("ab") as file:
            self.started.append(
                subprocess.Popen(
                    command, stdout=file, stderr=file, env=settings, start_new_session=True
                )
            )
        return self.started[-1]

    def daemon(self, kind: str, log: str, *options: str, before: str = "") -> Any:
        words = [
            str(home_of("spark") / "bin/spark-class"),
            f"org.apache.spark.deploy.{kind.lower()}.{kind}",
            *("--host", "127.0.0.1", "--webui-port", str(self.ports[kind])),
            *("--properties-file", f"{self.folder}/spark.conf"),
            *options,
        ]
        return self.start(log, "bash", "-c", f'{before} exec "$@"', "daemon", *words)

    def master(self, log: str) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = self.daemon(
            "Master", log, "--port", str(self.ports["master"])
        )
        return process

    def worker(self, before: str) -> None:
        where = f"spark://127.0.0.1:{self.ports['proxy']}"
        self.it = self.daemon(
            *("Worker", "worker.log", "--cores", "2", "--memory", "2g"),
            *("--work-dir", f"{self.folder}/work", where),
            before=before,
        )

    def application(self, log: str) -> subprocess.Popen[bytes]:
        return self.start(
            log,
            str(home_of("spark") / "bin/spark-submit"),
            *("--master", f"spark://127.0.0.1:{self.ports['master']}"),
            *("--conf", "spark.executor.cores=2", "--conf", "spark.executor.memory=512m"),
            *("--conf", "spark.ui.enabled=false", str(self.folder / "application.py")),
        )

    def says(self, log: str, text: str) -> bool:
        return text in (self.folder / log).read_text()

    def wait(self, log: str, text: str, every: float = 0.1) -> None:
        wait_for(f"{text} in {log}", lambda: self.says(log, text), bool, SECONDS, every)

    def page(self, kind: str) -> dict[str, Any]:
        with DIRECT.open(f"http://127.0.0.1:{self.ports[kind]}/json/", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def _serve(self) -> None:
        with socket.create_server(("127.0.0.1", self.ports["proxy"])) as listener:
            while True:
                side = listener.accept()[0]
                threading.Thread(target=self._connect, args=(side,), daemon=True).start()

    def _connect(self, side: socket.socket) -> None:
        place = ("127.0.0.1", self.ports["master"])
        master = wait_for(
            "the master's port", lambda: socket.create_connection(place), bool, SECONDS, 0.01
        )
        threading.Thread(target=self._carry, args=(master, side, False), daemon=True).start()
        self._carry(side, master, self.held.is_set())

    def _carry(self, source: socket.socket, target: socket.socket, holds: bool) -> None:
        try:
            while data := source.recv(65536):
                if holds and b"DeployMessages$RegisterWorker" in data:
                    self.it.send_signal(signal.SIGSTOP)
                    self.wait("master-2.log", "Trying to recover worker", 0.005)
                    target.sendall(data)
                    self.wait("master-2.log", "Recovery complete")
                    self.it.send_signal(signal.SIGCONT)
                else:
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side has gone


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    it = Cluster(tmp_path)
    try:
        yield it
    finally:
        it.close()


def test_a_worker_whose_executor_is_counted_twice_comes_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    ask, count = tmp_path / "ask", tmp_path / "count"
    url = f"http://127.0.0.1:{cluster.ports['Worker']}/json/"
    ask.write_text(f"#!/bin/sh\nexec curl --noproxy '*' --silent --fail {url}\n")
    ask.chmod(0o755)
    count.write_text(
        TEMPLATE.read_text()
        .replace("{{ ansible_managed | comment }}", "# ours")
        .replace('"/usr/local/bin/spark-worker-ask"', repr(str(ask)))
        .replace("\nPAUSE = 20", "\nPAUSE = 1")
    )
    beside = f"python3 -I {count} &"
    first = cluster.master("master-1.log")
    wait_for("the master", lambda: cluster.page("Master"), bool, SECONDS)
    cluster.worker(beside)
    cluster.wait("worker.log", "Successfully registered")
    application = cluster.application("application-1.log")
    cluster.wait("application-1.log", "counted 2")
    os.killpg(first.pid, signal.SIGKILL)
    cluster.held.set()
    cluster.wait("worker.log", "Retrying connection to master")
    cluster.master("master-2.log")

    assert cluster.it.wait(SECONDS) == -signal.SIGKILL
    assert cluster.says("worker.log", "MiB count as used that no executor has")
    # As systemd does it, and as a job does that has lost its executors for long.
    cluster.held.clear()
    os.killpg(application.pid, signal.SIGKILL)
    os.killpg(cluster.it.pid, signal.SIGKILL)
    cluster.worker(beside)
    cluster.application("application-2.log")
    cluster.wait("application-2.log", "counted 2")
    assert cluster.page("Master")["coresused"] == 2
