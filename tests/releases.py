"""The releases that the roles' defaults name, from the cache, unpacked beside their archives."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from release_artifacts.releases import default_versions

ROOT = Path(__file__).resolve().parents[1]


def version_of(name: str) -> str:
    """Return the version of a release."""
    return default_versions()[name]


@functools.cache
def home_of(name: str) -> Path:
    """Return the folder of a release, fetched and unpacked where it is missing."""
    done = subprocess.run(
        [sys.executable, ROOT / "artifacts/artifacts.py", "fetch", f"{name}={version_of(name)}"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=900,
    )
    release = json.loads(done.stdout)[name]
    archive = Path(release["archive"])
    home = archive.parent / f"{name}-{release['version']}-{release['sha256'][:12]}"
    if not home.exists():
        with tempfile.TemporaryDirectory(dir=archive.parent) as partial:
            subprocess.run(["tar", "-xf", archive, "-C", partial], check=True, timeout=300)
            Path(partial).chmod(0o755)
            Path(partial).rename(home)
    return home
