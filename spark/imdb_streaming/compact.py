"""Many small files of a table into few, beside the running job.

A file of a batch that Spark's checkpoint says is done is never written again. So the rows of such
files are copied into one, and a folder that holds it, and links to all other files, changes places
with the table's folder at one instant. Readers see the files of before or of after. One that has
listed the folder before, and opens a file after, finds it missing and has to begin again.
"""

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

from imdb_streaming.config import Config
from imdb_streaming.files import exchange, local, put_in_place, tables_locked
from imdb_streaming.guards import StartRefusedError
from imdb_streaming.status import last_commit

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


def compact(spark: SparkSession, config: Config, target_bytes: int = TARGET_BYTES) -> None:
    """Compact silver_movies and dead_letters, which must be local."""
    committed = last_commit(config.checkpoint_folder)
    work = local(config.output_path) / "_compact"
    work.mkdir(exist_ok=True)
    with _alone(work):
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
    pattern = re.compile(re.escape(run_id) + r"-([0-9]{10})(?:_([0-9]{10}))?\.parquet")
    found = [
        TableFile(path, int(match[1]), int(match[2] or match[1]), path.stat().st_size)
        for path in folder.glob("*.parquet")
        if (match := pattern.fullmatch(path.name))
    ]
    return sorted(found, key=lambda file: file.first)


def plan(files: list[TableFile], target_bytes: int) -> Iterator[list[TableFile]]:
    """Yield the groups of files, consecutive batches, that are to become one file each."""
    group: list[TableFile] = []
    for file in files:
        if group and sum(it.size for it in group) + file.size > target_bytes:
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
    counts = [spark.read.parquet(f"file://{path}").count() for path in (joined,)]
    if counts != [rows.count()]:
        raise RuntimeError(
            f"{joined} has {counts[0]} rows, and the files that it is of have {rows.count()}. "
            "Nothing was changed. Is another program writing to the table?"
        )
    replaced = {file.path.name for file in group}
    beside = work / folder.name
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    with tables_locked(config.staging_folder):
        for path in folder.iterdir():
            if path.name not in replaced:
                os.link(path, beside / path.name)
        joined.rename(beside / joined.name)
        exchange(folder, beside)
    shutil.rmtree(beside)


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    with (work / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartRefusedError(
                f"Another compaction is at work in {work}. Wait until it has ended."
            ) from error
        yield
