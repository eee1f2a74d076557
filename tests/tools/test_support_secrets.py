"""Which variables of an environment are secrets, for a support bundle: by Ansible itself."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from hosts import ROOT

PASSWORD = "of the vault"
VARIABLES: dict[str, Any] = {
    "secret_kafka": "planted-plain",
    "kafka_admin_password": "{{ secret_kafka }}-made-of-it",
    "broken_password": "{{ it_is_not_there }}",
    "kafka_properties": {
        "ssl.keystore.password": "planted-nested",
        "num.io.threads": "eight-of-them",
    },
    "kafka_users": [{"name": "the-users-name", "password": "planted-in-a-list"}],
    "producer_basics": "http://user:planted@host/x?signature=planted",
    "producer_ratings": "https://host/of/no/secret",
    "prometheus_webhook": "https://host/planted-hook",
    "number_secret": 1234567,
    # These say something about secrets.
    "secret_users_suffix": "-suffix",
    "password_file": "/where/it/lies",
}
EXPECTED = {
    "planted-plain",
    "planted-plain-made-of-it",
    "planted-nested",
    "planted-in-a-list",
    "http://user:planted@host/x?signature=planted",
    "https://host/planted-hook",
    "1234567",
    "planted-encrypted",
    "planted-encrypted-nested",
}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """An inventory of one host whose variables hold secrets, some encrypted where they stand."""
    vault = VaultLib([("default", VaultSecret(PASSWORD.encode()))])

    def encrypted(text: str) -> str:
        return str(vault.encrypt(text.encode()).decode()).replace("\n", "\n    ")

    (tmp_path / "password").write_text(PASSWORD)
    folder = tmp_path / "group_vars/all"
    folder.mkdir(parents=True)
    (folder / "plain.yml").write_text(yaml.safe_dump(VARIABLES))
    (folder / "encrypted.yml").write_text(
        f"anything: !vault |\n    {encrypted('planted-encrypted')}\n"
        f"nested:\n  it: !vault |\n    {encrypted('planted-encrypted-nested')}\n"
    )
    (tmp_path / "hosts.yml").write_text("all: {hosts: {host-1: {ansible_connection: local}}}\n")
    (tmp_path / "playbook.yml").write_text(
        "- hosts: host-1\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.debug: {msg: \"FOUND{{ query('secret_values') | to_json }}FOUND\"}\n"
    )
    return tmp_path / "hosts.yml"


def test_secrets_are_known_by_their_names_and_kinds(inventory: Path) -> None:
    folder = inventory.parent
    given = {"ANSIBLE_LOOKUP_PLUGINS": f"{ROOT}/ansible/lookup_plugins", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [
            *("ansible-playbook", "-i", inventory, "--vault-password-file", folder / "password"),
            folder / "playbook.yml",
        ],
        cwd=folder,
        env={key: it for key, it in os.environ.items() if not key.startswith("ANSIBLE_")} | given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.partition("FOUND")[2].partition("FOUND")[0].replace('\\"', '"'))
    assert set(found) == EXPECTED
