"""The rules of one host: made of a table of flows, checked, and written as nftables has them."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: What a rule's name may hold: it becomes a comment in the table.
NAME = re.compile(r"[A-Za-z0-9 .,_-]{1,100}")


def incoming_rules(
    flows: list[dict[str, Any]],
    host: str,
    groups: dict[str, list[str]],
    addresses: dict[str, str],
    ports: dict[str, Any],
    others: dict[str, list[str]],
) -> list[dict[str, Any]]:
    """Return what a table of flows lets into a host, as `firewall_rules` takes it.

    flows: rows with `from`, `to`, `port`, `for`, and perhaps `protocol`, `more`, `any`.
    groups: hosts by group. `hosts` in a row are those of all groups that the table names.
    addresses: by which the hosts connect to each other.
    ports: the number of each name in `port`, and the range `pipeline_any_port` for rows with `any`.
    others: addresses of sources that are no hosts, such as `operator`, or that come to those of a
    group. One that is missing or empty reaches nothing.

    Left out: what the host asks of itself, which no firewall sees, and ssh (`pipeline_ssh_port`),
    which the role opens by itself. Rows that come to the same ports are one rule.
    """
    named = {name for flow in flows for name in (*flow["from"], *flow["to"])}
    every = {it for name in named for it in groups.get(name, [])}
    members = {**groups, "hosts": sorted(every)}
    known = {name: [addresses[it] for it in members.get(name, []) if it != host] for name in named}
    known |= {name: known.get(name, []) + more for name, more in others.items()}
    merged: dict[tuple[str, int, int], dict[str, Any]] = {}
    for flow in flows:
        between = port_range(flow, ports)
        sources = {address for name in flow["from"] for address in known.get(name, [])}
        is_target = any(host in members.get(name, []) for name in flow["to"])
        if between is None or not sources or not is_target:
            continue
        rule = merged.setdefault(
            (flow.get("protocol", "tcp"), *between), {"names": [], "sources": set()}
        )
        rule["names"] += [flow["for"]] if flow["for"] not in rule["names"] else []
        rule["sources"] |= sources
    return [
        {
            "name": " and ".join(rule["names"])[:100],
            "ports": [first, last],
            "protocol": protocol,
            "sources": sorted(rule["sources"]),
        }
        for (protocol, first, last), rule in sorted(merged.items())
    ]


def port_range(flow: dict[str, Any], ports: dict[str, Any]) -> tuple[int, int] | None:
    """Return the first and last port of a row; None for none, and for ssh."""
    first = int(ports[flow["port"]])
    if flow["port"] == "pipeline_ssh_port":
        return None
    if first != 0:
        return first, first + int(flow.get("more", 0))
    if not flow.get("any"):
        return None
    first, last = ports["pipeline_any_port"]
    return int(first), int(last)


def nft_matches(sources: list[str]) -> list[str]:
    """Return the matches of addresses in nftables' words, one a family; none given matches all."""
    if not sources:
        return [""]
    networks = [ipaddress.ip_network(it, strict=False) for it in sources]
    found = []
    for version, family in ((4, "ip"), (6, "ip6")):
        # nft refuses a set with one network inside another.
        of_family: list[Any] = [it for it in networks if it.version == version]
        collapsed: list[Network] = list(ipaddress.collapse_addresses(of_family))
        if any(it.prefixlen == 0 for it in collapsed):
            found.append(f"meta nfproto ipv{version} ")
        elif collapsed:
            found.append(f"{family} saddr {{ {', '.join(as_nft(it) for it in collapsed)} }} ")
    return found


def as_nft(network: Network) -> str:
    """Return a network as nft lists it: one address without its length."""
    return str(network.network_address if network.num_addresses == 1 else network)


def firewall_problems(rules: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong with rules, a sentence each."""
    found = []
    for rule in rules:
        name, ports, sources = rule["name"], rule["ports"], rule["sources"]
        if not NAME.fullmatch(name):
            found.append(
                f"firewall_rules has the name '{name}'. Use up to 100 of A-Z, a-z, 0-9, blank, "
                "'.', ',', '_' and '-': it becomes a comment in the table."
            )
        if not is_range(ports):
            found.append(
                f"firewall_rules has the ports {ports} for '{name}'. Give the first and the last, "
                "such as [9092, 9092], from 1 to 65535."
            )
        if not sources:
            found.append(
                f"firewall_rules has no sources for '{name}'. Name addresses or networks, or leave "
                "the rule out; 0.0.0.0/0 and ::/0 are all there are."
            )
        found += [
            f"firewall_rules has the source '{it}' for '{name}', which is no address and no "
            "network. Names are not looked up, as a host starts before its name servers answer: "
            "give the address (host_address in the inventory)."
            for it in bad_addresses(sources)
        ]
    return found


def is_range(ports: list[Any]) -> bool:
    """Return whether ports are a first and a last one."""
    return len(ports) == 2 and 1 <= int(ports[0]) <= int(ports[1]) <= 65535


def bad_addresses(given: list[str]) -> list[str]:
    """Return those that are neither an address nor a network."""
    found = []
    for it in given:
        try:
            ipaddress.ip_network(it, strict=False)
        except ValueError:
            found.append(it)
    return found


class FilterModule:
    """The filters of role firewall."""

    def filters(self) -> dict[str, Any]:
        """Return each by its name."""
        return {
            "incoming_rules": incoming_rules,
            "nft_matches": nft_matches,
            "firewall_problems": firewall_problems,
            "bad_addresses": bad_addresses,
        }
