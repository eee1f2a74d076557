"""A dump on this host: its file, its fingerprint, and its bytes unpacked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from imdb_producer.errors import SourceError
from imdb_producer.gunzip import GZIP_MAGIC, PIECE, Damaged, unpack


@dataclass(frozen=True, slots=True)
class Source:
    """A dump's file, gzip or plain.

    `sha256` is over the file as it is, `modified` the Unix time of its last change at its origin.
    """

    path: Path
    sha256: str
    modified: float


def check_start(start: bytes, shown: str) -> None:
    """Look at the first bytes of a dump, `shown` being its address.

    Raises:
        SourceError: they are of no dump.
    """
    if not start:
        raise SourceError(f"{shown} is empty. Check the address.")
    if not start.startswith(GZIP_MAGIC) and (start.lstrip().startswith(b"<") or b"\0" in start):
        raise SourceError(
            f"{shown} is neither gzip nor TSV: it begins with {start[:40]!r}. Check the address; a "
            "proxy or login page may have answered in its place."
        )


def local_source(url: str) -> Source:
    """Find the file that a file:// URL names. It is read where it lies.

    Raises:
        SourceError: it is not there, is no file, is empty or may not be read.
    """
    path = Path(url2pathname(urlsplit(url).path))
    advice = "Check that the file is on this host and that the service's user may read it."
    try:
        if path.exists() and not path.is_file():
            reason = "Is a directory" if path.is_dir() else "Not a regular file"
            raise SourceError(f"Cannot read {url}: {reason}. {advice}")
        with path.open("rb") as file:
            check_start(file.read(64), url)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        status = path.stat()
    except OSError as error:
        raise SourceError(f"Cannot read {url}: {error.strerror or error}. {advice}") from error
    return Source(path, sha256, status.st_mtime)


@contextmanager
def open_blocks(path: Path) -> Iterator[Iterator[bytes]]:
    """Open a dump, gzip or plain, as blocks of bytes that end anywhere.

    Raises:
        SourceError: the file is not there, is damaged, or changes; also while it is read.
    """
    try:
        with path.open("rb") as file:
            before = path.stat()

            def pieces() -> Iterator[bytes]:
                while piece := file.read(PIECE):
                    yield piece

            yield unpack(pieces())
            after = path.stat()
    except Damaged as error:
        raise SourceError(
            f"{path} is damaged or cut short: {error}. Nothing of it was sent. Fetch the file "
            "again; if it is a download in the cache, remove it and start again."
        ) from error
    except OSError as error:
        raise SourceError(
            f"Cannot read {path}: {error.strerror or error}. Check the file and its disk."
        ) from error
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    ):
        raise SourceError(f"{path} was changed while it was read. Start again when it is whole.")
