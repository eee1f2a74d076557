"""What must hold before the job starts; else it refuses, says why and what to do.

Nothing here ever removes a table or a checkpoint.

Checkpoint and output belong together by an id: the first start writes the same file RUN_FILE
into each of places(), before any of them holds data. So where no place holds data, a start
is a first start, whatever a crash left of those files; where one does, all must show the same id.
Backups of two times show the same id too: so no place may be of a later batch than the checkpoint
has planned, and the table not have less than the state says was written.
"""

import hashlib
import json
import logging
import os
import re
import socket
import tempfile
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from imdb_streaming import checkpoint
from imdb_streaming.bucket import BucketPath, Place
from imdb_streaming.config import Config
from imdb_streaming.files import remove_tree, uri, write_json
from imdb_streaming.refusals import ADVICE as ADVICE
from imdb_streaming.refusals import CredentialsError as CredentialsError
from imdb_streaming.refusals import StartRefusedError as StartRefusedError
from imdb_streaming.sinks import read_totals
from imdb_streaming.tls import TlsError, UntrustedError, split_address

#: Begins with an underscore, so that readers of a table skip it.
RUN_FILE = "_run.json"

#: What a file of the tables or of the state has in its name: the last batch that it holds.
_LAST_BATCH = re.compile(r".*[-_]([0-9]{10})((-[0-9]{4,9})?\.parquet)?")


#: Seconds that a broker may take to accept a connection, and for TLS to answer.
_ANSWER_SECONDS = 3

log = logging.getLogger("imdb_streaming")


class BrokerUnreachableError(Exception):
    """No broker took a connection in time."""


@dataclass(frozen=True)
class Run:
    """Which run a folder belongs to: its RUN_ID, and an id that no other first start has."""

    run_id: str
    id: str


def prepare_folders(config: Config) -> None:
    """Make the folders of the run and see that they can be written. A bucket needs none."""
    roots = (config.output_path, config.output_path_csv)
    for folder in (*roots, config.staging_root, config.staging_root_csv, *places(config)):
        if isinstance(folder, BucketPath):
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder, prefix="."):
                pass
        except OSError as error:
            raise StartRefusedError(_cannot_write(folder, str(error.strerror))) from error
    if not config.status_file.parent.is_dir() or not os.access(config.status_file.parent, os.W_OK):
        raise StartRefusedError(
            f"The job cannot write STATUS_FILE={config.status_file}. Make "
            f"{config.status_file.parent} a folder that user {os.getuid()} may write to."
        )


def _cannot_write(folder: Path, reason: str) -> str:
    return (
        f"The job cannot write to {folder}: {reason}. Make it a folder that user {os.getuid()} may "
        f"write to (chown {os.getuid()} {folder}; is its disk mounted and not full?), or change "
        "OUTPUT_PATH or OUTPUT_PATH_CSV."
    )


def lock_file(config: Config) -> Path:
    """The file that a job locks; with tables in a bucket one of this host."""
    if isinstance(config.staging_root, BucketPath):
        digest = hashlib.sha256(uri(config.tables_path).encode()).hexdigest()
        return config.status_file.parent / f".{digest[:16]}.lock"
    return config.staging_root / ".lock"


def clean_staging(config: Config) -> None:
    """Remove what earlier starts left half written in a bucket. Nothing there is part of a table.

    On a file system that has gone with the terms of those starts (terms.py).
    """
    if isinstance(config.staging_root, BucketPath):
        remove_tree(config.staging_root)


def drop_checksums(config: Config) -> None:
    """Remove the checksums of the checkpoint's files that may be of an older content.

    A file that is written over keeps the checksum of before if the job is killed between the two,
    and would be refused for good; one without a checksum is read. There are none in a bucket.
    """
    for folder in (config.checkpoint_folder, config.state_folder):
        if isinstance(folder, BucketPath):
            continue
        for checksum in folder.rglob(".*.crc"):
            checksum.unlink(missing_ok=True)


def check_connector(config: Config) -> None:
    """See that Spark's Kafka connector is on the class path that the job gives to Spark."""
    pattern = Path(config.spark_connector_path)
    jars = pattern.parent.glob("spark-sql-kafka-*.jar")
    if not any(jars):
        raise StartRefusedError(
            f"No spark-sql-kafka-*.jar in {pattern.parent}. Install Spark's Kafka connector with "
            "what it needs there, or point SPARK_CONNECTOR_PATH to where it is."
        )


