"""Transformations: what goes in, what comes out."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession

from imdb_streaming.schema import (
    DEAD_LETTERS_SCHEMA,
    KAFKA_SCHEMA,
    MOVIE_SCHEMA,
    SILVER_SCHEMA,
)
from imdb_streaming.transformations import (
    NO_VERSION,
    dead_letters,
    parse_events,
    score,
    silver_movies,
)

from .frames import assert_same_rows, frame_of

NOON = datetime(2026, 1, 1, 12)

Header = tuple[str, bytes | None]


NOT_JSON = "the message is not one JSON object"

#: Changes to a valid movie that leave it valid.
WITHIN: list[dict[str, Any]] = [
    {"runtimeMinutes": None},
    {"runtimeMinutes": 0},
    {"genres": []},
    {"averageRating": 10},
    {"averageRating": 0},
    {"averageRating": 7.25},
    {"averageRating": 1e-3},
    {"numVotes": 0},
    {"numVotes": 2147483647},
    {"primaryTitle": "Amélie 千と千尋 😀"},
    {"primaryTitle": ']} \\ " , \r\n'},
    {"primaryTitle": "\ufffd \uffff \U0010ffff \0"},
    {"genres": ["Dra\rma", 'a "b"', "c,d", "😀"]},
    {"addedLater": {"tconst": 7}},
]

#: Changes that do not, and the reason that is due.
OUTSIDE: list[tuple[dict[str, Any], str]] = [
    ({"tconst": 7}, "tconst is not a string"),
    ({"tconst": None}, "tconst is not a string"),
    ({"tconst": "nm0000001"}, "tconst is not tt and digits"),
    ({"tconst": "tt"}, "tconst is not tt and digits"),
    ({"tconst": "tt1\n"}, "tconst is not tt and digits"),
    ({"tconst": " tt1"}, "tconst is not tt and digits"),
    ({"primaryTitle": ""}, "primaryTitle is empty"),
    ({"primaryTitle": "  "}, "primaryTitle is empty"),
    ({"primaryTitle": None}, "primaryTitle is not a string"),
    ({"primaryTitle": 2012}, "primaryTitle is not a string"),
    ({"primaryTitle": "A\ud83d"}, "primaryTitle has an unpaired surrogate"),
    ({"primaryTitle": "\ude00 A"}, "primaryTitle has an unpaired surrogate"),
    ({"primaryTitle": "A\ude00\ud83d"}, "primaryTitle has an unpaired surrogate"),
    ({"startYear": None}, "startYear is not an integer"),
    ({"startYear": "1994"}, "startYear is not an integer"),
    ({"startYear": 1994.5}, "startYear is not an integer"),
    ({"startYear": True}, "startYear is not an integer"),
    ({"startYear": 3_000_000_000}, "startYear does not fit 32 bits"),
    ({"startYear": 10**40}, "startYear is not an integer"),
    ({"runtimeMinutes": "142"}, "runtimeMinutes is not an integer or null"),
    ({"runtimeMinutes": -1}, "runtimeMinutes is not from 0 to 2147483647"),
    ({"runtimeMinutes": 2**31}, "runtimeMinutes is not from 0 to 2147483647"),
    ({"genres": None}, "genres is not a list of strings"),
    ({"genres": "Drama"}, "genres is not a list of strings"),
    ({"genres": ["Drama", 7]}, "genres is not a list of strings"),
    ({"genres": ["Drama", None]}, "genres is not a list of strings"),
    ({"genres": [None]}, "genres is not a list of strings"),
    ({"genres": ["Drama", "\ud83d"]}, "genres has an unpaired surrogate"),
    ({"genres": ["\ud83d", "\ude00"]}, "genres has an unpaired surrogate"),
    ({"averageRating": "NaN"}, "averageRating is not a number"),
    ({"averageRating": "9.3"}, "averageRating is not a number"),
    ({"averageRating": None}, "averageRating is not a number"),
    ({"averageRating": -0.1}, "averageRating is not from 0 to 10"),
    ({"averageRating": 10.01}, "averageRating is not from 0 to 10"),
    ({"averageRating": float("nan")}, "the message is not one JSON object"),
    ({"numVotes": -1}, "numVotes is not from 0 to 2147483647"),
    ({"numVotes": 2**31}, "numVotes is not from 0 to 2147483647"),
    ({"numVotes": 10.5}, "numVotes is not an integer"),
]

#: Values, with %s for a valid movie, that are no movie.
TEXTS: list[tuple[bytes | None, str]] = [
    (None, "the message is empty"),
    (b"", "the message is empty"),
    (b" ", NOT_JSON),
    (b"{}", "tconst is missing"),
    (b"null", NOT_JSON),
    (b"[%s]", NOT_JSON),
    (b'"%%"', NOT_JSON),
    (b"%s trailing", NOT_JSON),
    (b"%s}", NOT_JSON),
    (b"%s]", NOT_JSON),
    (b"%s]}", NOT_JSON),
    (b"%s,", NOT_JSON),
    (b"%s%s", NOT_JSON),
    (b"%s,%s", NOT_JSON),
    (b'%s,""]', NOT_JSON),
    (b"%s\x00", NOT_JSON),
    (b'{"added": 1, "added": 2}', NOT_JSON),
    (b'{"averageRating": 1e999, %s', NOT_JSON),
    (b"{'tconst': 'tt1'}", NOT_JSON),
    (b"\xef\xbb\xbf%s", NOT_JSON),
    (b"\xff\xfe%s", "the message is not UTF-8"),
    (b"[" * 100_000, NOT_JSON),
    (b'{"a":' * 5_000, NOT_JSON),
    (b'{"startYear": ' + b"9" * 5_000 + b"}", NOT_JSON),
]


#: Headers, and whether they name the event id "abc".
EVENT_IDS: list[tuple[list[Header] | None, bool]] = [
    ([("event_id", b"abc")], True),
    ([("other", b"x"), ("event_id", b"first"), ("event_id", b"abc")], True),
    ([("event_id", b"")], False),
    ([("event_id", None)], False),
    ([("event_id", b"\xff")], False),
    ([("other", b"abc")], False),
    ([], False),
    (None, False),
]

#: What the header of the version holds, and the version or the reason that is due.
VERSIONS: list[tuple[bytes | None, int | str | None]] = [
    (b"0", 0),
    (b"1764500000000", 1764500000000),
    (b"9223372036854775807", 9223372036854775807),
    # As if there were none.
    (b"", None),
    (None, None),
    (b"\xff", None),
    *(
        (text, NO_VERSION)
        for text in (b"9223372036854775808", b"-1", b"+1", b" 1", b"1\n", b"1.0", b"0x1", b"v2")
    ),
]


def message(
    value: bytes | None,
    offset: int = 0,
    headers: list[Header] | None = None,
    partition: int = 0,
    timestamp: datetime = NOON,
) -> tuple[Any, ...]:
    return (b"key", value, "imdb-movies", partition, offset, timestamp, 0, headers)


def encode(movie: dict[str, Any]) -> bytes:
    return json.dumps(movie).encode()


def fill(template: bytes | None, movie: dict[str, Any]) -> bytes | None:
    return template.replace(b"%s", encode(movie)) if template else template


def without(movie: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in movie.items() if name != field}


Parsed = dict[bytes | None, dict[str, Any]]


@pytest.fixture(scope="module")
def parsed(spark: SparkSession, movie: dict[str, Any]) -> Parsed:
    """What parse_events makes of every value of this file, in one go; each at offset 7."""
    values = [
        encode(movie),
        *(encode(movie | change) for change in WITHIN),
        *(encode(movie | change) for change, _ in OUTSIDE),
        *(fill(template, movie) for template, _ in TEXTS),
        *(encode(without(movie, field)) for field in MOVIE_SCHEMA.fieldNames()),
    ]
    rows = parse_all(spark, [(value, None) for value in values])
    return dict(zip(values, rows, strict=True))


def parse_all(
    spark: SparkSession, messages: list[tuple[bytes | None, list[Header] | None]]
) -> list[dict[str, Any]]:
    """What parse_events makes of each of these values with headers, in their order."""
    # A row is known by its time.
    times = [NOON + timedelta(seconds=number) for number in range(len(messages))]
    source_df = frame_of(
        spark,
        [
            message(value, 7, headers, partition=2, timestamp=at)
            for (value, headers), at in zip(messages, times, strict=True)
        ],
        KAFKA_SCHEMA,
    )
    rows = {row["kafka_timestamp"]: row.asDict() for row in parse_events(source_df).collect()}
    return [rows[at] for at in times]


def test_valid_message_becomes_a_movie(parsed: Parsed, movie: dict[str, Any]) -> None:
    value = encode(movie)
    actual = parsed[value]
    expected = movie | {
        "event_id": hashlib.sha256(value).hexdigest(),
        "version": None,
        "kafka_timestamp": NOON,
        "topic": "imdb-movies",
        "partition": 2,
        "offset": 7,
        "reason": None,
        "key": None,
        "value": None,
    }
    assert actual == expected


@pytest.mark.parametrize("change", WITHIN, ids=str)
def test_movie_within_the_contract_is_valid(
    parsed: Parsed, movie: dict[str, Any], change: dict[str, Any]
) -> None:
    actual = parsed[encode(movie | change)]
    assert actual["reason"] is None
    expected = movie | {k: v for k, v in change.items() if k in movie}
    assert {name: actual[name] for name in MOVIE_SCHEMA.fieldNames()} == expected


@pytest.mark.parametrize(("change", "reason"), OUTSIDE, ids=str)
def test_movie_outside_the_contract_has_a_reason(
    parsed: Parsed, movie: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    actual = parsed[encode(movie | change)]
    assert actual["reason"] == reason
    assert actual["value"] == encode(movie | change)


@pytest.mark.parametrize("field", MOVIE_SCHEMA.fieldNames())
def test_missing_field_has_a_reason(parsed: Parsed, movie: dict[str, Any], field: str) -> None:
    assert parsed[encode(without(movie, field))]["reason"] == f"{field} is missing"


@pytest.mark.parametrize(("template", "reason"), TEXTS, ids=lambda value: str(value)[:40])
def test_text_that_is_no_movie_has_a_reason(
    parsed: Parsed, movie: dict[str, Any], template: bytes | None, reason: str
) -> None:
    assert parsed[fill(template, movie)]["reason"] == reason


@pytest.fixture(scope="module")
def of_event_ids(spark: SparkSession, movie: dict[str, Any]) -> list[dict[str, Any]]:
    """What becomes of a movie with each of the headers of EVENT_IDS."""
    return parse_all(spark, [(encode(movie), headers) for headers, _ in EVENT_IDS])


@pytest.mark.parametrize("case", range(len(EVENT_IDS)), ids=lambda case: str(EVENT_IDS[case][0]))
def test_event_id_is_the_header_else_the_digest(
    of_event_ids: list[dict[str, Any]], movie: dict[str, Any], case: int
) -> None:
    _, is_taken = EVENT_IDS[case]
    expected = "abc" if is_taken else hashlib.sha256(encode(movie)).hexdigest()
    assert of_event_ids[case]["event_id"] == expected


@pytest.fixture(scope="module")
def of_versions(spark: SparkSession, movie: dict[str, Any]) -> list[dict[str, Any]]:
    """What becomes of a movie with each of VERSIONS as the last of its headers."""
    first: Header = ("movie_version", b"7")
    headers = [[first, ("movie_version", version)] for version, _ in VERSIONS]
    return parse_all(spark, [(encode(movie), it) for it in headers])


@pytest.mark.parametrize("case", range(len(VERSIONS)), ids=lambda case: str(VERSIONS[case][0]))
def test_version_is_the_header_if_it_is_a_number(
    of_versions: list[dict[str, Any]], movie: dict[str, Any], case: int
) -> None:
    _, expected = VERSIONS[case]
    row = of_versions[case]
    if isinstance(expected, str):
        assert (row["reason"], row["value"]) == (expected, encode(movie))
    else:
        assert (row["reason"], row["version"]) == (None, expected)


@pytest.mark.parametrize(
    ("votes", "rating", "mean", "prior", "expected"),
    [
        # v = M: half of each.
        (3000, 9.0, 6.0, 3000, 7.5),
        # v = 3M: three quarters of the rating.
        (9000, 8.0, 4.0, 3000, 7.0),
        (0, 9.0, 6.5, 3000, 6.5),
        (1000, 8.0, 6.5, 3000, 6.875),
        (5, 9.5, 6.5, 0, 9.5),
        (0, 9.5, 6.5, 0, 6.5),
        (2147483647, 10.0, 10.0, 3000, 10.0),
    ],
)
def test_score_draws_the_rating_towards_the_mean(
    spark: SparkSession, votes: int, rating: float, mean: float, prior: float, expected: float
) -> None:
    source_df = frame_of(spark, [(votes, rating)], "numVotes int, averageRating double")
    actual_df = score(source_df, mean, prior)
    columns = {"numVotes": "int", "averageRating": "double", "weighted_score": "double"}
    assert actual_df.dtypes == list(columns.items())
    (row,) = actual_df.collect()
    assert tuple(row) == (votes, rating, pytest.approx(expected, rel=0, abs=1e-12))


def test_score_is_the_formula_to_the_last_bit(spark: SparkSession) -> None:
    samples = [(1000 + 37 * i, (10 + i % 91) / 10) for i in range(500)]
    source_df = frame_of(spark, samples, "numVotes int, averageRating double")
    for row in score(source_df, 6.5, 3000).collect():
        v, r, m, c = float(row["numVotes"]), row["averageRating"], 3000.0, 6.5
        assert row["weighted_score"] == v / (v + m) * r + m / (v + m) * c


def test_silver_is_made_of_valid_events(spark: SparkSession, movie: dict[str, Any]) -> None:
    source_df = frame_of(
        spark,
        [
            message(encode(movie), 0, [("event_id", b"e1")]),
            message(
                encode(movie | {"genres": [], "runtimeMinutes": None}), 2, [("event_id", b"e2")]
            ),
        ],
        KAFKA_SCHEMA,
    )
    actual_df = silver_movies(parse_events(source_df), 6.5, 3000)
    head = ("tt0111161", 'A Title, "Quoted"', 1994)
    expected_df = frame_of(
        spark,
        [
            (*head, 142, ["Drama", "Crime"], 9.3, 3000, 7.9, "e1", NOON),
            (*head, None, [], 9.3, 3000, 7.9, "e2", NOON),
        ],
        SILVER_SCHEMA,
    )
    assert_same_rows(actual_df, expected_df)


def test_dead_letters_are_messages_as_they_came(spark: SparkSession) -> None:
    source_df = frame_of(spark, [message(b"\xff\x00", 7, partition=2)], KAFKA_SCHEMA)
    actual_df = dead_letters(parse_events(source_df))
    reason = "the message is not UTF-8"
    expected_df = frame_of(
        spark,
        [("imdb-movies", 2, 7, NOON, reason, bytearray(b"key"), bytearray(b"\xff\x00"))],
        DEAD_LETTERS_SCHEMA,
    )
    assert_same_rows(actual_df, expected_df)


def test_filter_on_reason_does_not_parse_again(spark: SparkSession, movie: dict[str, Any]) -> None:
    source_df = frame_of(spark, [message(encode(movie))], KAFKA_SCHEMA)
    filtered_df = silver_movies(parse_events(source_df).where("reason IS NULL"), 6.5, 3000)
    plan = filtered_df._jdf.queryExecution().executedPlan().toString()
    assert plan.count("parse_movie(") == 1
