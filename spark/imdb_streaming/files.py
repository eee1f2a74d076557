"""Files that appear whole or not at all, also over a crash or a power cut.

In a bucket they do so by themselves: see bucket.py.

A job that may be overtaken gives the folder `out` of its term (terms.py): a file goes through it by
renames, and can do so no more when the folder is gone.
"""

import ctypes
import errno
import json
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


def remove(place: Place, out: Path | None = None) -> None:
    """Remove a file of a table, if it is there. Raises OvertakenError when `out` is gone."""
    if isinstance(place, BucketPath):
        place.unlink()
        return
    with while_there(out):
        through(out, place).unlink()


class OvertakenError(Exception):
    """Another start of the job has taken over; this one can change nothing any more."""


def write_atomically(path: Place, content: bytes, out: Path | None = None) -> None:
    """Replace a file's content at one instant. The folder must exist.

    Without `out` the temporary file is beside it; it begins with a dot, which readers of tables
    skip. Raises OvertakenError when `out` is gone.
    """
    if isinstance(path, BucketPath):
        path.write_atomically(content)
        return
    temporary = _step(out, path) if out else path.with_name(f".{path.name}.tmp")
    with while_there(out):
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(temporary, path)


def write_json(path: Place, content: object, out: Path | None = None) -> None:
    """Replace a file's content, one line of JSON, likewise."""
    write_atomically(path, (json.dumps(content) + "\n").encode(), out)


def put_in_place(source: Place, target: Place, out: Path | None = None) -> None:
    """Move a finished file over `target`, on the same file system, readable by all.

    Raises OvertakenError when `out` is gone.
    """
    source, target = local(source), local(target)
    with while_there(out):
        if source.stat().st_mode & 0o777 != 0o644:
            source.chmod(0o644)
        _sync(source)
        if out:
            # Spark makes the folders above a file that it writes, so also one that was fenced:
            # what it has written there does not count before it is in `out`.
            source = source.replace(_step(out, target))
        source.replace(target)
        _sync(target.parent)


def _step(out: Path, target: Path) -> Path:
    return out / f"{target.parent.name}-{target.name}"


def through(out: Path | None, path: Path) -> Path:
    """The same path by a way through `out`, so that it leads nowhere when `out` is gone."""
    if out is None:
        return path
    return out / os.path.relpath(path.parent.resolve() / path.name, out.resolve())


@contextmanager
def while_there(out: Path | None) -> Iterator[None]:
    """Say it by OvertakenError when something fails because `out` is gone."""
    try:
        yield
    except OSError as error:
        if out is None or out.is_dir() or error.errno not in {errno.ENOENT, errno.ESTALE}:
            raise
        raise overtaken(out) from error


def overtaken(out: Path) -> OvertakenError:
    """What to say when `out` is gone."""
    term, root = out.parent, out.parent.parent
    if not root.is_dir():
        return OvertakenError(
            f"{root} is gone: was it moved, or its file system unmounted? The job can publish "
            "nothing, and ends."
        )
    return OvertakenError(
        f"Another start of the job has taken over, and has removed {term}: this one has published "
        "nothing since, and ends."
    )


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


def exchange(one: Path, other: Path) -> None:
    """Let two folders of one file system change places, at one instant.

    Raises FileNotFoundError if one is not there, and OSError where the file system cannot (NFS):
    nothing is changed then.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )
    if result != 0:
        number = ctypes.get_errno()
        if number == errno.ENOENT:
            raise FileNotFoundError(number, f"{one} or {other} is not there.")
        raise OSError(
            number,
            f"{one} and {other} cannot change places at one instant: {os.strerror(number)}. "
            "Their file system must be able to (ext4, xfs, btrfs, overlay, tmpfs can; NFS cannot).",
        )
    for folder in {one.parent, other.parent}:
        _sync(folder)
