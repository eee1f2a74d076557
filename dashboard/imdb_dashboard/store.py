"""Movies in memory: the last version of each, and what is counted of all rows as they come.

The store reads each file of a table once. A table of a million movies takes some 35 MiB.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from imdb_dashboard.files import TableFile

#: Files read by one query, and rows of one at most: they are held twice for a moment.
FILES_A_QUERY = 200
ROWS_A_QUERY = 50_000
#: For so long rows a minute are kept.
MINUTES_KEPT = 24 * 60
#: Two latencies that differ by less, 5 %, are counted as one.
STEPS = 20
#: The longest text of a message that is shown, in bytes, and of how many messages.
VALUE_BYTES = 200
LETTERS_KEPT = 50

#: The job takes none whose name is not tt and digits; what else may lie in a file has a number too.
_ID = "coalesce(try_cast(substr(tconst, 3) AS BIGINT), -1 - (hash(tconst) >> 2)::BIGINT)"
_READ = """
    CREATE OR REPLACE TEMP TABLE incoming AS
    SELECT id, max_by(row, sent) AS row, max(sent) AS sent FROM (
        SELECT {id} AS id, epoch_us(kafka_timestamp)::BIGINT AS sent, {{
            'title': primaryTitle, 'year': startYear::SMALLINT,
            'genres': array_to_string(genres, ','), 'rating': averageRating::FLOAT,
            'votes': numVotes, 'score': weighted_score::FLOAT
        }} AS row
        FROM read_parquet($files) WHERE abs({id}) % $slices = $slice
    ) GROUP BY id
"""
_TAKE_IN = (
    "DELETE FROM incoming USING kept.movies AS m"
    " WHERE m.id = incoming.id AND m.sent > incoming.sent",
    "DELETE FROM kept.movies USING incoming WHERE incoming.id = movies.id",
    "INSERT INTO kept.movies SELECT id, unnest(row), sent FROM incoming",
)
_LATENCIES = f"""
    WITH file AS (SELECT unnest($files) AS filename, unnest($times) AS written)
    SELECT written, count(*),
        ceil({STEPS} * ln(greatest(written - epoch_us(kafka_timestamp) / 1e6, 0.01)))::INT AS step
    FROM read_parquet($files, filename = true) JOIN file USING (filename) GROUP BY ALL
"""


@dataclass
class Arrivals:
    """Rows of the last day by the minute in which their file was written, and their latencies."""

    #: By minute, since 1970, and step: rows whose latency is at most exp(step / STEPS) seconds.
    minutes: dict[int, Counter[int]] = field(default_factory=dict)

    def add(self, minute: int, step: int, rows: int) -> None:
        """Count rows that came in a minute."""
        self.minutes.setdefault(minute, Counter())[step] += rows

    def forget(self, now: float) -> None:
        """Drop what is older than a day."""
        first = int(now // 60) - MINUTES_KEPT
        for minute in [it for it in self.minutes if it < first]:
            del self.minutes[minute]

    def rows(self, minute: int) -> int:
        """Return how many came in a minute."""
        return self.minutes.get(minute, Counter()).total()

    def quantile(self, minutes: range, share: float) -> float | None:
        """Return the latency in seconds that a share of these minutes' rows has at most."""
        steps: Counter[int] = Counter()
        for minute in minutes:
            steps.update(self.minutes.get(minute, {}))
        wanted, seen = share * steps.total(), 0
        for step in sorted(steps):
            seen += steps[step]
            if seen >= wanted:
                return math.exp(step / STEPS)
        return None


@dataclass(frozen=True)
class Filter:
    """Which movies are looked for; empty and None are all."""

    title: str = ""
    genre: str = ""
    first_year: int | None = None
    last_year: int | None = None
    least_votes: int = 0

    def condition(self) -> tuple[str, list[object]]:
        """Return it as SQL, and the values of its parameters."""
        parts: list[tuple[str, object]] = []
        if self.title:
            parts.append(("contains(lower(title), lower(?))", self.title))
        if self.genre:
            parts.append(("list_contains(string_split(genres, ','), ?)", self.genre))
        if self.first_year is not None:
            parts.append(("year >= ?", self.first_year))
        if self.last_year is not None:
            parts.append(("year <= ?", self.last_year))
        if self.least_votes:
            parts.append(("votes >= ?", self.least_votes))
        return " AND ".join(text for text, _ in parts) or "true", [value for _, value in parts]


@dataclass(frozen=True)
class Movie:
    """A row of the page's table."""

    title: str
    year: int
    genres: str
    rating: float
    votes: int
    score: float


@dataclass(frozen=True)
class Found:
    """What a filter leaves: how many movies, the best of them, and how they lie.

    A cell is a tenth of a power of ten of votes, a fifth of a point of score, and its movies.
    """

    count: int
    best: tuple[Movie, ...]
    cells: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True)
class Letter:
    """A message that broke the contract."""

    at: float
    place: str
    reason: str
    value: str


