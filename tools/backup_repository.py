"""A repository of restic's, which keeps backups: how it is opened, and what it has."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TAG = "imdb-pipeline"
NO_REPOSITORY = ("Is there a repository at the following location?", "unable to open config file")
WRONG_PASSWORD = "wrong password"


class BackupError(Exception):
    """A backup cannot be made, or not be given back; the text says why and what to do."""


@dataclass(frozen=True)
class Repository:
    """Where backups are kept, and how it is opened."""

    url: str
    password: str = field(repr=False)
    #: Variables for restic, such as the keys of an object store.
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Repository:
        """Take it from what a playbook gives."""
        variables = {name: str(value) for name, value in given.get("variables", {}).items()}
        return cls(str(given["repository"]), str(given["password"]), variables)

    def run(self, *arguments: str, folder: Path | None = None) -> str:
        """Run restic and return what it prints.

        Raises:
            BackupError: It is not installed, or failed; with what it says.
        """
        reads, writes = os.pipe()
        try:
            with os.fdopen(writes, "w") as password:
                # A pipe holds more than any password.
                password.write(self.password + "\n")
            done = subprocess.run(
                ["restic", *arguments],
                cwd=folder,
                env=os.environ
                | dict(self.variables)
                | {"RESTIC_REPOSITORY": self.url, "RESTIC_PASSWORD_FILE": f"/dev/fd/{reads}"},
                pass_fds=[reads],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise BackupError(
                "restic is not on this machine. Install Debian's package: BACKUP=yes tools/setup"
            ) from None
        finally:
            os.close(reads)
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip()
            raise BackupError(f"restic {arguments[0]} failed for {self.url}: {said[-2000:]}")
        return done.stdout

    def identity(self) -> str:
        """Return the repository's id; empty if there is none.

        Raises:
            BackupError: It does not open by the password, or is out of reach.
        """
        try:
            return str(json.loads(self.run("cat", "config"))["id"])
        except BackupError as error:
            if WRONG_PASSWORD in str(error):
                raise BackupError(
                    f"the repository {self.url} does not open by secret_backup of this "
                    "environment's secrets. Give the password that it was made with, or name "
                    "another place as backup_repository"
                ) from error
            if any(text in str(error) for text in NO_REPOSITORY):
                return ""
            raise

    def open(self, record: Path, *, make: bool = False) -> None:
        """See that it is the environment's repository; make it if there has been none.

        Args:
            record: where the environment notes which one it is.
            make: whether it is made.

        Raises:
            BackupError: There is none, or another one than before.
        """
        known = json.loads(record.read_text()) if record.exists() else {}
        found = self.identity()
        before = known.get("id", "") if known.get("repository") == self.url else ""
        if before and found != before:
            what = "another repository is there" if found else "there is none now"
            raise BackupError(
                f"backups of this environment are in the repository {before[:8]} at {self.url}, "
                f"and {what}. Is its disk mounted? Put it back. If it is to be begun anew: "
                f"rm {record}"
            )
        if not found:
            if not make:
                raise BackupError(
                    f"there is no repository at {self.url}. Is backup_repository right, and its "
                    "disk mounted? make backup makes one"
                )
            self.run("init")
            found = self.identity()
        if found != before:
            write(record, json.dumps({"repository": self.url, "id": found}) + "\n")


def forget(repository: Repository, name: str, keep: Mapping[str, int]) -> None:
    """Remove backups that need not be kept any longer, of this environment alone."""
    rules = [f"--keep-{unit}={count}" for unit, count in keep.items() if int(count) > 0]
    if rules:
        of_it = ("--host", name, "--tag", TAG, "--group-by", "host")
        repository.run("forget", *of_it, "--prune", *rules)


def backups(repository: Repository, name: str) -> list[dict[str, Any]]:
    """Return the backups of an environment, the oldest first."""
    found: list[dict[str, Any]] = json.loads(
        repository.run("snapshots", "--json", "--host", name, "--tag", TAG)
    )
    return sorted(found, key=lambda it: str(it["time"]))


def chosen(found: list[dict[str, Any]], asked: str, name: str) -> str:
    """Return the id of the backup that is asked for: `latest`, or the beginning of an id."""
    if asked == "latest" and found:
        return str(found[-1]["id"])
    matching = [str(it["id"]) for it in found if re.fullmatch(r"[0-9a-f]{4,64}", asked)]
    matching = [it for it in matching if it.startswith(asked)]
    if len(matching) == 1:
        return matching[0]
    listed = ", ".join(f"{it['id'][:8]} of {it['time'][:19]}" for it in found) or "none"
    raise BackupError(
        f"SNAPSHOT={asked} names no backup of {name}. There are: {listed}. Give latest, or the "
        "first characters of one of these"
    )


def write(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
