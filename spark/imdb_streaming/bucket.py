"""Files of a bucket, with the operations of pathlib.Path that the job uses.

As a folder's, a file is seen whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class StorageError(OSError):
    """The bucket did not do what it was asked to; nothing half-done is visible."""


@dataclass(frozen=True, order=True)
class BucketPath:
    """A file or folder in a bucket: `key` under `root`, s3a://BUCKET or s3a://BUCKET/PREFIX.

    It can be named at once, and looked at when `opened`: by Hadoop's FileSystem in the driver's
    JVM, with Spark's settings for it. An object appears when its upload is completed, and replaces
    the one of its name at that instant. Renaming would not do: S3A refuses to rename over what
    exists. A missing file raises FileNotFoundError, another failure StorageError.
    """

    root: str
    key: str = ""
    _spark: SparkSession | None = field(default=None, compare=False, repr=False)

    def opened(self, spark: SparkSession) -> BucketPath:
        """The same name, by which the bucket can be read and written.

        Raises StorageError if it cannot be reached, or files there may show while they are written.
        """
        opened = replace(self, _spark=spark)
        try:
            if not opened._ask("hasPathCapability", "fs.capability.outputstream.abortable"):
                raise StorageError(
                    "files there may be seen while they are written, and an upload cannot be given "
                    "up. Give an s3a:// path or a folder."
                )
            opened.exists()
        except OSError as error:
            raise StorageError(
                f"{self} cannot be read: {error}. Is the bucket there, and do the credentials "
                "allow it (the instance's role, or spark_defaults)?"
            ) from error
        return opened

    def __truediv__(self, name: str) -> BucketPath:
        return replace(self, key=f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    @property
    def name(self) -> str:
        return PurePosixPath(self.key).name

    @property
    def parent(self) -> BucketPath:
        return replace(self, key=self.key.rpartition("/")[0])

    def exists(self) -> bool:
        return bool(self._ask("exists"))

    def read_bytes(self) -> bytes:
        stream = self._ask("open")
        with _java_errors():
            try:
                return bytes(stream.readAllBytes())
            finally:
                stream.close()

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """What matches, sorted. Folders in the pattern are names; its last part is the shell's."""
        above, _, last = pattern.rpartition("/")
        folder = self / above if above else self
        try:
            names = sorted(status.getPath().getName() for status in folder._ask("listStatus"))
        except FileNotFoundError:
            return
        yield from (folder / name for name in names if fnmatchcase(name, last))

    def modified(self) -> datetime:
        """When it was put there, in UTC."""
        milliseconds = self._ask("getFileStatus").getModificationTime()
        return datetime.fromtimestamp(milliseconds / 1000, UTC)

    def unlink(self) -> None:
        """Remove a file, if it is there."""
        self._ask("delete", False)

    def remove_tree(self) -> None:
        """Remove a folder and all in it, if it is there."""
        self._ask("delete", True)

    def write_atomically(self, content: bytes) -> None:
        """Replace a file's content at one instant."""
        upload = self._ask("create", True)
        with _java_errors():
            try:
                upload.write(content)
            except BaseException:
                # Closing it would show the half that was written.
                upload.abort()
                raise
            upload.close()

    def _ask(self, method: str, *arguments: object) -> Any:
        """Call a method of Hadoop's FileSystem with this path."""
        if self._spark is None:
            raise RuntimeError(f"{self} was not opened: Spark is not connected yet.")
        java: Any = self._spark._jvm
        with _java_errors():
            path = java.org.apache.hadoop.fs.Path(str(self) if self.key else f"{self.root}/")
            files = path.getFileSystem(self._spark.sparkContext._jsc.hadoopConfiguration())
            return getattr(files, method)(path, *arguments)


@contextmanager
def _java_errors() -> Iterator[None]:
    """Errors of the JVM as Python's own."""
    # Not at the top: a bucket can be named where there is no Spark.
    from py4j.protocol import Py4JJavaError

    try:
        yield
    except Py4JJavaError as error:
        cause = error.java_exception
        if cause.getClass().getName() == "java.io.FileNotFoundException":
            raise FileNotFoundError(cause.getMessage()) from error
        raise StorageError(str(cause.toString())) from error


#: Where a table or a file of the job is.
Place: TypeAlias = Path | BucketPath
