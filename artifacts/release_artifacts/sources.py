"""Fetching files by the ordinary clients, mvn and pip, with the user's settings for them."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import ArtifactError, MismatchError
from .folders import cache_folder, exclusive
from .lock import REFRESH

COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
TIMEOUT_SECONDS = 900
# For JVMs that live some seconds: no optimizing compiler, no collector's threads.
SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")

_running: set["subprocess.Popen[str]"] = set()
_stopping = threading.Event()

# How pip tells that a file is not the one asked for.
_PIP_MISMATCH = re.compile(r"Expected sha256 +([0-9a-f]{64}).*?Got +([0-9a-f]{64})", re.DOTALL)


def fetch_jars(pom: Path, version: str, folder: Path, *, offline: bool) -> None:
    """Put the run-time jars that a pom asks for into a folder.

    Raises ArtifactError if mvn is missing or fails.
    """
    if not shutil.which("mvn"):
        raise ArtifactError("mvn is not on PATH. Install it (Debian: apt-get install maven).")
    # Maven writes beside the pom it reads; that is to be nowhere in the checkout.
    with tempfile.TemporaryDirectory(prefix="pom-") as scratch:
        shutil.copy(pom, Path(scratch) / "pom.xml")
        for module in pom.parent.glob(f"{pom.stem}-*.xml"):
            shutil.copy(module, scratch)
        command = ["mvn", "-B", "-q", *(["-o"] if offline else []), "-f", f"{scratch}/pom.xml"]
        command += [COPY_DEPENDENCIES, f"-Drelease.version={version}", "-DincludeScope=runtime"]
        command += [f"-DoutputDirectory={folder}"]
        # Maven's local repository is not made for two writers.
        with exclusive(cache_folder() / "locks/maven", "another fetch by Maven"):
            options = " ".join([*SHORT_LIVED, os.environ.get("MAVEN_OPTS", "")])
            status, output = _run(command, MAVEN_OPTS=options)
    if status != 0:
        raise ArtifactError(
            f"mvn could not fetch what {pom.name} asks for in version {version}:\n{_tail(output)}\n"
            + (
                "With --offline, Maven looks in its local repository only. Run without."
                if offline
                else "If it exists, see that Maven reaches its repository (~/.m2/settings.xml)."
            )
        )


def fetch_packages(
    requirements: Mapping[str, str | None],
    folder: Path,
    *,
    offline: bool,
    options: Sequence[str] = (),
    constraints: Sequence[str] = (),
) -> None:
    """Put Python packages into a folder: pip's requirements, each with the SHA-256 it must have.

    Where a hash is None, all must be: then pip takes what it finds within the constraints, to make
    a lock.
    Raises MismatchError if a package has another hash, ArtifactError if pip is missing or fails.
    """
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        raise ArtifactError(
            f"{sys.executable} has no pip. Run artifacts.py by .venv/bin/python, which tools/setup "
            "makes."
        )
    with tempfile.TemporaryDirectory(prefix="pip-") as scratch:
        listed = Path(scratch) / "requirements.txt"
        listed.write_text(
            "".join(
                f"{requirement} --hash=sha256:{sha256}\n" if sha256 else f"{requirement}\n"
                for requirement, sha256 in requirements.items()
            )
        )
        limits = Path(scratch) / "constraints.txt"
        limits.write_text("".join(f"{constraint}\n" for constraint in constraints))
        hashes = ["--require-hashes"] if all(requirements.values()) else []
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        command += ["--no-cache-dir", *(["--no-index"] if offline else []), *hashes, *options]
        command += ["-d", str(folder), "-r", str(listed), "-c", str(limits)]
        status, output = _run(command)
    if status == 0:
        return
    names = ", ".join(requirements)
    if match := _PIP_MISMATCH.search(output):
        package = next((r for r, sha256 in requirements.items() if sha256 == match[1]), names)
        raise MismatchError(
            f"{package}: expected sha256 {match[1]}, found {match[2]}; damaged, cut short or "
            "tampered with. Nothing of it is used. Run again, in case the transfer failed. "
            f"{REFRESH}"
        )
    raise ArtifactError(
        f"pip could not fetch {names}:\n{_tail(output)}\n"
        + (
            "With --offline, pip looks in its --find-links only. Run without."
            if offline
            else "If they exist, see that pip reaches its index (pip config list)."
        )
    )


def stop_clients() -> None:
    """End what still runs and start nothing more, so that threads that wait for it end too."""
    _stopping.set()
    for process in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def _run(command: Sequence[str], **environment: str) -> tuple[int, str]:
    """Run a client, bounded in time, and return its status and all it printed."""
    if _stopping.is_set():
        raise ArtifactError(f"{command[0]} was not started: interrupted.")
    process = subprocess.Popen(
        command,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # mvn is a script around a JVM: a group of their own, to end both.
        start_new_session=True,
    )
    _running.add(process)
    try:
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise ArtifactError(
            f"{command[0]} has not ended after {TIMEOUT_SECONDS} s and was stopped. Is the network "
            "slow or cut? What was fetched is kept by the client: run again."
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _running.discard(process)
    return process.returncode, output


def _tail(output: str, lines: int = 15) -> str:
    return "\n".join(f"    {line}" for line in output.strip().splitlines()[-lines:])
