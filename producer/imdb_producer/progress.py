"""How far sending has come, kept from one run to the next.

In a file of this host, or for a producer that has standbys in ZooKeeper (`shared_progress`).
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
    acknowledged, all from the first on; `resend` is the last request to send all again; `version`
    is what the records are numbered with, 0 where that was done by a program that did not; `since`
    is the version of the data set before, what was delivered until then is not among the records:
    0 if nothing was left out, -1 where a program did not say.
    """

    data_set: str
    destination: str
    batch: str
    position: int
    total: int
    resend: str = ""
    version: int = 0
    since: int = 0

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
            StateError, StoreError: it cannot be kept.
            OvertakenError: a producer on another host has kept something since.
        """

    def close(self) -> None:
        """Give up what is open."""


class ProgressFile:
    """Progress in a file of JSON, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        """Keep it in `path`, whose folder exists."""
        self._path = path

    def load(self) -> Progress | None:
        """See `ProgressStore.load`."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(str(self._path), str(error), "Make it readable") from error
        return parse_progress(content, str(self._path), "Restore it, or remove it")

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

    def remove(self) -> None:
        """Remove the file, if it is there.

        Raises:
            StateError: it cannot be removed.
        """
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(
                f"Cannot remove {self._path}: {error.strerror or error}. See that its folder is "
                "writable: what it holds is kept in ZooKeeper now, and must not be gone by later."
            ) from error

    def close(self) -> None:
        """See `ProgressStore.close`."""


def parse_progress(content: bytes, place: str, advice: str) -> Progress:
    """Read what was kept as JSON.

    Raises:
        StateError: it is not the JSON of a Progress; names the place and gives the advice.
    """
    try:
        found = json.loads(content)
    except ValueError as error:
        raise _unreadable(place, str(error), advice) from error
    expected = {field.name: str(field.type) for field in fields(Progress)}
    if isinstance(found, dict):
        found.setdefault("version", 0)
        found.setdefault("since", -1)
    types = (
        {name: type(value).__name__ for name, value in found.items()}
        if isinstance(found, dict)
        else {}
    )
    if types != expected:
        raise _unreadable(place, "not the fields of a progress file", advice)
    progress = Progress(**found)
    if not 0 <= progress.position <= progress.total:
        raise _unreadable(place, f"position {progress.position} of {progress.total}", advice)
    return progress


def _unreadable(place: str, reason: str, advice: str) -> StateError:
    return StateError(
        f"{place} cannot be read: {reason}. {advice}: then the next run sends every record again, "
        "under the same event ids."
    )
