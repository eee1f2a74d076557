"""What each host of a topology lets in, by the table of flows, and how nftables is told."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KNOBS = ROOT / "inventories/pipeline/group_vars/all"
FLOWS: list[dict[str, Any]] = yaml.safe_load((KNOBS / "flows.yml").read_text())["pipeline_flows"]
PORTS: dict[str, Any] = yaml.safe_load((KNOBS / "ports.yml").read_text())
TOPOLOGIES = sorted((ROOT / "terraform/topologies").glob("*.tfvars"))
OPERATOR, MONITORING, STRANGER = "203.0.113.5", "203.0.113.9", "203.0.113.77"
OTHERS = {"operator": [OPERATOR], "monitoring": [f"{MONITORING}/32"]}
#: Of each row's range; and one port that no row has.
UNNAMED = 9


def load_filters() -> Any:
    """Return the plugin's module."""
    file = ROOT / "roles/firewall/filter_plugins/firewall.py"
    spec = importlib.util.spec_from_file_location("firewall_filters", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


filters = load_filters()


def groups_of(topology: Path) -> dict[str, list[str]]:
    """Return the hosts of each group."""
    found: dict[str, list[str]] = {}
    text = topology.read_text()
    for name, groups in re.findall(r'"?([\w-]+)"? = \{\s*groups\s*= (\[[^]]*\])', text):
        for group in json.loads(groups):
            found.setdefault(group, []).append(name)
    assert found
    return found


def addresses_of(groups: dict[str, list[str]]) -> dict[str, str]:
    """Give each host an address."""
    hosts = sorted({host for members in groups.values() for host in members})
    return {host: f"192.0.2.{number}" for number, host in enumerate(hosts, 1)}


def rules_of(
    topology: Path,
    others: dict[str, list[str]] = OTHERS,
    ports: dict[str, Any] = PORTS,
    flows: list[dict[str, Any]] = FLOWS,
) -> dict[str, list[dict[str, Any]]]:
    """Return the rules of each host."""
    groups = groups_of(topology)
    addresses = addresses_of(groups)
    return {
        host: filters.incoming_rules(flows, host, groups, addresses, ports, others)
        for host in addresses
    }


def lets_in(rules: list[dict[str, Any]], source: str, protocol: str, port: int) -> bool:
    """Return whether rules let a packet in."""
    return any(
        rule["protocol"] == protocol
        and rule["ports"][0] <= port <= rule["ports"][1]
        and any(ip_address(source) in ip_network(it) for it in rule["sources"])
        for rule in rules
    )


def named(source: set[str], target: set[str], protocol: str, port: int) -> bool:
    """Return whether the table names a flow, read row by row."""
    for flow in FLOWS:
        first = PORTS[flow["port"]]
        last = first + flow.get("more", 0)
        if first == 0:
            first, last = PORTS["pipeline_any_port"]
        if (
            set(flow["from"]) & source
            and set(flow["to"]) & target
            and flow.get("protocol", "tcp") == protocol
            and first <= port <= last
        ):
            return True
    return False


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda path: path.stem)
def test_a_host_lets_in_what_the_table_names_and_nothing_else(topology: Path) -> None:
    groups = groups_of(topology)
    addresses = addresses_of(groups)
    who = {
        host: {"hosts", *(group for group, hosts in groups.items() if host in hosts)}
        for host in addresses
    }
    sources = {addresses[host]: who[host] for host in addresses}
    sources |= {OPERATOR: {"operator"}, MONITORING: {"monitoring"}, STRANGER: set()}
    ports = {port for port in PORTS.values() if isinstance(port, int) and port}
    ports |= {port + more for port in ports for more in (1, 16, 17)} | {
        UNNAMED,
        32768,
        60999,
        61000,
    }
    # The role opens it by itself.
    ports -= {PORTS["pipeline_ssh_port"]}
    for host, rules in rules_of(topology).items():
        for source, is_of in sources.items():
            if source == addresses[host]:
                continue
            for protocol in ("tcp", "udp"):
                wrong = [
                    port
                    for port in ports
                    if lets_in(rules, source, protocol, port)
                    != named(is_of, who[host], protocol, port)
                ]
                assert not wrong, (host, source, protocol)


def test_rules_read_as_a_person_would_write_them() -> None:
    topology = ROOT / "terraform/topologies/cluster.tfvars"
    address = addresses_of(groups_of(topology))
    masters = [address[f"spark-{number}"] for number in (1, 2)]
    # The job runs at the edge.
    job = [address[f"edge-{number}"] for number in (1, 2)]
    others = [address[f"worker-{number}"] for number in (1, 2)]
    expected = [
        ("blocks of executors", [7080, 7096], [*others, *job]),
        ("executors to start and stop", [7078, 7078], masters),
        ("metrics", [9400, 9400], [address["spark-2"], f"{MONITORING}/32"]),
        ("release of Spark", [7090, 7090], [*masters, *others, *job]),
        ("web UI and health checks", [8081, 8081], [*masters, OPERATOR]),
    ]
    assert sorted(rules_of(topology)["worker-3"], key=lambda rule: rule["name"]) == [
        {"name": name, "ports": ports, "protocol": "tcp", "sources": sorted(sources)}
        for name, ports, sources in expected
    ]


