"""When each row came to silver: looks for new files all the time and reads them once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pyarrow.parquet as pq

from .tables import Tables

#: Seconds between two looks.
PAUSE = 0.5


class SilverWatch:
    """Knows when an event was first seen in silver, and which were seen twice."""

    def __init__(self, tables: Tables) -> None:
        """Read what is there, and begin to watch."""
        self._tables = tables
        self._files: set[Path] = set()
        self._seen: dict[str, float] = {}
        #: Events that stand in silver twice, and what went wrong with a read.
        self.problems: list[str] = []
        self._stopping = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._watch, name="silver", daemon=True)
        self._thread.start()

    def seen(self, event_id: str) -> float | None:
        """Return when an event was first seen, of time.monotonic(); None if it was not yet."""
        return self._seen.get(event_id)

    def stop(self) -> None:
        """Stop."""
        self._stopping.set()
        self._thread.join(60)

    def _watch(self) -> None:
        while not self._stopping.wait(PAUSE):
            try:
                self._look()
            except Exception as error:  # a file that cannot be read is what a test looks for
                self.problems.append(f"{type(error).__name__}: {error}")

    def _look(self) -> None:
        for path in self._tables.silver_files():
            if path in self._files:
                continue
            events = pq.read_table(path, columns=["event_id"])["event_id"].to_pylist()
            moment = time.monotonic()
            self._files.add(path)
            for event_id in events:
                if event_id in self._seen:
                    self.problems.append(f"event {event_id} is in silver twice")
                else:
                    self._seen[event_id] = moment
