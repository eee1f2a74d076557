"""The tables as the page shows them, read a file at a time as they grow."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import duckdb

from imdb_dashboard.errors import SourceError
from imdb_dashboard.files import TableFile, list_table
from imdb_dashboard.store import (
    FILES_A_QUERY,
    LETTERS_KEPT,
    ROWS_A_QUERY,
    Filter,
    Found,
    Letter,
    Store,
)

SILVER, GENRE_COUNTS, DEAD_LETTERS = "silver_movies", "genre_counts", "dead_letters"
#: Movies of the page's table.
BEST = 25
#: Filters whose answers are kept until rows come.
ANSWERS = 64
#: Minutes of the page's charts.
MINUTES = 60
#: A file may be gone when it is read, after a compaction: then the folder is listed anew.
ATTEMPTS = 3

log = logging.getLogger("imdb_dashboard")


@dataclass(frozen=True)
class Minute:
    """Rows that came in a minute, which begins at `at`, and how long they had taken."""

    at: float
    rows: int
    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class TablesState:
    """What the tables hold. `generation` grows whenever rows came."""

    generation: int
    rows: int
    movies: int
    #: When the last file of rows was written, in seconds since 1970.
    newest: float | None
    years: tuple[int, int] | None
    minutes: tuple[Minute, ...]
    #: Of the last ten minutes.
    p50: float | None
    p99: float | None
    genres: tuple[tuple[str, int], ...]
    letters: int
    reasons: tuple[tuple[str, int], ...]
    latest_letters: tuple[Letter, ...]

    def rows_since(self, seconds: float, now: float) -> int:
        """Return the rows of the last minutes, the one that goes on among them."""
        return sum(it.rows for it in self.minutes if it.at + 60 > now - seconds)


@dataclass
class Seen:
    """Files of a table that have been read, with their rows."""

    files: dict[str, TableFile] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Return the rows of all files."""
        return sum(self.rows.values())


