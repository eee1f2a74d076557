"""The program itself with its tables in a bucket: a real broker, and moto."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaProducer

from ..bench.brokers import Broker
from ..bench.processes import Program
from ..waiting import wait_for

if TYPE_CHECKING:
    from .s3 import S3

# test_s3a.py has the same contents without the program around them, in a fraction of the time.
pytestmark = pytest.mark.slow

TOPIC = "imdb-movies"
SPARK = Path(__file__).parents[2] / "spark"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker"), heap="384m") as broker:
        broker.create_topic(TOPIC)
        yield broker


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[S3]:
    pytest.importorskip("moto", reason="needs requirements-aws.txt: TARGET=aws tools/setup")
    from .s3 import s3_server

    with s3_server(tmp_path) as s3:
        yield s3


@pytest.fixture
def settings(broker: Broker, bucket: S3, tmp_path: Path) -> dict[str, str]:
    """The job's environment, with Spark's own settings in a file, as on hosts."""
    defaults = "".join(f"spark.hadoop.{key} {value}\n" for key, value in bucket.settings.items())
    (tmp_path / "spark-defaults.conf").write_text(defaults)
    return {
        "PYTHONPATH": f"{SPARK}{os.pathsep}{os.environ['PYTHONPATH']}",
        "SPARK_CONF_DIR": str(tmp_path),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_MASTER": "local[2]",
        "SPARK_DRIVER_HOST": "127.0.0.1",
        "SPARK_DRIVER_MEMORY": "600m",
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
        "KAFKA_TOPIC": TOPIC,
        "TRIGGER_INTERVAL": "1 second",
        "OUTPUT_PATH": f"{bucket.uri}/parquet",
        "OUTPUT_PATH_CSV": f"{bucket.uri}/csv",
        "STATUS_FILE": str(tmp_path / "status.json"),
    }


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """Those that a test has started; they are ended with it."""
    started: list[Program] = []
    yield started
    for program in started:
        program.kill()


def test_job_lives_in_a_bucket(
    settings: dict[str, str],
    broker: Broker,
    bucket: S3,
    programs: list[Program],
    movie: dict[str, Any],
    tmp_path: Path,
) -> None:
    def start(name: str, *arguments: str) -> Program:
        command = [sys.executable, "-m", "imdb_streaming", *arguments]
        program = Program(name, command, tmp_path / f"{name}.log", settings)
        programs.append(program)
        return program

    def rows_are(program: Program, count: int) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            if program.exit_code is not None:
                pytest.fail(f"{program.name} ended:\n{program.tail()}")
            status = json.loads((tmp_path / "status.json").read_bytes())
            assert isinstance(status, dict)
            return status

        return wait_for("rows", look, lambda status: bool(status["silver_rows"] == count), 240)

    def ended(program: Program, code: int) -> str:
        wait_for(
            f"the end of {program.name}",
            lambda: program.exit_code,
            lambda seen: seen is not None,
            240,
        )
        assert program.exit_code == code, program.tail()
        return program.log.read_text()

    first = start("first")
    send(broker, movie, movie | {"tconst": "tt2"}, movie, "malformed")
    rows_are(first, 2)
    assert "Another job is writing to s3a://" in ended(start("second"), 2)
    first.kill()

    assert "run main can start or go on" in ended(start("check", "check"), 0)
    assert "nothing to accept" in ended(start("accept-loss", "accept-loss", "--yes"), 0)
    (tmp_path / "status.json").unlink()
    send(broker, movie, movie | {"tconst": "tt3", "genres": ["Drama"]})
    again = start("again")
    status = rows_are(again, 3)
    assert (status["dead_letters"], status["duplicates"]) == (1, 2)
    assert again.stop() == 0, again.tail()
    assert bucket.get("csv/genre_counts/genre_counts.csv") == (
        b"genre,movie_count\nDrama,3\nCrime,2\n"
    )
    assert bucket.unfinished_uploads() == []

    client = bucket.client()
    for key in bucket.keys("parquet/_chk/"):
        client.delete_object(Bucket=bucket.bucket, Key=key)
    before = bucket.keys()
    assert "The tables have rows, but the checkpoint" in ended(start("robbed"), 2)
    assert bucket.keys() == before


def test_a_bucket_that_cannot_be_reached_ends_the_start(
    settings: dict[str, str], programs: list[Program], tmp_path: Path
) -> None:
    """With the code after which systemd tries again."""
    settings["OUTPUT_PATH"] = "s3a://no-such-bucket/parquet"
    command = [sys.executable, "-m", "imdb_streaming"]
    program = Program("job", command, tmp_path / "job.log", settings)
    programs.append(program)
    code = wait_for("its end", lambda: program.exit_code, lambda seen: seen is not None, 240)
    assert code == 1
    assert "s3a://no-such-bucket/parquet cannot be read" in program.log.read_text()
    assert "Traceback" not in program.log.read_text()


def send(broker: Broker, *values: dict[str, Any] | str) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
    try:
        for value in values:
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            producer.send(TOPIC, value=text.encode(), partition=0).get(timeout=30)
    finally:
        producer.close(timeout=10)
