"""The lock of the tables' folders: none is exchanged while a file is put into one."""

import errno
import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from imdb_streaming.bucket import BucketPath
from imdb_streaming.config import Config
from imdb_streaming.files import local

#: A job that takes over waits so long for a holder that may be paused. None holds it for longer:
#: a file is renamed, or links to the files of a table are made.
PATIENCE_SECONDS = 10.0

#: Below OUTPUT_PATH: where a compaction makes the folder that it puts in a table's place.
COMPACT_FOLDER = "_compact"

log = logging.getLogger(__name__)


@contextmanager
def tables_locked(config: Config) -> Iterator[None]:
    """Hold the tables' folders. The kernel lets go of them when the process ends.

    A job that takes over does not wait for a holder that is paused: it puts another lock in place.
    A paused job was fenced before that (terms.py); a paused compaction loses its folder here, and
    has nothing then that it could exchange. In a bucket no folder is ever exchanged.
    """
    if isinstance(config.staging_root, BucketPath):
        yield
        return
    path = config.staging_root / ".tables.lock"
    file = _acquire(path, PATIENCE_SECONDS if config.take_over else None)
    if file is None:
        log.warning(
            "Another process has held %s for more than %g s, and is taken for paused: the lock is "
            "replaced. A compaction that held it has to be begun again.",
            path,
            PATIENCE_SECONDS,
        )
        other = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
        file = other.open("a")
        fcntl.flock(file, fcntl.LOCK_EX)
        other.rename(path)
        # It holds no file that is not in a table too.
        work = local(config.output_path) / COMPACT_FOLDER
        aside = work.with_name(f"{work.name}.fenced-{uuid.uuid4().hex[:8]}")
        with suppress(FileNotFoundError):
            work.rename(aside)
            shutil.rmtree(aside)
    with file:
        yield


def _acquire(path: Path, patience: float | None) -> IO[str] | None:
    """The locked file; None if it was not to be had within so many seconds."""
    deadline = None if patience is None else time.monotonic() + patience
    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if deadline is None else fcntl.LOCK_NB))
            # Another may have been put in its place while we waited.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                file.close()
                raise
            if deadline is not None and time.monotonic() > deadline:
                file.close()
                return None
            time.sleep(0.05)
        file.close()
