"""Runs beside the one in service, and the exchange of the two.

`imdb-streaming reprocess NEW` makes the tables anew in OUTPUT_PATH/_runs/NEW, from the topic's
first message, while the job goes on. When it has caught up it leaves READY_FILE there. A start of
the job with RUN_ID=NEW lets it catch up with what the old run has published since, or readers would
miss rows that they had; it exchanges the tables' folders then, each at one instant, and goes on
from the new run's checkpoint. The old run's tables wait in _runs/OLD, ready too: going back is
setting RUN_ID back.

Folders are named by ways through the start's `out`, so that one that was overtaken moves none.

Buckets have no folders that could change places: there is no run beside another, and none is set
aside.
"""

import json
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

from imdb_streaming import contract
from imdb_streaming.checkpoint import last_batch, planned_offsets
from imdb_streaming.config import Config
from imdb_streaming.files import exchange, local, through, while_there, write_json
from imdb_streaming.guards import StartRefusedError, out_of, places, read_run, tables
from imdb_streaming.locks import tables_locked

READY_FILE = "_ready.json"

log = logging.getLogger(__name__)


def refuse_in_bucket(config: Config, command: str) -> None:
    """Refuse a command that moves folders, where tables are in a bucket."""
    if config.is_in_bucket:
        raise StartRefusedError(
            f"imdb-streaming {command} moves tables at one instant, and {config.output_path} or "
            f"{config.output_path_csv} is in a bucket, where nothing can be moved so. To make the "
            "tables anew, give the job a prefix that holds nothing as OUTPUT_PATH, and another as "
            "OUTPUT_PATH_CSV, and start it: it reads the topic from its first message, and what is "
            "there stays as it is."
        )


def mark_ready(config: Config) -> None:
    """Say that the run beside the one in service has caught up."""
    ready = {"run_id": config.run_id}
    write_json(config.tables_path / READY_FILE, ready, config.out_folder)


def run_in_service(config: Config) -> str | None:
    """The RUN_ID of the tables that readers see; None before the first start."""
    run = read_run(config.output_path / config.silver_folder.name)
    return run.run_id if run else None


def is_waiting(config: Config) -> bool:
    """Whether the tables of RUN_ID wait beside those of another run, or partly do still."""
    if config.is_in_bucket or config.is_beside:
        return False
    return (local(config.output_path) / "_runs" / config.run_id / READY_FILE).exists()


def is_behind(config: Config) -> bool:
    """Whether the run that waits has not in its tables all that the one in service has read.

    A run of another topic cannot be compared, and counts as one that has.
    """
    in_service = run_in_service(config)
    if in_service is None or in_service == config.run_id:
        return False
    new = local(config.checkpoint_folder)
    old = local(replace(config, run_id=in_service).checkpoint_folder)
    if _topic_id(new) != _topic_id(old):
        return False
    if last_batch(new, "commits") != last_batch(new, "offsets"):
        return True
    has = planned_offsets(new) or {}
    read = planned_offsets(old) or {}
    return any(has.get(partition, 0) < offset for partition, offset in read.items())


def _topic_id(checkpoint: Path) -> str | None:
    try:
        return str(json.loads((checkpoint / contract.CONTRACT_FILE).read_bytes())["topic_id"])
    except (OSError, ValueError, KeyError):
        return None


def switch_if_ready(config: Config) -> None:
    """Put the tables of RUN_ID into service if they wait beside those of another run.

    May be cut off at any point: the next start goes on.
    """
    if not is_waiting(config):
        return
    aside = local(config.output_path) / "_runs" / config.run_id
    aside_csv = local(config.output_path_csv) / "_runs" / config.run_id
    old = None
    with tables_locked(config):
        for table in map(local, tables(config)):
            beside = (aside_csv if table == config.genre_counts_csv_folder else aside) / table.name
            run, other = read_run(table), read_run(beside)
            if run is not None and run.run_id != config.run_id:
                if other is None or other.run_id != config.run_id:
                    raise StartRefusedError(
                        f"{beside} is not a table of RUN_ID={config.run_id}: it cannot be put into "
                        f"service. Make it anew: imdb-streaming reprocess {config.run_id}"
                    )
                out = out_of(config, table)
                with while_there(out):
                    exchange(through(out, table), through(out, beside))
                old = run.run_id
                log.info(
                    "%s is now of run %s; that of %s is in %s.", table, config.run_id, old, beside
                )
            elif other is not None and other.run_id != config.run_id:
                old = other.run_id
    if old is None:
        return
    for folder, out in ((aside_csv, config.out_folder_csv), (aside, config.out_folder)):
        kept = folder.with_name(old)
        if folder.exists() and folder != kept:
            if kept.exists():
                _rename(kept, kept.with_name(f"{old}.replaced-{time.time():.0f}"), out)
            _rename(folder, kept, out)
    write_json(aside.with_name(old) / READY_FILE, {"run_id": old}, config.out_folder)


def _rename(folder: Path, target: Path, out: Path | None) -> None:
    with while_there(out):
        through(out, folder).rename(target)


def set_aside(config: Config) -> list[Path]:
    """Move the run's tables, checkpoint and state into a folder kept-TIME; return the folders.

    Nothing is deleted. The next start begins from the topic's first message.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = []
    for place in map(local, places(config)):
        if not place.exists():
            continue
        is_csv = place == config.genre_counts_csv_folder
        root = local(config.output_path_csv if is_csv else config.output_path)
        folder = root / f"kept-{stamp}"
        target = folder / place.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        out = out_of(config, place)
        with while_there(out):
            shutil.move(through(out, place), target)
        kept.append(folder)
    return list(dict.fromkeys(kept))
