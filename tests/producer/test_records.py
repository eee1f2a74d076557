"""The message: canonical payload, key and event id."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace

import pytest

from imdb_producer.records import Record, canonical_payload, event_id, to_message

RECORD = Record("tt0000001", 'Crème "brûlée" 東京', 1994, None, ["Action", "Drama"], 7.0, 1000)


def test_the_payload_is_compact_sorted_and_unescaped() -> None:
    assert canonical_payload(RECORD).decode() == (
        '{"averageRating":7.0,"genres":["Action","Drama"],"numVotes":1000,'
        '"primaryTitle":"Crème \\"brûlée\\" 東京","runtimeMinutes":null,"startYear":1994,'
        '"tconst":"tt0000001"}'
    )


def test_the_payload_is_json_of_the_record() -> None:
    assert Record(**json.loads(canonical_payload(RECORD))) == RECORD


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_json_cannot_say_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_payload(replace(RECORD, averageRating=number))


def test_the_key_is_tconst_and_the_event_id_is_of_the_value_sent() -> None:
    message = to_message(RECORD)
    assert message.key == b"tt0000001"
    assert message.event_id.decode() == event_id(message.value)
    assert event_id(message.value) == hashlib.sha256(message.value).hexdigest()


def test_equal_records_have_equal_event_ids() -> None:
    again = replace(RECORD, genres=list(RECORD.genres))
    assert event_id(canonical_payload(again)) == event_id(canonical_payload(RECORD))


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECORD, numVotes=1001),
        replace(RECORD, runtimeMinutes=90),
        replace(RECORD, genres=["Drama", "Action"]),
        replace(RECORD, primaryTitle="Crème"),
    ],
)
def test_a_changed_record_has_another_event_id(changed: Record) -> None:
    assert event_id(canonical_payload(changed)) != event_id(canonical_payload(RECORD))
