"""tools/vault.py: secrets are made once, stay, and are closed to everybody else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vault
import yaml


@pytest.fixture(autouse=True)
def no_password_of_the_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)


def read(folder: Path, password: Path | None = None) -> dict[str, Any]:
    """Read the secrets by Ansible's own command."""
    said = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-vault"),
            "view",
            f"--vault-password-file={password or vault.password_file(folder)}",
            vault.secrets_file(folder),
        ],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    ).stdout
    held: dict[str, Any] = yaml.safe_load(said)
    return held


def test_they_are_made_once_long_and_each_another(tmp_path: Path) -> None:
    assert vault.ensure(tmp_path) == list(vault.ALL)
    held = read(tmp_path)
    assert list(held) == sorted(vault.ALL)
    assert min(map(len, held.values())) >= 40
    assert len(set(held.values())) == len(held)

    before = vault.secrets_file(tmp_path).read_bytes()
    assert vault.ensure(tmp_path) == []
    assert vault.secrets_file(tmp_path).read_bytes() == before


def test_nothing_of_them_is_readable(tmp_path: Path) -> None:
    vault.ensure(tmp_path)
    held = read(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
        assert [name for name, value in held.items() if value in path.read_text()] == []


def test_what_is_there_stays_and_what_is_missing_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.ensure(tmp_path)
    before = read(tmp_path)
    monkeypatch.setattr(vault, "ALL", (*vault.ALL, "secret_of_a_later_version"))
    assert vault.ensure(tmp_path) == ["secret_of_a_later_version"]
    after = read(tmp_path)
    assert {name: after[name] for name in before} == before
    assert "secret_of_a_later_version" in after


def test_a_password_that_ansible_is_told_of_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.write_text("one that the operator has chosen\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    folder = tmp_path / "environment"
    vault.ensure(folder)
    assert not vault.password_file(folder).exists()
    assert list(read(folder, password)) == sorted(vault.ALL)


def test_secrets_without_their_password_are_told_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.ensure(tmp_path)
    file, before = vault.secrets_file(tmp_path), vault.secrets_file(tmp_path).read_bytes()
    own = vault.password_file(tmp_path)
    kept = own.read_text()

    own.unlink()
    with pytest.raises(vault.VaultError, match=r"\.vault-password is missing"):
        vault.ensure(tmp_path)
    assert not own.exists()

    own.write_text("another\n")
    with pytest.raises(vault.VaultError, match="does not open by the password given") as told:
        vault.ensure(tmp_path)
    assert str(file) in str(told.value)
    assert kept.strip() not in str(told.value)
    assert file.read_bytes() == before


def test_a_file_that_is_not_encrypted_is_refused(tmp_path: Path) -> None:
    file = vault.secrets_file(tmp_path)
    file.parent.mkdir(parents=True)
    file.write_text("secret_spark: in the clear\n")
    with pytest.raises(vault.VaultError, match="is not encrypted"):
        vault.ensure(tmp_path)
    assert file.read_text() == "secret_spark: in the clear\n"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[: len(text) // 2], id="its end is missing"),
        pytest.param(lambda text: text[:200] + "-" + text[201:], id="a letter is another"),
        pytest.param(lambda text: text.splitlines()[0], id="nothing but its head"),
    ],
)
def test_a_file_that_is_damaged_is_told_and_kept(
    tmp_path: Path, damage: Callable[[str], str]
) -> None:
    vault.ensure(tmp_path)
    file = vault.secrets_file(tmp_path)
    damaged = damage(file.read_text())
    file.write_text(damaged)
    with pytest.raises(vault.VaultError, match="take it from your backup") as told:
        vault.ensure(tmp_path)
    assert str(file) in str(told.value)
    assert file.read_text() == damaged


@pytest.mark.parametrize(
    "made", [None, "", "#!/bin/sh\nexit 3\n"], ids=["missing", "empty", "a program that fails"]
)
def test_a_password_that_cannot_be_had_is_told_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str | None
) -> None:
    password, folder = tmp_path / "password", tmp_path / "environment"
    if made is not None:
        password.write_text(made)
        password.chmod(0o700 if made else 0o600)
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    with pytest.raises(vault.VaultError, match="gives no password") as told:
        vault.ensure(folder)
    assert str(password) in str(told.value)
    assert not vault.secrets_file(folder).exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("secret_spark:\n", "has nothing for secret_spark"),
        ("secret_spark: a-secret: planted\n", "is no YAML inside"),
        ("- planted\n", "holds no names"),
    ],
)
def test_what_an_editor_has_spoiled_is_told_without_being_shown(
    tmp_path: Path, content: str, told: str
) -> None:
    vault.ensure(tmp_path)
    file = vault.secrets_file(tmp_path)
    spoiled = vault.vault_of(tmp_path).encrypt(content)
    file.write_bytes(spoiled)
    with pytest.raises(vault.VaultError, match=told) as error:
        vault.ensure(tmp_path)
    assert "planted" not in str(error.value)
    assert file.read_bytes() == spoiled


def test_a_look_says_why_they_do_not_open_and_makes_nothing(tmp_path: Path) -> None:
    vault.check(tmp_path)
    assert list(tmp_path.iterdir()) == []
    vault.ensure(tmp_path)
    vault.check(tmp_path)
    vault.password_file(tmp_path).unlink()
    with pytest.raises(vault.VaultError, match=r"\.vault-password is missing"):
        vault.check(tmp_path)
    assert not vault.password_file(tmp_path).exists()


def test_two_at_a_time_make_one_password_and_one_set_of_secrets(tmp_path: Path) -> None:
    begun = threading.Event()

    def first(folder: Path, seconds: float) -> None:
        with vault.locked(folder):
            begun.set()
            time.sleep(seconds)
            vault._ensure(folder)

    other = threading.Thread(target=first, args=(tmp_path, 1))
    other.start()
    assert begun.wait(10)
    # All were made by the one that came first.
    assert vault.ensure(tmp_path) == []
    other.join(10)
    assert list(read(tmp_path)) == sorted(vault.ALL)


def test_who_waits_too_long_is_told_for_what(tmp_path: Path) -> None:
    with (
        vault.locked(tmp_path),
        pytest.raises(vault.VaultError, match="another process"),
        vault.locked(tmp_path, 0.1),
    ):
        raise AssertionError("two hold it")