def test_one_host_alone_is_open_to_the_operator_and_to_monitoring() -> None:
    (rules,) = rules_of(ROOT / "terraform/topologies/single.tfvars").values()
    assert {source for rule in rules for source in rule["sources"]} == {
        OPERATOR,
        f"{MONITORING}/32",
    }


def test_sources_that_nobody_names_reach_nothing() -> None:
    (rules,) = rules_of(
        ROOT / "terraform/topologies/single.tfvars", {"operator": [], "monitoring": []}
    ).values()
    assert rules == []


def test_a_changed_port_changes_the_rule() -> None:
    rules = rules_of(
        ROOT / "terraform/topologies/three.tfvars", ports=PORTS | {"zookeeper_client_port": 2281}
    )
    assert lets_in(rules["core-1"], "192.0.2.2", "tcp", 2281)
    assert not lets_in(rules["core-1"], "192.0.2.2", "tcp", 2181)


def test_a_port_of_none_has_no_rule() -> None:
    none = {"streaming_metrics_port": 0, "exporters_port": 0}
    rules = rules_of(ROOT / "terraform/topologies/three.tfvars", ports=PORTS | none)
    assert "metrics" not in {rule["name"] for of_host in rules.values() for rule in of_host}


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([], [""]),
        (["192.0.2.7"], ["ip saddr { 192.0.2.7 } "]),
        (["192.0.2.0/24", "192.0.2.7", "10.1.2.3/8"], ["ip saddr { 10.0.0.0/8, 192.0.2.0/24 } "]),
        (["0.0.0.0/0", "192.0.2.7"], ["meta nfproto ipv4 "]),
        (["::/0"], ["meta nfproto ipv6 "]),
        (["2001:db8::1", "192.0.2.7"], ["ip saddr { 192.0.2.7 } ", "ip6 saddr { 2001:db8::1 } "]),
    ],
)
def test_addresses_are_written_as_nftables_takes_them(
    sources: list[str], expected: list[str]
) -> None:
    assert filters.nft_matches(sources) == expected


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"name": 'a "quoted" name'}, "it becomes a comment"),
        ({"ports": [9092]}, "Give the first and the last"),
        ({"ports": [9093, 9092]}, "Give the first and the last"),
        ({"ports": [0, 70000]}, "from 1 to 65535"),
        ({"sources": []}, "leave the rule out"),
        ({"sources": ["192.0.2.1", "broker.example"]}, "'broker.example'"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(changed: dict[str, Any], told: str) -> None:
    rule = {"name": "clients", "ports": [9092, 9092], "protocol": "tcp", "sources": ["192.0.2.1"]}
    assert filters.firewall_problems([rule]) == []
    (problem,) = filters.firewall_problems([rule | changed])
    assert problem.startswith("firewall_rules has ")
    assert told in problem


@pytest.mark.parametrize(("secured", "monitored"), [(False, False), (True, False), (True, True)])
def test_the_inventory_makes_rules_of_the_rows_that_hold(
    tmp_path: Path, secured: bool, monitored: bool
) -> None:
    # The filter is known once the role is: its tasks render the variable.
    variables = {
        "pipeline_security": secured,
        "pipeline_monitoring": monitored,
        "pipeline_operator_addresses": [OPERATOR],
    }
    groups = groups_of(ROOT / "terraform/topologies/three.tfvars")
    (tmp_path / "hosts.yml").write_text(
        yaml.safe_dump(
            {
                "all": {
                    "hosts": {
                        host: {"host_address": address, "ansible_connection": "local"}
                        for host, address in addresses_of(groups).items()
                    },
                    "children": {
                        group: {"hosts": {host: {} for host in hosts}}
                        for group, hosts in groups.items()
                    },
                }
            }
        )
    )
    play = {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.include_role": {"name": "firewall", "tasks_from": "preflight"}},
            {"ansible.builtin.debug": {"var": "firewall_rules"}},
            {"ansible.builtin.debug": {"var": "firewall_ssh_sources"}},
        ],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("-i", ROOT / "inventories/pipeline/hosts.yml", "-i", tmp_path / "hosts.yml"),
            *("-e", json.dumps(variables | {"ansible_python_interpreter": sys.executable})),
            tmp_path / "play.yml",
        ],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(tmp_path),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    others = {"operator": [OPERATOR], "monitoring": []}
    flows = [
        row
        for row in FLOWS
        if row.get("secured", secured) == secured and row.get("monitored", monitored) == monitored
    ]
    expected = rules_of(ROOT / "terraform/topologies/three.tfvars", others, flows=flows)
    shown = re.findall(
        r"^ok: \[(\S+)\] => (\{$.+?^\})$", done.stdout, flags=re.MULTILINE | re.DOTALL
    )
    told = [(host, json.loads(it)) for host, it in shown]
    assert {host: it["firewall_rules"] for host, it in told if "firewall_rules" in it} == expected
    ssh = {host: it["firewall_ssh_sources"] for host, it in told if "firewall_ssh_sources" in it}
    assert ssh == {host: [OPERATOR] for host in expected}
