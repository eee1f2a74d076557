"""Files that appear whole or not at all, also over a crash or a power cut."""

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# See renameat2(2).
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content at one instant. The folder must exist.

    The temporary file beside it begins with a dot, which readers of tables skip.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    put_in_place(temporary, path)


def put_in_place(source: Path, target: Path) -> None:
    """Move a finished file over `target`, on the same file system, readable by all."""
    if source.stat().st_mode & 0o777 != 0o644:
        source.chmod(0o644)
    _sync(source)
    source.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def tables_locked(staging: Path) -> Iterator[None]:
    """Hold the tables' folders, so that none is exchanged while a file is put into one.

    The kernel lets go of it when the process ends.
    """
    with (staging / ".tables.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def exchange(one: Path, other: Path) -> None:
    """Let two folders of one file system change places, at one instant.

    Raises OSError where the file system cannot (NFS): nothing is changed then.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(
            number,
            f"{one} and {other} cannot change places at one instant: {os.strerror(number)}. "
            "Their file system must be able to (ext4, xfs, btrfs, overlay, tmpfs can; NFS cannot).",
        )
    for folder in {one.parent, other.parent}:
        _sync(folder)