class Tables:
    """Follows the tables; any thread may ask."""

    def __init__(self, folder: Path, memory_mb: int) -> None:
        """Begin with nothing read."""
        self._folder = folder
        self._memory_mb = memory_mb
        self._lock = threading.RLock()
        self._generation = 0
        #: Of a generation: movies, and the first and the last year.
        self._counted: tuple[int, int, tuple[int, int] | None] = (0, 0, None)
        #: Files of silver that have been read so far, of how many; while a first reading goes on.
        self.progress = (0, 0)
        self._start()
        self._answers = lru_cache(ANSWERS)(self._answer)

    def _start(self) -> None:
        self._store = Store(self._folder, self._memory_mb)
        self._silver = Seen()
        self._letters = Seen()
        self._reasons: Counter[str] = Counter()
        self._latest: list[Letter] = []
        self._genres: tuple[TableFile | None, list[tuple[str, int]]] = (None, [])

    def close(self) -> None:
        """Give its memory back."""
        with self._lock:
            self._store.close()

    def refresh(self) -> TablesState:
        """Read what is new, and return how the tables are.

        Raises:
            SourceError: They cannot be read.
        """
        with self._lock:
            for attempt in range(ATTEMPTS):
                try:
                    return self._refresh()
                except duckdb.Error as error:
                    if attempt == ATTEMPTS - 1:
                        raise self._cannot(error) from error
                    log.info("read again: %s", error)
            raise AssertionError("an attempt either ends or fails")

    def _cannot(self, error: duckdb.Error) -> SourceError:
        log.warning("tables: %s", error)
        if isinstance(error, duckdb.OutOfMemoryException):
            return SourceError(
                f"The movies do not fit into {self._memory_mb} MiB. Give the page more by "
                "dashboard_memory_mb."
            )
        reason = str(error).splitlines()[0]
        return SourceError(f"The tables in {self._folder} cannot be read: {reason}")

    def _refresh(self) -> TablesState:
        changed = self._read_silver(list_table(self._folder, SILVER))
        changed |= self._read_letters(list_table(self._folder, DEAD_LETTERS))
        self._read_genres(list_table(self._folder, GENRE_COUNTS))
        if changed:
            self._generation += 1
            self._answers.cache_clear()
        return self._state(time.time())

    def _read_silver(self, listed: dict[str, TableFile]) -> bool:
        new = _new(self._silver, listed)
        rows = self._store.rows_of(new)
        if not self._account_for(listed, new, rows):
            log.info("silver_movies is another table than before: all of it is read")
            self._store.close()
            self._start()
            new = list(listed.values())
            rows = self._store.rows_of(new)
        new = [file for file in new if file.path.name not in self._silver.files]
        new.sort(key=lambda file: file.path.name)
        done = 0
        for part in _parts(new, rows):
            self.progress = (done, len(new))
            self._store.take_in(part, sum(rows[file.path.name] for file in part))
            for file in part:
                self._silver.files[file.path.name] = file
                self._silver.rows[file.path.name] = rows[file.path.name]
            done += len(part)
        self.progress = (done, len(new))
        return bool(new)

    def _account_for(
        self, listed: dict[str, TableFile], new: list[TableFile], rows: dict[str, int]
    ) -> bool:
        """Put compacted files in the place of those that they are of; False if others are gone."""
        gone = {name: file for name, file in self._silver.files.items() if name not in listed}
        if any(file.path.name in self._silver.files for file in new):
            return False  # replaced
        for file in [it for it in new if it.is_compacted]:
            of_it = [name for name, other in gone.items() if file.covers(other)]
            if of_it and sum(self._silver.rows[name] for name in of_it) == rows[file.path.name]:
                for name in of_it:
                    del gone[name], self._silver.files[name], self._silver.rows[name]
                self._silver.files[file.path.name] = file
                self._silver.rows[file.path.name] = rows[file.path.name]
        return not gone

    def _read_letters(self, listed: dict[str, TableFile]) -> bool:
        new = _new(self._letters, listed)
        rows = self._store.rows_of(new)
        gone = self._letters.files.keys() - listed.keys()
        if gone or any(file.path.name in self._letters.files for file in new):
            # There are few of them.
            self._letters, self._reasons, self._latest = Seen(), Counter(), []
            new = list(listed.values())
            rows = self._store.rows_of(new)
        for start in range(0, len(new), FILES_A_QUERY):
            part = new[start : start + FILES_A_QUERY]
            reasons, latest = self._store.letters(part)
            self._reasons += reasons
            self._latest = sorted([*latest, *self._latest], key=lambda it: -it.at)[:LETTERS_KEPT]
            for file in part:
                self._letters.files[file.path.name] = file
                self._letters.rows[file.path.name] = rows[file.path.name]
        return bool(new)

    def _read_genres(self, listed: dict[str, TableFile]) -> None:
        file = listed.get("genre_counts.parquet")
        if file and file != self._genres[0]:
            self._genres = (file, self._store.genres(file))

    def _state(self, now: float) -> TablesState:
        if self._counted[0] != self._generation:
            self._counted = (self._generation, self._store.movies(), self._store.years())
        _, movies, years = self._counted
        arrivals = self._store.arrivals
        arrivals.forget(now)
        last = int(now // 60)
        files = self._silver.files.values()
        came = [it.written for it in files if not it.is_compacted] or [it.written for it in files]
        return TablesState(
            generation=self._generation,
            rows=self._silver.total,
            movies=movies,
            newest=max(came, default=None),
            years=years,
            minutes=tuple(
                Minute(
                    minute * 60.0,
                    arrivals.rows(minute),
                    arrivals.quantile(range(minute, minute + 1), 0.5),
                    arrivals.quantile(range(minute, minute + 1), 0.99),
                )
                for minute in range(last - MINUTES + 1, last + 1)
            ),
            p50=arrivals.quantile(range(last - 9, last + 1), 0.5),
            p99=arrivals.quantile(range(last - 9, last + 1), 0.99),
            genres=tuple(self._genres[1]),
            letters=self._letters.total,
            reasons=tuple(self._reasons.most_common()),
            latest_letters=tuple(self._latest),
        )

    def find(self, wanted: Filter) -> Found:
        """Return the movies that a filter leaves."""
        with self._lock:
            return self._answers(wanted)

    def _answer(self, wanted: Filter) -> Found:
        return self._store.find(wanted, BEST)


def _new(seen: Seen, listed: dict[str, TableFile]) -> list[TableFile]:
    """Return the files that have not been read, or are not what they were."""
    return [file for name, file in listed.items() if seen.files.get(name) != file]


def _parts(files: list[TableFile], rows: dict[str, int]) -> Iterator[list[TableFile]]:
    """Yield files together that one query may read; one that is larger by itself."""
    part: list[TableFile] = []
    number = 0
    for file in files:
        number += rows[file.path.name]
        if part and (number > ROWS_A_QUERY or len(part) == FILES_A_QUERY):
            yield part
            part, number = [], rows[file.path.name]
        part.append(file)
    if part:
        yield part
