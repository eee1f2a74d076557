"""The job as a program whose Spark has a clock that is set back while it runs."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from ..bench.processes import Program
from ..producer.broker import Broker
from ..waiting import wait_for

SPARK = Path(__file__).parents[2] / "spark"
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
HOUR = 3600
TOPIC = "read-by-another-clock"


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """A file that says by how many seconds the clock of Spark's JVM is wrong."""
    path = tmp_path / "clock"
    path.write_text("+0")
    return path


@pytest.fixture
def job(broker: Broker, tmp_path: Path, clock: Path) -> Iterator[Program]:
    """The program, which reads a topic of its own."""
    java = tmp_path / "java/bin/java"
    java.parent.mkdir(parents=True)
    # The JVM alone: with libfaketime Python's own time.sleep fails. No host sets a monotonic clock.
    java.write_text(
        f"#!/bin/sh\nexport LD_PRELOAD={FAKETIME} FAKETIME_TIMESTAMP_FILE={clock}"
        " FAKETIME_CACHE_DURATION=1 DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
        # Else waits with a bound end at once.
        " FAKETIME_FORCE_MONOTONIC_FIX=0\n"
        f'exec {shutil.which("java")} "$@"\n'
    )
    java.chmod(0o755)
    broker.make_topic(TOPIC)
    environment = {
        "JAVA_HOME": str(tmp_path / "java"),
        "PYTHONPATH": f"{SPARK}{os.pathsep}{os.environ['PYTHONPATH']}",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_MASTER": "local[2]",
        "SPARK_DRIVER_HOST": "127.0.0.1",
        "SPARK_DRIVER_MEMORY": "600m",
        "KAFKA_BOOTSTRAP_SERVERS": broker.address,
        "KAFKA_TOPIC": TOPIC,
        "TRIGGER_INTERVAL": "1 second",
        "OUTPUT_PATH": str(tmp_path / "parquet"),
        "OUTPUT_PATH_CSV": str(tmp_path / "csv"),
        "STATUS_FILE": str(tmp_path / "status.json"),
    }
    command = [sys.executable, "-m", "imdb_streaming"]
    program = Program("job", command, tmp_path / "job.log", environment)
    try:
        yield program
    finally:
        program.kill()


@pytest.mark.slow
@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime: apt-get install libfaketime")
def test_messages_are_read_though_the_clock_is_set_back(
    broker: Broker, job: Program, clock: Path, tmp_path: Path, movie: dict[str, Any]
) -> None:
    def status() -> dict[str, Any]:
        job.alive()
        found = json.loads((tmp_path / "status.json").read_bytes())
        assert isinstance(found, dict)
        return found

    def arrives(number: int, seconds: float) -> None:
        value = json.dumps(movie | {"tconst": f"tt{number}"}).encode()
        producer.send(TOPIC, value=value, partition=0).get(timeout=30)
        wait_for(
            f"row {number}", lambda: status()["silver_rows"], lambda rows: rows == number, seconds
        )

    producer = KafkaProducer(bootstrap_servers=broker.address, acks="all")
    try:
        arrives(1, 300)
        arrives(2, 90)
        before = status()["query"]["batch_id"]
        clock.write_text(f"-{2 * HOUR}")
        for number in (3, 4, 5):
            arrives(number, 90)
        after = status()["query"]["batch_id"]
    finally:
        producer.close(timeout=10)

    def planned_at(batch_id: int) -> int:
        plan = tmp_path / f"parquet/_chk/silver_movies_main/offsets/{batch_id}"
        return int(json.loads(plan.read_text().split("\n")[1])["batchTimestampMs"])

    assert planned_at(after) < planned_at(before) - HOUR * 1000
    assert job.stop() == 0, job.tail()
