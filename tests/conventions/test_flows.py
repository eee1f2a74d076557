"""The table of flows is whole, and what the README says of ports follows from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts import UNIT_GROUPS

from .test_repository import ROOT

KNOBS = ROOT / "inventories/pipeline/group_vars/all"
FLOWS: list[dict[str, Any]] = yaml.safe_load((KNOBS / "flows.yml").read_text())["pipeline_flows"]
PORTS: dict[str, Any] = yaml.safe_load((KNOBS / "ports.yml").read_text())
# Of which one more has no unit that the pipeline cannot do without.
GROUPS = set(UNIT_GROUPS.values()) | {"monitoring"}
# Ports that nobody but the host itself may reach, and why.
LOOPBACK = "it listens on the loopback address"
OWN = {
    "producer_metrics_port": f"{LOOPBACK} unless told otherwise",
    "exporters_node_port": LOOPBACK,
    "zookeeper_metrics_port": LOOPBACK,
    "kafka_metrics_port": LOOPBACK,
    "kafka_controller_port": "without ZooKeeper there is one host, whose broker connects to it",
    "prometheus_port": LOOPBACK,
    "prometheus_alertmanager_port": LOOPBACK,
    "dashboard_port": LOOPBACK,
}
# A range that ports are taken from, and no port.
RANGES = {"pipeline_any_port"}
# Of no unit's own.
SHARED = {"release_seed_port", "pipeline_ssh_port", "exporters_port"}

each_flow = pytest.mark.parametrize(
    "flow", FLOWS, ids=lambda flow: f"{'+'.join(flow['to'])} {flow['port']} from {flow['from'][0]}"
)


@each_flow
def test_a_flow_names_groups_and_a_port(flow: dict[str, Any]) -> None:
    assert set(flow) <= {
        "from",
        "to",
        "port",
        "for",
        "more",
        "any",
        "protocol",
        "secured",
        "monitored",
    }
    assert set(flow["from"]) <= GROUPS | {"hosts", "operator"}
    assert set(flow["to"]) <= GROUPS | {"hosts", "outside"}
    assert flow["from"]
    assert flow["to"]
    assert flow["port"] in set(PORTS) - RANGES
    assert flow.get("protocol", "tcp") in {"tcp", "udp"}
    # What AWS takes as the description of a rule, and as a tag.
    assert re.fullmatch(r"[A-Za-z0-9 .-]{1,40}", flow["for"])
    assert flow.get("secured", True) in {True, False}
    assert flow.get("monitored", True) in {True, False}
    assert flow.get("any", False) == (PORTS[flow["port"]] == 0)


def test_a_flow_is_named_once() -> None:
    named = [
        (source, target, flow["port"])
        for flow in FLOWS
        for source in flow["from"]
        for target in flow["to"]
    ]
    # Hosts of the job are among those of Spark and of the election, each with releases of its own.
    twice = {it for it in named if named.count(it) > 1}
    assert twice <= {("streaming", "streaming", "release_seed_port")}


def test_every_port_is_in_a_flow_or_the_hosts_own() -> None:
    assert {flow["port"] for flow in FLOWS} == set(PORTS) - set(OWN) - RANGES


@pytest.mark.parametrize("unit", UNIT_GROUPS)
def test_the_readme_names_the_ports_of_a_unit(unit: str) -> None:
    group = UNIT_GROUPS[unit]
    expected = {
        PORTS[flow["port"]]
        for flow in FLOWS
        if group in flow["to"] and flow["port"] not in SHARED and not flow.get("any")
    }
    expected |= {PORTS[name] for name in OWN if name.startswith(f"{group}_")}
    row = re.search(rf"^\| `{unit}` \|.*\| ([^|]*) \|$", readme(), re.M)
    assert row
    assert {int(port) for port in re.findall(r"(?<![\d.])\d{2,5}(?![\d.])", row[1])} == expected
    assert ("any free one" in row[1]) == any(
        flow.get("any") for flow in FLOWS if group in flow["to"]
    )


def test_the_readme_names_the_ports_of_every_host() -> None:
    sentence = re.search(r"^Every host also.*?\n\n", readme(), re.M | re.S)
    assert sentence
    found = {int(port) for port in re.findall(r"\b\d{2,5}\b", sentence[0])}
    assert found == {PORTS[name] for name in SHARED}


def readme() -> str:
    return (Path(ROOT) / "README.md").read_text()
