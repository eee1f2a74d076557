"""The ratings that were kept, by title: in memory while they are few, on disk when they are not."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import NamedTuple

#: So many are held in memory, some 100 MB. At 1,000 votes IMDb has a third of that.
MOST_IN_MEMORY = 400_000


class Rating(NamedTuple):
    """A title's rating: the mean on a scale of 1 to 10, and the number of votes."""

    average: float
    votes: int


class Ratings:
    """tconst -> Rating, of any number, in bounded memory. Of two for a title the last counts."""

    def __init__(self, scratch: Path | None = None, most_in_memory: int = MOST_IN_MEMORY) -> None:
        """Hold what is put in; beyond `most_in_memory` in a file without a name in `scratch`."""
        self._scratch = scratch
        self._most = most_in_memory
        self._few: dict[bytes, Rating] = {}
        self._many: sqlite3.Connection | None = None

    def put(self, tconst: bytes, rating: Rating) -> None:
        """Keep a rating."""
        self._few[tconst] = rating
        if len(self._few) >= self._most:
            self._spill()

    def get(self, tconst: bytes) -> Rating | None:
        """Give a title's rating; None if it has none."""
        rating = self._few.get(tconst)
        if rating is None and self._many is not None:
            row = self._many.execute(
                "SELECT average, votes FROM ratings WHERE tconst = ?", (tconst,)
            ).fetchone()
            return Rating(*row) if row else None
        return rating

    def __len__(self) -> int:
        if self._many is None:
            return len(self._few)
        self._spill()
        count: int = self._many.execute("SELECT count(*) FROM ratings").fetchone()[0]
        return count

    def close(self) -> None:
        """Give back memory and disk."""
        self._few = {}
        if self._many is not None:
            self._many.close()
            self._many = None

    def _spill(self) -> None:
        if self._many is None:
            self._many = _nameless_database(self._scratch)
            self._many.execute(
                "CREATE TABLE ratings (tconst BLOB PRIMARY KEY, average REAL, votes INTEGER)"
                " WITHOUT ROWID"
            )
        self._many.executemany(
            "INSERT OR REPLACE INTO ratings VALUES (?, ?, ?)",
            sorted((tconst, *rating) for tconst, rating in self._few.items()),
        )
        self._many.commit()
        self._few = {}


def _nameless_database(folder: Path | None) -> sqlite3.Connection:
    """Open a database whose file is gone when the program is."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".ratings-") as file:
        database = sqlite3.connect(file.name)
        # Nothing of it is to outlive the program.
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("CREATE TABLE made (x)")
    return database
