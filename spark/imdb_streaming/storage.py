"""What is read and written in a bucket: as a folder's, a file is seen whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from imdb_streaming.bucket import BucketPath, Place
from imdb_streaming.config import Config


class StorageError(OSError):
    """The place did not do what it was asked to; nothing half-done is visible."""


def open_places(config: Config, spark: SparkSession) -> Config:
    """The configuration whose places in buckets can be read and written.

    Raises StorageError if one cannot be reached.
    """

    def opened(place: Place) -> Place:
        if not isinstance(place, BucketPath):
            return place
        try:
            return place.opened(BucketStorage(str(place), spark))
        except OSError as error:
            raise StorageError(
                f"{place} cannot be read: {error}. Is the bucket there, and do the credentials "
                "allow it (the instance's role, or spark_defaults)?"
            ) from error

    return replace(
        config,
        output_path=opened(config.output_path),
        output_path_csv=opened(config.output_path_csv),
    )


class BucketStorage:
    """A bucket, by Hadoop's FileSystem in the driver's JVM, with Spark's settings for it.

    An object appears when its upload is completed, and replaces the one of its name at that
    instant. Renaming would not do: S3A refuses to rename over what exists. Names are relative to
    the root, with `/` between folders. A missing file raises FileNotFoundError, another failure
    StorageError.
    """

    def __init__(self, root: str, spark: SparkSession) -> None:
        """Look at the bucket.

        Raises StorageError if it cannot be reached, or files there may show while they are written.
        """
        self._jvm: Any = spark._jvm
        self._root = root.rstrip("/")
        path = self._path("")
        with _java_errors():
            settings = spark.sparkContext._jsc.hadoopConfiguration()
            self._fs: Any = path.getFileSystem(settings)
            if not self._fs.hasPathCapability(path, "fs.capability.outputstream.abortable"):
                raise StorageError(
                    f"{root}: files there may be seen while they are written, and an upload cannot "
                    "be given up. Give an s3a:// path or a folder."
                )
            self._fs.exists(path)

    def uri(self, name: str = "") -> str:
        """The name as Spark takes it; that of the root for none."""
        return f"{self._root}/{name}" if name else self._root

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of this name."""
        with _java_errors():
            return bool(self._fs.exists(self._path(name)))

    def read(self, name: str) -> bytes:
        """A file's content."""
        with _java_errors():
            stream = self._fs.open(self._path(name))
            try:
                return bytes(stream.readAllBytes())
            finally:
                stream.close()

    def modified(self, name: str) -> datetime:
        """When a file was put there, in UTC."""
        with _java_errors():
            milliseconds = self._fs.getFileStatus(self._path(name)).getModificationTime()
        return datetime.fromtimestamp(milliseconds / 1000, UTC)

    def names(self, folder: str, pattern: str = "*") -> list[str]:
        """Names of what lies in a folder and matches the shell's pattern; sorted."""
        try:
            with _java_errors():
                listed = self._fs.listStatus(self._path(folder))
                found = [status.getPath().getName() for status in listed]
        except FileNotFoundError:
            return []
        return _matching(folder, found, pattern)

    def make_folder(self, name: str) -> None:
        """Make a folder and those above it, where missing."""
        with _java_errors():
            self._fs.mkdirs(self._path(name))

    def write_atomically(self, name: str, content: bytes) -> None:
        """Replace a file's content at one instant."""
        with self._upload(name) as upload:
            upload.write(content)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with _java_errors():
            self._fs.delete(self._path(name), False)

    def remove_tree(self, folder: str) -> None:
        """Remove a folder and all in it, if it is there."""
        with _java_errors():
            self._fs.delete(self._path(folder), True)

    @contextmanager
    def _upload(self, name: str) -> Iterator[Any]:
        """A stream whose content becomes the file at the end; given up if anything fails.

        Closing it after a failure would show the half that was written.
        """
        with _java_errors():
            upload = self._fs.create(self._path(name), True)
            try:
                yield upload
            except BaseException:
                upload.abort()
                raise
            upload.close()

    def _path(self, name: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(self.uri(name) if name else f"{self._root}/")


def _matching(folder: str, found: list[str], pattern: str) -> list[str]:
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    return sorted(f"{prefix}{name}" for name in found if fnmatchcase(name, pattern))


@contextmanager
def _java_errors() -> Iterator[None]:
    """Errors of the JVM as Python's own."""
    try:
        yield
    except Py4JJavaError as error:
        cause = error.java_exception
        if cause.getClass().getName() == "java.io.FileNotFoundException":
            raise FileNotFoundError(cause.getMessage()) from error
        raise StorageError(str(cause.toString())) from error
