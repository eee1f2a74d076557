"""The jobs that are compared, as programs: how each is started, and how far it has come."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ..releases import ROOT, home_of
from .brokers import Broker
from .processes import Meter, Program

#: The Python that hosts run the job with: the system's, without any package.
PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")


@dataclass(frozen=True)
class Subject:
    """A job: its module, and the queries that it has (their names in the checkpoint)."""

    name: str
    what: str
    module: str
    queries: tuple[str, ...]
    #: By SASL_SSL from Kafka, and with Spark's secret.
    secured: bool = False


OURS = Subject("ours", "imdb_streaming", "imdb_streaming", ("silver_movies",))
SECURED = Subject(
    "secured",
    "the same by SASL_SSL, on a cluster with a secret and encryption",
    OURS.module,
    OURS.queries,
    secured=True,
)
BARE = Subject(
    "bare",
    "read, parse, score, Spark's file sink; nothing checked or dropped",
    "tests.bench.jobs.bare",
    ("silver_movies",),
)
ORIGINAL = Subject(
    "original",
    "two queries, Spark's file sink, genre counts overwritten",
    "tests.bench.jobs.original",
    ("silver_movies", "genre_counts"),
)
SUBJECTS = (OURS, SECURED, BARE, ORIGINAL)

#: What role spark gives Spark where the pipeline is secured.
SPARK_SECURITY = """\
spark.master.rest.enabled false
spark.authenticate true
spark.authenticate.secret of-the-benchmark-alone
spark.network.crypto.enabled true
spark.network.crypto.authEngineVersion 2
spark.network.crypto.saslFallback false
spark.io.encryption.enabled true
"""


@dataclass(frozen=True)
class Task:
    """What a job is asked to do; the same for each of them.

    `trigger` is an interval as Spark has it, `batch` the most messages that a batch takes.
    """

    topic: str
    folder: Path
    trigger: str
    batch: int

    @property
    def parquet(self) -> Path:
        """OUTPUT_PATH."""
        return self.folder / "parquet"

    @property
    def silver(self) -> Path:
        """The folder of silver_movies."""
        return self.parquet / "silver_movies"


class Cluster:
    """Where jobs run: this process's two cores (local[2]), or a master and a worker."""

    def __init__(self, folder: Path, master: str, *, secured: bool = False) -> None:
        """Start it; `master` is local[2] or standalone."""
        self.master = master
        self.settings = environment_of_spark()
        if secured:
            (folder / "conf").mkdir()
            (folder / "conf/spark-defaults.conf").write_text(SPARK_SECURITY)
            self.settings["SPARK_CONF_DIR"] = str(folder / "conf")
        self._programs: list[Program] = []
        if master != "standalone":
            return
        environment = self.settings | {
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_LOG_DIR": str(folder),
        }
        spark_class = str(home_of("spark") / "bin" / "spark-class")
        try:
            log = folder / "master.log"
            self._programs.append(
                Program(
                    "master",
                    [
                        spark_class,
                        "org.apache.spark.deploy.master.Master",
                        *("--host", "127.0.0.1", "--port", "0", "--webui-port", "0"),
                    ],
                    log,
                    environment,
                )
            )
            self.master = self._address(log)
            self._programs.append(
                Program(
                    "worker",
                    [
                        spark_class,
                        "org.apache.spark.deploy.worker.Worker",
                        *("--host", "127.0.0.1", "--webui-port", "0"),
                        *("--cores", "2", "--memory", "2g", "--work-dir", str(folder / "work")),
                        self.master,
                    ],
                    folder / "worker.log",
                    environment,
                )
            )
        except BaseException:
            self.stop()
            raise

    @property
    def worker_pids(self) -> list[int]:
        """The processes whose children are the executors."""
        return [program.pid for program in self._programs if program.name == "worker"]

    def stop(self) -> None:
        """Stop the worker, then the master."""
        for program in reversed(self._programs):
            program.stop()

    def _address(self, log: Path, seconds: float = 60) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._programs[-1].alive()
            for line in log.read_text(errors="replace").splitlines():
                if "Starting Spark master at spark://" in line:
                    return "spark://" + line.rpartition("spark://")[2].strip()
            time.sleep(0.2)
        raise RuntimeError(f"the master does not start:\n{self._programs[-1].tail()}")


