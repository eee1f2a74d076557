"""Files that appear whole or not at all, also over a crash or a power cut.

In a bucket they do so by themselves: see storage.py.
"""

import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from imdb_streaming.bucket import BucketPath, Place

# See renameat2(2).
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def uri(place: Place) -> str:
    """A name that means the same place whatever Hadoop's default file system is."""
    return str(place) if isinstance(place, BucketPath) else f"file://{place}"


def modified(place: Place) -> datetime:
    """When a file was put there, in UTC."""
    if isinstance(place, BucketPath):
        return place.modified()
    return datetime.fromtimestamp(place.stat().st_mtime, UTC)


def remove_tree(folder: Place) -> None:
    """Remove a folder and all in it. It must be there."""
    if isinstance(folder, BucketPath):
        folder.remove_tree()
    else:
        shutil.rmtree(folder)


def write_atomically(path: Place, content: bytes) -> None:
    """Replace a file's content at one instant. The folder must exist.

    The temporary file beside it begins with a dot, which readers of tables skip.
    """
    if isinstance(path, BucketPath):
        path.storage.write_atomically(path.key, content)
        return
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    put_in_place(temporary, path)


def put_in_place(source: Place, target: Place) -> None:
    """Move a finished file over `target`, on the same file system, readable by all."""
    if isinstance(source, BucketPath) and isinstance(target, BucketPath):
        source.storage.put_in_place(source.key, target.key)
        return
    source, target = local(source), local(target)
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


def local(place: Place) -> Path:
    """The same folder or file of a file system. Raises ValueError for one in a bucket."""
    if isinstance(place, BucketPath):
        raise ValueError(f"{place} is in a bucket, where this cannot be done.")
    return place


@contextmanager
def tables_locked(staging: Place) -> Iterator[None]:
    """Hold the tables' folders, so that none is exchanged while a file is put into one.

    The kernel lets go of it when the process ends. In a bucket none is ever exchanged.
    """
    if isinstance(staging, BucketPath):
        yield
        return
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
