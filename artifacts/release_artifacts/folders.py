"""Where things are kept, and how two runs keep out of each other's way."""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import ArtifactError

WAIT_SECONDS = 1200.0


def cache_folder() -> Path:
    """Return the folder of archives, made if missing.

    It lies in $IMDB_PIPELINE_CACHE, or ~/.cache/imdb-pipeline.
    Raises ArtifactError if it cannot be made.
    """
    given = os.environ.get("IMDB_PIPELINE_CACHE")
    root = Path(given) if given else Path.home() / ".cache/imdb-pipeline"
    folder = root.absolute() / "artifacts"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"{folder} cannot be made: {error.strerror}. Name a folder that you may write to: "
            "IMDB_PIPELINE_CACHE=/path"
        ) from error
    return folder


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock on a file, for threads and processes alike.

    The system lets go of it when the process ends, however it ends. Raises ArtifactError if
    another has held it for WAIT_SECONDS.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        deadline = time.monotonic() + WAIT_SECONDS
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    say(f"waiting for {what} to end")
                    waiting = True
                if time.monotonic() > deadline:
                    raise ArtifactError(
                        f"{what} has held {path} for {WAIT_SECONDS:.0f} s. See what it does "
                        f"(lsof {path}), end it and run again."
                    ) from None
                time.sleep(0.1)
        yield


def say(text: str) -> None:
    """Tell the operator; standard output is for the answer."""
    print(f"artifacts: {text}", file=sys.stderr, flush=True)
