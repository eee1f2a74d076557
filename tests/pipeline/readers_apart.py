"""Readers that loop over silver and genre_counts in a process of their own.

The rows are many, and readers in the process of the test would take the time of what sends and
measures there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hosts import ROOT

from .chaos_readers import Readers
from .tables import Tables

MODULE = "tests.pipeline.readers_apart"

#: Of those in chaos_readers.py.
NAMES = (
    "silver, pandas, folder",
    "silver, DuckDB, glob",
    "counts, pandas, file",
    "counts, DuckDB, glob",
    "CSV, plain",
)
#: Seconds between two reads of one reader.
PAUSE = 10.0


class ReadersApart:
    """The process."""

    def __init__(self, tables: Tables, log: Path) -> None:
        """Begin; there is a file of each table. `log` is for what the process writes."""
        self._log = log
        self._said: dict[str, Any] = {}
        with log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(tables.parquet), str(tables.csv)],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def lives(self) -> None:
        """Assert that they read still."""
        assert self._process.poll() is None, f"the readers ended: {self._log.read_text()[-2000:]}"

    def ask(self, seconds: float = 120) -> dict[str, Any]:
        """Stop them and return `problems`, a list of texts, and `reads`, a number for each."""
        if not self._said:
            self._process.communicate("stop\n", timeout=seconds)
            assert self._process.returncode == 0, self._log.read_text()[-2000:]
            self._said = json.loads(self._log.read_text(encoding="utf-8").splitlines()[-1])
        return self._said

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait(10)


def main() -> None:
    """Read until a line comes; say what was found."""
    # What reads is not what is measured.
    os.nice(5)
    parquet, csv = sys.argv[1:]
    readers = Readers(Tables(Path(parquet), Path(csv)), NAMES, PAUSE)
    sys.stdin.readline()
    readers.stop()
    print(json.dumps({"problems": readers.problems, "reads": readers.reads}))


if __name__ == "__main__":
    main()
