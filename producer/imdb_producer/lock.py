"""One at a time: a lock on a folder that the system gives back when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imdb_producer.errors import BusyError, SourceError

#: The lock of a producer's folder, and what its holder does.
RUN_LOCK, AT_WORK = ".run.lock", "is at work"


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file while the block runs.

    Processes of one host exclude each other by it, those of several hosts do not.

    Args:
        path: the file; its folder is made if it is missing.
        what: what its holder does, for the message.

    Raises:
        BusyError: another process holds it; says which.
        SourceError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise SourceError(
            f"Cannot write to {path.parent}: {error.strerror or error}. "
            "Make it writable, or set CACHE_DIR to another folder."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise BusyError(
                f"Another producer (process {holder}) {what} in {path.parent}. Wait for its end or "
                "stop it (systemctl stop imdb-producer), or give this one another CACHE_DIR."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
