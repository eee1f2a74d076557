"""A movie as it is sent: the record, its canonical payload and its event id."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import NamedTuple


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
    """What goes to Kafka for one record."""

    key: bytes
    value: bytes


def canonical_payload(record: Record) -> bytes:
    """Write a record as JSON such that equal records give equal bytes.

    Sorted keys, no spaces, UTF-8 unescaped.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot say.
    """
    text = json.dumps(
        asdict(record),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return text.encode("utf-8")


def event_id(payload: bytes) -> str:
    """Name a payload by its SHA-256, in hex: a record sent again keeps its id."""
    return hashlib.sha256(payload).hexdigest()


def to_message(record: Record) -> Message:
    """Give the message of a record; its key is `tconst`."""
    return Message(record.tconst.encode("utf-8"), canonical_payload(record))
