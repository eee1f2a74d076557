"""What every generated inventory must be, whichever target made it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
GROUPS = {
    "zookeeper",
    "kafka",
    "spark_master",
    "spark_worker",
    "streaming",
    "producer",
    "monitoring",
}
# What inventories/pipeline/group_vars and the tools take from each host.
HOST_VARIABLES = {
    "ansible_host",
    "ansible_user",
    "ansible_ssh_common_args",
    "host_address",
    "host_external_address",
    "host_cpus",
    "host_memory_mb",
    "host_arch",
    "host_emulated",
}


def groups_of_site() -> set[str]:
    """Return the groups that the plays of ansible/site.yml name."""
    named = set()
    for file in ("ansible/site.yml", "ansible/check.yml"):
        for play in yaml.safe_load((ROOT / file).read_text()):
            for pattern in play.get("hosts", "").split(":"):
                named |= {pattern.partition("[")[0]} - {""}
    return named


def check_inventory(path: Path, hosts: dict[str, set[str]]) -> dict[str, Any]:
    """Assert that Ansible reads an inventory as the topology means it.

    Args:
        path: the generated hosts.yml.
        hosts: names of hosts and the groups of each.

    Returns:
        Each host's variables, as Ansible sees them.
    """
    inventories = ("-i", str(ROOT / "inventories/pipeline/hosts.yml"), "-i", str(path))
    graph = _ansible_inventory(*inventories, "--graph")
    for group in groups_of_site():
        assert f"@{group}:" in graph, f"{path} has no group {group}:\n{graph}"
    listed = json.loads(_ansible_inventory(*inventories, "--list"))
    variables: dict[str, Any] = listed["_meta"]["hostvars"]
    assert set(variables) == set(hosts)
    for group in GROUPS:
        members = set(listed.get(group, {}).get("hosts", []))
        assert members == {host for host, groups in hosts.items() if group in groups}, group
    for host, found in variables.items():
        assert set(found) >= HOST_VARIABLES, f"{host} lacks {HOST_VARIABLES - set(found)}"
    return variables


def _ansible_inventory(*arguments: str) -> str:
    done = subprocess.run(
        ["ansible-inventory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return done.stdout
