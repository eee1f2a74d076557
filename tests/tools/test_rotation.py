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
    make_key(made / "ca.key", passphrase)
    (made / "ca.pem").write_text("the first CA\n")
    for name in ("kafka", "spark"):
        for host in ("core-1", "core-2"):
            (made / host).mkdir(exist_ok=True)
            for end in ("key", "csr", "crt", "p12"):
                (made / host / f"{name}.{end}").write_text(f"{end} of the first\n")
    return made


def make_key(path: Path, passphrase: str) -> None:
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    vault.write(path, encrypted.decode())


def make_next(folder: Path, store: Path) -> None:
    """What the role makes when hosts are to trust another CA."""
    make_key(store / "ca-next.key", held(folder)["secret_certificate_authority"])
    (store / "ca-next.pem").write_text("the second CA\n")


def files(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*.*")}


def held(folder: Path) -> dict[str, Any]:
    """The secrets as a run of Ansible reads them now."""
    return vault.read(vault.secrets_file(folder), vault.vault_of(folder))


def start(folder: Path, ca: str = "made") -> rotation.Rotation:
    """What a run of the playbook begins with, or goes on with."""
    return rotation.Rotation(folder, folder / ".certificates", ca)


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
    start(folder).begin("passwords")
    during = held(folder)
    assert changed(before, during) == set(vault.NAMES) - {"secret_spark"}
    assert during["secret_users_suffix"] == "-2"
    kept = during["pipeline_rotation"]["before"]
    assert kept.pop("secret_users_suffix") == ""
    assert kept == {name: before[name] for name in kept}
    assert set(kept) == changed(before, during)
    assert during["pipeline_rotation"]["left"] == ["passwords"]

    start(folder).done()
    after = held(folder)
    assert after["pipeline_rotation"] == {}
    assert changed(during, after) == set()

    # The next goes back to the first names, with passwords that are new again.
    start(folder).begin("passwords")
    assert held(folder)["secret_users_suffix"] == ""
    assert len(changed(before, held(folder)) & changed(during, held(folder))) == 6


def test_one_that_was_cut_off_is_gone_on_with(folder: Path, store: Path) -> None:
    start(folder).begin("all")
    before = vault.secrets_file(folder).read_bytes()
    again = start(folder)
    assert again.see("all") == ["passwords", "spark", "ca-trust", "ca-sign", "ca-forget"]
    again.begin("all")
    assert vault.secrets_file(folder).read_bytes() == before


@pytest.mark.parametrize("kind", ["", "password", "everything"])
def test_another_word_is_refused(folder: Path, kind: str) -> None:
    with pytest.raises(rotation.RotationError, match=rf"rotate is '{kind}', .* passwords"):
        start(folder).begin(kind)
    assert "pipeline_rotation" not in held(folder)


def test_one_of_another_kind_is_refused_until_the_first_has_ended(folder: Path) -> None:
    start(folder).begin("spark")
    before = vault.secrets_file(folder).read_bytes()
    with pytest.raises(rotation.RotationError, match=r"-e rotate=spark"):
        start(folder).begin("passwords")
    assert vault.secrets_file(folder).read_bytes() == before


def test_sparks_secret_changes_alone(folder: Path) -> None:
    before = held(folder)
    start(folder).begin("spark")
    after = held(folder)
    assert changed(before, after) == {"secret_spark"}
    assert "secret_users_suffix" not in after
    assert "before" not in after["pipeline_rotation"]


def test_a_copy_of_what_was_before_is_kept_until_the_end(folder: Path) -> None:
    before = vault.secrets_file(folder).read_bytes()
    start(folder).begin("passwords")
    (copy,) = [path for path in folder.rglob("*") if path.is_file() and "before" in path.name]
    assert copy.read_bytes() == before
    assert copy.stat().st_mode & 0o777 == 0o600
    # Ansible would read it.
    assert "group_vars" not in copy.parts
    start(folder).done()
    assert not copy.exists()


def test_the_ca_key_opens_by_the_new_passphrase_and_is_the_same(folder: Path, store: Path) -> None:
    key, before = store / "ca.key", held(folder)["secret_certificate_authority"]
    number = number_of(key, before)
    start(folder).begin("passwords")
    for _ in range(2):
        start(folder).prepare()
        assert number_of(key, held(folder)["secret_certificate_authority"]) == number
    with pytest.raises(ValueError, match="password"):
        number_of(key, before)
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_ca_key_that_does_not_open_is_told_and_kept(folder: Path, store: Path) -> None:
    start(folder).begin("passwords")
    rotation.change_passphrase(
        store / "ca.key",
        [held(folder)["pipeline_rotation"]["before"]["secret_certificate_authority"], "another"],
    )
    before = (store / "ca.key").read_bytes()
    with pytest.raises(rotation.RotationError, match=r"ca\.key opens neither by"):
        start(folder).prepare()
    assert (store / "ca.key").read_bytes() == before


def test_the_passphrase_of_a_ca_of_the_operators_own_stays(folder: Path) -> None:
    before = held(folder)
    start(folder, "own").begin("passwords")
    assert "secret_certificate_authority" not in changed(before, held(folder))


def test_certificates_are_removed_once_and_what_is_made_instead_stays(
    folder: Path, store: Path
) -> None:
    start(folder).begin("certificates")
    start(folder).prepare()
    assert sorted(files(store)) == sorted(
        [
            "ca.key",
            "ca.pem",
            *[f"{host}/{name}.p12" for host in ("core-1", "core-2") for name in ("kafka", "spark")],
        ]
    )
    (store / "core-1/kafka.crt").write_text("made anew\n")
    start(folder).prepare()
    assert (store / "core-1/kafka.crt").read_text() == "made anew\n"
    start(folder).done()
    assert held(folder)["pipeline_rotation"] == {}


def test_a_ca_is_followed_in_three_deployments(folder: Path, store: Path) -> None:
    start(folder).begin("ca")
    start(folder).prepare()
    make_next(folder, store)
    second = files(store)["ca-next.key"]
    start(folder).done()

    assert start(folder).left == ["ca-sign", "ca-forget"]
    start(folder).prepare()
    now = files(store)
    assert now["ca.pem"] == b"the second CA\n"
    assert now["ca.key"] == second
    assert now["ca-previous.pem"] == b"the first CA\n"
    assert [
        name for name in now if "ca-next" in name or name.endswith((".crt", "-1/spark.key"))
    ] == []
    (store / "core-1/kafka.crt").write_text("made anew\n")
    start(folder).prepare()
    assert files(store) == now | {"core-1/kafka.crt": b"made anew\n"}
    start(folder).done()

    assert start(folder).left == ["ca-forget"]
    start(folder).prepare()
    assert "ca-previous.pem" not in files(store)
    start(folder).done()
    assert held(folder)["pipeline_rotation"] == {}


@pytest.mark.parametrize("moves", range(4))
def test_a_ca_that_was_put_in_place_by_half_is_put_in_place(
    folder: Path, store: Path, moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(folder).begin("ca")
    make_next(folder, store)
    second = files(store)["ca-next.key"]
    start(folder).done()

    done: list[Path] = []
    rename = Path.rename

    def cut_off(path: Path, target: Path) -> Path:
        if len(done) == moves:
            raise InterruptedError
        done.append(path)
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut_off)
        if moves < 3:
            with pytest.raises(InterruptedError):
                start(folder).prepare()
        else:
            start(folder).prepare()
    start(folder).prepare()
    now = files(store)
    assert (now["ca.pem"], now["ca-previous.pem"]) == (b"the second CA\n", b"the first CA\n")
    assert now["ca.key"] == second
    assert [name for name in now if "next" in name or name.endswith(".crt")] == []


def test_of_all_what_the_ca_does_not_wait_for_comes_with_its_first_deployment(
    folder: Path, store: Path
) -> None:
    start(folder).begin("all")
    start(folder).done()
    left = held(folder)["pipeline_rotation"]
    assert left == {"kind": "all", "left": ["ca-sign", "ca-forget"]}


@pytest.mark.parametrize(
    ("kind", "ca", "told"),
    [
        ("ca", "own", "certificates_ca_certificate"),
        ("ca", "ready", "certificates_ready"),
        ("certificates", "ready", "certificates_ready"),
    ],
)
def test_what_is_not_made_here_is_not_rotated_here(
    folder: Path, kind: str, ca: str, told: str
) -> None:
    with pytest.raises(rotation.RotationError, match=told):
        start(folder, ca).begin(kind)
    assert "pipeline_rotation" not in held(folder)


@pytest.mark.parametrize(
    ("ca", "steps"),
    [("own", ["passwords", "spark", "certificates"]), ("ready", ["passwords", "spark"])],
)
def test_all_is_all_that_is_made_here(folder: Path, ca: str, steps: list[str]) -> None:
    assert start(folder, ca).see("all") == steps


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it as the playbook does."""
    return subprocess.run(
        [
            sys.executable,
            ROOT / "tools/rotation.py",
            f"--store={folder / '.certificates'}",
            folder,
            *arguments,
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


def test_its_commands_say_what_is_left_and_no_secret(folder: Path) -> None:
    seen = run(folder, "see", "passwords")
    steps = {"left": ["passwords"], "steps": ["passwords"]}
    assert json.loads(seen.stdout) == steps | {"under_way": False}
    assert run(folder, "begin", "passwords").returncode == 0
    seen = run(folder, "see", "passwords")
    assert json.loads(seen.stdout) == steps | {"under_way": True}
    secret = [value for name, value in held(folder).items() if name in vault.NAMES]
    assert [value for value in secret if value in seen.stdout + seen.stderr] == []


def test_an_environment_without_secrets_is_told(tmp_path: Path) -> None:
    said = run(tmp_path, "see", "passwords")
    assert said.returncode == 1
    assert f"make secrets NAME={tmp_path.name}" in said.stderr
    assert "Nothing was changed" in said.stderr
