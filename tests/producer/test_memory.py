"""Memory stays in bounds whatever the size of the dumps."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import sample_data

from tests.bench.bench_producer import dumps

#: 400 MB of address space: with less a Python with threads does not even begin.
LIMIT = 400 * 10**6


def prepare_limited(folder: Path, cache: Path, min_votes: int) -> str:
    """Run `prepare` under the limit; give its log."""
    done = subprocess.run(
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
        timeout=900,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)),
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("min_votes", [1000, 0])
def test_11_6_million_titles_are_prepared_in_400_mb(tmp_path: Path, min_votes: int) -> None:
    log = prepare_limited(dumps(11_600_000), tmp_path, min_votes)
    assert "Loaded 11600000 rows of title.basics" in log
    assert re.search(r"Prepared \d{5,} records", log)
