"""What a backup has of the job: tables, state and checkpoint as they are after one batch.

A backup is taken beside the running job. Files of a batch that Spark's checkpoint says is done are
never written again, so links to them are enough: they take no room, and keep what a compaction
removes. While the links are made the tables' lock is held. So no batch puts rows into silver
meanwhile, and as genre_counts is written after them, it is of the same batch, too.

The checkpoint of a backup has RESTORED_FILE. The topic of a restored pipeline is made anew, with
nothing of what the tables have: the first start finds that file, and reads the topic from its
beginning. The producer's position is copied before, and the tables when the job has read all that
the topic had then. So what the tables lack the producer sends again, and what it sends twice the
job drops by its version.
"""

import errno
import fcntl
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imdb_streaming import __version__, contract
from imdb_streaming.checkpoint import LOSS_FILE, Offsets, by_partition, last_batch, offsets_of
from imdb_streaming.config import Config
from imdb_streaming.files import local, write_atomically, write_json
from imdb_streaming.guards import (
    RUN_FILE,
    StartRefusedError,
    check_belongs_together,
    last_batch_of,
    read_run,
    tables,
)
from imdb_streaming.jvm import TopicState
from imdb_streaming.locks import tables_locked
from imdb_streaming.runs import is_waiting
from imdb_streaming.sinks import TOTALS_FILE, read_totals

#: Below OUTPUT_PATH: where a backup is taken, and the folder of it that is whole.
BACKUP_FOLDER, WHOLE = "_backup", "whole"

#: In it: what it is of, and all its files.
MANIFEST_FILE = "manifest.json"
FORMAT = 1

#: In the checkpoint of a backup, and of what was restored until its first start: whose topic it is.
RESTORED_FILE = "_restored.json"

_SECONDS_BETWEEN = 0.05

log = logging.getLogger(__name__)


class BackupNotReadyError(Exception):
    """The job was not where a backup could be taken, for as long as was waited for it."""


class _NotNowError(Exception):
    """A batch is at it; the next attempt may do."""


@dataclass(frozen=True)
class _Files:
    """What a backup is made of, by its names in it: what is linked, and what is written."""

    linked: dict[str, Path]
    written: dict[str, bytes]


def parse_offsets(text: str) -> Offsets:
    """Read offsets by partition as JSON. Raises ValueError."""
    try:
        return by_partition(json.loads(text))
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{text!r} is no object of JSON") from error


def take(config: Config, ends: Offsets, seconds: float, stopping: threading.Event) -> Path:
    """Take a backup of what the job has once it has read up to these offsets; return its folder.

    That of before is removed. Raises BackupNotReadyError when the job does not come so far within
    so many seconds, StartRefusedError if there is nothing that could be backed up.
    """
    if is_waiting(config):
        raise StartRefusedError(
            f"The tables of RUN_ID={config.run_id} are not in service yet. Let the job start with "
            "it, and take the backup then."
        )
    if not local(config.output_path).is_dir():
        raise StartRefusedError(
            f"{config.output_path} is not there: there is nothing that could be backed up. Is "
            "OUTPUT_PATH right, and its disk mounted?"
        )
    check_belongs_together(config, mark=False)
    root = local(config.output_path) / BACKUP_FOLDER
    deadline = time.monotonic() + seconds
    is_told = False
    with _alone(root) as work:
        while True:
            try:
                _take(config, ends, work)
                break
            except _NotNowError as error:
                shutil.rmtree(work, ignore_errors=True)
                if stopping.is_set() or time.monotonic() > deadline:
                    raise BackupNotReadyError(
                        f"No backup was taken within {seconds:g} s: {error}. Does the job run, and "
                        "does it keep up (systemctl status imdb-streaming)? Then begin again."
                    ) from error
                if not is_told:
                    log.info("Waiting for up to %g s: %s.", seconds, error)
                    is_told = True
            stopping.wait(_SECONDS_BETWEEN)
        whole = root / WHOLE
        work.rename(whole)
    return whole


