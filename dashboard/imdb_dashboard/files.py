"""The files of a table: which there are, and what has changed since they were last listed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from imdb_dashboard.errors import SourceError

#: A file of the job's, <run>-<batch>[_<last batch>][-<part>].parquet: what was compacted names the
#: first and the last batch.
_NAME = re.compile(r"(?P<run>.+)-(?P<first>\d{10})(?:_(?P<last>\d{10})|(?:-\d+)?)\.parquet")


@dataclass(frozen=True)
class TableFile:
    """A file of a table as it was when the folder was listed.

    A file is never written to after it has its name; one that was replaced has another identity.
    """

    path: Path
    identity: tuple[int, int, int]
    #: When it was written, in seconds since 1970.
    written: float

    @property
    def batches(self) -> tuple[str, int, int] | None:
        """The run and its first and last batch, if its name says so."""
        match = _NAME.fullmatch(self.path.name)
        if not match:
            return None
        return match["run"], int(match["first"]), int(match["last"] or match["first"])

    @property
    def is_compacted(self) -> bool:
        """Whether it holds rows that were written before it."""
        match = _NAME.fullmatch(self.path.name)
        return bool(match and match["last"])

    def covers(self, other: TableFile) -> bool:
        """Return whether its batches are those of another file too."""
        mine, others = self.batches, other.batches
        return bool(
            mine
            and others
            and mine[0] == others[0]
            and mine[1] <= others[1] <= others[2] <= mine[2]
        )


def list_table(folder: Path, table: str) -> dict[str, TableFile]:
    """Return a table's files by name; none where the table is not there yet.

    Raises:
        SourceError: The folder of the tables is missing, or may not be read.
    """
    found: dict[str, TableFile] = {}
    try:
        folder.stat()
        with os.scandir(folder / table) as entries:
            for entry in entries:
                if entry.name.endswith(".parquet") and entry.name[0] not in "._":
                    try:
                        it = entry.stat()
                    except FileNotFoundError:  # compacted just now
                        continue
                    identity = (it.st_ino, it.st_mtime_ns, it.st_size)
                    found[entry.name] = TableFile(Path(entry.path), identity, it.st_mtime)
    except FileNotFoundError:
        if not folder.exists():
            raise SourceError(
                f"The folder of the tables, {folder}, is not there. Has the streaming job been "
                "deployed, and is its volume mounted?"
            ) from None
    except PermissionError as error:
        raise SourceError(
            f"{error.filename} may not be read by the page's user. Give everybody the right to "
            "read it, as the job does: chmod a+rX."
        ) from None
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}.") from None
    return found
