"""From IMDb's two dumps to the records that are sent, by DuckDB.

The format is IMDb's: a header, columns separated by tabs, and no quoting, so that a `"` is nothing
but a character (https://developer.imdb.com/non-commercial-datasets/). A field that is `\\N` or
empty is unknown. Every line is counted once: read = kept + filtered + malformed.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Self

import duckdb

from imdb_producer.errors import DataError, StateError
from imdb_producer.records import Record

NOT_A_MOVIE = "not a movie"
NO_YEAR = "startYear unknown"
TOO_FEW_VOTES = "too few votes"

#: A longer line is damaged data; IMDb's longest have some thousand bytes.
LONGEST_LINE = 256 * 1024
#: Bytes of a title. IMDb's longest have some hundred; a broker takes no message of a million.
LONGEST_TEXT = 64 * 1024
#: Malformed lines that are named.
_EXAMPLES = 5
_MAX_INT = 2**31 - 1

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "200MB",
    # The thread that feeds it is the second.
    "threads": 1,
    "autoinstall_known_extensions": False,
}
#: The size of a pipe is not known: DuckDB would take it for small, and hold it in memory to join.
_PRELUDE = f"""
SET disabled_optimizers = 'build_side_probe_side,join_order';
SET enable_progress_bar = false;
CREATE MACRO known(field) AS nullif(nullif(field, '\\N'), '');
CREATE MACRO is_number(field) AS
    regexp_full_match(field, '[0-9]{{1,10}}') AND try_cast(field AS BIGINT) <= {_MAX_INT};
CREATE MACRO is_rating(field) AS regexp_full_match(field, '[0-9]{{1,2}}([.][0-9]+)?')
    AND try_cast(field AS DOUBLE) BETWEEN 1 AND 10;
