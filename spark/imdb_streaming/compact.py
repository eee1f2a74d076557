"""Many small files of a table into few, beside the running job.

A file of a batch that Spark's checkpoint says is done is never written again. So the rows of such
files are copied into one, and a folder that holds it, and links to all other files, changes places
with the table's folder at one instant. Readers see the files of before or of after. One that has
listed the folder before, and opens a file after, finds it missing and has to begin again.

A compaction may be paused anywhere, and go on when the table is another one. So it looks again at
the files that it has joined when it holds the tables' lock; and whoever takes that lock from it
takes its folder away, without which it exchanges nothing (locks.py).
"""

import fcntl
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

from imdb_streaming.checkpoint import last_batch
from imdb_streaming.config import Config
from imdb_streaming.files import exchange, local, put_in_place
from imdb_streaming.guards import StartRefusedError
from imdb_streaming.locks import COMPACT_FOLDER, tables_locked

#: Files are joined until one is about so large.
TARGET_BYTES = 128 * 2**20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableFile:
    """A file of a table and the batches whose rows it holds."""

    path: Path
    first: int
    last: int
    size: int
    #: Changes when the file is replaced.
    identity: tuple[int, int]

    def is_still_there(self) -> bool:
        """Whether the table still has this very file."""
        return self.path.exists() and _identity(self.path) == self.identity


class CompactionCutOffError(Exception):
    """The table has changed, or another has taken the lock; nothing was changed."""


def compact(spark: SparkSession, config: Config, target_bytes: int = TARGET_BYTES) -> None:
    """Compact silver_movies and dead_letters, which must be local."""
    committed = last_batch(config.checkpoint_folder, "commits")
    root = local(config.output_path) / COMPACT_FOLDER
    root.mkdir(exist_ok=True)
    with _alone(root) as work:
        for folder in map(local, (config.silver_folder, config.dead_letters_folder)):
            files = [
                file
                for file in table_files(folder, config.run_id)
                if committed is not None and file.last <= committed
            ]
            groups = list(plan(files, target_bytes))
            for group in groups:
                _join(spark, config, folder, group, work)
            log.info(
                "%s: %d files became %d.",
                folder,
                sum(map(len, groups)),
                len(groups),
            )


def table_files(folder: Path, run_id: str) -> list[TableFile]:
    """The files of a table, by batch."""
    pattern = re.compile(re.escape(run_id) + r"-([0-9]{10})(?:_([0-9]{10})|-[0-9]{4,9})?\.parquet")
    found = [
        TableFile(
            path, int(match[1]), int(match[2] or match[1]), path.stat().st_size, _identity(path)
        )
        for path in folder.glob("*.parquet")
        if (match := pattern.fullmatch(path.name))
    ]
    return sorted(found, key=lambda file: (file.first, file.path.name))


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


def plan(files: list[TableFile], target_bytes: int) -> Iterator[list[TableFile]]:
    """Yield the groups of files, consecutive batches, that are to become one file each.

    The parts of a batch stay together: the file's name says which batches it holds.
    """
    group: list[TableFile] = []
    for file in files:
        is_large = sum(it.size for it in group) + file.size > target_bytes
        if group and is_large and file.first > group[-1].last:
            if len(group) > 1:
                yield group
            group = []
        group.append(file)
    if len(group) > 1:
        yield group


def _join(
    spark: SparkSession, config: Config, folder: Path, group: list[TableFile], work: Path
) -> None:
    joined = work / f"{config.run_id}-{group[0].first:010d}_{group[-1].last:010d}.parquet"
    staging = work / "parts"
    rows = spark.read.parquet(*(f"file://{file.path}" for file in group))
    rows.coalesce(1).write.mode("overwrite").parquet(f"file://{staging}")
    (part,) = staging.glob("part-*.parquet")
    put_in_place(part, joined)
    shutil.rmtree(staging)
    count = spark.read.parquet(f"file://{joined}").count()
    if count != rows.count():
        raise RuntimeError(
            f"{joined} has {count} rows, and the files that it is of have {rows.count()}. "
            "Nothing was changed. Is another program writing to the table?"
        )
    beside = work / folder.name
    try:
        beside.mkdir()
        with tables_locked(config):
            _exchange(folder, beside, group, joined)
    except FileNotFoundError as error:
        raise CompactionCutOffError(
            f"{folder} was not compacted: its lock was held for so long that the job took it "
            f"({error}). Begin again: imdb-streaming compact"
        ) from error
    # Whoever took the lock is at it too. What is left the next compaction removes.
    shutil.rmtree(beside, ignore_errors=True)


def _exchange(folder: Path, beside: Path, group: list[TableFile], joined: Path) -> None:
    """Put the joined file in the place of the group's, at one instant."""
    if changed := [file.path for file in group if not file.is_still_there()]:
        raise CompactionCutOffError(
            f"{folder} was not compacted: {changed[0]} is not the file any more that was read. "
            "Begin again: imdb-streaming compact"
        )
    replaced = {file.path.name for file in group}
    for path in folder.iterdir():
        if path.name not in replaced:
            os.link(path, beside / path.name)
    joined.rename(beside / joined.name)
    exchange(folder, beside)
    # What came in spite of the lock would be removed with the folder of before.
    for path in beside.iterdir():
        if path.name not in replaced and not (folder / path.name).exists():
            log.warning("%s came while the table was compacted, and is kept.", path.name)
            os.link(path, folder / path.name)


@contextmanager
def _alone(root: Path) -> Iterator[Path]:
    """A folder to work in that no other compaction has."""
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartRefusedError(
                f"Another compaction is at work in {root}. Wait until it has ended."
            ) from error
        for left_over in [path for path in root.iterdir() if path.is_dir()]:
            shutil.rmtree(left_over)
        work = root / uuid.uuid4().hex[:8]
        work.mkdir()
        yield work
        shutil.rmtree(work, ignore_errors=True)