def check_folders(config: Config) -> None:
    """See that the folders can be written, or made where they are missing, and change nothing."""
    for folder in (config.output_path, config.output_path_csv, *places(config)):
        if isinstance(folder, BucketPath):
            continue
        there = next(it for it in (folder, *folder.parents) if it.exists())
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            continue
        if there == folder:
            raise StartRefusedError(_cannot_write(folder, "Permission denied"))
        raise StartRefusedError(
            f"{folder} is not there, and cannot be made in {there} by user {os.getuid()}. Make "
            f"it a folder that this user may write to (install -d -o {os.getuid()} {folder}; is "
            "its disk mounted?), or change OUTPUT_PATH or OUTPUT_PATH_CSV."
        )


def check_belongs_together(config: Config, *, mark: bool = True) -> None:
    """Refuse when checkpoint and output are not of one run; mark them at the first start."""
    marked = places(config)
    holds_data = any(_holds_data(place) for place in marked)
    runs = {place: read_run(place) for place in marked} if holds_data else {}
    for place, run in runs.items():
        if run is not None and run.run_id != config.run_id:
            raise StartRefusedError(
                f"{place} holds the table of RUN_ID={run.run_id}, and the job was started with "
                f"RUN_ID={config.run_id}: every event would be in it twice. Either set "
                f"RUN_ID={run.run_id} to go on with that run, or make the new one beside it: "
                f"imdb-streaming reprocess {config.run_id}"
            )
    _refuse_foreign_files(config)
    if not holds_data:
        first = Run(run_id=config.run_id, id=str(uuid.uuid4()))
        for place in marked if mark else []:
            write_json(place / RUN_FILE, asdict(first), out_of(config, place))
        return
    if len(set(runs.values())) == 1 and None not in runs.values():
        _refuse_later_batches(config)
        _refuse_emptied_table(config)
        return
    lacking = [place for place, run in runs.items() if run is None]
    if not lacking:
        shown = "; ".join(f"{place}: {run.id}" for place, run in runs.items() if run)
        raise StartRefusedError(
            f"Checkpoint and output are of different runs ({shown}): going on would lose or "
            f"double rows. {ADVICE}"
        )
    checkpoints = {config.checkpoint_folder, config.state_folder}
    if all(place in checkpoints for place in lacking):
        what = "The tables have rows, but the checkpoint that made them is not there"
        why = "the topic would be read again and every event be written twice"
    elif not any(place in checkpoints for place in lacking):
        what = "The checkpoint has read on, but the table that it filled is not there"
        why = "its rows would never be written again"
    else:
        what = "A part of the checkpoint and a part of the output are not there"
        why = "going on would lose or double rows"
    missing = ", ".join(map(str, lacking))
    raise StartRefusedError(
        f"{what}: no {RUN_FILE} in {missing}, while others of this run hold data; {why}. {ADVICE}"
    )


def wait_for_broker(config: Config, stopping: threading.Event) -> None:
    """Wait until one broker takes a connection, at most BROKER_WAIT_SECONDS.

    By TLS, one that this host trusts: Kafka's clients would not tell it from one that is away.
    Raises BrokerUnreachableError with the last reason of each server, and TlsFileError when a file
    of this host cannot be used. Returns early on `stopping`.
    """
    config.security.check()
    deadline = time.monotonic() + config.broker_wait_seconds
    told = ""
    while not stopping.is_set():
        failures = []
        untrusted = ""
        for server in config.bootstrap_servers.split(","):
            try:
                _connect(config, server)
                return
            except UntrustedError as error:
                untrusted = untrusted or str(error)
            except (OSError, TlsError) as error:
                failures.append(f"{server}: {error}")
        is_over = time.monotonic() >= deadline
        if untrusted and is_over:
            raise BrokerUnreachableError(
                f"{untrusted} No broker let this host in within {config.broker_wait_seconds} s."
            )
        if untrusted and untrusted != told:
            told = untrusted
            log.warning("%s Waiting for up to %d s.", untrusted, deadline - time.monotonic())
        if is_over:
            raise BrokerUnreachableError(
                f"No Kafka broker took a connection within {config.broker_wait_seconds} s "
                f"({'; '.join(failures)}). Is it running, and is KAFKA_BOOTSTRAP_SERVERS right?"
            )
        stopping.wait(1)


