"""`--check` on a host on which nothing is installed yet: it says, and does nothing."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from hosts import ROOT, Target, load, run

from .deployment import name_of, run_playbook, terraform

pytestmark = pytest.mark.deploy

# Every file's name, rights and owner, and every content: users and units are files too.
LISTING = (
    "sudo find /etc /opt /usr /var/lib -xdev -printf '%p %M %U:%G %l\\n' | sort; "
    "sudo find /etc /opt /usr/local -xdev -type f -exec sha256sum '{}' + | sort -k 2"
)


@pytest.fixture(scope="module")
def bare(target: Target) -> Generator[Target]:
    """A host of its own, as terraform makes it."""
    name = f"{name_of(target)[:15]}-bare"
    terraform("apply", name)
    try:
        yield load(f"local-{name}")
    finally:
        terraform("destroy", name)


def inventories(target: Target) -> list[Path]:
    """Return the inventories to deploy to a target with."""
    return [ROOT / "inventories" / "pipeline" / "hosts.yml", target.inventory]


def test_check_of_a_bare_host_succeeds_and_changes_nothing(bare: Target) -> None:
    host = next(iter(bare.hosts))
    before = run(bare, host, LISTING, timeout=120).splitlines()
    check = run_playbook("--check", inventories=inventories(bare))
    assert check.exit_code == 0, check.end
    assert check.changed[host] > 0, "it foresees no change on a host that lacks everything"
    after = run(bare, host, LISTING, timeout=120).splitlines()
    assert sorted(set(before) ^ set(after)) == []


def test_check_ignores_no_error() -> None:
    files = [*(ROOT / "roles").rglob("*.yml"), *(ROOT / "ansible").rglob("*.yml")]
    assert [path for path in files if "ignore_errors" in path.read_text(encoding="utf-8")] == []
