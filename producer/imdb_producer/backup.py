"""What a backup has of the producer: how far it came, copied while it sends.

What is copied is never ahead of what the brokers have acknowledged by then. So whoever waits until
the job has read all that the topic has after that, and copies the tables then, has a pair that
loses nothing: what the tables lack is behind the position that was copied, and is sent again.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from imdb_producer.config import Config
from imdb_producer.errors import StateError
from imdb_producer.files import replacing
from imdb_producer.lock import exclusive
from imdb_producer.outbox import outbox_path
from imdb_producer.progress import ProgressFile

#: In CACHE_DIR: where a backup is taken, the folder of it that is whole, and its lock.
FOLDER, WHOLE, LOCK = "backup", "whole", ".backup.lock"
#: Attempts where a data set is finished meanwhile, and its files go.
_ATTEMPTS = 5

log = logging.getLogger(__name__)


def take(config: Config) -> Path | None:
    """Copy what is kept of the topic; give the folder, or None if nothing is kept on this host.

    Progress that hosts share is in ZooKeeper. Without it a producer sends all of its data set, and
    the job drops what the tables have.

    Raises:
        BusyError: another backup is being taken.
        StateError: it cannot be copied.
    """
    root = config.cache_dir / FOLDER
    with exclusive(config.cache_dir / LOCK, "takes a backup"):
        try:
            if root.exists():
                shutil.rmtree(root)
            source = config.cache_dir / "state" / config.topic
            if config.progress_servers or not (source / "progress.json").exists():
                return None
            root.mkdir(mode=0o700)
            for attempt in range(_ATTEMPTS):
                with suppress(FileNotFoundError):
                    work = root / f"begun-{attempt}"
                    _copy(source, work)
                    return work.rename(root / WHOLE)
        except (OSError, sqlite3.Error) as error:
            raise StateError(
                f"The backup of {source} cannot be written to {root}: {error}. Make room, and see "
                "that the folder (CACHE_DIR) is writable."
            ) from error
    raise StateError(f"{source} changes all the time: no backup was taken. Begin again.")


def remove(config: Config) -> None:
    """Remove the backup that was taken.

    Raises:
        BusyError: another one is being taken.
    """
    with exclusive(config.cache_dir / LOCK, "takes a backup"):
        shutil.rmtree(config.cache_dir / FOLDER, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """Copy the progress first: what comes after it has no less.

    Raises:
        FileNotFoundError: the records that it is about are gone by now.
        OSError, sqlite3.Error, StateError: a file cannot be read or written.
    """
    target.mkdir()
    content = (source / "progress.json").read_bytes()
    (target / "progress.json").write_bytes(content)
    progress = ProgressFile(target / "progress.json").load()
    assert progress is not None, "it was written"
    outbox = outbox_path(source, progress.batch)
    # Those of a data set that is through may be gone.
    if outbox.exists() or not progress.finished:
        shutil.copyfile(outbox, target / outbox.name)
    with (
        closing(sqlite3.connect(f"file:{source / 'delivered.sqlite'}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(target / "delivered.sqlite")) as copy,
    ):
        live.backup(copy)
    with suppress(FileNotFoundError):
        shutil.copyfile(source / "refused.jsonl", target / "refused.jsonl")
    RestoredFile(target).write(progress.destination)


class RestoredFile:
    """Is in a backup, and so in what was restored until a run has begun with it.

    It holds the topic that the backup is of: that of a restored pipeline is made anew.
    """

    NAME = "restored.json"

    def __init__(self, folder: Path) -> None:
        """Look for it in `folder`."""
        self._path = folder / self.NAME

    def destination(self) -> str:
        """Give the topic that the backup was of; empty if nothing was restored.

        Raises:
            StateError: it cannot be read.
        """
        try:
            return str(json.loads(self._path.read_bytes())["destination"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"{self._path} cannot be read: {error}. Restore it, or remove it: then all is sent."
            ) from error

    def write(self, destination: str) -> None:
        """Say that the state is of a backup of this topic."""
        with replacing(self._path) as file:
            file.write(json.dumps({"destination": destination}).encode() + b"\n")

    def remove(self) -> None:
        """Say that a run has begun with it."""
        self._path.unlink(missing_ok=True)
