"""Readers that loop over the tables in a process of their own.

The rows are many, and readers in the process of the test would take the time of what sends and
measures there: with 60,000 rows threads beside it left a sender 7 messages a second of 500.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hosts import ROOT

from .chaos_readers import PAUSE, Readers
from .tables import Tables

MODULE = "tests.pipeline.readers_apart"


class ReadersApart:
    """The process. It ends at the first problem."""

    def __init__(
        self, tables: Tables, log: Path, names: Sequence[str] = (), pause: float = PAUSE
    ) -> None:
        """Begin; there is a file of each table that is read.

        Args:
            tables: where they are.
            log: what the process writes.
            names: of readers in chaos_readers.py; all of them if none is given.
            pause: seconds between two reads of one reader.
        """
        self._log = log
        self._said: dict[str, Any] = {}
        with log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", MODULE),
                    *(str(tables.parquet), str(tables.csv), str(pause), *names),
                ],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def lives(self) -> None:
        """Assert that they read still: no problem has come."""
        assert self._process.poll() is None, f"the readers ended: {self._log.read_text()[-2000:]}"

    def ask(self, seconds: float = 120) -> dict[str, int]:
        """Stop them, assert that there was no problem, and return `reads`, a number for each."""
        if not self._said:
            self._process.communicate("stop\n", timeout=seconds)
            assert self._process.returncode == 0, self._log.read_text()[-2000:]
            self._said = json.loads(self._log.read_text(encoding="utf-8").splitlines()[-1])
        return dict(self._said["reads"])

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait(10)


def main() -> None:
    """Read until a line comes or a problem is there; say what was found."""
    # What reads is not what is measured.
    os.nice(5)
    parquet, csv, pause, *names = sys.argv[1:]
    readers = Readers(Tables(Path(parquet), Path(csv)), names, float(pause))
    while not readers.problems and not select.select([sys.stdin], [], [], 0.5)[0]:
        pass
    readers.stop()
    print(json.dumps({"problems": readers.problems, "reads": readers.reads}))
    sys.exit(1 if readers.problems else 0)


if __name__ == "__main__":
    main()
