"""Names of files in a bucket, with the operations of pathlib.Path that the job uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from imdb_streaming.storage import BucketStorage


@dataclass(frozen=True, order=True)
class BucketPath:
    """A file or folder in a bucket: `key` under `root`, s3a://BUCKET or s3a://BUCKET/PREFIX.

    It can be named at once, and looked at when `opened`: that needs Spark's JVM. Errors are those
    of BucketStorage: FileNotFoundError for a missing file, else OSError.
    """

    root: str
    key: str = ""
    _storage: BucketStorage | None = field(default=None, compare=False, repr=False)

    def opened(self, storage: BucketStorage) -> BucketPath:
        """The same name, by which the bucket can be read and written."""
        return BucketPath(self.root, self.key, storage)

    @property
    def storage(self) -> BucketStorage:
        """What reads and writes the bucket. Raises RuntimeError if it was not opened."""
        if self._storage is None:
            raise RuntimeError(f"{self} was not opened: Spark is not connected yet.")
        return self._storage

    def __truediv__(self, name: str) -> BucketPath:
        return BucketPath(self.root, f"{self.key}/{name}" if self.key else name, self._storage)

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    @property
    def name(self) -> str:
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.key).stem

    @property
    def parent(self) -> BucketPath:
        return BucketPath(self.root, self.key.rpartition("/")[0], self._storage)

    def exists(self) -> bool:
        return self.storage.exists(self.key)

    def read_bytes(self) -> bytes:
        return self.storage.read(self.key)

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """What matches. Folders in the pattern are names; its last part is the shell's."""
        folder, _, last = pattern.rpartition("/")
        under = self / folder if folder else self
        for name in self.storage.names(under.key, last):
            yield BucketPath(self.root, name, self._storage)

    def modified(self) -> datetime:
        """When it was put there, in UTC."""
        return self.storage.modified(self.key)

    def unlink(self) -> None:
        """Remove a file, if it is there."""
        self.storage.remove(self.key)

    def remove_tree(self) -> None:
        """Remove a folder and all in it, if it is there."""
        self.storage.remove_tree(self.key)


#: Where a table or a file of the job is.
Place: TypeAlias = Path | BucketPath