@contextmanager
def _alone(root: Path) -> Iterator[Path]:
    """The name of a folder to work in; nothing is there, and no other backup is at work."""
    root.mkdir(exist_ok=True)
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartRefusedError(
                f"Another backup is being taken in {root}. Wait until it has ended."
            ) from error
        for left_over in [path for path in root.iterdir() if path.is_dir()]:
            shutil.rmtree(left_over)
        yield root / "begun"


def remove(config: Config) -> None:
    """Remove the backup that was taken; its files stay where else they are."""
    root = local(config.output_path) / BACKUP_FOLDER
    if root.is_dir():
        with _alone(root):
            pass


def _take(config: Config, ends: Offsets, work: Path) -> None:
    checkpoint = local(config.checkpoint_folder)
    batch = last_batch(checkpoint, "commits")
    if batch is None:
        raise _NotNowError(f"{checkpoint} says of no batch that it is done")
    read = offsets_of(checkpoint, batch)
    behind = {it: end for it, end in ends.items() if read.get(it, 0) < end}
    if behind:
        shown = ", ".join(f"{end} of partition {it}" for it, end in sorted(behind.items()))
        raise _NotNowError(f"the job is to read up to the offsets {shown}, and has read to {read}")
    try:
        with tables_locked(config):
            files = _files_of(config, checkpoint, batch)
            work.mkdir()
            for name, path in files.linked.items():
                _link(path, work / name)
    except FileNotFoundError as error:
        # Old files of the state, that a new snapshot has made superfluous.
        raise _NotNowError(f"{error.filename} was removed meanwhile") from error
    for name, content in files.written.items():
        _write(work / name, content)
    run = read_run(config.checkpoint_folder)
    totals = json.loads(files.written[_name(config, config.state_folder / TOTALS_FILE)])
    noted = json.loads(files.written[_name(config, checkpoint / contract.CONTRACT_FILE)])
    of_topic = {"topic_id": noted["topic_id"]}
    _write(work / _name(config, checkpoint / RESTORED_FILE), json.dumps(of_topic).encode())
    manifest = {
        "format": FORMAT,
        "version": __version__,
        "run_id": config.run_id,
        "run": run.id if run else "",
        "batch": batch,
        "topic": noted["topic"],
        "topic_id": noted["topic_id"],
        "offsets": read,
        "silver_rows": totals["silver_rows"],
        "files": {
            str(path.relative_to(work)): [path.stat().st_size, int(path.stat().st_mtime)]
            for path in sorted(work.rglob("*"))
            if path.is_file()
        },
    }
    _write(work / MANIFEST_FILE, json.dumps(manifest).encode())


def _files_of(config: Config, checkpoint: Path, batch: int) -> _Files:
    """What there is after this batch. The tables' lock is held.

    Raises FileNotFoundError where the job has removed something meanwhile.
    """
    if read_totals(config).batch_id != batch:
        raise _NotNowError("a batch is ending")
    linked: dict[str, Path] = {}
    for folder in map(local, (config.silver_folder, config.dead_letters_folder)):
        files = {path: last_batch_of(path) for path in folder.glob("*.parquet")}
        if folder == config.silver_folder and any(it > batch for it in files.values()):
            raise _NotNowError("a batch has put rows into silver and is not done")
        linked |= {_name(config, path): path for path, last in files.items() if last <= batch}
    linked |= {_name(config, path): path for path in _state_files(config, batch)}
    kept = [*(checkpoint / "sources").glob("*/*"), checkpoint / "metadata"]
    for number in range(max(0, batch - 1), batch + 1):
        kept += [checkpoint / "offsets" / str(number), checkpoint / "commits" / str(number)]
    kept += [checkpoint / contract.CONTRACT_FILE, *checkpoint.glob(LOSS_FILE)]
    kept += [it / RUN_FILE for it in (checkpoint, local(config.state_folder))]
    for table in map(local, tables(config)):
        kept += [table / RUN_FILE, *table.glob("*.csv")]
    kept += local(config.genre_counts_folder).glob("*.parquet")
    # These may be replaced: a link would show what comes then.
    written = {_name(config, path): path.read_bytes() for path in kept if _is_plain(path)}
    totals = local(config.state_folder) / TOTALS_FILE
    content = totals.read_bytes()
    # Last, and once more: a batch without new rows needs no lock.
    if json.loads(content)["batch_id"] != batch:
        raise _NotNowError("a batch is ending")
    return _Files(linked, written | {_name(config, totals): content})


