"""Where tables and checkpoints lie: a local or shared folder, or a bucket.

Names are relative to the root, with `/` between folders: `silver_movies/main-0000000007.parquet`.
Whatever the place, a reader sees a file whole or not at all, before and after it is replaced.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from imdb_streaming import files
from imdb_streaming.bucket import BucketPath, Place
from imdb_streaming.config import Config
from imdb_streaming.storage_settings import scheme_of


class StorageError(OSError):
    """The place did not do what it was asked to; nothing half-done is visible."""


class Storage(Protocol):
    """The operations. A missing file raises FileNotFoundError, another failure OSError."""

    def uri(self, name: str = "") -> str:
        """The name as Spark takes it; that of the root for none."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of this name."""
        ...

    def read(self, name: str) -> bytes:
        """A file's content."""
        ...

    def modified(self, name: str) -> datetime:
        """When a file was put there, in UTC."""
        ...

    def names(self, folder: str, pattern: str = "*") -> list[str]:
        """Names, from the root on, of what lies in a folder and matches; sorted.

        The pattern is one of the shell's. A folder that is not there is empty.
        """
        ...

    def make_folder(self, name: str) -> None:
        """Make a folder and those above it, where missing."""
        ...

    def write_atomically(self, name: str, content: bytes) -> None:
        """Replace a file's content at one instant. The folder must exist."""
        ...

    def put_in_place(self, source: str, target: str) -> None:
        """Move a finished file over another, or to a new name. The folder must exist.

        After a crash in between there may be both, each whole.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def remove_tree(self, folder: str) -> None:
        """Remove a folder and all in it, if it is there."""
        ...


def open_storage(root: str, spark: SparkSession) -> Storage:
    """The storage at an absolute path, file:///PATH or s3a://BUCKET/PREFIX.

    Raises ValueError for another place, and StorageError if the bucket cannot be reached.
    """
    if scheme_of(root) == "file":
        return LocalStorage(Path(root.removeprefix("file://")))
    return HadoopStorage(root, spark)


def open_places(config: Config, spark: SparkSession) -> Config:
    """The configuration whose places in buckets can be read and written.

    Raises StorageError if one cannot be reached.
    """

    def opened(place: Place) -> Place:
        if not isinstance(place, BucketPath):
            return place
        try:
            return place.opened(open_storage(str(place), spark))
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


def put_part_in_place(storage: Storage, staging: str, target: str) -> None:
    """Move the one Parquet file that Spark wrote into a staging folder, and remove the folder.

    Raises StorageError if Spark wrote none or several.
    """
    parts = storage.names(staging, "part-*.parquet")
    if len(parts) != 1:
        raise StorageError(
            f"Spark wrote {len(parts)} files into {storage.uri(staging)} where one was due. Do "
            "driver and executors see the same folder under OUTPUT_PATH?"
        )
    storage.put_in_place(parts[0], target)
    storage.remove_tree(staging)


class LocalStorage:
    """A folder of a file system with an atomic rename, flushed to the disk (`files.py`)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def uri(self, name: str = "") -> str:
        return f"file://{self._path(name)}"

    def exists(self, name: str) -> bool:
        return self._path(name).exists()

    def read(self, name: str) -> bytes:
        return self._path(name).read_bytes()

    def modified(self, name: str) -> datetime:
        return datetime.fromtimestamp(self._path(name).stat().st_mtime, UTC)

    def names(self, folder: str, pattern: str = "*") -> list[str]:
        path = self._path(folder)
        found = [entry.name for entry in path.iterdir()] if path.exists() else []
        return _matching(folder, found, pattern)

    def make_folder(self, name: str) -> None:
        self._path(name).mkdir(parents=True, exist_ok=True)

    def write_atomically(self, name: str, content: bytes) -> None:
        files.write_atomically(self._path(name), content)

    def put_in_place(self, source: str, target: str) -> None:
        files.put_in_place(self._path(source), self._path(target))

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def remove_tree(self, folder: str) -> None:
        if self._path(folder).exists():
            shutil.rmtree(self._path(folder))

    def _path(self, name: str) -> Path:
        return self._root / name


class HadoopStorage:
    """A bucket, by Hadoop's FileSystem in the driver's JVM, with Spark's settings for it.

    An object appears when its upload is completed, and replaces the one of its name at that
    instant. Renaming would not do: S3A refuses to rename over what exists.
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
        return f"{self._root}/{name}" if name else self._root

    def exists(self, name: str) -> bool:
        with _java_errors():
            return bool(self._fs.exists(self._path(name)))

    def read(self, name: str) -> bytes:
        with _java_errors():
            stream = self._fs.open(self._path(name))
            try:
                return bytes(stream.readAllBytes())
            finally:
                stream.close()

    def modified(self, name: str) -> datetime:
        with _java_errors():
            milliseconds = self._fs.getFileStatus(self._path(name)).getModificationTime()
        return datetime.fromtimestamp(milliseconds / 1000, UTC)

    def names(self, folder: str, pattern: str = "*") -> list[str]:
        try:
            with _java_errors():
                listed = self._fs.listStatus(self._path(folder))
                found = [status.getPath().getName() for status in listed]
        except FileNotFoundError:
            return []
        return _matching(folder, found, pattern)

    def make_folder(self, name: str) -> None:
        with _java_errors():
            self._fs.mkdirs(self._path(name))

    def write_atomically(self, name: str, content: bytes) -> None:
        with self._upload(name) as upload:
            upload.write(content)

    def put_in_place(self, source: str, target: str) -> None:
        with _java_errors():
            size = self._size(source)
            stream = self._fs.open(self._path(source))
            try:
                with self._upload(target) as upload:
                    # Within the JVM; it closes neither stream, whatever happens.
                    copied = stream.transferTo(upload)
                    if copied != size:
                        raise StorageError(f"{self.uri(source)}: {copied} of {size} bytes read")
            finally:
                stream.close()
        self.remove(source)

    def remove(self, name: str) -> None:
        with _java_errors():
            self._fs.delete(self._path(name), False)

    def remove_tree(self, folder: str) -> None:
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

    def _size(self, name: str) -> int:
        return int(self._fs.getFileStatus(self._path(name)).getLen())

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
