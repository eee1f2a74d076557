"""Keep what hosts have copied for a backup in a repository of restic's, and give it back.

Usage: python tools/backup.py store ENVIRONMENT < JSON    fetch the copies, keep them, verify them
       python tools/backup.py list ENVIRONMENT < JSON     say which backups there are
       python tools/backup.py fetch ENVIRONMENT < JSON    get one out of the repository
       python tools/backup.py tables ENVIRONMENT < JSON   put its tables onto a host that has none
       python tools/backup.py producer ENVIRONMENT < JSON put the producer's position onto a host
       python tools/backup.py done ENVIRONMENT            remove what was got out
       python tools/backup.py environment ENVIRONMENT REPOSITORY PASSWORD_FILE [SNAPSHOT]
           make the folder of an environment that is lost

All but the last are run by ansible/backup.yml, restore.yml and backups.yml. What is given by
standard input holds the repository's password: it is written nowhere, and restic reads it from a
pipe.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backup_copies import MANIFEST, mirror, put, receive, said_by
from backup_repository import TAG, BackupError, Repository, backups, chosen, forget, write
from hosts import ROOT, HostsError, Target, load

FORMAT = 1
#: What a backup consists of.
ABOUT, PIPELINE, PRODUCER, ENVIRONMENT = "about.json", "pipeline", "producer", "environment"
#: Beside the environment's inventory: the repository that its backups are in.
KNOWN = ".backup.json"
#: What Terraform writes about hosts, which are others after a restore.
OF_HOSTS = ("terraform.tfstate*", "hosts.yml", ".ssh", ".identity", ".data", KNOWN)


@dataclass(frozen=True)
class Place:
    """The folders of an environment's backups on this machine."""

    name: str

    @property
    def inventory(self) -> Path:
        """The environment's own folder."""
        return ROOT / "inventories" / self.name

    @property
    def root(self) -> Path:
        """Where backups are worked on; the repository is here too, where none is named."""
        return ROOT / "backups" / self.name

    @property
    def work(self) -> Path:
        """What the last backup is made of. What is there need not be fetched from hosts again."""
        return self.root / "work"

    @property
    def restored(self) -> Path:
        """What was got out of the repository last."""
        return self.root / "restored"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folders.

        Raises:
            BackupError: Another process does.
        """
        for folder in (self.root.parent, self.root):
            folder.mkdir(mode=0o700, exist_ok=True)
        with (self.root / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BackupError(
                    f"another backup or restore of {self.name} is at work on this machine. Let it "
                    "end, and run this again"
                ) from None
            yield


# --- making one -----------------------------------------------------------------------------------


def store(place: Place, given: dict[str, Any]) -> list[str]:
    """Fetch what the hosts have copied, and keep it; return what there is to say."""
    target, repository = load(place.name), Repository.of(given)
    begun = time.monotonic()
    with place.alone():
        place.work.mkdir(mode=0o700, exist_ok=True)
        repository.open(place.inventory / KNOWN, make=True)
        fetched = mirror(target, given["tables_host"], given["tables"], place.work / PIPELINE)
        copy_position(target, given.get("producer_host", ""), given.get("producer", ""), place)
        copy_environment(place)
        manifest = json.loads((place.work / PIPELINE / MANIFEST).read_text())
        about = {
            "format": FORMAT,
            "environment": place.name,
            "data": "tables",
            "taken": datetime.now(UTC).isoformat(timespec="seconds"),
            "position": (place.work / PRODUCER).exists(),
            **{name: manifest[name] for name in ("run_id", "topic", "batch", "silver_rows")},
        }
        write(place.work / ABOUT, json.dumps(about) + "\n")
        # Only of processes that are no more.
        repository.run("unlock")
        parts = [ABOUT, PIPELINE, ENVIRONMENT, *([PRODUCER] if about["position"] else [])]
        said = repository.run(
            *("backup", "--json", "--host", place.name, "--tag", TAG, *parts), folder=place.work
        )
        summary = json.loads(said.strip().splitlines()[-1])
        forget(repository, place.name, given["keep"])
        part = [f"--read-data-subset={given['read_data']}"] if given["read_data"] else []
        repository.run("check", *part)
        # Secrets are kept in one place alone.
        shutil.rmtree(place.work / ENVIRONMENT)
    added = summary["data_added"] / 1e6
    return [
        f"{summary['snapshot_id'][:8]} is the backup: {about['silver_rows']:,} rows of silver "
        f"after batch {about['batch']}"
        + ("" if about["position"] else ", without a position of the producer's"),
        f"{fetched / 1e6:,.1f} MB were fetched from the hosts, and {added:,.1f} MB added to "
        f"{repository.url}, in {time.monotonic() - begun:.0f} s",
    ]


def copy_position(target: Target, host: str, folder: str, place: Place) -> None:
    """Fetch how far the producer has come, if it has said so."""
    copy = place.work / PRODUCER
    shutil.rmtree(copy, ignore_errors=True)
    if not folder:
        return
    names = said_by(target, host, "ls", folder).split()
    copy.mkdir(mode=0o700)
    receive(target, host, folder, copy, names)


def copy_environment(place: Place) -> None:
    """Copy the environment's folder: settings, secrets, certificates, Terraform's state."""
    copy = place.work / ENVIRONMENT
    shutil.rmtree(copy, ignore_errors=True)

    def leave_out(folder: str, names: list[str]) -> set[str]:
        """Sockets of ssh, and what is being written."""
        there = ((name, Path(folder, name)) for name in names)
        plain = {it for it, path in there if path.is_symlink() or path.is_file() or path.is_dir()}
        return {it for it in names if it not in plain or it == KNOWN or it.endswith(".partial")}

    shutil.copytree(place.inventory, copy, symlinks=True, ignore=leave_out)


# --- giving one back ------------------------------------------------------------------------------


def show(place: Place, given: dict[str, Any]) -> list[str]:
    """Return a line for each backup."""
    repository = Repository.of(given)
    repository.open(place.inventory / KNOWN)
    found = backups(repository, place.name)
    return [f"{it['id'][:8]}  {it['time'][:19]} (time of the machine)" for it in found] or ["none"]


def fetch(place: Place, given: dict[str, Any]) -> dict[str, Any]:
    """Get a backup out of the repository, and look at it; return what it is of."""
    repository = Repository.of(given)
    with place.alone():
        repository.open(place.inventory / KNOWN)
        snapshot = chosen(backups(repository, place.name), given["snapshot"], place.name)
        folder = place.restored
        stamp = folder / ".whole"
        if not stamp.exists() or stamp.read_text() != snapshot:
            shutil.rmtree(folder, ignore_errors=True)
            repository.run("unlock")
            repository.run("restore", snapshot, "--verify", "--target", str(folder))
            folder.chmod(0o700)
            look_at(folder)
            stamp.write_text(snapshot)
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text())
        run = folder / PIPELINE / "parquet/_chk" / f"silver_movies_{about['run_id']}"
        contract = json.loads((run / "_contract.json").read_text())
        return {**about, "id": snapshot, "contract": contract}


def look_at(folder: Path) -> None:
    """See that a backup is whole, and of a format that is known.

    Raises:
        BackupError: It is not.
    """
    try:
        about = json.loads((folder / ABOUT).read_text())
        manifest = json.loads((folder / PIPELINE / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise BackupError(f"the backup is none of this project's: {error}") from error
    if (about["format"], manifest["format"]) != (FORMAT, FORMAT):
        raise BackupError("the backup was made by a later version. Restore it by that one")
    wrong = [
        name
        for name, stat in manifest["files"].items()
        if not (folder / PIPELINE / name).is_file()
        or (folder / PIPELINE / name).stat().st_size != stat[0]
    ]
    if wrong:
        raise BackupError(f"the backup lacks files that its manifest names: {', '.join(wrong[:5])}")


def put_tables(place: Place, given: dict[str, Any]) -> list[str]:
    """Put tables, state and checkpoint onto a host. Doing it again goes on where it was cut off."""
    with place.alone():
        for part, root in (("csv", given["csv"]), ("parquet", given["parquet"])):
            put(load(place.name), given, place.restored / PIPELINE / part, root)
    return [f"{given['host']} has the tables"]


def put_position(place: Place, given: dict[str, Any]) -> list[str]:
    """Put the producer's position onto a host."""
    with place.alone():
        put(load(place.name), given, place.restored / PRODUCER, given["folder"])
    return [f"{given['host']} has the producer's position"]


