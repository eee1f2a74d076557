"""What the topic has of each movie: the event id that was delivered last.

A new dump is compared with it, so that only what is new or changed is sent. It lies on disk, as
there may be any number of movies. Each host has its own, and it is of use only as long as no other
host has sent since: it is kept with the version of the data set that it is complete up to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from imdb_producer.errors import StateError
from imdb_producer.records import Message

_TOGETHER = 10_000


class Delivered:
    """tconst -> event id, in an SQLite file."""

    def __init__(self, path: Path) -> None:
        """Open the file; it is made if it is missing.

        Raises:
            StateError: it is damaged, or cannot be written.
        """
        self._path = path
        with self._explained():
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS delivered (tconst BLOB PRIMARY KEY, event_id BLOB)"
                " WITHOUT ROWID"
            )
            self._database.execute("CREATE TABLE IF NOT EXISTS known (version INTEGER)")
            row = self._database.execute("SELECT version FROM known").fetchone()
        #: Of the data set up to which it is complete; 0 if it holds nothing.
        self.version = row[0] if row else 0
        if row is None:
            # Also what a program wrote that did not say up to where.
            self.clear()

    def holds(self, message: Message) -> bool:
        """Say whether the topic has just this of the movie."""
        row = self._database.execute(
            "SELECT event_id FROM delivered WHERE tconst = ?", (message.key,)
        ).fetchone()
        return row is not None and row[0] == bytes.fromhex(message.event_id.decode())

    def note(
        self, delivered: Iterable[Message], uncertain: Iterable[Message], version: int
    ) -> None:
        """Note all that became of a data set; after an error, nothing of it.

        Args:
            delivered: what the topic has.
            uncertain: what it may have or not, which is as good as nothing known of these movies.
            version: the data set's.
        """
        with self._explained(), self._transaction():
            self._execute_many(
                "INSERT OR REPLACE INTO delivered VALUES (?, ?)",
                ((it.key, bytes.fromhex(it.event_id.decode())) for it in delivered),
            )
            self._execute_many(
                "DELETE FROM delivered WHERE tconst = ?", ((it.key,) for it in uncertain)
            )
            self._keep_version(version)
        self.version = version

    def clear(self) -> None:
        """Forget everything: the topic is another one, or all is to be sent again."""
        with self._explained(), self._transaction():
            self._database.execute("DELETE FROM delivered")
            self._keep_version(0)
        self.version = 0

    def __len__(self) -> int:
        count: int = self._database.execute("SELECT count(*) FROM delivered").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _execute_many(self, statement: str, rows: Iterator[tuple[bytes, ...]]) -> None:
        while some := list(islice(rows, _TOGETHER)):
            self._database.executemany(statement, some)

    def _keep_version(self, version: int) -> None:
        self._database.execute("DELETE FROM known")
        self._database.execute("INSERT INTO known VALUES (?)", (version,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(
                f"{self._path}, which notes what was delivered, cannot be used: {error}. Make "
                "room, see that it is writable, or remove it: the next dump is then sent whole."
            ) from error
