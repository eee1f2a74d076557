"""Places on the local hosts' bridge to try ports from: the hosts, and strangers in no group.

A place is a network namespace. What runs there is this machine's own program, so that nothing has
to be installed on a host, and a stranger needs no more than an address.
"""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hosts import ROOT, Target

from .power import as_operator_root, state_folder
from .tables import Tables


@dataclass(frozen=True)
class Place:
    """Where a program runs as if on a machine of its own."""

    name: str
    address: str
    namespace: str

    def enter(self, *command: str) -> list[str]:
        """Return the command line that runs a program of this machine here, as root."""
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        return [*sudo, "nsenter", f"--net={self.namespace}", *command]

    def run(
        self, *command: str, stdin: str = "", seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a program here that ends within so many seconds, whatever its exit code."""
        return subprocess.run(
            self.enter("timeout", f"{seconds:g}", *command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds + 10,
            check=False,
        )

    def module(self, name: str, given: Any, seconds: float, **environment: str) -> Any:
        """Run a module of the tests here; both what it is given and what it answers are JSON.

        Secrets are given so: a command line shows them.
        """
        variables = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])} | environment
        settings = [f"{key}={value}" for key, value in variables.items()]
        command = ("env", f"--chdir={ROOT}", *settings, sys.executable, "-m", name)
        done = self.run(*command, stdin=json.dumps(given), seconds=seconds)
        assert done.returncode == 0, (
            f"{name} in {self.name} ended with {done.returncode}:\n{done.stderr[-4000:]}"
        )
        return json.loads(done.stdout)


@dataclass(frozen=True)
class Bridge:
    """The bridge of local hosts."""

    name: str
    network: ipaddress.IPv4Network
    taken: frozenset[ipaddress.IPv4Address]

    def free(self, number: int) -> str:
        """Return an address that nobody has; another for each number."""
        # Terraform gives the first ones.
        free = [it for it in reversed(list(self.network.hosts())) if it not in self.taken]
        return str(free[number])


def bridge_of(target: Target) -> Bridge:
    """Return the bridge of an environment's hosts."""
    hosts = [host["host_address"] for host in target.hosts.values()]
    (route,) = json.loads(as_operator_root("ip", "-j", "route", "get", hosts[0]))
    name = route["dev"]
    if not Path(f"/sys/class/net/{name}/bridge").exists():
        pytest.skip(f"{hosts[0]} is reached by {name}, which is no bridge of this machine's")
    (shown,) = json.loads(as_operator_root("ip", "-j", "address", "show", "dev", name))
    (own,) = (it for it in shown["addr_info"] if it["family"] == "inet")
    network = ipaddress.ip_network(f"{own['local']}/{own['prefixlen']}", strict=False)
    assert isinstance(network, ipaddress.IPv4Network)
    taken = map(ipaddress.IPv4Address, [*hosts, own["local"]])
    return Bridge(name, network, frozenset(taken))


@contextmanager
def stranger(bridge: Bridge, number: int) -> Generator[Place]:
    """Make a namespace on the bridge that is no host of the environment, until the end."""
    name = f"strange{number}-{os.getpid()}"
    # Of 15 characters at most.
    outer = f"st{number}-{os.getpid()}"
    address = bridge.free(number)
    with ExitStack() as stack:
        as_operator_root("ip", "netns", "add", name)
        stack.callback(as_operator_root, "ip", "netns", "delete", name)
        peer = ("peer", "name", "eth0", "netns", name)
        as_operator_root("ip", "link", "add", outer, "type", "veth", *peer)
        stack.callback(as_operator_root, "ip", "link", "delete", outer)
        as_operator_root("ip", "link", "set", outer, "master", bridge.name, "up")
        length = bridge.network.prefixlen
        for command in (
            f"address add {address}/{length} dev eth0",
            "link set eth0 up",
            "link set lo up",
        ):
            as_operator_root("ip", "-n", name, *command.split())
        yield Place("stranger", address, f"/run/netns/{name}")


def place_of(target: Target, tables: Tables, host: str) -> Place:
    """Return the place that a local host is."""
    state = state_folder(target, tables, host) / "init.id"
    init, _ = state.read_text(encoding="ascii").split()
    return Place(host, target.hosts[host]["host_address"], f"/proc/{init}/ns/net")


def program(name: str) -> str:
    """Return a program of Debian's, which is installed where it is missing."""
    found = _which(name)
    if not found:
        setup = subprocess.run(
            ["tools/setup", "packages"],
            cwd=ROOT,
            env=os.environ | {"TESTS": "ports"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        found = _which(name)
        if not found:
            pytest.skip(f"there is no {name}, and it cannot be had: {setup.stderr[-500:]}")
    return found


def _which(name: str) -> str:
    for folder in [*os.environ["PATH"].split(os.pathsep), "/usr/sbin", "/sbin"]:
        path = Path(folder) / name
        if os.access(path, os.X_OK):
            return str(path)
    return ""
