"""Rotation of an environment's secrets and certificates: what is under way, and what is left of it.

Usage: python tools/rotation.py [--store FOLDER] inventories/ENVIRONMENT COMMAND [KIND]

    see KIND      say what a rotation of this kind would do, or go on with; changes nothing
    begin KIND    write new secrets, and what is left to do, into the environment's secrets.yml
    prepare       bring the folder of certificates to what the next deployment needs
    done          strike off what a deployment has brought to the hosts

ansible/rotate.yml calls it before and after a deployment. Each command prints the steps that are
left. All that is known of a rotation stands in secrets.yml and in the folder of certificates, so
one that was cut off is gone on with by the same commands. The folder is named by --store; without
it there is none whose CA is ours.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.vault import VaultLib
from cryptography.hazmat.primitives import serialization
from vault import BYTES, HEAD, VaultError, read, secrets_file, vault_of, write

KINDS = ("passwords", "spark", "all")
#: Changed together with the names of Kafka's users; what went before is kept while both are there.
CA_PASSPHRASE = "secret_certificate_authority"
PASSWORDS = (
    "secret_kafka_brokers",
    "secret_kafka_operator",
    "secret_kafka_producer",
    "secret_kafka_streaming",
    "secret_keystores",
)
#: Each of Kafka's users has a second name, which ends so. One of the two is in use.
SUFFIX = "-2"
RECORD = "pipeline_rotation"


class RotationError(Exception):
    """Nothing was changed; the text says why and what to do."""


def change_passphrase(key: Path, passphrases: list[str]) -> None:
    """Encrypt a private key by the last of the passphrases, by one of which it opens.

    Raises:
        RotationError: It opens by none of them.
    """
    *before, wanted = passphrases
    for passphrase in (wanted, *before):
        try:
            opened = serialization.load_pem_private_key(key.read_bytes(), passphrase.encode())
        except ValueError:
            continue
        if passphrase != wanted:
            encrypted = opened.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(wanted.encode()),
            )
            write(key, encrypted.decode())
        return
    raise RotationError(
        f"{key} opens neither by the passphrase in the secrets nor by the one before. Take both "
        "from the same backup"
    )


def steps_of(kind: str) -> list[str]:
    """Return the steps of a rotation in their order. Raises RotationError."""
    steps = {
        "passwords": ["passwords"],
        "spark": ["spark"],
        "all": ["passwords", "spark"],
    }
    if kind not in steps:
        raise RotationError(f"rotate is '{kind}', which is none of {', '.join(KINDS)}")
    return steps[kind]


class Rotation:
    """An environment's secrets, and the rotation that is under way."""

    def __init__(self, folder: Path, store: Path | None = None) -> None:
        """Read the secrets of an environment, whose own CA is in a store, if it has one.

        Raises:
            VaultError, RotationError: They cannot be read.
        """
        self.store = store
        self.file = secrets_file(folder)
        self.copy = folder / "secrets-before-rotation.yml"
        if not self.file.exists():
            raise RotationError(
                f"{self.file} is missing. Make the environment's secrets: make secrets "
                f"NAME={folder.name}, or take the file from your backup"
            )
        self.vault: VaultLib = vault_of(folder)
        self.held: dict[str, Any] = read(self.file, self.vault)

    @property
    def record(self) -> dict[str, Any]:
        """What is kept of the rotation under way; empty without one."""
        found: dict[str, Any] = self.held.get(RECORD) or {}
        return found

    @property
    def left(self) -> list[str]:
        """The steps that are left."""
        return list(self.record.get("left", []))

    def see(self, kind: str) -> list[str]:
        """Return the steps that a rotation of this kind has to do, or has left.

        Raises:
            RotationError: There is no such kind, or one of another kind is under way.
        """
        steps = steps_of(kind)
        under_way = self.record.get("kind", kind)
        if under_way != kind:
            raise RotationError(
                f"A rotation of '{under_way}' was begun and has not ended. Let it end first: "
                f"-e rotate={under_way}"
            )
        return self.left or steps

    def begin(self, kind: str) -> None:
        """Write new secrets and the steps, if none is under way: all at once, or nothing."""
        steps = self.see(kind)
        if self.record:
            return
        write(self.copy, self.file.read_text(encoding="ascii"))
        record: dict[str, Any] = {"kind": kind, "left": steps}
        if "passwords" in steps:
            suffix = self.held.get("secret_users_suffix", "")
            # That of a CA of the operator's own is the operator's to change.
            names = (*PASSWORDS, CA_PASSPHRASE) if self.store else PASSWORDS
            changed = [name for name in names if name in self.held]
            record["before"] = {name: self.held[name] for name in changed}
            record["before"]["secret_users_suffix"] = suffix
            self.held |= {name: secrets.token_urlsafe(BYTES) for name in changed}
            self.held["secret_users_suffix"] = "" if suffix else SUFFIX
        if "spark" in steps:
            self.held["secret_spark"] = secrets.token_urlsafe(BYTES)
        self.held[RECORD] = record
        self.save()

    def prepare(self) -> None:
        """Do on this machine what the next deployment needs; a second time does nothing more."""
        before = self.record.get("before", {}).get(CA_PASSPHRASE)
        if self.store and before:
            for key in self.store.glob("ca*.key"):
                change_passphrase(key, [before, self.held[CA_PASSPHRASE]])

    def done(self) -> None:
        """Strike off the steps that a deployment has brought."""
        self.held[RECORD] = {}
        self.save()
        self.copy.unlink(missing_ok=True)

    def save(self) -> None:
        """Write the secrets, all of them or none."""
        write(self.file, self.vault.encrypt(HEAD + yaml.safe_dump(self.held)).decode())


def main() -> int:
    """Do what the command line says, and print the steps that are left, as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="inventories/ENVIRONMENT")
    parser.add_argument("--store", type=Path, help="folder of a CA that the deployment made")
    parser.add_argument("command", choices=["see", "begin", "prepare", "done"])
    parser.add_argument("kind", nargs="?", default="", help="what is rotated")
    given = parser.parse_args()
    try:
        rotation = Rotation(given.folder, given.store)
        under_way = bool(rotation.record)
        commands: dict[str, Callable[[], object]] = {
            "see": lambda: rotation.see(given.kind),
            "begin": lambda: rotation.begin(given.kind),
            "prepare": rotation.prepare,
            "done": rotation.done,
        }
        commands[given.command]()
        left = rotation.see(given.kind) if given.command == "see" else rotation.left
    except (RotationError, VaultError) as error:
        print(f"{error}. Nothing was changed.", file=sys.stderr)
        return 1
    print(json.dumps({"left": left, "under_way": under_way}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
