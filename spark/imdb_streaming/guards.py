"""What must hold before the job starts; else it refuses, says why and what to do.

Nothing here ever removes a table or a checkpoint.

Checkpoint and output belong together by an id: the first start writes the same file RUN_FILE
into every place of PLACES, before any of them holds data. So where no place holds data, a start
is a first start, whatever a crash left of those files; where one does, all must show the same id.
"""

import fcntl
import json
import os
import re
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from imdb_streaming.config import Config
from imdb_streaming.files import write_atomically
from imdb_streaming.sinks import GENRE_COUNTS, SILVER, read_totals

#: Begins with an underscore, so that readers of a table skip it.
RUN_FILE = "_run.json"


class StartRefusedError(Exception):
    """Starting would lose, double or mix rows, or cannot work. The text says what to do."""


class BrokerUnreachableError(Exception):
    """No broker took a connection in time."""


@dataclass(frozen=True)
class Run:
    """Which run a folder belongs to: its RUN_ID, and an id that no other first start has."""

    run_id: str
    id: str


def prepare_folders(config: Config) -> None:
    """Make the folders of the run and see that they can be written."""
    folders = [
        config.output_path,
        config.output_path_csv,
        config.staging_folder,
        config.genre_counts_csv_folder,
        *_places(config),
    ]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder, prefix="."):
                pass
        except OSError as error:
            raise StartRefusedError(
                f"The job cannot write to {folder}: {error.strerror}. Make it a folder that user "
                f"{os.getuid()} may write to (chown {os.getuid()} {folder}; is its disk mounted "
                "and not full?), or change OUTPUT_PATH or OUTPUT_PATH_CSV."
            ) from error
    if not config.status_file.parent.is_dir() or not os.access(config.status_file.parent, os.W_OK):
        raise StartRefusedError(
            f"The job cannot write STATUS_FILE={config.status_file}. Make "
            f"{config.status_file.parent} a folder that user {os.getuid()} may write to."
        )


@contextmanager
def exclusive(config: Config) -> Iterator[None]:
    """Hold the output folder for one job. The kernel lets go of it when the process ends."""
    path = config.staging_folder / ".lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartRefusedError(
                f"Another job is writing to {config.output_path} (it holds {path}). Stop it "
                "first, or give this one an OUTPUT_PATH of its own."
            ) from error
        yield


def clean_staging(config: Config) -> None:
    """Remove what earlier starts left half written. Nothing there is part of a table."""
    for left_over in config.staging_folder.iterdir():
        if left_over.is_dir():
            shutil.rmtree(left_over)


def drop_checksums(config: Config, *, of_spark: bool) -> None:
    """Remove the checksums of the checkpoints' files that may be of an older content.

    A file that is written over keeps the checksum of before if the job is killed between the two,
    and would be refused for good; one without a checksum is read. Hadoop's own, in hidden files,
    go at each start. Spark's go only before a Spark that does not know of them and would not keep
    them up.
    """
    for query in (SILVER, GENRE_COUNTS):
        for checksum in config.checkpoint_folder(query).rglob("*.crc" if of_spark else ".*.crc"):
            checksum.unlink()


def check_connector(config: Config) -> None:
    """See that Spark's Kafka connector is on the class path that the job gives to Spark."""
    pattern = Path(config.spark_connector_path)
    jars = pattern.parent.glob("spark-sql-kafka-*.jar")
    if not any(jars):
        raise StartRefusedError(
            f"No spark-sql-kafka-*.jar in {pattern.parent}. Install Spark's Kafka connector with "
            "what it needs there, or point SPARK_CONNECTOR_PATH to where it is."
        )


