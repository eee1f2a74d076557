"""What hosts have copied for a backup, fetched from them, and put onto others."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from backup_repository import BackupError, write
from hosts import Target

MANIFEST = "manifest.json"
#: Names of files that a host may send: nothing that leads out of a folder.
NAME = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[\w@.:=-]+(?:/[\w@.:=-]+)*")


def mirror(target: Target, host: str, folder: str, copy: Path) -> int:
    """Bring a copy to what a host's folder holds, by its manifest; return the bytes fetched.

    Files that are there by name, size and time stay: the job never writes a file of a table again.
    """
    manifest = json.loads(said_by(target, host, "cat", f"{folder}/{MANIFEST}"))
    files: dict[str, list[int]] = manifest["files"]
    for name in files:
        if not NAME.fullmatch(name):
            raise BackupError(f"{host} names a file {name!r}, which is none of a backup")
    stamp = copy / ".run"
    # The names of another run's files may be the same.
    if not stamp.exists() or stamp.read_text() != manifest["run"]:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(mode=0o700, parents=True)
        stamp.write_text(manifest["run"])
    for path in [it for it in copy.rglob("*") if not it.is_dir()]:
        if str(path.relative_to(copy)) not in files and path != stamp:
            path.unlink()
    missing = [name for name, about in files.items() if not is_same(copy / name, about)]
    receive(target, host, folder, copy, missing)
    for name in missing:
        if not is_same(copy / name, files[name]):
            raise BackupError(f"{host} has sent {name} otherwise than its manifest says")
    write(copy / MANIFEST, json.dumps(manifest))
    return sum(files[name][0] for name in missing)


def is_same(path: Path, about: list[int]) -> bool:
    """Say whether a file has this size and time."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return [found.st_size, int(found.st_mtime)] == about


def said_by(target: Target, host: str, *command: str) -> str:
    """Return what a command says that is run on a host as root."""
    done = subprocess.run(
        target.ssh(host, "sudo", *command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BackupError(f"{host}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def receive(target: Target, host: str, folder: str, copy: Path, names: list[str]) -> None:
    """Fetch files of a host's folder by their names."""
    if not names:
        return
    # A name for tar, never an option or a pattern.
    listing = copy.parent / ".names"
    listing.write_text("".join(f"{name}\n" for name in names))
    command = ("tar", "--create", "--format=posix", "--directory", folder)
    with (
        listing.open() as wanted,
        subprocess.Popen(
            target.ssh(host, "sudo", *command, "--verbatim-files-from", "--files-from=-"),
            stdin=wanted,
            stdout=subprocess.PIPE,
        ) as sender,
    ):
        assert sender.stdout is not None
        try:
            unpack(sender.stdout, copy, host, set(names).__contains__)
        except tarfile.TarError as error:
            raise BackupError(f"what {host} has sent is cut short: {error}") from error
    listing.unlink()
    if sender.returncode != 0:
        raise BackupError(f"{host} could not send its copy: see above")


def unpack(stream: IO[bytes], folder: Path, host: str, is_asked_for: Callable[[str], bool]) -> None:
    """Write the files of an archive. A host is trusted no further than it needs to be."""
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for entry in archive:
            if entry.isdir():
                continue
            name = entry.name.removeprefix("./")
            if not entry.isreg() or not NAME.fullmatch(name) or not is_asked_for(name):
                raise BackupError(f"{host} has sent {entry.name!r}, which was not asked for")
            content = archive.extractfile(entry)
            assert content is not None
            path = folder / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            os.utime(path, (entry.mtime, entry.mtime))


#: Takes what is sent beside its place, and moves it there when it is whole: a folder of the
#: backup's name says that it is, also to a run that goes on with one that was cut off. All as the
#: owner: root may not write to NFS. The checkpoint comes last: tables without it are refused, and
#: not begun anew.
_PUT = """
set -eu
root=$1 owner=$2 mode=$3 whole=$1/$4 beside=$1/.restore-begun
shift 4
make_folder() {
    [ -d "$1" ] || {
        make_folder "$(dirname "$1")"
        install -d -m "$mode" -o "$owner" -g "$owner" "$1"
    }
}
as_owner() { setpriv --reuid "$owner" --regid "$owner" --clear-groups -- "$@"; }
make_folder "$root"
if [ ! -d "$whole" ]; then
    for name; do
        [ ! -e "$root/$name" ] || { echo "$root/$name is there already" >&2; exit 1; }
    done
    as_owner rm -rf "$beside"
    as_owner mkdir "$beside"
    as_owner tar --extract --no-same-owner --directory "$beside"
    as_owner mv -T "$beside" "$whole"
else
    cat >/dev/null
fi
for name; do
    [ ! -e "$whole/$name" ] || as_owner mv -T "$whole/$name" "$root/$name"
done
"""


def put(target: Target, given: dict[str, Any], source: Path, root: str) -> None:
    """Send a folder's content to a host, into a folder that has nothing of it."""
    parts = sorted(source.iterdir(), key=lambda it: (it.name == "_chk", it.name))
    owner, mode = str(given["owner"]), given["mode"]
    arguments = [root, owner, mode, f".restore-{given['id'][:8]}", *(it.name for it in parts)]
    command = shlex.join(["sudo", "sh", "-c", _PUT, "put", *arguments])
    with subprocess.Popen(
        target.ssh(given["host"], command), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as receiver:
        assert receiver.stdin is not None
        assert receiver.stderr is not None
        # What it says is short.
        with suppress(BrokenPipeError):
            with tarfile.open(fileobj=receiver.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for path in parts:
                    tar.add(path, path.name, filter=readable)
            receiver.stdin.close()
        said = receiver.stderr.read().decode(errors="replace").strip()
    if receiver.returncode != 0:
        raise BackupError(f"{given['host']} did not take what was sent to {root}: {said}")


def readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Tables are for everybody to read, also where this machine's umask is another."""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry
