"""Put together a support bundle of what hosts have sent; run by ansible/support.yml.

Usage: python tools/support_bundle.py unpack FOLDER HOST < JSON    one host's pack, without secrets
       python tools/support_bundle.py index FOLDER ARCHIVE < JSON  the index page, and the archive

FOLDER is a working folder, which the archive is made of. What is given by standard input holds the
environment's secrets, so that they can be taken out: it is written nowhere.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import dataclasses
import gzip
import io
import json
import os
import re
import shutil
import sys
import tarfile
import time
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import status
from hosts import UNIT_GROUPS, HostsError, Target, load
from support_findings import Bundle, findings
from support_page import page, summary
from support_redact import Redactor, url_secrets

#: Names of hosts, and of files in a pack: nothing that leads out of a folder.
NAME = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[\w@.:-]+(?:/[\w@.:-]+)*")
#: What a pack may hold beside the bound for its files: their headers, and what it says of itself.
SLACK = 8 * 1024 * 1024
SETTINGS = ("files/etc/",)
LEFTOVER_SECONDS = 6 * 3600


class SupportError(Exception):
    """A bundle cannot be made; the text says why."""


def unpacked(content: str, limit: int) -> dict[str, bytes]:
    """Return the files of a host's pack by name.

    A host is trusted no further than it needs to be: names and sizes are checked.

    Args:
        content: as the module support_host returns it.
        limit: the most bytes that it may hold.

    Raises:
        SupportError: It is no pack, is too large, or holds names that lead elsewhere.
    """
    try:
        packed = io.BytesIO(base64.b64decode(content, validate=True))
        with gzip.open(packed) as file:
            plain = file.read(limit + SLACK + 1)
        if len(plain) > limit + SLACK:
            raise SupportError(f"what it has sent is larger than {limit + SLACK:,} bytes")
        found = {}
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            for entry in archive:
                if not entry.isreg() or not NAME.fullmatch(entry.name):
                    raise SupportError(
                        f"what it has sent holds {entry.name!r}, which is no file of a pack"
                    )
                inner = archive.extractfile(entry)
                assert inner is not None
                found[entry.name] = inner.read()
    except (binascii.Error, OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise SupportError(f"what it has sent is no pack: {error}") from error
    return found


def write(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may read."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def redactor_of(secrets: list[str]) -> Redactor:
    """Return what takes out some secrets, and what is secret in those that are addresses."""
    return Redactor([*secrets, *(part for it in secrets for part in url_secrets(it))])


def unpack(folder: Path, host: str, given: dict[str, Any]) -> None:
    """Write what a host has sent, without secrets.

    Raises:
        SupportError: It has sent no pack.
    """
    redactor = redactor_of(given["secrets"])
    for name, content in unpacked(given["content"], given["megabytes"] * 1024 * 1024).items():
        text = content.decode(errors="replace")
        if name == "host.json":
            try:
                clean = json.dumps(redactor.data(json.loads(text)), indent=1)
            except ValueError as error:
                raise SupportError(f"what it says of itself is no JSON: {error}") from error
        else:
            clean = redactor.text(text, settings=name.startswith(SETTINGS))
        write(folder / "hosts" / host / name, clean.encode())


def status_of(environment: str, silent: set[str]) -> dict[str, Any]:
    """Return the state that make status shows, without what is read from the tables.

    Raises:
        HostsError: The environment's hosts are not known here.
    """
    target = load(environment)
    # They would be waited for once more.
    answering = Target(
        target.name,
        {host: it for host, it in target.hosts.items() if host not in silent},
        {group: [it for it in hosts if it not in silent] for group, hosts in target.groups.items()},
    )
    if not answering.hosts:
        raise HostsError("no host answers")
    state = status.collect(answering)
    del state["genres"], state["urls"]
    return state


def bundle_of(folder: Path, given: dict[str, Any], redactor: Redactor) -> Bundle:
    """Return what was taken, and what the health checks and the status page say."""
    hosts, silent = {}, dict(given["silent"])
    for host in given["hosts"]:
        path = folder / "hosts" / host / "host.json"
        if path.exists():
            hosts[host] = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
        elif host not in silent:
            silent[host] = "it has sent nothing"
    groups: dict[str, list[str]] = given["groups"]
    bundle = Bundle(
        environment=given["environment"],
        at=datetime.now(UTC),
        since=given["since"],
        hosts=hosts,
        asked={
            host: (float(begun), float(ended), float(there))
            for host, (begun, ended, there) in given["asked"].items()
        },
        silent=silent,
        expected={
            host: [unit for unit, group in UNIT_GROUPS.items() if host in groups.get(group, [])]
            for host in hosts
        },
        problems=given["problems"],
        unchecked=given["unchecked"],
    )
    try:
        bundle.status = status_of(bundle.environment, set(silent))
    except HostsError as error:
        bundle.without_status = str(error)
    # What came by other ways than a pack.
    values = {it.name: getattr(bundle, it.name) for it in dataclasses.fields(bundle)}
    told = ("silent", "problems", "unchecked", "status", "without_status")
    return dataclasses.replace(bundle, **{name: redactor.data(values[name]) for name in told})


def index(folder: Path, archive: Path, given: dict[str, Any]) -> list[str]:
    """Write the index page, and everything into an archive; return what looks wrong."""
    bundle = bundle_of(folder, given, redactor_of(given["secrets"]))
    found = findings(bundle)
    health = {"problems": bundle.problems, "not_checked": bundle.unchecked, "silent": bundle.silent}
    write(folder / "health.json", json.dumps(health, indent=1).encode())
    write(folder / "status.json", json.dumps(bundle.status, indent=1).encode())
    files = {
        place.name: {
            str(it.relative_to(folder)): it.stat().st_size
            for it in place.rglob("*")
            if it.is_file()
        }
        for place in sorted((folder / "hosts").glob("*"))
    }
    write(folder / "index.html", page(bundle, found, files).encode())
    remove_leftovers(archive.parent, bundle.environment)
    partial = archive.with_name(f".{archive.name}.partial")
    partial.unlink(missing_ok=True)
    write(partial, b"")
    with tarfile.open(partial, "w:gz") as packed:
        packed.add(folder, arcname=archive.name.removesuffix(".tar.gz"), filter=nobodys)
    partial.rename(archive)
    return list(summary(found))


def remove_leftovers(folder: Path, environment: str) -> None:
    """Remove what runs that were cut off have left; what a run that goes on has is younger."""
    for path in folder.glob(f".{environment}-*"):
        if path.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a file of the archive without the name of the operator's user."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, last in (("unpack", "host"), ("index", "archive")):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        command.add_argument(last)
    arguments = parser.parse_args()
    given = json.load(sys.stdin)
    try:
        if arguments.command == "unpack":
            if not NAME.fullmatch(arguments.host) or "/" in arguments.host:
                raise SupportError(f"{arguments.host!r} is no name of a host")
            unpack(arguments.folder, arguments.host, given)
        else:
            print("\n".join(index(arguments.folder, Path(arguments.archive), given)))
    except (SupportError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
