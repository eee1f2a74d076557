"""Records that the broker refuses, kept aside beside the progress so that the others can go on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from imdb_producer.errors import StateError, TooManyRefusedError
from imdb_producer.files import replacing
from imdb_producer.records import Message

#: More than these, or more bytes, and the trouble is not one of single records.
MOST_RECORDS = 1000
MOST_BYTES = 64 * 1024 * 1024


class Refusal(NamedTuple):
    """A message that the broker does not take, and what it says."""

    message: Message
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A line of the file.

    `bytes` are those of key, value and header, before compression; `limit` is the topic's
    `max.message.bytes` when it was refused, 0 if the broker did not tell; `batch` names the records
    that it was sent with.
    """

    at: str
    batch: str
    key: str
    event_id: str
    bytes: int
    limit: int
    reason: str
    value: str


class RefusedFile:
    """The records kept aside: a file of JSON, one a line, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        """Read `path`, if it is there.

        Raises:
            StateError: it cannot be read.
        """
        self.path = path
        self._kept = {it.event_id: it for it in self._load()}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, batch: str) -> set[str]:
        """Give the event ids of those that were sent with these records."""
        return {it.event_id for it in self._kept.values() if it.batch == batch}

    def outgrown(self, limit: int) -> set[str]:
        """Give the event ids of those that were refused under a smaller limit of the topic."""
        return {it.event_id for it in self._kept.values() if 0 < it.limit < limit}

    def holds(self, message: Message) -> bool:
        """Say whether just this of the movie was refused."""
        return message.event_id.decode() in self._kept

    def add(self, refusals: Iterable[Refusal], batch: str, limit: int) -> list[Refused]:
        """Keep some, on the disk when this returns; give the lines.

        Raises:
            StateError: they cannot be written.
        """
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        lines = [
            Refused(
                at,
                batch,
                it.key.decode(),
                it.event_id.decode(),
                len(it.key + it.value)
                + sum(len(name) + len(text or b"") for name, text in it.headers),
                limit,
                reason,
                it.value.decode(),
            )
            for it, reason in refusals
        ]
        self._write(self._kept | {it.event_id: it for it in lines})
        return lines

    def check_room(self) -> None:
        """See that there are not too many.

        Raises:
            TooManyRefusedError: there are.
        """
        size = sum(it.bytes for it in self._kept.values())
        if len(self._kept) <= MOST_RECORDS and size <= MOST_BYTES:
            return
        last = list(self._kept.values())[-1]
        raise TooManyRefusedError(
            f"The broker has refused {len(self._kept):,} records, {size:,} bytes, more than the "
            f"{MOST_RECORDS:,} or {MOST_BYTES:,} bytes that are kept aside in {self.path}; the "
            f"last: {last.reason}. Nothing more is sent. Change the topic's settings "
            f"(max.message.bytes {limit_text(last.limit)}), then start again: what was refused is "
            "sent then."
        )

    def keep_only(self, event_ids: set[str]) -> None:
        """Forget the others.

        Raises:
            StateError: it cannot be written.
        """
        if not self._kept.keys() <= event_ids:
            self._write({name: it for name, it in self._kept.items() if name in event_ids})

    def _write(self, kept: dict[str, Refused]) -> None:
        try:
            if kept:
                with replacing(self.path) as file:
                    for it in kept.values():
                        file.write(json.dumps(asdict(it), ensure_ascii=False).encode() + b"\n")
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(
                f"Cannot write {self.path}: {error.strerror or error}. Sending stops, as records "
                "that the broker refuses would be lost. Make room, and see that it is writable."
            ) from error
        self._kept = kept

    def _load(self) -> list[Refused]:
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unreadable(error) from error
        try:
            kept = [Refused(**json.loads(line)) for line in lines]
            expected = {it.name: it.type for it in fields(Refused)}
            if any(
                type(getattr(it, name)).__name__ != kind
                for it in kept
                for name, kind in expected.items()
            ):
                raise TypeError("a field of another type")
        except (TypeError, ValueError) as error:
            raise self._unreadable(error) from error
        return kept

    def _unreadable(self, error: Exception) -> StateError:
        return StateError(
            f"{self.path}, which holds the records that the broker refused, cannot be read: "
            f"{error}. Restore it, or remove it: then a run that sends all again (--resend) tries "
            "them too."
        )


def limit_text(limit: int) -> str:
    """Give a topic's limit in words."""
    return f"is {limit:,}" if limit else "is not known"
