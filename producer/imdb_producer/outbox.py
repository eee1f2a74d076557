"""The records to be sent, in a file: prepared as a whole before the first of them is sent.

So a dump that turns out to be damaged at its end is noticed in time, memory does not grow with the
number of records, and a position in the file is all that is needed to go on after a crash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from imdb_producer.errors import StateError
from imdb_producer.files import replacing, sync_folder
from imdb_producer.records import Message

_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outbox:
    """A file of messages, one a line: event id, key, value, separated by tabs.

    JSON holds neither a raw tab nor a line's end. `digest` is over the event ids in their order.
    `version` is that of all movies in it.
    """

    path: Path
    total: int
    digest: str
    version: int = 0

    def messages(self, start: int = 0, stop: int | None = None) -> Iterator[Message]:
        """Give the messages from number `start` to before `stop`, counted from 0.

        Raises:
            StateError: the file is gone or damaged.
        """
        version = b"%d" % self.version
        end = self.total if stop is None else stop
        if start >= end:
            return
        try:
            with self.path.open("rb", _BUFFER) as lines:
                for line in islice(lines, start, end):
                    event_id, key, value = line[:-1].split(b"\t", 2)
                    yield Message(key, value, event_id, version)
        except (OSError, ValueError) as error:
            raise StateError(
                f"{self.path} cannot be read: {error}. Remove it and start again: it is made anew."
            ) from error


def outbox_path(folder: Path, digest: str) -> Path:
    """Give the place of the file of messages with that digest."""
    return folder / f"outbox-{digest[:16]}"


def write_outbox(folder: Path, messages: Iterable[Message]) -> Outbox:
    """Write messages into a file of `folder` that is named for them; whole or not at all.

    Raises:
        StateError: it cannot be written.
    """
    total = 0
    digest = hashlib.sha256()
    written = folder / "outbox"
    try:
        with replacing(written) as file:
            for it in messages:
                file.write(b"%s\t%s\t%s\n" % (it.event_id, it.key, it.value))
                digest.update(it.event_id)
                total += 1
        path = outbox_path(folder, digest.hexdigest())
        written.replace(path)
        sync_folder(folder)
    except OSError as error:
        raise StateError(
            f"Cannot write {written}: {error.strerror or error}. Nothing was sent. Make room, and "
            "see that the folder (CACHE_DIR) is writable."
        ) from error
    return Outbox(path, total, digest.hexdigest())
