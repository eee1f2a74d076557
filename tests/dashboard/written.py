"""Tables as the job writes them: a file a batch, in place under its name at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

NOW = 1_800_000_000.0
_TIME = pa.timestamp("us", tz="UTC")
SILVER = pa.schema(
    [
        ("tconst", pa.string()),
        ("primaryTitle", pa.string()),
        ("startYear", pa.int32()),
        ("runtimeMinutes", pa.int32()),
        ("genres", pa.list_(pa.string())),
        ("averageRating", pa.float64()),
        ("numVotes", pa.int32()),
        ("weighted_score", pa.float64()),
        ("event_id", pa.string()),
        ("kafka_timestamp", _TIME),
    ]
)
LETTERS = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("kafka_timestamp", _TIME),
        ("reason", pa.string()),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)
COUNTS = pa.schema([("genre", pa.string()), ("movie_count", pa.int64())])


def moment(seconds: float) -> datetime:
    """Return a time since 1970 as the tables have it."""
    return datetime.fromtimestamp(seconds, UTC)


def movie(number: int, **other: Any) -> dict[str, Any]:
    """Return a row of silver_movies."""
    return {
        "tconst": f"tt{number:07}",
        "primaryTitle": f"Movie {number}",
        "startYear": 2000,
        "runtimeMinutes": None,
        "genres": ["Drama"],
        "averageRating": 7.0,
        "numVotes": 5000,
        "weighted_score": 6.5,
        "event_id": f"{number}",
        "kafka_timestamp": moment(NOW),
    } | other


def letter(offset: int, reason: str, value: bytes | None, at: float = NOW) -> dict[str, Any]:
    """Return a row of dead_letters."""
    return {
        "topic": "imdb-movies",
        "partition": 0,
        "offset": offset,
        "kafka_timestamp": moment(at),
        "reason": reason,
        "key": None,
        "value": value,
    }


@dataclass
class Written:
    """A folder of tables."""

    folder: Path
    batches: int = field(default=0, init=False)

    def batch(self, *movies: dict[str, Any], at: float | None = None) -> Path:
        """Write a batch's file of silver_movies, as if at a time."""
        name = f"main-{self.batches:010d}.parquet"
        self.batches += 1
        return self.put("silver_movies", name, movies, SILVER, at)

    def letters(self, *letters: dict[str, Any]) -> Path:
        """Write a batch's file of dead_letters."""
        name = f"main-{self.batches:010d}.parquet"
        self.batches += 1
        return self.put("dead_letters", name, letters, LETTERS)

    def genres(self, **counts: int) -> Path:
        """Replace genre_counts."""
        rows = [{"genre": genre, "movie_count": count} for genre, count in counts.items()]
        return self.put("genre_counts", "genre_counts.parquet", rows, COUNTS)

    def compact(self, first: int, last: int) -> Path:
        """Put one file in the place of some batches'."""
        silver = self.folder / "silver_movies"
        files = [silver / f"main-{batch:010d}.parquet" for batch in range(first, last + 1)]
        rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
        joined = self.put("silver_movies", f"main-{first:010d}_{last:010d}.parquet", rows, SILVER)
        for file in files:
            file.unlink()
        return joined

    def put(
        self,
        table: str,
        name: str,
        rows: Sequence[dict[str, Any]],
        schema: Any,
        at: float | None = None,
    ) -> Path:
        """Write a file beside, and rename it."""
        path = self.folder / table / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{name}.tmp")
        parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), beside)
        if at is not None:
            os.utime(beside, (at, at))
        beside.rename(path)
        return path
