"""Readers that loop over the tables, as anyone may, and keep every complaint."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import duckdb
import pandas as pd

from .tables import Tables

#: Seconds between two reads of one reader.
PAUSE = 1.5

Rows = list[tuple[object, ...]]


def _duckdb(query: str, path: str) -> Rows:
    with duckdb.connect() as connection:
        rows: Rows = connection.execute(query, [path]).fetchall()
    return rows


def _pandas(path: Path | list[Path], columns: list[str]) -> Rows:
    frame = pd.read_parquet(path, columns=columns)  # type: ignore[arg-type]  # a list too
    return list(zip(*(frame[name].tolist() for name in columns), strict=True))


def _text(path: Path) -> Rows:
    """The CSV as a plain program reads it: a header, whole lines, two columns."""
    content = path.read_text()
    header, *lines = content.splitlines()
    assert header == "genre,movie_count", f"the CSV begins with {header!r}"
    assert content.endswith("\n"), "the CSV ends within a line"
    return [(genre, int(count)) for genre, count in (line.split(",") for line in lines)]


def _pandas_csv(path: Path) -> Rows:
    frame = pd.read_csv(io.BytesIO(path.read_bytes()), keep_default_na=False)
    return list(zip(frame["genre"].tolist(), frame["movie_count"].tolist(), strict=True))


class Rising:
    """Rows that only ever become more: each has a key, no key twice, and none goes away."""

    def __init__(self) -> None:
        self._seen: set[tuple[object, ...]] = set()

    def __call__(self, rows: Rows) -> None:
        """Check what was read now against what was read before."""
        keys = set(rows)
        assert len(keys) == len(rows), f"{len(rows) - len(keys)} rows are doubled"
        lost = self._seen - keys
        assert not lost, f"{len(lost)} rows that were there are gone, such as {sorted(lost)[:3]}"
        self._seen = keys


class Snapshots:
    """Whole snapshots of genre_counts: each in order, and the sum of its counts never falls."""

    def __init__(self) -> None:
        self._sum = 0

    def __call__(self, rows: Rows) -> None:
        """Check what was read now against what was read before."""
        counts = [(str(genre), int(str(count))) for genre, count in rows]
        assert counts, "the snapshot has no row"
        assert counts == sorted(counts, key=lambda row: (-row[1], row[0])), "it is not in order"
        assert len({genre for genre, _ in counts}) == len(counts), "a genre stands twice"
        total = sum(count for _, count in counts)
        assert total >= self._sum, f"the counts' sum fell from {self._sum} to {total}"
        self._sum = total


class Readers:
    """Threads that read until they are stopped."""

    def __init__(self, tables: Tables, names: Collection[str] = (), pause: float = PAUSE) -> None:
        """Begin; every table that is read has at least a file.

        Args:
            tables: where they are.
            names: of the readers; all of them if none is given.
            pause: seconds between two reads of one reader.
        """
        #: What went wrong: which reader, when, what.
        self.problems: list[str] = []
        self.reads: dict[str, int] = {}
        self._stopping = threading.Event()
        self._pause = pause
        silver, letters = tables.silver, tables.parquet / "dead_letters"
        counts, csv = tables.genre_counts, tables.genre_counts_csv
        # A movie that changes back has an event id twice.
        ids = ["event_id", "tconst", "kafka_timestamp"]
        places = ["partition", "offset"]
        # As a number: as a time it would need a library that nothing else needs.
        select_ids = "select event_id, tconst, epoch_us(kafka_timestamp) from read_parquet(?)"
        select_places = 'select "partition", "offset" from read_parquet(?)'
        select_counts = "select genre, movie_count from read_parquet(?)"
        select_csv = "select genre, movie_count from read_csv(?, header = true)"
        readers: dict[str, tuple[Callable[[], Rows], Callable[[Rows], None]]] = {
            "silver, pandas, folder": (lambda: _pandas(silver, ids), Rising()),
            "silver, pandas, glob": (
                lambda: _pandas(sorted(silver.glob("*.parquet")), ids),
                Rising(),
            ),
            "silver, DuckDB, glob": (
                lambda: _duckdb(select_ids, f"{silver}/*.parquet"),
                Rising(),
            ),
            "silver, DuckDB, all below": (
                lambda: _duckdb(select_ids, f"{silver}/**/*.parquet"),
                Rising(),
            ),
            "dead letters, pandas, folder": (lambda: _pandas(letters, places), Rising()),
            "dead letters, DuckDB, glob": (
                lambda: _duckdb(select_places, f"{letters}/*.parquet"),
                Rising(),
            ),
            "counts, pandas, folder": (
                lambda: _pandas(counts.parent, ["genre", "movie_count"]),
                Snapshots(),
            ),
            "counts, pandas, file": (
                lambda: _pandas(counts, ["genre", "movie_count"]),
                Snapshots(),
            ),
            "counts, DuckDB, glob": (
                lambda: _duckdb(select_counts, f"{counts.parent}/*.parquet"),
                Snapshots(),
            ),
            "CSV, plain": (lambda: _text(csv), Snapshots()),
            "CSV, pandas": (lambda: _pandas_csv(csv), Snapshots()),
            "CSV, DuckDB, glob": (
                lambda: _duckdb(select_csv, f"{csv.parent}/*.csv"),
                Snapshots(),
            ),
        }
        self._begun = time.monotonic()
        self._threads = [
            threading.Thread(target=self._loop, args=(name, *what), name=name, daemon=True)
            for name, what in readers.items()
            if name in (names or readers)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop them all."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def _loop(self, name: str, read: Callable[[], Rows], check: Callable[[Rows], None]) -> None:
        self.reads[name] = 0
        while not self._stopping.wait(self._pause):
            try:
                check(read())
            except Exception as error:  # any failure of a reader is what the test looks for
                at = time.monotonic() - self._begun
                self.problems.append(f"{name}, at {at:.1f} s: {type(error).__name__}: {error}")
            else:
                self.reads[name] += 1
