"""Targets for a real Prometheus: what the pipeline's parts tell, as a test wants it."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ..direct import DIRECT
from ..waiting import wait_for

ROOT = Path(__file__).parents[2]
#: What each job tells while all is calm; {} is the number of the scrape.
CALM = {
    "node": 'node_systemd_unit_state{{name="imdb-producer.service",state="active"}} 1\n'
    'imdb_producer_state{{state="sending"}} 1\nimdb_producer_records 2000\n'
    "imdb_producer_position {0}0\nimdb_producer_data_set_age_seconds 7200\n",
    "zookeeper": 'zookeeper_role{{role="standalone"}} 1\n',
    "kafka-1": "kafka_controller_active 1\nkafka_controller_offline_partitions 0\n"
    "kafka_partitions_under_replicated 0\n"
    'kafka_topic_messages_in_total{{topic="imdb-movies"}} {0}0\n'
    'kafka_topic_bytes_out_total{{topic="imdb-movies"}} {0}00\n',
    "kafka-2": "kafka_controller_active 0\nkafka_partitions_under_replicated 0\n",
    "spark-master": "metrics_master_aliveWorkers_Value 1\n",
    "spark-worker": "metrics_worker_executors_Value 1\n",
    "spark-executors": 'metrics_executor_totalCores{{executor_id="0"}} 2\n',
    "imdb-streaming": "imdb_streaming_lag_messages 7\nimdb_streaming_lag_seconds 1.5\n"
    "imdb_streaming_batch_duration_seconds 2.5\nimdb_streaming_input_rows_per_second 10\n",
}


@dataclass
class Targets:
    """Serves each job's text at a path of its own; one that is down answers with an error."""

    port: int
    down: set[str] = field(default_factory=set)

    def settings(self, folder: Path) -> Path:
        """Write settings for Prometheus, with the pipeline's rules."""
        path = folder / "prometheus.yml"
        jobs: dict[str, list[str]] = {}
        for name in CALM:
            jobs.setdefault("kafka" if name.startswith("kafka") else name, []).append(name)
        path.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(ROOT / "roles/prometheus/files/alerts/*.yml")],
                    "scrape_configs": [
                        {
                            "job_name": job,
                            "static_configs": [
                                {
                                    "targets": [f"127.0.0.1:{self.port}"],
                                    "labels": {"instance": name, "__metrics_path__": f"/{name}"},
                                }
                                for name in names
                            ],
                        }
                        for job, names in jobs.items()
                    ],
                }
            )
        )
        return path


@contextmanager
def served() -> Iterator[Targets]:
    """Serve the targets."""
    counts = dict.fromkeys(CALM, 0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            counts[name] += 1
            self.send_response(503 if name in targets.down else 200)
            self.end_headers()
            self.wfile.write(CALM[name].format(counts[name]).encode())

        def log_message(self, *said: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        targets = Targets(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield targets
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Server:
    """A Prometheus on this machine, which may be stopped and started again."""

    settings: Path
    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What stands before the paths of its API."""
        return f"http://127.0.0.1:{self.port}/api/v1/"

    def start(self) -> None:
        """Start it, and wait until it has asked all targets."""
        self._process = subprocess.Popen(
            [
                ROOT / "tools/prometheus",
                f"--config.file={self.settings}",
                f"--storage.tsdb.path={self.folder}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=error",
            ],
            stdout=sys.stderr,
        )
        wait_for("Prometheus has asked its targets", self._asked, bool, 120)

    def _asked(self) -> bool:
        ended = self._process.poll() if self._process else None
        assert ended is None, f"Prometheus has ended with code {ended}"
        try:
            with DIRECT.open(f"{self.url}query?query=up", timeout=5) as answer:
                return len(json.load(answer)["data"]["result"]) == len(CALM)
        except OSError:
            return False

    def stop(self) -> None:
        """Stop it."""
        if self._process:
            self._process.terminate()
            self._process.wait(60)
            self._process = None
