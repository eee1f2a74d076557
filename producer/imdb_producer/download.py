"""Bring a dump into the cache folder: whole and verified, or not at all."""

from __future__ import annotations

import gzip
import io
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests

from imdb_producer import __version__
from imdb_producer.errors import SourceError
from imdb_producer.redact import redacted

log = logging.getLogger(__name__)

_CHUNK = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
#: Seconds to connect, and seconds without a byte after which a download is given up.
_TIMEOUT = (10, 60)


def fetch(url: str, cache_dir: Path, name: str) -> Path:
    """Copy what a URL names to `cache_dir/name`, which is replaced only by a whole file.

    Args:
        url: https://, http:// or file://; the content gzip or plain TSV.
        cache_dir: made if it is missing.
        name: the file's name in the cache.

    Raises:
        SourceError: not there, cut short, not gzip or TSV, or no room to write it.
    """
    log.info("Downloading %s", redacted(url))
    target = cache_dir / name
    partial = cache_dir / f".{name}.partial"
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        try:
            size = _write(_chunks(url), partial, url)
            _verify(partial, url)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise SourceError(
            f"Cannot write to {cache_dir}: {error.strerror or error}. "
            "Make it writable and give it room, or set CACHE_DIR to another folder."
        ) from error
    log.info("Downloaded %d bytes to %s", size, target)
    return target


@contextmanager
def open_lines(path: Path) -> Iterator[Iterator[bytes]]:
    """Open a fetched dump, gzip or plain, as lines of bytes.

    Raises:
        SourceError: the file is not there, or is damaged; also while it is read.
    """
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            raw.seek(0)
            if is_gzip:
                # The buffer makes iterating over lines several times faster.
                with io.BufferedReader(gzip.GzipFile(fileobj=raw), _CHUNK) as lines:
                    yield lines
            else:
                yield raw
    except (EOFError, OSError, zlib.error) as error:
        raise SourceError(f"Cannot read {path}: {error}. Remove it and start again.") from error


def _chunks(url: str) -> Iterator[bytes]:
    return _file_chunks(url) if urlsplit(url).scheme == "file" else _http_chunks(url)


def _file_chunks(url: str) -> Iterator[bytes]:
    path = Path(url2pathname(urlsplit(url).path))
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise SourceError(
            f"Cannot read {url}: {error.strerror or error}. "
            "Check that the file is on this host and that the service's user may read it."
        ) from error


def _http_chunks(url: str) -> Iterator[bytes]:
    headers = {
        "User-Agent": f"imdb-producer/{__version__}",
        # The file is gzip already: a second layer would be undone on the way.
        "Accept-Encoding": "identity",
    }
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            response.raise_for_status()
            yield from response.iter_content(_CHUNK)
    except requests.RequestException as error:
        raise SourceError(
            f"Cannot download {redacted(url)}: {redacted(str(error))}. Check the address and the "
            "network, or name a copy on this host by a file:// URL."
        ) from None


def _write(chunks: Iterator[bytes], partial: Path, url: str) -> int:
    """Write all chunks, to the disk; give the number of bytes."""
    size = 0
    with partial.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    if not size:
        raise SourceError(f"{redacted(url)} is empty. Check the address.")
    return size


def _verify(path: Path, url: str) -> None:
    """Read gzip to its last byte, which checks length and CRC; look at the start of the rest."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_GZIP_MAGIC):
        try:
            with gzip.open(path) as lines:
                while lines.read(_CHUNK):
                    pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SourceError(
                f"{redacted(url)} is damaged or cut short: {error}. Fetch the file again."
            ) from error
    elif start.lstrip().startswith(b"<") or b"\0" in start:
        raise SourceError(
            f"{redacted(url)} is neither gzip nor TSV: it begins with {start[:40]!r}. Check the "
            "address; a proxy or login page may have answered in its place."
        )