def check_belongs_together(config: Config) -> None:
    """Refuse when checkpoint and output are not of one run; mark them at the first start."""
    _refuse_foreign_files(config)
    places = _places(config)
    if not any(_holds_data(place) for place in places):
        first = Run(run_id=config.run_id, id=str(uuid.uuid4()))
        for place in places:
            write_atomically(place / RUN_FILE, (json.dumps(asdict(first)) + "\n").encode())
        return

    runs = {place: _read_run(place) for place in places}
    checkpoints = {config.checkpoint_folder(query) for query in (SILVER, GENRE_COUNTS)}
    for place, run in runs.items():
        if run is not None and run.run_id != config.run_id:
            raise StartRefusedError(
                f"{place} holds the table of RUN_ID={run.run_id}, and the job was started with "
                f"RUN_ID={config.run_id}: every event would be in it twice. {_advice(config, run)}"
            )
    if len(set(runs.values())) == 1 and None not in runs.values():
        _refuse_emptied_table(config)
        return
    lacking = [place for place, run in runs.items() if run is None]
    if not lacking:
        shown = "; ".join(f"{place}: {run.id}" for place, run in runs.items() if run)
        raise StartRefusedError(
            f"Checkpoint and output are of different runs ({shown}): going on would lose or "
            f"double rows. {_advice(config)}"
        )
    if all(place in checkpoints for place in lacking):
        what = "The tables have rows, but the checkpoint that made them is not there"
        why = "the topic would be read again and every event be written twice"
    elif not any(place in checkpoints for place in lacking):
        what = "The checkpoint has read on, but the table that it filled is not there"
        why = "its rows would never be written again"
    else:
        what = "A part of the checkpoint and a part of the output are not there"
        why = "going on would lose or double rows"
    missing = ", ".join(str(place) for place in lacking)
    raise StartRefusedError(
        f"{what}: no {RUN_FILE} in {missing}, while others of this run hold data; {why}. "
        f"{_advice(config)}"
    )


def wait_for_broker(config: Config, stopping: threading.Event) -> None:
    """Wait until one broker takes a connection, at most BROKER_WAIT_SECONDS.

    Raises BrokerUnreachableError with the last reason of each server. Returns early on `stopping`.
    """
    deadline = time.monotonic() + config.broker_wait_seconds
    while not stopping.is_set():
        failures = []
        for server in config.bootstrap_servers.split(","):
            host, _, port = server.rpartition(":")
            try:
                with socket.create_connection((host.strip("[]"), int(port)), timeout=3):
                    return
            except OSError as error:
                failures.append(f"{server}: {error}")
        if time.monotonic() >= deadline:
            raise BrokerUnreachableError(
                f"No Kafka broker took a connection within {config.broker_wait_seconds} s "
                f"({'; '.join(failures)}). Is it running, and is KAFKA_BOOTSTRAP_SERVERS right?"
            )
        stopping.wait(1)


def _places(config: Config) -> list[Path]:
    """The folders that must be of one run: both checkpoints and both tables."""
    return [
        config.checkpoint_folder(SILVER),
        config.checkpoint_folder(GENRE_COUNTS),
        config.silver_folder,
        config.genre_counts_folder,
    ]


def _holds_data(place: Path) -> bool:
    """Whether a checkpoint has planned a batch, or a table has a file."""
    return any(place.glob("offsets/[0-9]*")) or any(place.glob("*.parquet"))


def _read_run(place: Path) -> Run | None:
    path = place / RUN_FILE
    if not path.exists():
        return None
    try:
        return Run(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise StartRefusedError(
            f"{path} is not what the job wrote ({error}). Restore it from a backup; the same file "
            "stands in the other folders of the run."
        ) from error


def _refuse_foreign_files(config: Config) -> None:
    of_this_run = re.compile(re.escape(config.run_id) + r"-[0-9]{10}\.parquet")
    for path in sorted(config.silver_folder.glob("*.parquet")):
        if of_this_run.fullmatch(path.name):
            continue
        other = re.fullmatch(r"(.+)-[0-9]{10}\.parquet", path.name)
        whose = f"RUN_ID={other[1]}" if other else "something else"
        raise StartRefusedError(
            f"{path} was written by {whose}, and the job was started with "
            f"RUN_ID={config.run_id}: readers would see rows of both. "
            + _advice(config, Run(other[1], "") if other else None)
        )


def _refuse_emptied_table(config: Config) -> None:
    totals = read_totals(config)
    if totals.silver_rows > 0 and not any(config.silver_folder.glob("*.parquet")):
        raise StartRefusedError(
            f"The checkpoint {config.checkpoint_folder(SILVER)} says that {totals.silver_rows} "
            f"rows were written, but {config.silver_folder} holds no file: they would never be "
            f"written again. {_advice(config)}"
        )


def _advice(config: Config, other: Run | None = None) -> str:
    """The ways out, as commands."""
    kept = f"{config.output_path}/kept-$(date +%s)"
    tables = " ".join(str(path) for path in (config.silver_folder, config.genre_counts_folder))
    checkpoints = " ".join(str(config.checkpoint_folder(query)) for query in (SILVER, GENRE_COUNTS))
    back = (
        f"set RUN_ID={other.run_id} to go on with that run"
        if other
        else ("put back what was moved or restore it from a backup")
    )
    return (
        f"Either {back}; or begin anew from the topic's first message, keeping the old files "
        f"aside: mkdir {kept} && mv {tables} {checkpoints} {kept}"
    )
