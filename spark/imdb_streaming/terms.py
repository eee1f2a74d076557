"""The right to publish: one start of the job has it, and whoever comes later takes it away.

A job may be paused at any point (SIGSTOP, a frozen machine) and go on hours later, beside the one
that has taken its place: locks and sessions do not prevent that. So the right is a folder. Each
start makes `_staging/term-NUMBER-TOKEN`, higher than all before, removes the lower ones, and only
then looks at tables and checkpoint. What it publishes goes by a rename through `out` in that folder
(files.py, and spark/java for what the JVM writes), which nothing ever makes anew: a rename from or
to a folder that is not there fails, so that nothing of a lower term gets through any more.

Why no two starts can both go on: each makes its folder first, then lists. Of two, the one whose
folder came later sees the other's: it fences it if it is lower, and gives way if it is higher.
"""

import fcntl
import logging
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from imdb_streaming.bucket import BucketPath
from imdb_streaming.config import Config
from imdb_streaming.files import OvertakenError, overtaken
from imdb_streaming.guards import StartRefusedError, lock_file

_TERM = re.compile(r"term-([0-9]{10})-[0-9a-f]{8}")

#: A term on its way out. Its name begins so that no file of a table or Spark's is taken for it.
_FENCED = ".fenced-"

#: Executors of a job that was fenced may still write; removing takes as long as they do.
_REMOVE_SECONDS = 60.0

log = logging.getLogger(__name__)


@contextmanager
def hold(config: Config, *, take_over: bool = False) -> Iterator[Config]:
    """Hold the output folder for one job, with a term of its own: the configuration yielded.

    Raises StartRefusedError if another job holds it and is not to be overtaken, OvertakenError if
    this one is overtaken, also in place of what then went wrong.
    """
    with exclusive(config, take_over=take_over):
        held = take(config)
        try:
            yield held
        except Exception:
            check(held)
            raise


@contextmanager
def exclusive(config: Config, *, take_over: bool = False) -> Iterator[None]:
    """Hold the lock of the output folder. The kernel lets go of it when the process ends.

    A job that takes over goes on without it, and gets it when the holder lets go. A bucket is held
    against other jobs of this host alone, and cannot be taken over.
    """
    path = lock_file(config)
    over = threading.Event()
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if not take_over or isinstance(config.staging_root, BucketPath):
                raise StartRefusedError(
                    f"Another job is writing to {config.tables_path} (it holds {path}). Stop it "
                    "first, or give this one an OUTPUT_PATH of its own."
                ) from error
            log.warning("Another job holds %s. This one takes over from it.", path)
            threading.Thread(
                target=_hold_until, args=[path, over], name="lock", daemon=True
            ).start()
        try:
            yield
        finally:
            over.set()


def _hold_until(path: Path, over: threading.Event) -> None:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not over.is_set():
            log.info("The job that was overtaken has let go of %s.", path)
        over.wait()


def take(config: Config) -> Config:
    """Take a term higher than all before, and fence those: the configuration that has it.

    When it returns, no job of a lower term can publish. Raises OvertakenError if another start was
    quicker, and OSError if a folder cannot be made or removed. In a bucket there are no terms.
    """
    roots = _roots(config)
    if not roots:
        return config
    highest = max((term for root in roots for term in _terms(root)), default="term-0000000000")
    name = f"term-{int(highest.split('-')[1]) + 1:010d}-{uuid.uuid4().hex[:8]}"
    taken = replace(config, term=name)
    for root in roots:
        (root / name).mkdir()
    # Listed anew, now that others can see this one.
    higher = [term for root in roots for term in _terms(root) if term > name]
    if higher:
        for root in roots:
            with suppress(FileNotFoundError):
                (root / name).rmdir()
        raise OvertakenError(
            f"Another start of the job was quicker, and has {config.tables_path} ({higher[0]}): "
            "this one has changed nothing, and ends."
        )
    for root in roots:
        _fence_below(root, name)
    for out in _outs(taken):
        try:
            out.mkdir()
        except FileNotFoundError as error:
            raise OvertakenError(
                f"Another start of the job has taken over while this one took {name}: this one has "
                "changed nothing, and ends."
            ) from error
    log.info("This start has %s.", name)
    return taken


def check(config: Config) -> None:
    """Raise OvertakenError if another start has taken over."""
    for out in _outs(config):
        if not out.is_dir():
            raise overtaken(out)


def _roots(config: Config) -> list[Path]:
    """The folders of the terms: one for each place that is no bucket."""
    roots = (config.staging_root, config.staging_root_csv)
    return list(dict.fromkeys(root for root in roots if isinstance(root, Path)))


def _outs(config: Config) -> list[Path]:
    outs = (config.out_folder, config.out_folder_csv)
    return list(dict.fromkeys(out for out in outs if out is not None))


def _terms(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if _TERM.fullmatch(path.name)]


def _fence_below(root: Path, name: str) -> None:
    """Take away all terms below `name`, and what earlier starts left. None is part of a table.

    A folder is renamed first, which ends its term at one instant, and removed: a rename that a
    remote file system's client has begun knows folders by more than their names.
    """
    deadline = time.monotonic() + _REMOVE_SECONDS
    while left := [path for path in root.iterdir() if _is_below(path, name)]:
        for path in left:
            fenced = path
            if _TERM.fullmatch(path.name):
                fenced = path.with_name(f"{_FENCED}{path.name}")
                # Another start may be at it too, or what is there be of a removal that was cut off.
                with suppress(OSError):
                    path.rename(fenced)
            shutil.rmtree(fenced, ignore_errors=True)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for path in left:
        if (path / "out").exists() or path.name.startswith(_FENCED):
            raise OSError(
                f"{path}, of a job that is to be overtaken, cannot be removed within "
                f"{_REMOVE_SECONDS:g} s. Who may write to it, and is its file system well?"
            )
        log.warning("Executors of a job that was overtaken still write to %s.", path)


def _is_below(path: Path, name: str) -> bool:
    if not path.is_dir():
        return False
    return not _TERM.fullmatch(path.name) or path.name < name
