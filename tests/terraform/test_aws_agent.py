"""How a host gets its Session Manager agent: from AWS's package, if AWS signed it, and not else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from .aws_project import ROOT

AWS = ROOT / "terraform/aws"
SCRIPT = AWS / "scripts/ssm_agent.sh"
# As AWS's documentation, and others who check it, name them.
FINGERPRINTS = {
    "ssm-agent-2025.asc": "4855A9E6833216D6A77D8FE451A8E050D0052E5D",
    "ssm-agent-2026.asc": "1C5B395CBE5E74E2F1CA21592784DBF388D19D46",
}


@dataclass(frozen=True)
class Signer:
    """A folder of GnuPG with one key."""

    folder: Path

    def gpg(self, *arguments: str) -> str:
        """Run gpg with this folder's keys."""
        try:
            return subprocess.run(
                ["gpg", "--homedir", str(self.folder), "--batch", "--yes", *arguments],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            ).stdout
        finally:
            # gpg starts an agent for the folder, which would outlive the tests.
            subprocess.run(
                ["gpgconf", "--homedir", str(self.folder), "--kill", "gpg-agent"],
                check=True,
                timeout=60,
            )

    @property
    def public_key(self) -> str:
        """The key as text."""
        return self.gpg("--armor", "--export")

    def sign(self, file: Path, *options: str) -> None:
        """Write a detached signature beside a file."""
        self.gpg(*options, "--output", f"{file}.sig", "--detach-sign", str(file))


def make_signer(folder: Path, *options: str, expire: str = "never") -> Signer:
    """Make a key."""
    folder.mkdir(mode=0o700)
    signer = Signer(folder)
    name = ("--passphrase", "", "--quick-generate-key", "agent@example.org")
    signer.gpg(*options, *name, "rsa2048", "sign", expire)
    return signer


@dataclass(frozen=True)
class Host:
    """Stand-ins for what the script would do to a host."""

    folder: Path
    package: Path

    def install(self, keys: str, url: str = "") -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return subprocess.run(
            ["bash", str(SCRIPT)],
            env={
                "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "TMPDIR": str(self.folder / "tmp"),
                "AGENT_URL": url or self.package.as_uri(),
                "AGENT_KEYS": keys,
                "AGENT_TRIES": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def done(self) -> list[str]:
        """What was done to it."""
        log = self.folder / "done"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture(autouse=True, scope="module")
def gnupg() -> None:
    """What the tests sign with, and the script checks by."""
    assert shutil.which("gpg"), "gpg is missing: apt-get install gnupg"
    assert shutil.which("gpgv"), "gpgv is missing: apt-get install gpgv"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host that has not got its agent."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (tmp_path / "tmp").mkdir()
    for tool in ("dpkg", "systemctl", "apt-get"):
        stand_in = bin_folder / tool
        stand_in.write_text(f'#!/bin/sh\necho "{tool} ${{1#--}}" >>{tmp_path}/done\n')
        stand_in.chmod(0o755)
    package = tmp_path / "amazon-ssm-agent.deb"
    package.write_bytes(b"a package")
    return Host(tmp_path, package)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """The one whose key the host knows."""
    return make_signer(tmp_path / "signer")


def test_what_the_known_key_signed_is_installed(host: Host, signer: Signer) -> None:
    signer.sign(host.package)
    done = host.install(signer.public_key)
    assert done.returncode == 0, done.stderr
    assert host.done == ["dpkg install", "systemctl enable"]
    assert list((host.folder / "tmp").iterdir()) == []


def test_each_of_several_keys_is_known(host: Host, signer: Signer, tmp_path: Path) -> None:
    other = make_signer(tmp_path / "other")
    signer.sign(host.package)
    assert host.install(other.public_key + signer.public_key).returncode == 0
    assert host.install(signer.public_key + other.public_key).returncode == 0


def test_a_changed_package_is_refused(host: Host, signer: Signer) -> None:
    signer.sign(host.package)
    host.package.write_bytes(b"another package")
    done = host.install(signer.public_key)
    assert done.returncode == 1
    assert "is not signed by AWS's keys; it is not installed" in done.stderr
    assert host.done == []


def test_what_another_key_signed_is_refused(host: Host, signer: Signer, tmp_path: Path) -> None:
    make_signer(tmp_path / "other").sign(host.package)
    assert host.install(signer.public_key).returncode == 1
    assert host.done == []


def test_a_signature_that_is_none_is_refused(host: Host, signer: Signer) -> None:
    Path(f"{host.package}.sig").write_bytes(b"")
    assert host.install(signer.public_key).returncode == 1
    assert host.done == []


def test_no_signature_is_no_package(host: Host, signer: Signer) -> None:
    done = host.install(signer.public_key)
    assert done.returncode == 1
    assert "gave up: agent_fetch" in done.stderr
    assert host.done == []


def test_an_address_without_a_package_is_given_up(host: Host, signer: Signer) -> None:
    done = host.install(signer.public_key, "file:///nowhere/agent.deb")
    assert done.returncode == 1
    assert "gave up: agent_fetch file:///nowhere/agent.deb" in done.stderr
    assert host.done == []


def test_a_key_that_expired_since_still_vouches(host: Host, tmp_path: Path) -> None:
    then = ("--faked-system-time", "20250601T000000")
    signer = make_signer(tmp_path / "signer", *then, expire="2025-12-31")
    signer.sign(host.package, *then)
    done = host.install(signer.public_key)
    assert done.returncode == 0, done.stderr
    assert host.done == ["dpkg install", "systemctl enable"]


def test_a_key_that_was_revoked_does_not_vouch(host: Host, signer: Signer) -> None:
    signer.sign(host.package)
    (certificate,) = (signer.folder / "openpgp-revocs.d").glob("*.rev")
    # GnuPG puts a colon before the armor, so that nobody revokes a key by accident.
    text = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
    revocation = signer.folder / "revocation.asc"
    revocation.write_text(text)
    signer.gpg("--import", str(revocation))
    assert host.install(signer.public_key).returncode == 1
    assert host.done == []


@pytest.mark.parametrize("file", FINGERPRINTS)
def test_the_keys_are_those_of_aws(file: str, tmp_path: Path) -> None:
    key = str(AWS / "keys" / file)
    shown = subprocess.run(
        ["gpg", "--homedir", str(tmp_path), "--with-colons", "--show-keys", key],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert re.findall(r"^fpr:+(\w+):", shown, re.M) == [FINGERPRINTS[file]]
    assert "SSM Agent <ssm-agent-signer@amazon.com>" in shown


def test_every_key_is_given_to_the_hosts() -> None:
    used = re.search(r"for file in \[(.*?)\]", (AWS / "hosts.tf").read_text())
    assert used
    assert set(re.findall(r"[\w-]+\.asc", used[1])) == set(FINGERPRINTS)
    assert {path.name for path in (AWS / "keys").iterdir()} == set(FINGERPRINTS)
