"""Stands in for restic, whose every command takes a second of CPU time for its key.

Has as much of it as tools/backup.py asks for, with the same words. That it is like restic is what
those tests of test_backup.py say that are run with both.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

from backup_repository import BackupError, Repository


def fail(text: str) -> NoReturn:
    raise BackupError(f"restic failed: Fatal: {text}")


def snapshots(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(it.read_text()) for it in folder.glob("*/about")]
    return sorted(found, key=lambda it: str(it["time"]))


def run(repository: Repository, command: str, *given: str, folder: Path | None = None) -> str:
    """Do what Repository.run does."""
    root = Path(repository.url)
    config = root / "config"
    if command == "init":
        root.mkdir(parents=True)
        made = {"id": os.urandom(32).hex(), "password": repository.password}
        config.write_text(json.dumps(made))
        return ""
    if not config.exists():
        fail("unable to open config file\nIs there a repository at the following location?")
    held = json.loads(config.read_text())
    if held["password"] != repository.password:
        fail("wrong password or no key found")
    if command == "cat":
        return json.dumps({"id": held["id"]})
    if command == "backup":
        assert folder
        kept = root / os.urandom(32).hex()
        kept.mkdir()
        for name in given[given.index("--tag") + 2 :]:
            copy = shutil.copytree if (folder / name).is_dir() else shutil.copy2
            copy(folder / name, kept / name)
        about = {"id": kept.name, "time": f"2026-01-01T00:00:{len(snapshots(root)):02}"}
        (kept / "about").write_text(json.dumps(about))
        return json.dumps({"snapshot_id": kept.name, "data_added": 0})
    if command == "snapshots":
        return json.dumps(snapshots(root))
    if command == "restore":
        only = given[given.index("--include") + 1].strip("/") if "--include" in given else ""
        target = Path(given[given.index("--target") + 1])
        leave_out = shutil.ignore_patterns("about")
        shutil.copytree(root / given[0] / only, target / only, ignore=leave_out)
    elif command == "forget":
        for it in snapshots(root)[: -int(given[-1].partition("=")[2])]:
            shutil.rmtree(root / it["id"])
    return ""
