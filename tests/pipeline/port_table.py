"""The table of docs/security-ports.md: what was tried at each port, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hosts import ROOT

PAGE = ROOT / "docs/security-ports.md"
HEADER = "| port | a client with | tries to | gets |\n|---|---|---|---|\n"
#: A row's port, client and what that tries.
Key = tuple[str, str, str]
TABLE = re.compile(re.escape(HEADER) + r"(?P<rows>(?:\|.*\n)*)")


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    port: str
    client: str
    tries: str
    gets: str

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.port, self.client, self.tries

    def __str__(self) -> str:
        return f"| {self.port} | {self.client} | {self.tries} | {self.gets} |\n"


def read_rows(page: str) -> list[Row]:
    """Return the rows of a page's table."""
    (found,) = TABLE.finditer(page)
    lines = found["rows"].splitlines()
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


def merged(old: Iterable[Row], seen: Iterable[Row], order: list[Key]) -> list[Row]:
    """Return what was seen, and of the old rows those that this environment has no port for.

    order: what the table has rows for.

    Raises:
        AssertionError: Of the same attempt two things came.
    """
    rows = {row.key: row for row in old if row.key in order}
    fresh: dict[Key, Row] = {}
    for row in seen:
        assert fresh.setdefault(row.key, row) == row, f"once {fresh[row.key]} and once {row}"
    return sorted((rows | fresh).values(), key=lambda row: order.index(row.key))


def with_rows(page: str, rows: Iterable[Row]) -> str:
    """Return a page with other rows in its table."""
    return TABLE.sub(lambda _: HEADER + "".join(map(str, rows)), page)