class Store:
    """The database in memory, for one thread at a time."""

    def __init__(self, folder: Path, memory_mb: int) -> None:
        """Make an empty one that may read files of the folder, and nothing else."""
        self._database = duckdb.connect(
            ":memory:",
            config={
                "threads": 1,
                "memory_limit": f"{memory_mb}MiB",
                "temp_directory": "",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "preserve_insertion_order": False,
            },
        )
        run = self._database.execute
        run("ATTACH ':memory:' AS kept (COMPRESS)")
        run("SET allowed_directories = ?", [[str(folder)]])
        run("SET enable_external_access = false")
        run(
            "CREATE TABLE kept.movies (id BIGINT, title VARCHAR, year SMALLINT, genres VARCHAR,"
            " rating FLOAT, votes INTEGER, score FLOAT, sent BIGINT)"
        )
        self.arrivals = Arrivals()

    def close(self) -> None:
        """Give its memory back."""
        self._database.close()

    def rows_of(self, files: Sequence[TableFile]) -> dict[str, int]:
        """Return how many rows each file has, by name, from its footer."""
        found: dict[str, int] = {}
        for start in range(0, len(files), FILES_A_QUERY):
            paths = [str(file.path) for file in files[start : start + FILES_A_QUERY]]
            rows = self._database.execute(
                "SELECT file_name, num_rows FROM parquet_file_metadata($files)", {"files": paths}
            ).fetchall()
            found |= {Path(path).name: int(number) for path, number in rows}
        return found

    def take_in(self, files: Sequence[TableFile], rows: int) -> None:
        """Read files of silver_movies, which have so many rows together.

        Where it fails half-way, reading them again makes it good.

        Raises:
            duckdb.Error: A file is gone, or is no Parquet file of that table.
        """
        paths = [str(file.path) for file in files]
        slices = max(1, math.ceil(rows / ROWS_A_QUERY))
        run = self._database.execute
        counted = self._count(files)
        for slice_ in range(slices):
            run(_READ.format(id=_ID), {"files": paths, "slices": slices, "slice": slice_})
            run("BEGIN")
            try:
                for statement in _TAKE_IN:
                    run(statement)
            except duckdb.Error:
                run("ROLLBACK")
                raise
            run("COMMIT")
            # Only then rows lie in memory compressed, and those that were deleted are gone.
            run("CHECKPOINT kept")
        run("DROP TABLE incoming")
        for minute, step, number in counted:
            self.arrivals.add(minute, step, number)

    def _count(self, files: Sequence[TableFile]) -> list[tuple[int, int, int]]:
        """Return minute, step of latency and rows; when compacted rows came is not known."""
        first = (time.time() // 60 - MINUTES_KEPT) * 60
        late = [it for it in files if not it.is_compacted and it.written >= first]
        if not late:
            return []
        found = self._database.execute(
            _LATENCIES,
            {"files": [str(it.path) for it in late], "times": [it.written for it in late]},
        ).fetchall()
        return [(int(written // 60), step, rows) for written, rows, step in found]

    def movies(self) -> int:
        """Return how many movies there are."""
        row = self._database.execute("SELECT count(*) FROM kept.movies").fetchone()
        return int(row[0]) if row else 0

    def years(self) -> tuple[int, int] | None:
        """Return the first and the last year of all movies."""
        row = self._database.execute("SELECT min(year), max(year) FROM kept.movies").fetchone()
        return (row[0], row[1]) if row and row[0] is not None else None

    def find(self, wanted: Filter, limit: int) -> Found:
        """Return the movies that a filter leaves, the best first."""
        condition, values = wanted.condition()
        run = self._database.execute
        best = run(
            f"SELECT title, year, genres, rating, votes, score FROM kept.movies WHERE {condition}"
            f" ORDER BY score DESC, votes DESC, id LIMIT {limit:d}",
            values,
        ).fetchall()
        cells = run(
            "SELECT floor(10 * log10(greatest(votes, 1))) / 10, floor(5 * score) / 5, count(*)"
            f" FROM kept.movies WHERE {condition} GROUP BY ALL ORDER BY ALL",
            values,
        ).fetchall()
        return Found(
            sum(number for _, _, number in cells),
            tuple(Movie(*row) for row in best),
            tuple(cells),
        )

    def genres(self, file: TableFile) -> list[tuple[str, int]]:
        """Return the rows of genre_counts, most movies first."""
        return self._database.execute(
            "SELECT genre, movie_count FROM read_parquet(?) ORDER BY movie_count DESC, genre",
            [str(file.path)],
        ).fetchall()

    def letters(self, files: Sequence[TableFile]) -> tuple[Counter[str], list[Letter]]:
        """Return how many dead letters of each reason files hold, and the latest of them."""
        paths = [str(file.path) for file in files]
        run = self._database.execute
        counts = run(
            "SELECT reason, count(*) FROM read_parquet(?) GROUP BY reason", [paths]
        ).fetchall()
        latest = run(
            f"""SELECT epoch_us(kafka_timestamp) / 1e6, topic, "partition", "offset", reason,
                left(hex(value), {2 * VALUE_BYTES}),
                octet_length(value)
            FROM read_parquet(?) ORDER BY kafka_timestamp DESC LIMIT {LETTERS_KEPT}""",
            [paths],
        ).fetchall()
        return Counter(dict(counts)), [_letter(*row) for row in latest]


def _letter(
    at: float,
    topic: str,
    partition: int,
    offset: int,
    reason: str,
    value: str | None,
    length: int | None,
) -> Letter:
    if value is None:
        text = "(no value)"
    else:
        text = bytes.fromhex(value).decode(errors="replace")
        if length and length > VALUE_BYTES:
            text += f" … ({length:,} bytes)"
    return Letter(at, f"{topic}/{partition}/{offset}", reason, text)
