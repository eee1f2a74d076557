"""The power of a local host: cut from outside, and given again by terraform."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from hosts import Target

from ..waiting import wait_for
from .deployment import terraform
from .tables import Tables


def state_folder(target: Target, tables: Tables, host: str) -> Path:
    """Return the folder that a local host's scripts keep its state in."""
    key = host.removeprefix(f"{target.name}-")
    return tables.parquet.parent.parent / "hosts" / key


def as_operator_root(*command: str, stdin: str = "", seconds: float = 30) -> str:
    """Run a command as root on this machine and return what it printed."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    done = subprocess.run(
        [*sudo, *command],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{command} failed: {done.stdout}"
    return done.stdout


def cut_power(state: Path, seconds: float) -> None:
    """Kill a local host's PID 1, and with it every process of it, from outside."""
    init, _ = (state / "init.id").read_text(encoding="ascii").split()
    as_operator_root("kill", "-KILL", init)
    wait_for(
        "the host's supervisor has seen it die",
        (state / "supervisor.pid").exists,
        lambda there: not there,
        seconds,
        every=0.2,
    )


def hosts_of(target: Target) -> dict[str, dict[str, Any]]:
    """Return the map of hosts that terraform was given."""
    found = {}
    for name, host in target.hosts.items():
        groups = [group for group, members in target.groups.items() if name in members]
        size = {"cpus": host["host_cpus"], "memory_mb": host["host_memory_mb"]}
        rack = {"rack": host["host_rack"]} if "host_rack" in host else {}
        found[name.removeprefix(f"{target.name}-")] = {"groups": groups} | size | rack
    return found


def apply(target: Target, hosts: dict[str, dict[str, Any]], *arguments: str) -> None:
    """Make terraform's hosts these; one that is dead is started again from its disk."""
    variables = (f"-var=hosts={json.dumps(hosts)}", "-var=replication_factor=3")
    terraform("apply", target.name, *variables, *arguments)
