"""`--check` on a host on which nothing is installed yet: it says, and does nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosts import ROOT, Target, run

from .deployment import LISTING, run_playbook

pytestmark = pytest.mark.deploy


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
