"""A job that was paused and goes on beside the one that took over: real processes and a broker."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from kafka import KafkaProducer

from ..bench.brokers import Broker
from ..bench.processes import Program
from ..waiting import wait_for
from .pausing_job import STEPS

TOPIC = "imdb-movies"
SPARK = Path(__file__).parents[2] / "spark"
GENRES = ["Action", "Crime", "Drama", "Horror"]

#: The most that an overtaken job may take to end once it goes on.
END_SECONDS = 30


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker"), heap="384m") as broker:
        broker.create_topic(TOPIC)
        yield broker


class Feeder:
    """Sends movies, some of them twice, and some malformed messages, all the time."""

    def __init__(self, broker: Broker, chance: random.Random, movie: dict[str, Any]) -> None:
        self.genres: dict[str, list[str]] = {}
        self.malformed: list[str] = []
        self._chance = chance
        self._movie = movie
        self._producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder")
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(60)
        self._producer.close(timeout=30)

    def _run(self) -> None:
        sent: list[bytes] = []
        while not self._stopping.wait(0.02):
            kind = self._chance.random()
            if kind < 0.1:
                self.malformed.append(f"malformed {len(self.malformed)}")
                value = self.malformed[-1].encode()
            elif kind < 0.3 and sent:
                value = self._chance.choice(sent)
            else:
                tconst = f"tt{len(self.genres):07d}"
                genres = self._chance.sample(GENRES, self._chance.randint(1, 3))
                self.genres[tconst] = genres
                movie = self._movie | {"tconst": tconst, "genres": genres}
                value = json.dumps(movie, sort_keys=True).encode()
                sent.append(value)
            self._producer.send(TOPIC, value=value, partition=self._chance.randrange(3))


class Jobs:
    """Starts of the job on the same folders, one after the other, each ready to pause at a step."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.folder = folder
        self.started: list[Program] = []
        self._settings = {
            "PYTHONPATH": f"{SPARK}{os.pathsep}{os.environ['PYTHONPATH']}",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_MASTER": "local[2]",
            "SPARK_DRIVER_HOST": "127.0.0.1",
            "SPARK_DRIVER_MEMORY": "600m",
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
            "KAFKA_TOPIC": TOPIC,
            "TRIGGER_INTERVAL": "1 second",
            "OUTPUT_PATH": str(folder / "parquet"),
            "OUTPUT_PATH_CSV": str(folder / "csv"),
            "TAKE_OVER": "yes",
        }

    def start(self, step: str) -> Job:
        own = self.folder / f"job-{len(self.started)}"
        own.mkdir()
        if step == "start":
            (own / "armed").touch()
        program = Program(
            own.name,
            [sys.executable, str(Path(__file__).with_name("pausing_job.py")), step, str(own)],
            own / "log",
            self._settings | {"STATUS_FILE": str(own / "status.json")},
        )
        self.started.append(program)
        return Job(program, own)

    def end(self) -> None:
        for program in self.started:
            program.kill()


class Job:
    """A start of the job, and its whole tree of processes."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self._folder = folder

    def status(self) -> dict[str, Any]:
        self.program.alive()
        status = json.loads((self._folder / "status.json").read_bytes())
        assert isinstance(status, dict)
        return status

    def does_batches(self, count: int) -> None:
        """Wait until it has done some batches more."""
        begin: list[int] = []

        def batches() -> int:
            batch = self.status()["query"]["batch_id"]
            begin.append(-1 if batch is None else int(batch))
            return begin[-1] - begin[0]

        wait_for(f"batches of {self.program.name}", batches, lambda seen: seen >= count, 180, 0.2)

    def come_to_its_step(self) -> None:
        (self._folder / "armed").touch()

        def is_there() -> bool:
            self.program.alive()
            return (self._folder / "reached").exists()

        wait_for(f"the step of {self.program.name}", is_there, bool, 120, 0.02)

    def pause(self) -> None:
        os.killpg(self.program.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        (self._folder / "go").touch()
        os.killpg(self.program.pid, signal.SIGCONT)

    def ends_overtaken(self) -> None:
        end = wait_for(
            f"the end of {self.program.name}",
            lambda: self.program.exit_code,
            lambda code: code is not None,
            END_SECONDS,
            0.2,
        )
        assert end == 1, self.program.tail()
        assert "Another start of the job has" in self.program.log.read_text()


@pytest.fixture
def jobs(broker: Broker, tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(broker, tmp_path)
    yield jobs
    jobs.end()


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def feeder(broker: Broker, chance: random.Random, movie: dict[str, Any]) -> Iterator[Feeder]:
    feeder = Feeder(broker, chance, movie)
    yield feeder
    feeder.stop()


#: A random moment, in place of a step.
RANDOM = "random"


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [[*STEPS, RANDOM, RANDOM, RANDOM]], ids=["all"])
def test_paused_jobs_change_nothing_for_those_that_took_over(
    jobs: Jobs, feeder: Feeder, chance: random.Random, rounds: list[str], tmp_path: Path
) -> None:
    job = jobs.start(rounds[0])
    for number, step in enumerate(rounds):
        following = rounds[number + 1] if number + 1 < len(rounds) else RANDOM
        if step == RANDOM:
            time.sleep(chance.uniform(0, 3))
        else:
            job.come_to_its_step()
        job.pause()
        successor = jobs.start(following)
        successor.does_batches(2)
        job.go_on()
        job.ends_overtaken()
        successor.does_batches(1)
        job = successor

    feeder.stop()
    expected = len(feeder.genres)
    wait_for("all rows", lambda: job.status()["silver_rows"], lambda seen: seen == expected, 120)
    counts = Counter(genre for genres in feeder.genres.values() for genre in genres)
    wait_for("the counts", lambda: csv_counts(tmp_path), lambda seen: seen == counts, 60)
    wait_for(
        "all dead letters",
        lambda: column(tmp_path / "parquet/dead_letters", "value"),
        lambda seen: len(seen) >= len(feeder.malformed),
        60,
    )
    assert job.program.stop() == 0, job.program.tail()
    assert column(tmp_path / "parquet/silver_movies", "tconst") == sorted(feeder.genres)
    letters = sorted(value.encode() for value in feeder.malformed)
    assert column(tmp_path / "parquet/dead_letters", "value") == letters
    table = pyarrow.parquet.read_table(tmp_path / "parquet/genre_counts/genre_counts.parquet")
    assert {row["genre"]: row["movie_count"] for row in table.to_pylist()} == counts
    assert csv_counts(tmp_path) == counts


def column(folder: Path, name: str) -> list[Any]:
    """The sorted values of a column over the files of a table."""
    return sorted(
        value
        for path in folder.glob("*.parquet")
        for value in pyarrow.parquet.read_table(path, columns=[name])[name].to_pylist()
    )


def csv_counts(folder: Path) -> dict[str, int]:
    with (folder / "csv/genre_counts/genre_counts.csv").open(newline="") as file:
        return {row["genre"]: int(row["movie_count"]) for row in csv.DictReader(file)}
