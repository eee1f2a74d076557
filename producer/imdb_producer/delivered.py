"""What the topic has of each movie: the event id that was delivered last.

A new dump is compared with it, so that only what is new or changed is sent. It lies on disk, as
there may be any number of movies.
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

    def holds(self, message: Message) -> bool:
        """Say whether the topic has just this of the movie."""
        row = self._database.execute(
            "SELECT event_id FROM delivered WHERE tconst = ?", (message.key,)
        ).fetchone()
        return row is not None and row[0] == bytes.fromhex(message.event_id.decode())

    def add(self, messages: Iterable[Message]) -> None:
        """Note messages that were delivered: all of them or, after an error, none."""
        rest = iter(messages)
        with self._explained(), self._transaction():
            while some := list(islice(rest, _TOGETHER)):
                self._database.executemany(
                    "INSERT OR REPLACE INTO delivered VALUES (?, ?)",
                    [(it.key, bytes.fromhex(it.event_id.decode())) for it in some],
                )

    def forget(self, messages: Iterable[Message]) -> None:
        """Forget what the topic has of these movies, as it is not certain."""
        rest = iter(messages)
        with self._explained(), self._transaction():
            while some := list(islice(rest, _TOGETHER)):
                self._database.executemany(
                    "DELETE FROM delivered WHERE tconst = ?", [(it.key,) for it in some]
                )

    def clear(self) -> None:
        """Forget everything: the topic is another one, or all is to be sent again."""
        with self._explained(), self._transaction():
            self._database.execute("DELETE FROM delivered")

    def __len__(self) -> int:
        count: int = self._database.execute("SELECT count(*) FROM delivered").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file."""
        self._database.close()

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
