"""tools/rotation.py: secrets change as a whole, once, and what was cut off is gone on with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rotation
import vault
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hosts import ROOT


@pytest.fixture(autouse=True)
def no_password_of_the_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An environment with its secrets."""
    vault.ensure(tmp_path)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Path:
    """The folder of the environment's CA, whose key opens by the passphrase of the secrets."""
    made = folder / ".certificates"
    made.mkdir()
    passphrase = held(folder)["secret_certificate_authority"]
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    vault.write(made / "ca.key", encrypted.decode())
    return made


def held(folder: Path) -> dict[str, Any]:
    """The secrets as a run of Ansible reads them now."""
    return vault.read(vault.secrets_file(folder), vault.vault_of(folder))


def number_of(key: Path, passphrase: str) -> int:
    """The private number of a key, which opens by this passphrase."""
    opened = serialization.load_pem_private_key(key.read_bytes(), passphrase.encode())
    assert isinstance(opened, ec.EllipticCurvePrivateKey)
    return opened.private_numbers().private_value


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in vault.NAMES if before[name] != after[name]}


def test_users_get_their_other_names_with_new_passwords_and_the_old_are_kept(
    folder: Path, store: Path
) -> None:
    before = held(folder)
    rotation.Rotation(folder, store).begin("passwords")
    during = held(folder)
    assert changed(before, during) == set(vault.NAMES) - {"secret_spark"}
    assert during["secret_users_suffix"] == "-2"
    kept = during["pipeline_rotation"]["before"]
    assert kept.pop("secret_users_suffix") == ""
    assert kept == {name: before[name] for name in kept}
    assert set(kept) == changed(before, during)
    assert during["pipeline_rotation"]["left"] == ["passwords"]

    rotation.Rotation(folder, store).done()
    after = held(folder)
    assert after["pipeline_rotation"] == {}
    assert changed(during, after) == set()

    # The next goes back to the first names, with passwords that are new again.
    rotation.Rotation(folder, store).begin("passwords")
    assert held(folder)["secret_users_suffix"] == ""
    assert len(changed(before, held(folder)) & changed(during, held(folder))) == 6


def test_one_that_was_cut_off_is_gone_on_with(folder: Path, store: Path) -> None:
    rotation.Rotation(folder, store).begin("all")
    before = vault.secrets_file(folder).read_bytes()
    again = rotation.Rotation(folder, store)
    assert again.see("all") == ["passwords", "spark"]
    again.begin("all")
    assert vault.secrets_file(folder).read_bytes() == before


@pytest.mark.parametrize("kind", ["", "password", "everything"])
def test_another_word_is_refused(folder: Path, kind: str) -> None:
    with pytest.raises(rotation.RotationError, match=rf"rotate is '{kind}', .* passwords"):
        rotation.Rotation(folder).begin(kind)
    assert "pipeline_rotation" not in held(folder)


def test_one_of_another_kind_is_refused_until_the_first_has_ended(folder: Path) -> None:
    rotation.Rotation(folder).begin("spark")
    before = vault.secrets_file(folder).read_bytes()
    with pytest.raises(rotation.RotationError, match=r"-e rotate=spark"):
        rotation.Rotation(folder).begin("passwords")
    assert vault.secrets_file(folder).read_bytes() == before


def test_sparks_secret_changes_alone(folder: Path) -> None:
    before = held(folder)
    rotation.Rotation(folder).begin("spark")
    after = held(folder)
    assert changed(before, after) == {"secret_spark"}
    assert "secret_users_suffix" not in after
    assert "before" not in after["pipeline_rotation"]


def test_a_copy_of_what_was_before_is_kept_until_the_end(folder: Path) -> None:
    before = vault.secrets_file(folder).read_bytes()
    rotation.Rotation(folder).begin("passwords")
    (copy,) = [path for path in folder.rglob("*") if path.is_file() and "before" in path.name]
    assert copy.read_bytes() == before
    assert copy.stat().st_mode & 0o777 == 0o600
    # Ansible would read it.
    assert "group_vars" not in copy.parts
    rotation.Rotation(folder).done()
    assert not copy.exists()


def test_the_ca_key_opens_by_the_new_passphrase_and_is_the_same(folder: Path, store: Path) -> None:
    key, before = store / "ca.key", held(folder)["secret_certificate_authority"]
    number = number_of(key, before)
    rotation.Rotation(folder, store).begin("passwords")
    for _ in range(2):
        rotation.Rotation(folder, store).prepare()
        assert number_of(key, held(folder)["secret_certificate_authority"]) == number
    with pytest.raises(ValueError, match="password"):
        number_of(key, before)
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_ca_key_that_does_not_open_is_told_and_kept(folder: Path, store: Path) -> None:
    rotation.Rotation(folder, store).begin("passwords")
    rotation.change_passphrase(
        store / "ca.key",
        [held(folder)["pipeline_rotation"]["before"]["secret_certificate_authority"], "another"],
    )
    before = (store / "ca.key").read_bytes()
    with pytest.raises(rotation.RotationError, match=r"ca\.key opens neither by"):
        rotation.Rotation(folder, store).prepare()
    assert (store / "ca.key").read_bytes() == before


def test_the_passphrase_of_a_ca_of_the_operators_own_stays(folder: Path) -> None:
    before = held(folder)
    rotation.Rotation(folder, store=None).begin("passwords")
    assert "secret_certificate_authority" not in changed(before, held(folder))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it as the playbook does."""
    return subprocess.run(
        [sys.executable, ROOT / "tools/rotation.py", folder, *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


def test_its_commands_say_what_is_left_and_no_secret(folder: Path) -> None:
    seen = run(folder, "see", "passwords")
    assert json.loads(seen.stdout) == {"left": ["passwords"], "under_way": False}
    assert run(folder, "begin", "passwords").returncode == 0
    seen = run(folder, "see", "passwords")
    assert json.loads(seen.stdout) == {"left": ["passwords"], "under_way": True}
    secret = [value for name, value in held(folder).items() if name in vault.NAMES]
    assert [value for value in secret if value in seen.stdout + seen.stderr] == []


def test_an_environment_without_secrets_is_told(tmp_path: Path) -> None:
    said = run(tmp_path, "see", "passwords")
    assert said.returncode == 1
    assert f"make secrets NAME={tmp_path.name}" in said.stderr
    assert "Nothing was changed" in said.stderr