def _is_plain(path: Path) -> bool:
    """Not what is on its way, or Hadoop's checksum of another."""
    return not path.name.startswith(".")


def _state_files(config: Config, batch: int) -> list[Path]:
    """The last snapshot up to this batch, and the deltas behind it."""
    files = {path: last_batch_of(path) for path in local(config.state_folder).glob("*-*")}
    snapshots = [
        last for path, last in files.items() if path.name.startswith("snapshot-") and last <= batch
    ]
    first = max(snapshots, default=-1)
    found = [
        path
        for path, last in files.items()
        if (path.name.startswith("delta-") and first < last <= batch)
        or (path.name.startswith("snapshot-") and last == first)
    ]
    if len(found) != batch - first + (first >= 0):
        raise _NotNowError("the job's state is being written")
    return found


def _name(config: Config, place: Any) -> str:
    """The name of a file of the job in a backup."""
    path = local(place)
    csv = local(config.genre_counts_csv_folder)
    if path.parent == csv:
        return f"csv/{path.relative_to(local(config.output_path_csv))}"
    return f"parquet/{path.relative_to(local(config.output_path))}"


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}:
            raise
        raise StartRefusedError(
            f"{path} cannot be linked to ({error.strerror}), and without links a backup would hold "
            "up the job. The tables' file system must have hard links, as ext4, xfs, btrfs and NFS "
            "do."
        ) from error


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def is_restored(config: Config) -> bool:
    """Whether checkpoint and tables are of a backup, and no start has read the new topic so far."""
    return (config.checkpoint_folder / RESTORED_FILE).exists()


def begin_in_new_topic(config: Config, topic: TopicState) -> None:
    """Let a restored job read the topic from its beginning; its tables stay.

    May be cut off at any point: the next start does it again. Where the topic is that of the backup
    after all, the job goes on where it was.
    """
    checkpoint = local(config.checkpoint_folder)
    path = checkpoint / contract.CONTRACT_FILE
    noted = json.loads(path.read_bytes())
    if noted["topic_id"] == topic.id and _backed_up_topic(checkpoint) == topic.id:
        log.info("The topic %s is the one that was backed up: the job goes on.", config.topic)
    else:
        _read_from_beginning(config, checkpoint, topic)
        write_json(path, noted | {"topic_id": topic.id}, config.out_folder)
        log.info(
            "Checkpoint and tables were restored, and the topic %s was made anew since: it is read "
            "from its beginning.",
            config.topic,
        )
    (checkpoint / RESTORED_FILE).unlink()


def _backed_up_topic(checkpoint: Path) -> str:
    """The id of the topic that was backed up."""
    return str(json.loads((checkpoint / RESTORED_FILE).read_bytes())["topic_id"])


def _read_from_beginning(config: Config, checkpoint: Path, topic: TopicState) -> None:
    """Have what Spark has planned end at the beginning of the topic.

    The last two batches alike: at a start Spark asks for the messages of the last one once more.
    """
    begins = {config.topic: dict.fromkeys(map(str, sorted(topic.beginnings)), 0)}
    line = json.dumps(begins, separators=(",", ":"))
    batch = last_batch(checkpoint, "commits")
    assert batch is not None, "a backup has a batch that is done"
    changed = {checkpoint / "sources" / "0" / "0": 1}
    for number in range(max(0, batch - 1), batch + 1):
        changed[checkpoint / "offsets" / str(number)] = 2
    for path, place in changed.items():
        lines = path.read_text().split("\n")
        lines[place] = line
        write_atomically(path, "\n".join(lines).encode(), config.out_folder)
