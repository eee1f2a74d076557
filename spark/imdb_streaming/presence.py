"""What this host remembers of an output folder, on a disk of its own: that it has held tables.

Where a disk is not mounted there is an empty folder in its place, which looks like that of a first
start: the topic would be read from its first message, into the wrong disk.
"""

import hashlib
import json
import logging
from pathlib import Path

from imdb_streaming.config import Config
from imdb_streaming.files import write_atomically
from imdb_streaming.guards import RUN_FILE, StartRefusedError

#: What only a folder has in which a run was begun; the last is what `reset` leaves.
_TRACES = (f"*/{RUN_FILE}", f"_chk/*/{RUN_FILE}", "kept-*")

log = logging.getLogger(__name__)


def refuse_if_gone(config: Config) -> None:
    """Refuse an output folder that is empty, and has held a run. To be called before all else."""
    if run_id := missing_run(config):
        raise StartRefusedError(
            f"{config.output_path} holds nothing, and has held the tables of RUN_ID={run_id}: is "
            "its disk mounted? Mount it, or put back what was there. If it is to be begun anew "
            "from the topic's first message: imdb-streaming reset"
        )


def missing_run(config: Config) -> str | None:
    """The RUN_ID of which the output folder has held tables, and holds no trace any more."""
    note, root = _note(config), config.output_path
    if note is None or not isinstance(root, Path) or not note.exists():
        return None
    if any(any(root.glob(trace)) for trace in _TRACES):
        return None
    try:
        return str(json.loads(note.read_bytes())["run_id"])
    except (ValueError, TypeError, KeyError):
        return "unknown"


def remember(config: Config) -> None:
    """Note that the output folder holds a run."""
    note = _note(config)
    if note is None:
        return
    held = {"output_path": str(config.output_path), "run_id": config.run_id}
    content = (json.dumps(held) + "\n").encode()
    try:
        if not note.exists() or note.read_bytes() != content:
            write_atomically(note, content)
    except OSError as error:
        log.warning(
            "%s cannot be written (%s): an empty %s would be taken for that of a first start.",
            note,
            error.strerror,
            config.output_path,
        )


def forget(config: Config) -> None:
    """Let the next start be a first start, if the output folder is empty."""
    if note := _note(config):
        note.unlink(missing_ok=True)


def _note(config: Config) -> Path | None:
    """Each output folder has a note of its own."""
    if config.host_folder is None or not isinstance(config.output_path, Path):
        return None
    digest = hashlib.sha256(str(config.output_path).encode()).hexdigest()
    return config.host_folder / f"held-{digest[:16]}.json"