CREATE MACRO wrong(name, field) AS
    name || CASE WHEN known(field) IS NULL THEN ' is unknown' ELSE ' is ''' || field || '''' END;
"""
#: A row for each line with its `fate`, which is empty if it is kept; its number, unless it was
#: filtered; and what it holds, if it is kept. Of lines that are filtered for the most common reason
#: there is none. Nothing is grouped: DuckDB holds groups in memory, and a row can go to disk. It
#: passes over columns that it was not told of: so there is one more than there should be.
_TABLE = """
CREATE TABLE {dump} AS
WITH lines AS (
    SELECT row_number() OVER () AS number, {fields}, {last} AS last, more
    FROM read_csv('{path}', columns = {types}, auto_detect = false, header = false,
        compression = 'none', delim = '\t', quote = '', escape = '', comment = '', nullstr = '\n',
        null_padding = true, strict_mode = false, max_line_size = {longest},
        buffer_size = 8388608, rejects_table = '{dump}_rejects', rejects_scan = '{dump}_scans')
), rows AS (
    SELECT * FROM lines WHERE number > 1
        AND NOT coalesce(last IS NOT NULL AND more IS NULL AND {common}, false)
), judged AS (
    SELECT rows.*, CASE WHEN more IS NOT NULL THEN 'more than {width} columns'
        WHEN last IS NULL THEN 'fewer than {width} columns' {cases} ELSE '' END AS fate
    FROM rows {join}
)
SELECT fate, CASE WHEN fate NOT IN {filtered} THEN number END AS number, {columns} FROM judged
"""
_RATING_CASES = """
WHEN NOT coalesce(is_number(numVotes), false) THEN wrong('numVotes', numVotes)
WHEN NOT is_rating(averageRating) THEN wrong('averageRating', averageRating)
WHEN NOT regexp_full_match(tconst, 'tt[0-9]+') THEN wrong('tconst', tconst)
"""
_MOVIE_CASES = f"""
WHEN known(startYear) IS NULL THEN '{NO_YEAR}'
WHEN votes IS NULL THEN '{TOO_FEW_VOTES}'
WHEN known(primaryTitle) IS NULL THEN wrong('primaryTitle', primaryTitle)
WHEN strlen(primaryTitle) > {LONGEST_TEXT}
    THEN 'primaryTitle has ' || strlen(primaryTitle) || ' bytes'
WHEN NOT regexp_full_match(startYear, '[0-9]{{4}}') THEN wrong('startYear', startYear)
WHEN known(runtimeMinutes) IS NOT NULL AND NOT is_number(runtimeMinutes)
    THEN wrong('runtimeMinutes', runtimeMinutes)
WHEN strlen(genres) > {LONGEST_TEXT} THEN 'genres has ' || strlen(genres) || ' bytes'
"""

_REJECTED = {
    "INVALID ENCODING": "empty, not UTF-8, or with a CR",
    "LINE SIZE OVER MAXIMUM": f"more than {LONGEST_LINE} bytes",
}


@dataclass(slots=True)
class Counts:
    """What became of each line of a dump (the header is not counted).

    `examples` are the first few malformed lines, with line number and reason.
    """

    read: int = 0
    kept: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    malformed: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in self.filtered.items())
        filtered = f"{self.filtered.total()} filtered" + (f" ({reasons})" if reasons else "")
        return f"{self.kept} kept, {filtered}, {self.malformed} malformed"


class Dumps:
    """Both dumps in a DuckDB of bounded memory; what is more lies in files in `scratch`."""

    def __init__(self, scratch: Path | None = None) -> None:
        folder = "" if scratch is None else _spill_folder(scratch)
        self._database = duckdb.connect(config=_SETTINGS | {"temp_directory": folder})
        self._database.execute(_PRELUDE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._database.close()
        if isinstance(error, duckdb.Error):
            raise StateError(
                f"DuckDB cannot go on with the dumps: {error}. Nothing of them was sent. Make room "
                "on the disk of CACHE_DIR, see that it is writable and that memory is left."
            ) from error

    def read_ratings(self, blocks: Iterable[bytes], min_votes: int) -> Counts:
        """Read title.ratings; keep the titles that have at least `min_votes` votes.

        Args:
            blocks: the file's bytes, in blocks that may end anywhere.
            min_votes: the least number of votes to keep a title; of two ratings the last counts.

        Raises:
            DataError: the dump is empty or lacks a column.
        """
        counts = self._read(
            blocks,
            "ratings",
            ("tconst", "averageRating", "numVotes"),
            _RATING_CASES,
            (TOO_FEW_VOTES,),
            f"is_number(numVotes) AND try_cast(numVotes AS BIGINT) < {min_votes}",
        )
        self._database.execute(
            "CREATE TABLE rated AS SELECT tconst, max_by(averageRating, number)::DOUBLE AS average,"
            " max_by(numVotes, number)::INTEGER AS votes FROM ratings WHERE fate = '' GROUP BY ALL;"
            "DROP TABLE ratings"
        )
        return counts

    def read_movies(self, blocks: Iterable[bytes]) -> Counts:
        """Read title.basics; keep the movies whose year is known and whose rating was kept.

        Raises:
            DataError: the dump is empty or lacks a column.
        """
        return self._read(
            blocks,
            "basics",
            ("tconst", "titleType", "primaryTitle", "startYear", "runtimeMinutes", "genres"),
            _MOVIE_CASES,
            (NOT_A_MOVIE, NO_YEAR, TOO_FEW_VOTES),
            "titleType <> 'movie'",
            "LEFT JOIN rated ON rated.tconst = rows.tconst",
        )

    def records(self, limit: int | None = None) -> Iterator[Record]:
        """Give the movies that were kept, in the order of title.basics."""
        movies = self._database.execute(
            "SELECT tconst, primaryTitle, startYear::INTEGER, known(runtimeMinutes)::INTEGER,"
            " coalesce(known(genres), ''), average, votes"
            " FROM basics JOIN rated USING (tconst) WHERE fate = '' ORDER BY number LIMIT $1",
            [limit],
        )
        while rows := movies.fetchmany(1000):
            for tconst, title, year, runtime, genres, average, votes in rows:
                yield Record(tconst, title, year, runtime, _split(genres), average, votes)

    def _read(
        self,
        blocks: Iterable[bytes],
        dump: str,
        columns: tuple[str, ...],
        cases: str,
        filtered: tuple[str, ...],
        common: str,
        join: str = "",
    ) -> Counts:
        """Make the table of a dump; count what became of its lines.

        `common` is the condition of the first of the reasons in `filtered`.
        """
        header, blocks = _header(blocks, f"title.{dump}", columns)
        statement = _TABLE.format(
            dump=dump,
            path="{path}",
            longest=LONGEST_LINE,
            types=dict.fromkeys([*(f"c{it}" for it in range(len(header))), "more"], "VARCHAR"),
            fields=", ".join(f"c{header.index(it)} AS {it}" for it in columns),
            last=f"c{len(header) - 1}",
            common=common,
            width=len(header),
            cases=cases,
            join=join,
            filtered=f"({', '.join(map(repr, filtered))})",
            columns=", ".join(f"CASE WHEN fate = '' THEN {it} END AS {it}" for it in columns),
        )
        self._feed(statement, blocks)
        return self._count(dump, filtered)

    def _feed(self, statement: str, blocks: Iterable[bytes]) -> None:
        """Have DuckDB read blocks by a pipe, in a thread of its own."""
        reader, writer = os.pipe()

        def execute() -> None:
            try:
                self._database.execute(statement.replace("{path}", f"/dev/fd/{reader}"))
            finally:
                os.close(reader)

        with ThreadPoolExecutor(1) as pool, os.fdopen(writer, "wb") as pipe:
            reading = pool.submit(execute)
            try:
                pipe.writelines(_cleaned(blocks))
                pipe.close()
            except BrokenPipeError:
                # It has given up, and says why.
                pass
            except BaseException:
                self._database.interrupt()
                raise
            reading.result()

    def _count(self, dump: str, filtered: tuple[str, ...]) -> Counts:
        """Count what became of the lines. DuckDB rejects those that are too long or not UTF-8."""
        fates = dict(self._rows(f"SELECT fate, count(*) FROM {dump} GROUP BY fate"))
        counts = Counts(kept=fates.pop("", 0))
        counts.filtered.update({it: fates.pop(it) for it in filtered if it in fates})
        found = self._rows(
            f"SELECT number, fate FROM {dump} WHERE number IS NOT NULL AND fate <> ''"
            f" ORDER BY number LIMIT {_EXAMPLES}"
        )
        ((end,),) = self._rows(f"SELECT max(number) FROM {dump}")
        rejected = self._rows(
            f"SELECT line, min(error_type::VARCHAR) FROM {dump}_rejects GROUP BY line"
            f" ORDER BY line LIMIT {_EXAMPLES}"
        )
        ((more,),) = self._rows(f"SELECT count(DISTINCT line) FROM {dump}_rejects")
        # Neither the first line, which was the header, nor the last, which is our own, counts.
        counts.read = end + more - 2
        counts.malformed = sum(fates.values()) + more - 1
        # Of lines that are filtered for the most common reason there is no row.
        if common := counts.read - counts.kept - counts.filtered.total() - counts.malformed:
            counts.filtered[filtered[0]] = common
        examples = [(line, _REJECTED.get(kind, kind)) for line, kind in rejected]
        for number, reason in found:
            if number == end:
                break
            # The lines that were rejected before it have no number.
            for line, _ in rejected:
                number += line <= number
            examples.append((number, reason))
        counts.examples = [
            f"line {it}: {_printable(why)}" for it, why in sorted(examples)[:_EXAMPLES]
        ]
        return counts

    def _rows(self, query: str) -> list[Any]:
        return self._database.execute(query).fetchall()


def _spill_folder(scratch: Path) -> str:
    """Name a folder of this process, and remove those of processes that were killed."""
    for folder in scratch.glob(".duckdb-*"):
        if not Path("/proc", folder.name.rpartition("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)
    return str(scratch / f".duckdb-{os.getpid()}")


def _header(
    blocks: Iterable[bytes], dump: str, names: tuple[str, ...]
) -> tuple[list[str], Iterator[bytes]]:
    """Read the names of the columns; give them, and the blocks with a line in place of theirs."""
    rest = iter(blocks)
    start = b""
    for block in rest:
        start += block
        if b"\n" in start or len(start) > LONGEST_LINE:
            break
    if not start:
        raise DataError(f"{dump} is empty: not even a header line. Fetch the file again.")
    line, _, start = start.partition(b"\n")
    header = line.removesuffix(b"\r").decode("utf-8-sig", "replace").split("\t")
    missing = [name for name in names if name not in header]
    if missing:
        raise DataError(
            f"{dump} lacks the column {', '.join(missing)}: its header is "
            f"{', '.join(header)[:120]!r}. Check that the URL names IMDb's {dump}.tsv.gz."
        )
    return header, chain([b"header\n" + start], rest)


def _cleaned(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Give the same lines and a last one, each ended by LF alone.

    DuckDB takes a CR for the end of a line, and does not count empty lines: here these become a
    byte that is not UTF-8. The last line tells how many there were.
    """
    rest = b""
    for block in chain(filter(None, blocks), [b""]):
        lines = rest + (block or (b"end\n" if rest.endswith(b"\n") else b"\nend\n"))
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n")
        while b"\n\n" in lines:
            lines = lines.replace(b"\n\n", b"\n\xff\n")
        # What they are is known when the next block is.
        rest = lines[-2:]
        yield lines[:-2].replace(b"\r", b"\xff")
    yield rest


def _split(genres: str) -> list[str]:
    """Split by comma, as IMDb does, or by `|`, as older copies do; each genre once."""
    names = map(str.strip, genres.replace("|", ",").split(","))
    return list(dict.fromkeys(name for name in names if name))


def _printable(text: str, length: int = 160) -> str:
    """Give the beginning of a text as a log may show it."""
    text = text if len(text) <= length else text[: length - 1] + "…"
    return "".join(it if it.isprintable() else repr(it)[1:-1] for it in text)
