"""The hosts of an environment, as its inventory has them, and ssh to them."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent

# The units of the pipeline in the order of the data, and the group whose hosts run each.
UNIT_GROUPS = {
    "zookeeper": "zookeeper",
    "kafka": "kafka",
    "spark-master": "spark_master",
    "spark-worker": "spark_worker",
    "imdb-streaming": "streaming",
    "imdb-producer": "producer",
}

# Of these one host of the group runs the unit's program, and the others stand by.
STANDING_BY = ("imdb-streaming", "imdb-producer")
# A host that leads says so every few seconds.
ROLE_SECONDS = 30

# Web UIs: group and port.
UIS = {
    "Spark master": ("spark_master", 8080),
    "Spark worker": ("spark_worker", 8081),
    "Streaming job": ("streaming", 4040),
}
# By TLS, which the unit of a master tells of, they are for their own host alone; the job's is on
# another port then.
BY_TLS = "-Dspark.ssl.standalone.port="
TLS_PORTS = {4040: 4440}
# The page of movies and pipeline, for its own host alone, on the hosts of this group.
PAGE, PAGE_GROUP = "Movies and pipeline", "streaming"


class HostsError(Exception):
    """The hosts of an environment cannot be found or reached; the text says what to do."""


@dataclass(frozen=True)
class Target:
    """The hosts of one environment, as its inventory lists them."""

    name: str
    hosts: dict[str, dict[str, Any]]
    groups: dict[str, list[str]]

    @property
    def inventory(self) -> Path:
        """The inventory of its hosts."""
        return inventory_path(self.name)

    @property
    def ssh_config(self) -> Path:
        """The ssh config that terraform writes; hosts of others' making have none."""
        return ROOT / "inventories" / self.name / ".ssh" / "config"

    @property
    def output_link(self) -> Path:
        """The link to the tables on this machine, where its hosts are local ones."""
        return ROOT / "data" / ("output" if self.name == "local" else f"output-{self.name}")

    def units(self, host: str) -> list[str]:
        """Return the units that run on a host."""
        return [unit for unit, group in UNIT_GROUPS.items() if host in self.groups[group]]

    def host_of(self, unit: str) -> str:
        """Return the first host that runs a unit."""
        if unit not in UNIT_GROUPS:
            raise HostsError(f"unit {unit!r} is not one of ours: {', '.join(UNIT_GROUPS)}")
        hosts = self.groups[UNIT_GROUPS[unit]]
        if not hosts:
            raise HostsError(f"no host of {self.name} is in the group {UNIT_GROUPS[unit]}")
        return hosts[0]

    def ssh(self, host: str, *command: str) -> list[str]:
        """Return the command line that runs a command on a host."""
        if self.ssh_config.exists():
            return ["ssh", "-F", str(self.ssh_config), host, *command]
        variables = self.hosts[host]
        user = ["-l", str(variables["ansible_user"])] if "ansible_user" in variables else []
        return ["ssh", *user, str(variables.get("ansible_host", host)), *command]


def inventory_path(name: str) -> Path:
    """Return where the inventory of an environment's hosts lies."""
    return ROOT / "inventories" / name / "hosts.yml"


def load(name: str) -> Target:
    """Read the inventory of an environment's hosts.

    Raises:
        HostsError: There is none, or the checkout was moved since it was written.
    """
    path = inventory_path(name)
    try:
        everything = yaml.safe_load(path.read_text(encoding="utf-8"))["all"]
    except FileNotFoundError:
        raise HostsError(
            f"the environment {name!r} has no hosts: {path.relative_to(ROOT)} is missing. "
            f"Run `make up NAME={name}` (or terraform apply) first."
        ) from None
    groups = {group: sorted(it["hosts"] or {}) for group, it in everything["children"].items()}
    hosts: dict[str, dict[str, Any]] = everything["hosts"]
    for variables in hosts.values():
        match shlex.split(variables.get("ansible_ssh_common_args", "")):
            case ["-F", config] if Path(config) != path.parent / ".ssh" / "config":
                raise HostsError(
                    f"{path.relative_to(ROOT)} was written when the checkout was elsewhere: it "
                    f"names {config}. Run `make hosts NAME={name}`, which writes it anew."
                )
    return Target(name, hosts, groups)


def run(target: Target, host: str, *command: str, stdin: str = "", timeout: float = 30) -> str:
    """Run a command on a host by ssh and return what it printed.

    Raises:
        HostsError: The host did not answer within timeout seconds, or the command failed.
    """
    # A session with AWS has to be opened first.
    timeout += float(target.hosts[host].get("ansible_ssh_timeout", 0))
    try:
        done = subprocess.run(
            target.ssh(host, *command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostsError(f"{host} gave no answer within {timeout:g} s") from None
    if done.returncode != 0:
        raise HostsError(f"{host}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def host_running(target: Target, unit: str) -> str:
    """Return the host that runs a unit: of several that stand by, the one that leads.

    Where none leads, the first.

    Raises:
        HostsError: The unit is not one of ours, or no host has it.
    """
    first = target.host_of(unit)
    hosts = target.groups[UNIT_GROUPS[unit]]
    if unit not in STANDING_BY or len(hosts) == 1:
        return first
    for host in hosts:
        try:
            role = json.loads(run(target, host, "cat", f"/run/{unit}/standby.json"))
        except (HostsError, ValueError):  # it is down, or has never stood by
            continue
        age = datetime.now(UTC) - datetime.fromisoformat(role["updated_at"])
        if role["role"] == "leads" and age.total_seconds() < ROLE_SECONDS:
            return host
    return first


def page_port(target: Target, host: str) -> int | None:
    """Return the port of a host's page of movies and pipeline; None where it has none.

    Raises:
        HostsError: The host does not answer.
    """
    path = "/etc/imdb-dashboard/settings.json"
    said = run(target, host, f"test ! -e {path} || cat {path}")
    return int(json.loads(said)["port"]) if said else None


def attend(*commands: list[str]) -> int:
    """Run commands on this terminal until one ends or Ctrl-C; return its exit code."""
    processes = [subprocess.Popen(command) for command in commands]
    try:
        while True:
            for process in processes:
                if (code := process.poll()) is not None:
                    return code
            time.sleep(0.1)
    except KeyboardInterrupt:
        return 0
    finally:
        for process in processes:
            process.terminate()
            process.wait()
