"""How far sending has come, kept from one run to the next.

Whoever keeps it elsewhere (for a standby producer on another host, say, in ZooKeeper or in a
compacted topic) writes another `ProgressStore`; nothing but this module knows of a file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

from imdb_producer.errors import StateError
from imdb_producer.files import replacing


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the sending of one data set is.

    `data_set` names the two dumps and what is taken of them; `destination` the topic, made when it
    was made; `batch` the records to be sent, in their order: `position` of its `total` are
    acknowledged, all from the first on; `resend` is the last request to send all again.
    """

    data_set: str
    destination: str
    batch: str
    position: int
    total: int
    resend: str = ""

    @property
    def finished(self) -> bool:
        """Whether all of it is acknowledged."""
        return self.position >= self.total


class ProgressStore(Protocol):
    """Where progress is kept."""

    def load(self) -> Progress | None:
        """Give what was saved last; None if nothing ever was.

        Raises:
            StateError: something is there that cannot be understood.
        """

    def save(self, progress: Progress) -> None:
        """Keep it: when this returns, it outlives the process and the host.

        Raises:
            StateError: it cannot be kept.
        """


class ProgressFile:
    """Progress in a file of JSON, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        """Keep it in `path`, whose folder exists."""
        self._path = path

    def load(self) -> Progress | None:
        """See `ProgressStore.load`."""
        try:
            content = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._unreadable(str(error)) from error
        expected = {field.name: str(field.type) for field in fields(Progress)}
        found = (
            {name: type(value).__name__ for name, value in content.items()}
            if isinstance(content, dict)
            else {}
        )
        if found != expected:
            raise self._unreadable("not the fields of a progress file")
        progress = Progress(**content)
        if not 0 <= progress.position <= progress.total:
            raise self._unreadable(f"position {progress.position} of {progress.total}")
        return progress

    def save(self, progress: Progress) -> None:
        """See `ProgressStore.save`."""
        try:
            with replacing(self._path) as file:
                file.write(json.dumps(asdict(progress)).encode() + b"\n")
        except OSError as error:
            raise StateError(
                f"Cannot write {self._path}: {error.strerror or error}. Sending stops, as the next "
                "run would not know how far it came. Make room, and see that it is writable."
            ) from error

    def _unreadable(self, reason: str) -> StateError:
        return StateError(
            f"{self._path} cannot be read: {reason}. Restore it, or remove it: then the next run "
            "sends every record again, under the same event ids."
        )
