"""The secrets of an environment: made once, long and random, in a file that ansible-vault encrypts.

Usage: python tools/vault.py ENVIRONMENT [check]

Makes inventories/ENVIRONMENT/group_vars/all/secrets.yml, or adds the secrets that it lacks. What
is there stays. With `check` it makes nothing, and says why secrets that are there do not open.
The password is the one that Ansible is told of (ANSIBLE_VAULT_PASSWORD_FILE or vault_password_file
in ansible.cfg); else that in inventories/ENVIRONMENT/.vault-password, which is made too.
`ansible-vault view` and `edit` show and change the file.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from ansible.constants import DEFAULT_VAULT_PASSWORD_FILE
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import (
    VaultLib,
    VaultSecret,
    get_file_vault_secret,
    is_encrypted,
)
from hosts import ROOT

#: What each is for stands in inventories/pipeline/group_vars/all/security.yml.
NAMES = (
    "secret_certificate_authority",
    "secret_keystores",
    "secret_kafka_brokers",
    "secret_kafka_operator",
    "secret_kafka_producer",
    "secret_kafka_streaming",
    "secret_spark",
)
#: No rotation changes these: what is kept by them opens by nothing else.
KEPT = ("secret_backup",)
ALL = (*NAMES, *KEPT)
BYTES = 32
#: Seconds to wait for another process that makes secrets of the same environment.
WAIT = 60.0
HEAD = """\
---
# Secrets of this environment. Without them its hosts let nobody in. Keep copies of this file and
# of its password elsewhere.
"""


class VaultError(Exception):
    """The secrets cannot be read; the text says which file, why and what to do."""


def password_file(folder: Path) -> Path:
    """Return the file of an environment's own password."""
    return folder / ".vault-password"


def vault_of(folder: Path) -> VaultLib:
    """Return what encrypts and decrypts, by the password of an environment.

    Makes the password where there is neither one nor a file that is encrypted.

    Raises:
        VaultError: There is a file of secrets and no password to it, or the password that is named
            cannot be had.
    """
    given = os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") or DEFAULT_VAULT_PASSWORD_FILE
    own = password_file(folder)
    path = Path(given) if given else own
    if not given and not own.exists():
        if secrets_file(folder).exists():
            raise VaultError(
                f"{secrets_file(folder)} is encrypted, and there is no password to it: {own} is "
                f"missing. Put it back, or name another: export ANSIBLE_VAULT_PASSWORD_FILE=..."
            )
        write(own, f"{secrets.token_urlsafe(BYTES)}\n")
    try:
        secret = get_file_vault_secret(filename=str(path), loader=DataLoader())
        secret.load()
    except AnsibleError as error:
        raise VaultError(
            f"{path} gives no password for {secrets_file(folder)} ({error}). Put the password "
            "there, or name another file, or a program that prints it: "
            "export ANSIBLE_VAULT_PASSWORD_FILE=..."
        ) from error
    return VaultLib([("default", VaultSecret(secret.bytes))])


def secrets_file(folder: Path) -> Path:
    """Return the file of an environment's secrets."""
    return folder / "group_vars/all/secrets.yml"


def read(path: Path, vault: VaultLib) -> dict[str, str]:
    """Return the secrets of a file by name. Raises VaultError."""
    try:
        held = yaml.safe_load(vault.decrypt(path.read_bytes()))
    except AnsibleError as error:
        raise VaultError(
            f"{path} does not open by the password given ({error}). Give the one that it was "
            f"encrypted with: ANSIBLE_VAULT_PASSWORD_FILE, or {password_file(path.parents[2])}. "
            "If the file is damaged, take it from your backup"
        ) from error
    except yaml.YAMLError as error:
        # Not what it says: it shows the line.
        raise VaultError(f"{path} is no YAML inside. Mend it: ansible-vault edit") from error
    if not isinstance(held, dict):
        raise VaultError(f"{path} holds no names with a secret each. Mend it: ansible-vault edit")
    empty = [name for name in ALL if name in held and not held[name]]
    if empty:
        raise VaultError(
            f"{path} has nothing for {', '.join(empty)}. Take it from your backup, or take the "
            "name out too (ansible-vault edit), and another secret is made: make secrets"
        )
    return held


def ensure(folder: Path) -> list[str]:
    """Make what is missing of an environment's secrets, and return the names of those.

    Raises:
        VaultError: The file cannot be decrypted, or holds something else.
    """
    with locked(folder):
        return _ensure(folder)


@contextmanager
def locked(folder: Path, seconds: float = WAIT) -> Iterator[None]:
    """Hold an environment's folder: two that make its first password would make two.

    Raises:
        VaultError: Another process has held it for so many seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise VaultError(
                        f"another process has made secrets in {folder} for {seconds:g} s. Let it "
                        "end, or end it, and run this again"
                    ) from error
                time.sleep(0.1)
        yield
    finally:
        os.close(held)


def _ensure(folder: Path) -> list[str]:
    path = secrets_file(folder)
    if path.exists() and not is_encrypted(path.read_bytes()):
        raise VaultError(
            f"{path} is not encrypted. If it holds secrets, encrypt it: ansible-vault encrypt "
            f"{path}; if not, delete it."
        )
    vault = vault_of(folder)
    held = read(path, vault) if path.exists() else {}
    missing = [name for name in ALL if name not in held]
    if missing:
        held |= {name: secrets.token_urlsafe(BYTES) for name in missing}
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, vault.encrypt(HEAD + yaml.safe_dump(held)).decode())
    return missing


def check(folder: Path) -> None:
    """Read an environment's secrets, if there are any. Raises VaultError."""
    path = secrets_file(folder)
    if path.exists() and is_encrypted(path.read_bytes()):
        read(path, vault_of(folder))


def write(path: Path, text: str) -> None:
    """Write a file that its owner alone may read: all of it, or what was there stays."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def main() -> int:
    """Make what is missing, and say so; or only look."""
    name, *command = sys.argv[1:]
    if command not in ([], ["check"]):
        sys.exit((__doc__ or "").split("\n\n")[1])
    folder = ROOT / "inventories" / name
    if not folder.is_dir():
        print(f"Error: there is no environment {name}: {folder} is missing", file=sys.stderr)
        return 1
    try:
        if command:
            check(folder)
            return 0
        made = ensure(folder)
    except VaultError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if made:
        print(f"vault: made {len(made)} secrets in {secrets_file(folder)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
