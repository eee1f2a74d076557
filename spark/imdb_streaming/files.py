"""Files that appear whole or not at all, also over a crash or a power cut."""

import os
from pathlib import Path


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
