"""What the tests of the page share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imdb_dashboard.tables import Tables

from .written import Written


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A folder of tables, with nothing in it yet."""
    folder = tmp_path / "parquet"
    folder.mkdir()
    return Written(folder)


@pytest.fixture
def tables(written: Written) -> Iterator[Tables]:
    """The page's view of that folder."""
    tables = Tables(written.folder, memory_mb=64)
    yield tables
    tables.close()
