"""The pipeline's own releases, from the artifact cache, unpacked beside their archives once."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def _archives() -> dict[str, dict[str, Any]]:
    """What the cache holds, fetched and verified where it is missing."""
    done = subprocess.run(
        [sys.executable, ROOT / "artifacts/artifacts.py", "fetch"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=900,
    )
    archives: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return archives


def version_of(name: str) -> str:
    """Return the version of a release."""
    return str(_archives()[name]["version"])


def home_of(name: str) -> Path:
    """Return the folder of an unpacked release: kafka, zookeeper, spark."""
    release = _archives()[name]
    archive = Path(release["archive"])
    home = archive.parent / f"{name}-{release['version']}-{release['sha256'][:12]}"
    if not home.exists():
        with tempfile.TemporaryDirectory(dir=archive.parent) as partial:
            subprocess.run(["tar", "-xf", archive, "-C", partial], check=True, timeout=300)
            Path(partial).chmod(0o755)
            Path(partial).rename(home)
    return home
