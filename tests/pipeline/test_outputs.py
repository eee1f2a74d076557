"""The tables' contents, against what the input files alone say they must be."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hosts import Target, run

from ..waiting import wait_for
from .deployment import status_of
from .expected import GENRE_COLUMNS, SILVER_COLUMNS, Expected
from .tables import Tables, same_values

pytestmark = pytest.mark.verify

SILVER_TYPES = {
    "tconst": pa.string(),
    "primaryTitle": pa.string(),
    "startYear": pa.int32(),
    "runtimeMinutes": pa.int32(),
    "genres": pa.list_(pa.field("element", pa.string())),
    "averageRating": pa.float64(),
    "numVotes": pa.int32(),
    "weighted_score": pa.float64(),
    "event_id": pa.string(),
    "kafka_timestamp": pa.timestamp("us", tz="UTC"),
}


@pytest.fixture(scope="module")
def copies(
    tables: Tables,
    expected: Expected,
    finished: dict[str, Any],
    patience: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> Tables:
    """The whole tables, read without root."""
    wait_for(
        f"silver has the {len(expected.silver)} rows that were sent",
        lambda: len(tables.event_ids()),
        lambda rows: rows >= len(expected.silver),
        120 * patience,
    )
    wait_for(
        "genre_counts counts every movie",
        lambda: int(tables.read_genre_counts()["movie_count"].sum()),
        lambda movies: movies >= int(expected.genre_counts["movie_count"].sum()),
        120 * patience,
    )
    return tables.copied_by_nobody(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def silver(copies: Tables) -> pd.DataFrame:
    """Silver, ordered by tconst."""
    return copies.read_silver().sort_values("tconst").reset_index(drop=True)


def test_producer_has_sent_every_movie(finished: dict[str, Any], expected: Expected) -> None:
    assert (finished["sent"], finished["failed"]) == (len(expected.silver), 0)
    assert finished["total"] == finished["sent"]


def test_silver_has_the_contracts_columns_and_types(copies: Tables) -> None:
    for path in copies.silver_files():
        schema = pq.read_schema(path)
        assert dict(zip(schema.names, schema.types, strict=True)) == SILVER_TYPES
        assert schema.names == list(SILVER_TYPES)


@pytest.mark.parametrize("column", SILVER_COLUMNS)
def test_silver_equals_the_dumps_row_by_row(
    silver: pd.DataFrame, expected: Expected, column: str
) -> None:
    same_values(silver[column], expected.silver[column])


def test_each_event_is_in_silver_once(silver: pd.DataFrame) -> None:
    assert silver["event_id"].is_unique
    assert silver["event_id"].str.fullmatch(r"[0-9a-f]{64}").all()


def test_no_malformed_row_is_in_silver(silver: pd.DataFrame) -> None:
    must_be_there = silver.drop(columns="runtimeMinutes")
    assert must_be_there.notna().all().all()
    assert silver["tconst"].str.fullmatch(r"tt[0-9]+").all()


def test_messages_were_stamped_while_the_producer_ran(
    silver: pd.DataFrame, finished: dict[str, Any]
) -> None:
    # An earlier run of the producer may have sent them first; none can be of the future.
    assert silver["kafka_timestamp"].max() <= pd.Timestamp(datetime.now(UTC))
    started = datetime.fromisoformat(finished["started_at"])
    assert silver["kafka_timestamp"].min() >= pd.Timestamp(started - timedelta(days=30))


def test_silver_holds_no_partial_file(copies: Tables) -> None:
    # What begins with _ or . is passed over by every reader.
    visible = [path for path in copies.silver.iterdir() if path.name[0] not in "_."]
    assert sorted(visible) == copies.silver_files()
    assert sum(pq.read_metadata(path).num_rows for path in visible) == len(copies.event_ids())
    assert all(pq.read_metadata(path).num_rows > 0 for path in visible)


def test_genre_counts_equal_the_dumps_in_order(copies: Tables, expected: Expected) -> None:
    actual = copies.read_genre_counts()
    assert list(actual.columns) == GENRE_COLUMNS
    pd.testing.assert_frame_equal(actual, expected.genre_counts, check_dtype=False)


def test_genre_counts_csv_is_one_file_with_header(copies: Tables, expected: Expected) -> None:
    folder = copies.genre_counts_csv.parent
    visible = [path for path in folder.iterdir() if path.name[0] not in "_."]
    assert visible == [copies.genre_counts_csv]
    with copies.genre_counts_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    counts = expected.genre_counts
    wanted = [[g, str(n)] for g, n in zip(counts["genre"], counts["movie_count"], strict=True)]
    assert rows == [GENRE_COLUMNS, *wanted]


def test_status_counts_the_rows_of_silver(
    target: Target, silver: pd.DataFrame, patience: float
) -> None:
    wait_for(
        f"the job's status says {len(silver)} rows in silver",
        lambda: status_of(target, "imdb-streaming"),
        lambda status: bool(status["silver_rows"] == len(silver)),
        30 * patience,
    )


def test_each_batch_has_left_one_line_in_the_journal(target: Target, copies: Tables) -> None:
    # Of several hosts now one has run the job, now another.
    journal = "".join(
        run(target, host, "sudo", "journalctl", "--output=cat", "--unit=imdb-streaming")
        for host in target.groups["streaming"]
    )
    for path in copies.silver_files():
        run_id, numbers = path.stem.rsplit("-", 1)
        # One that was compacted is named by the first and the last of its batches.
        for number in numbers.split("_"):
            name = re.escape(f"{run_id}-{number}.parquet")
            pattern = rf"batch {int(number)}: \d+ rows in, \d+ written, .*{name}"
            assert len(re.findall(pattern, journal)) == 1