def _connect(config: Config, server: str) -> None:
    host, port = split_address(server)
    if config.security.enabled:
        config.security.tls.connect(host, port, _ANSWER_SECONDS).close()
    else:
        socket.create_connection((host, port), timeout=_ANSWER_SECONDS).close()


def places(config: Config) -> list[Place]:
    """The folders that must be of one run: the checkpoint, the job's state and the tables."""
    return [config.checkpoint_folder, config.state_folder, *tables(config)]


def tables(config: Config) -> list[Place]:
    return [
        config.silver_folder,
        config.dead_letters_folder,
        config.genre_counts_folder,
        config.genre_counts_csv_folder,
    ]


def out_of(config: Config, place: Place) -> Path | None:
    """The way of a file into one of places()."""
    is_csv = place == config.genre_counts_csv_folder
    return config.out_folder_csv if is_csv else config.out_folder


def _holds_data(place: Place) -> bool:
    """Whether a checkpoint has planned a batch, the state has one, or a table has a file."""
    patterns = ("offsets/[0-9]*", "delta-*", "snapshot-*", "*.parquet", "*.csv")
    return any(any(place.glob(pattern)) for pattern in patterns)


def read_run(place: Place) -> Run | None:
    """The run that a folder belongs to; None if nothing says so."""
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
    of_a_run = re.compile(r"(.+?)-[0-9]{10}(_[0-9]{10}|-[0-9]{4,9})?\.parquet")
    for folder in (config.silver_folder, config.dead_letters_folder):
        paths: list[Place] = sorted(folder.glob("*.parquet"), key=str)
        for path in paths:
            match = of_a_run.fullmatch(path.name)
            if match and match[1] == config.run_id:
                continue
            whose = f"RUN_ID={match[1]}" if match else "something else"
            raise StartRefusedError(
                f"{path} was written by {whose}, and the job was started with "
                f"RUN_ID={config.run_id}: readers would see rows of both. "
                + (f"Either set RUN_ID={match[1]}, or move" if match else "Move")
                + " the file away."
            )


def _refuse_emptied_table(config: Config) -> None:
    totals = read_totals(config)
    if totals.silver_rows > 0 and not any(config.silver_folder.glob("*.parquet")):
        raise StartRefusedError(
            f"The checkpoint {config.checkpoint_folder} says that {totals.silver_rows} "
            f"rows were written, but {config.silver_folder} holds no file: they would never be "
            f"written again. {ADVICE}"
        )


def check_rows(config: Config, rows: int) -> None:
    """Refuse a table with fewer rows than the job's state says were written to it."""
    written = read_totals(config).silver_rows
    if rows < written:
        raise StartRefusedError(
            f"{config.silver_folder} holds {rows} rows, but {config.state_folder} says that "
            f"{written} were written: the table is older than the checkpoint, or someone has "
            f"removed files. What is missing would never be written again. {ADVICE}"
        )


def _refuse_later_batches(config: Config) -> None:
    """Refuse a checkpoint that is older than the tables: it would cut other batches, whose files
    stand beside those of before."""
    folders = (config.silver_folder, config.dead_letters_folder, config.state_folder)
    # Before the plans: a job that runs plans first, and this is looked at beside it too.
    latest = [(_latest_batch(folder), folder) for folder in folders]
    checkpoint.check(config.checkpoint_folder)
    planned = checkpoint.last_batch(config.checkpoint_folder, "offsets")
    for batch, folder in latest:
        if batch > (-1 if planned is None else planned):
            begun = "no batch" if planned is None else f"batch {planned} as the last one"
            raise StartRefusedError(
                f"{folder} has a file of batch {batch}, but the checkpoint "
                f"{config.checkpoint_folder} has begun {begun}: it is older, and would write "
                f"rows again that are there already. {ADVICE}"
            )


def _latest_batch(folder: Place) -> int:
    """The highest number of a batch in a folder's files; -1 for none."""
    return max(map(last_batch_of, folder.glob("*-*")), default=-1)


def last_batch_of(path: Place) -> int:
    """The last batch that a file of a table or of the state holds; -1 of another file."""
    found = _LAST_BATCH.fullmatch(path.name)
    return int(found[1]) if found else -1
