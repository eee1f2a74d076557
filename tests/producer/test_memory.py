"""Memory stays in bounds whatever the size of the dumps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sample_data

from tests.bench.bench_producer import dumps

#: Bytes of resident memory.
LIMIT = 400 * 10**6


def prepare_within_limit(folder: Path, cache: Path, min_votes: int) -> str:
    """Run `prepare`, see that it keeps to the limit, and give its log."""
    process = subprocess.Popen(
        [sys.executable, "-m", "imdb_producer", "prepare", "-"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "BASICS_URL": (folder / sample_data.BASICS_FILE).as_uri(),
            "RATINGS_URL": (folder / sample_data.RATINGS_FILE).as_uri(),
            "CACHE_DIR": str(cache),
            "MIN_VOTES": str(min_votes),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr:
        log = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, log
    assert usage.ru_maxrss * 1024 <= LIMIT
    return log


@pytest.mark.slow
@pytest.mark.parametrize("min_votes", [1000, 0])
def test_11_6_million_titles_are_prepared_in_400_mb(tmp_path: Path, min_votes: int) -> None:
    log = prepare_within_limit(dumps(11_600_000), tmp_path, min_votes)
    assert "Loaded 11600000 rows of title.basics" in log
    assert re.search(r"Prepared \d{5,} records", log)
