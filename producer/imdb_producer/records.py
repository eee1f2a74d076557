"""A movie as it is sent: the record, its canonical payload, its event id and its version."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import NamedTuple

#: What a record is made of and which are made; another number makes every data set a new one.
FORMAT = 2


@dataclass(frozen=True, slots=True)
class Record:
    """One movie: what the topic's JSON holds, field by field.

    `runtimeMinutes` is in minutes, None where IMDb gives none; `averageRating` is on
    IMDb's scale of 1 to 10.
    """

    tconst: str
    primaryTitle: str  # noqa: N815 - the fields carry IMDb's own column names
    startYear: int  # noqa: N815
    runtimeMinutes: int | None  # noqa: N815
    genres: list[str]
    averageRating: float  # noqa: N815
    numVotes: int  # noqa: N815


class Message(NamedTuple):
    """What goes to Kafka for one record: key, value, and the headers.

    `version` is empty until the record is about to be sent: it is the data set's.
    """

    key: bytes
    value: bytes
    event_id: bytes
    version: bytes = b""

    @property
    def headers(self) -> list[tuple[str, str | bytes | None]]:
        """The headers, by their names: another reader finds the movie's version by that."""
        return [("event_id", self.event_id), ("movie_version", self.version)]


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def canonical_payload(record: Record) -> bytes:
    """Write a record as JSON such that equal records give equal bytes.

    Sorted keys, no spaces, UTF-8 unescaped.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot say.
    """
    # By hand in the order of their names: sorting them for each record took half of the time.
    fields = {
        "averageRating": record.averageRating,
        "genres": record.genres,
        "numVotes": record.numVotes,
        "primaryTitle": record.primaryTitle,
        "runtimeMinutes": record.runtimeMinutes,
        "startYear": record.startYear,
        "tconst": record.tconst,
    }
    return _ENCODER.encode(fields).encode("utf-8")


def event_id(payload: bytes) -> str:
    """Name a payload by its SHA-256, in hex: a record sent again keeps its id."""
    return hashlib.sha256(payload).hexdigest()


def to_message(record: Record) -> Message:
    """Give the message of a record; its key is `tconst`."""
    payload = canonical_payload(record)
    return Message(record.tconst.encode("utf-8"), payload, event_id(payload).encode("ascii"))
