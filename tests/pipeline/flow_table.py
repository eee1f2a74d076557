"""The table of flows (flows.yml) with the numbers of a deployment: who may ask for which port."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import yaml
from hosts import ROOT, Target, run

from ..variables import HostVariables
from .flow_record import Seen

ROWS: list[dict[str, Any]] = yaml.safe_load(
    (ROOT / "inventories/pipeline/group_vars/all/flows.yml").read_text(encoding="utf-8")
)["pipeline_flows"]


@dataclass(frozen=True)
class Flow:
    """A row of the table, with the numbers of its ports."""

    sources: frozenset[str]
    targets: frozenset[str]
    ports: range
    protocol: str

    def has(self, who: dict[str, set[str]], seen: Seen) -> bool:
        """Return whether this is one of it."""
        return (
            seen.protocol == self.protocol
            and seen.port in self.ports
            and bool(self.sources & who[seen.source])
            and bool(self.targets & who[seen.target])
        )


def holds(row: dict[str, Any], variables: HostVariables) -> bool:
    """Whether a row is one of this deployment."""
    return bool(
        row.get("secured", variables["pipeline_security"]) == variables["pipeline_security"]
        and row.get("monitored", variables["pipeline_monitoring"])
        == variables["pipeline_monitoring"]
    )


def flow_of(row: dict[str, Any], variables: HostVariables) -> Flow:
    """Return a row with its numbers, as Ansible has them."""
    port = int(variables[row["port"]])
    ports = range(port, port + row.get("more", 0) + 1)
    if row.get("any") and port == 0:
        first, last = variables["pipeline_any_port"]
        ports = range(first, last + 1)
    protocol = row.get("protocol", "tcp")
    return Flow(frozenset(row["from"]), frozenset(row["to"]), ports, protocol)


def groups_of(target: Target, host: str) -> set[str]:
    """Return the groups that a host is in."""
    return {group for group, names in target.groups.items() if host in names}


def listening(target: Target, host: str) -> Iterator[tuple[int, str]]:
    """Yield the ports of TCP that a host listens on for others, with ss's line about each."""
    for line in run(target, host, "sudo", "ss", "-Hltnp").splitlines():
        address, _, port = line.split()[3].rpartition(":")
        # Java's sockets are for both kinds of addresses.
        address = address.strip("[]").partition("%")[0].removeprefix("::ffff:")
        if address == "*" or not ip_address(address).is_loopback:
            yield int(port), " ".join(line.split())