def done(place: Place) -> list[str]:
    """Remove what was got out of the repository."""
    with place.alone():
        shutil.rmtree(place.restored, ignore_errors=True)
    return []


def make_environment(name: str, repository: Repository, snapshot: str = "latest") -> list[str]:
    """Make the folder of an environment that is lost, but what was of its hosts."""
    place = Place(name)
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", name):
        raise BackupError(f"NAME is {name!r}, which no environment has")
    if place.inventory.exists():
        raise BackupError(
            f"{place.inventory} is there. Move it away, if the one of the backup is to take its "
            "place"
        )
    with place.alone():
        if not repository.identity():
            raise BackupError(f"there is no repository at {repository.url}")
        found = chosen(backups(repository, name), snapshot, name)
        work = place.root / "environment"
        shutil.rmtree(work, ignore_errors=True)
        repository.run("restore", found, "--include", f"/{ENVIRONMENT}", "--target", str(work))
        # Whose hosts are none of Terraform's has listed them by hand.
        by_hand = not (work / ENVIRONMENT / "environment.tfvars").exists()
        of_hosts = [it for it in OF_HOSTS if not (by_hand and it == "hosts.yml")]
        leave_out = shutil.ignore_patterns(*of_hosts)
        whole = place.inventory.with_name(f".{name}.partial")
        shutil.rmtree(whole, ignore_errors=True)
        shutil.copytree(work / ENVIRONMENT, whole, symlinks=True, ignore=leave_out)
        whole.rename(place.inventory)
        shutil.rmtree(work)
    return [
        f"{place.inventory} is as it was in the backup {found[:8]}, without what Terraform wrote "
        f"about its hosts. Go on: make restore NAME={name} SNAPSHOT={found[:8]}"
    ]


# --- main -----------------------------------------------------------------------------------------


def main() -> int:
    """Do what a command asks for; say it as JSON, or why not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "command", choices=["store", "list", "fetch", "tables", "producer", "done", "environment"]
    )
    parser.add_argument("environment")
    parser.add_argument("repository", nargs="?", default="")
    parser.add_argument("password_file", nargs="?", type=Path)
    parser.add_argument("snapshot", nargs="?", default="latest")
    asked = parser.parse_args()
    os.umask(0o077)
    place = Place(asked.environment)
    try:
        if asked.command == "environment":
            if not asked.repository or asked.password_file is None:
                parser.error("environment needs REPOSITORY and PASSWORD_FILE")
            password = asked.password_file.read_text().strip()
            repository = Repository(asked.repository, password)
            print("\n".join(make_environment(place.name, repository, asked.snapshot)))
            return 0
        if asked.command == "done":
            print(json.dumps(done(place)))
            return 0
        given = json.load(sys.stdin)
        commands: dict[str, Callable[[Place, dict[str, Any]], Any]] = {
            "store": store,
            "list": show,
            "fetch": fetch,
            "tables": put_tables,
            "producer": put_position,
        }
        print(json.dumps(commands[asked.command](place, given)))
    except (BackupError, HostsError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