def environment_of_spark() -> dict[str, str]:
    """Return what lets Python and Spark's scripts find the project's Spark, on loopback."""
    home = home_of("spark")
    py4j = next(home.glob("python/lib/py4j-*-src.zip"))
    # As hosts get it, made from this checkout.
    program = home_of("imdb-streaming") / "lib"
    return {
        "SPARK_HOME": str(home),
        "PYTHONPATH": f"{program}:{home / 'python'}:{py4j}:{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


class Job:
    """A job at work."""

    def __init__(self, subject: Subject, task: Task, broker: Broker, cluster: Cluster) -> None:
        """Start it; its folders are made, and kept if they are there."""
        self.subject = subject
        self.task = task
        csv = task.folder / "csv"
        for folder in (task.parquet, csv):
            folder.mkdir(parents=True, exist_ok=True)
        kafka = broker.settings(secured=subject.secured, key="password=")
        environment = cluster.settings | kafka
        environment |= {
            "KAFKA_TOPIC": task.topic,
            "OUTPUT_PATH": str(task.parquet),
            "OUTPUT_PATH_CSV": str(csv),
            "STATUS_FILE": str(task.folder / "status.json"),
            "TRIGGER_INTERVAL": task.trigger,
            "MAX_OFFSETS_PER_TRIGGER": str(task.batch),
            "SPARK_MASTER": cluster.master,
            "SPARK_CONNECTOR_PATH": f"{home_of('spark')}/connector/*",
            "SPARK_DRIVER_HOST": "127.0.0.1",
            "METRICS_PORT": "0",
        }
        self.program = Program(
            subject.name,
            [PYTHON, "-P", "-m", subject.module],
            task.folder / f"{subject.name}.log",
            environment,
        )
        workers = cluster.worker_pids
        self.meter = Meter([self.program.pid, *workers], but=workers)

    def stop(self) -> None:
        """Stop it.

        Raises:
            RuntimeError: It had ended by itself before.
        """
        self.meter.stop()
        ended = self.program.exit_code
        self.program.stop()
        if ended is not None:
            raise RuntimeError(f"{self.subject.name} ended with {ended}:\n{self.program.tail()}")

    def first_batch_after(self, batch: int) -> float:
        """Return when the batch after this one began: the last of the queries' moments."""
        return min(
            (self._checkpoint(query) / "offsets" / str(batch + 1)).stat().st_mtime
            for query in self.subject.queries
        )

    def last_batch(self) -> int:
        """Return the number of the last batch that every query has finished; -1: none."""
        return min(self._last_commit(query) for query in self.subject.queries)

    def until_drained(self, messages: int, seconds: float) -> float:
        """Wait until every query has finished with so many messages; return when.

        Raises:
            RuntimeError: The job ended, or it took too long.
        """
        end = time.monotonic() + seconds
        while True:
            done = [self._drained_at(query, messages) for query in self.subject.queries]
            if all(moment is not None for moment in done):
                return max(moment for moment in done if moment is not None)
            self.program.alive()
            if time.monotonic() > end:
                raise RuntimeError(
                    f"{self.subject.name} has not read {messages} messages within {seconds:g} s:\n"
                    f"{self.program.tail()}"
                )
            time.sleep(0.1)

    def _checkpoint(self, query: str) -> Path:
        return self.task.parquet / "_chk" / f"{query}_main"

    def _last_commit(self, query: str) -> int:
        folder = self._checkpoint(query) / "commits"
        return max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=-1)

    def _drained_at(self, query: str, messages: int) -> float | None:
        last = self._last_commit(query)
        if last < 0:
            return None
        try:
            offsets = (self._checkpoint(query) / "offsets" / str(last)).read_text()
            at = (self._checkpoint(query) / "commits" / str(last)).stat().st_mtime
        except FileNotFoundError:  # batches went on and old ones were dropped
            return None
        by_topic = json.loads(offsets.splitlines()[-1])
        read = sum(by_topic[self.task.topic].values())
        return at if read >= messages else None
