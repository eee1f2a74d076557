"""The cache's files: a download that is under way, and one that is whole."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from imdb_producer.files import replacing
from imdb_producer.gunzip import GZIP_MAGIC, PIECE, Damaged, Gunzip
from imdb_producer.sources import Source

_START = 64


def _name_of(url: str) -> str:
    """Name a URL by its hash: it may hold a secret, and the cache is no place for that."""
    return hashlib.sha256(url.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Cached:
    """What is known of a whole download; times are Unix times, `size` is in bytes."""

    url: str
    etag: str
    modified: float
    sha256: str
    size: int
    fetched: float

    @classmethod
    def read(cls, folder: Path, name: str, url: str) -> Self | None:
        """Give what is known of the copy of a URL; None if there is no such copy."""
        try:
            cached = cls(**json.loads(_description(folder, name).read_bytes()))
            size = (folder / name).stat().st_size
        except (OSError, ValueError, TypeError):
            # Unknown is as good as absent: it is downloaded again.
            return None
        return cached if (cached.url, cached.size) == (_name_of(url), size) else None

    @staticmethod
    def forget(folder: Path, name: str) -> None:
        """Forget what is known, before the file is another one."""
        _description(folder, name).unlink(missing_ok=True)

    def write(self, folder: Path, name: str) -> None:
        """Keep it beside the file."""
        with replacing(_description(folder, name)) as file:
            file.write(json.dumps(asdict(self)).encode())

    def source(self, path: Path) -> Source:
        """Give the copy as a source."""
        return Source(path, self.sha256, self.modified)


def _description(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


class Partial:
    """A download that is under way: its bytes, verified as they come, and what they belong to.

    `validator` names the version that the bytes are of, empty if the server gave none; then they
    cannot be gone on with later.
    """

    def __init__(self, folder: Path, name: str, url: str) -> None:
        self._path = folder / f".{name}.partial"
        self._about = folder / f".{name}.partial.json"
        self._url = _name_of(url)
        self._clear()

    def _clear(self) -> None:
        self.size = 0
        self.start = b""
        self.validator = ""
        self.modified = 0.0
        self._sha256 = hashlib.sha256()
        self._gunzip: Gunzip | None = None
        self._is_plain = False
        self._undecided = b""

    def __enter__(self) -> Self:
        """Open it; go on with what an earlier process has left."""
        self._path.touch()
        self._file = self._path.open("r+b")
        try:
            about = json.loads(self._about.read_bytes())
            usable = about["url"] == self._url and about["validator"]
        except (OSError, ValueError, TypeError, KeyError):
            usable = False
        if not usable:
            self.restart("", 0.0)
            return self
        self.validator, self.modified = about["validator"], about["modified"]
        try:
            while piece := self._file.read(PIECE):
                self._verify(piece)
        except Damaged:
            # A power loss may leave blocks that were never written.
            self.restart("", 0.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; what cannot be gone on with is removed."""
        self._file.close()
        if not (self.size and self.validator):
            with suppress(FileNotFoundError):
                self._path.unlink()
            self._about.unlink(missing_ok=True)

    @staticmethod
    def remove(folder: Path, name: str) -> None:
        """Remove what is left of a download."""
        (folder / f".{name}.partial").unlink(missing_ok=True)
        (folder / f".{name}.partial.json").unlink(missing_ok=True)

    def restart(self, validator: str, modified: float) -> None:
        """Begin anew, with another version of the file."""
        self._file.seek(0)
        self._file.truncate()
        self._clear()
        self.validator, self.modified = validator, modified
        with replacing(self._about) as file:
            about = {"url": self._url, "validator": validator, "modified": modified}
            file.write(json.dumps(about).encode())

    def add(self, chunk: bytes) -> None:
        """Write the next bytes, and verify them.

        Raises:
            Damaged: they do not follow.
        """
        self._file.write(chunk)
        self._verify(chunk)

    def _verify(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._sha256.update(chunk)
        if len(self.start) < _START:
            self.start += chunk[: _START - len(self.start)]
        if self._gunzip is None and not self._is_plain:
            # Two bytes tell, and the first may come alone.
            self._undecided += chunk
            if len(self._undecided) < len(GZIP_MAGIC):
                return
            chunk, self._undecided = self._undecided, b""
            self._is_plain = not self.is_gzip
            self._gunzip = None if self._is_plain else Gunzip()
        if self._gunzip is not None:
            for _ in self._gunzip.feed(chunk):
                pass

    @property
    def is_gzip(self) -> bool:
        """Whether it begins as gzip does."""
        return self.start.startswith(GZIP_MAGIC)

    @property
    def start_is_known(self) -> bool:
        """Whether so much has come that one can tell what it is."""
        return len(self.start) >= _START

    def check_whole(self) -> None:
        """Check that it ends where it should, as far as it can tell.

        Raises:
            CutShort: gzip that goes on.
        """
        if self._gunzip is not None:
            self._gunzip.finish()

    def described(self) -> Cached:
        """Say what is known of it, once it is whole."""
        etag = self.validator if self.validator.startswith('"') else ""
        sha256 = self._sha256.hexdigest()
        return Cached(self._url, etag, self.modified, sha256, self.size, time.time())

    def move_to(self, target: Path) -> None:
        """Give the whole file its place, on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.replace(target)
        self.validator = ""
