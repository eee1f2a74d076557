"""Rotation of an environment's secrets and certificates: what is under way, and what is left of it.

Usage: python tools/rotation.py [--store FOLDER] [--ca made|own|ready] inventories/ENVIRONMENT
           COMMAND [KIND]

    see KIND      say what a rotation of this kind would do, or go on with; changes nothing
    begin KIND    write new secrets, and what is left to do, into the environment's secrets.yml
    prepare       bring the folder of certificates to what the next deployment needs
    done          strike off what a deployment has brought to the hosts

ansible/rotate.yml calls it before and after a deployment. Each command prints the steps that are
left. All that is known of a rotation stands in secrets.yml and in the folder of certificates, so
one that was cut off is gone on with by the same commands. --store names the folder of certificates,
--ca says whether the deployment has made the CA, the operator owns it, or certificates are ready.
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

#: The steps of each in their order.
KINDS = {
    "passwords": ["passwords"],
    "spark": ["spark"],
    "certificates": ["certificates"],
    "ca": ["ca-trust", "ca-sign", "ca-forget"],
    "all": ["passwords", "spark", "ca-trust", "ca-sign", "ca-forget"],
}
CAS = ("made", "own", "ready")
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


def steps_of(kind: str, ca: str) -> list[str]:
    """Return the steps of a rotation in their order. Raises RotationError."""
    if kind not in KINDS:
        raise RotationError(f"rotate is '{kind}', which is none of {', '.join(KINDS)}")
    if kind == "all" and ca != "made":
        return KINDS["passwords"] + KINDS["spark"] + (KINDS["certificates"] if ca == "own" else [])
    if kind == "ca" and ca == "own":
        raise RotationError(
            "The CA is your own (certificates_ca_certificate), which is not made here. Let that "
            "and certificates_ca_key name the new one, and the hosts trust both meanwhile"
        )
    if kind in ("certificates", "ca") and ca == "ready":
        raise RotationError(
            "Certificates are ready in certificates_ready, and none is made here. Put the new "
            "ones there and run ansible/site.yml"
        )
    return KINDS[kind]


def of_one_deployment(left: list[str]) -> list[str]:
    """Return those of the steps that the next deployment brings: of a CA's one at a time."""
    of_the_ca = [step for step in left if step.startswith("ca-")]
    return [step for step in left if step not in of_the_ca[1:]]


class Rotation:
    """An environment's secrets, and the rotation that is under way."""

    def __init__(self, folder: Path, store: Path, ca: str = "made") -> None:
        """Read the secrets of an environment.

        Args:
            folder: the environment's.
            store: the folder of its certificates.
            ca: one of CAS.

        Raises:
            VaultError, RotationError: They cannot be read.
        """
        self.store, self.ca = store, ca
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
        steps = steps_of(kind, self.ca)
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
            names = (*PASSWORDS, CA_PASSPHRASE) if self.ca == "made" else PASSWORDS
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
        if before:
            for key in self.store.glob("ca*.key"):
                change_passphrase(key, [before, self.held[CA_PASSPHRASE]])
        steps = of_one_deployment(self.left)
        # Once: what is made instead stays when this is done again.
        if "certificates" in steps and not self.record.get("certificates_removed"):
            self.remove_certificates()
            self.held[RECORD] = self.record | {"certificates_removed": True}
            self.save()
        if "ca-sign" in steps:
            self.let_the_next_ca_sign()
        if "ca-forget" in steps:
            (self.store / "ca-previous.pem").unlink(missing_ok=True)

    def remove_certificates(self) -> None:
        """Let every host's keys and certificates be made anew; the hosts keep theirs until then."""
        for file in self.store.glob("*/*"):
            if file.suffix in (".key", ".csr", ".crt"):
                file.unlink()

    def let_the_next_ca_sign(self) -> None:
        """Put the next CA in the place of the one that signs, whose certificate is trusted on.

        The name of the next CA's certificate goes last: while it is there, this is not done.
        """
        now, following = self.store / "ca.pem", self.store / "ca-next.pem"
        if not following.exists():
            return
        self.remove_certificates()
        write(self.store / "ca-previous.pem", now.read_text(encoding="ascii"))
        if (self.store / "ca-next.key").exists():
            (self.store / "ca-next.key").rename(self.store / "ca.key")
        following.rename(now)

    def done(self) -> None:
        """Strike off the steps that a deployment has brought; the last take the record along."""
        brought = of_one_deployment(self.left)
        left = [step for step in self.left if step not in brought]
        self.held[RECORD] = {"kind": self.record["kind"], "left": left} if left else {}
        self.save()
        if not left:
            self.copy.unlink(missing_ok=True)

    def save(self) -> None:
        """Write the secrets, all of them or none."""
        write(self.file, self.vault.encrypt(HEAD + yaml.safe_dump(self.held)).decode())


def main() -> int:
    """Do what the command line says, and print the steps that are left, as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="inventories/ENVIRONMENT")
    parser.add_argument("--store", type=Path, required=True, help="folder of the certificates")
    parser.add_argument("--ca", choices=CAS, default="made", help="whose the CA is")
    parser.add_argument("command", choices=["see", "begin", "prepare", "done"])
    parser.add_argument("kind", nargs="?", default="", help="what is rotated")
    given = parser.parse_args()
    try:
        rotation = Rotation(given.folder, given.store, given.ca)
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
    steps = of_one_deployment(left)
    print(json.dumps({"left": left, "steps": steps, "under_way": under_way}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
