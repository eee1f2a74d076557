"""Starts over what was restored from a backup, and batches that run again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imdb_streaming.guards import StartRefusedError
from imdb_streaming.job import Load

from .batches import Send
from .local import LocalConfig as Config

pytestmark = pytest.mark.usefixtures("executors_without_python")


@pytest.fixture
def backup(
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
    tmp_path: Path,
) -> Path:
    """A copy of everything as it was after the first of two batches."""
    copy = tmp_path / "backup"
    send(movie)
    run_job()
    shutil.copytree(prepared.output_path, copy)
    send(movie | {"tconst": "tt2"})
    run_job()
    return copy


def restore(backup: Path, folder: Path, name: str) -> None:
    shutil.rmtree(folder / name)
    shutil.copytree(backup / name, folder / name)


def test_older_checkpoint_under_the_tables_is_refused(
    prepared: Config, backup: Path, run_job: Callable[[], Load]
) -> None:
    restore(backup, prepared.output_path, "_chk")
    with pytest.raises(StartRefusedError, match="has a file of batch 1, but the checkpoint"):
        run_job()
    # What the refusal advises.
    for table in ("silver_movies", "dead_letters", "genre_counts"):
        restore(backup, prepared.output_path, table)
    assert run_job().sink.table_rows == 2


def test_older_tables_under_the_checkpoint_are_refused(
    prepared: Config, backup: Path, run_job: Callable[[], Load]
) -> None:
    restore(backup, prepared.output_path, "silver_movies")
    with pytest.raises(StartRefusedError, match=r"holds 1 rows, but .* says that 2 were written"):
        run_job()
