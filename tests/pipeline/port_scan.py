"""What a scan of all ports finds, and what it must find by the table of flows."""

from __future__ import annotations

import xml.etree.ElementTree as Xml
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from .flow_table import Flow

EVERY = range(1, 65536)
#: 65535 ports that nobody answers take a minute so; nmap would go ever more slowly. A busy machine
#: loses answers: what must answer is asked again, at nmap's own pace.
PACE = ("--min-rate", "3000", "--max-retries", "3", "-T4")


def command(
    nmap: str, kind: str, addresses: Iterable[str], ports: Collection[int] = EVERY
) -> list[str]:
    """Return the command line of a scan of all ports, or of these.

    kind: S for TCP, U for UDP.
    """
    pace = PACE if ports is EVERY else ()
    asked = as_text(ports).replace(" ", "")
    return [nmap, f"-s{kind}", f"-p{asked}", "-n", "-Pn", *pace, "-oX", "-", *addresses]


@dataclass(frozen=True)
class Scan:
    """The ports of one address, by what was found of each."""

    open: frozenset[int]
    #: Nobody listens, and the host says so: no firewall drops what comes there.
    closed: frozenset[int]
    #: No answer.
    silent: frozenset[int]


def read_scan(text: str, ports: Collection[int] = EVERY) -> dict[str, Scan]:
    """Return what nmap found, by address, from its output as XML.

    Raises:
        AssertionError: It does not tell of every port that it was asked for.
    """
    found = {}
    for host in Xml.fromstring(text).iter("host"):
        states: dict[str, set[int]] = {}
        for port in host.iter("port"):
            state = port.find("state")
            assert state is not None
            states.setdefault(state.attrib["state"], set()).add(int(port.attrib["portid"]))
        # Ports that are like most are told of together.
        for extra in host.iter("extraports"):
            for reason in extra.iter("extrareasons"):
                alike = ports_of(reason.attrib["ports"])
                states.setdefault(extra.attrib["state"], set()).update(alike)
        (address,) = (it for it in host.iter("address") if it.attrib["addrtype"] == "ipv4")
        # Of UDP nmap cannot tell a port that is open and silent from one whose packets are dropped.
        silent = states.pop("filtered", set()) | states.pop("open|filtered", set())
        is_open, closed = (states.pop(it, set()) for it in ("open", "closed"))
        assert not states, f"nmap calls ports {sorted(states)}"
        told = len(is_open | closed | silent)
        assert told == len(ports), f"nmap tells of {told} ports of {address.attrib['addr']}"
        found[address.attrib["addr"]] = Scan(
            frozenset(is_open), frozenset(closed), frozenset(silent)
        )
    return found


def ports_of(text: str) -> set[int]:
    """Return ports that are written as nmap does: 22,7080-7096."""
    spans = (span.partition("-") for span in text.split(","))
    return {port for first, _, last in spans for port in range(int(first), int(last or first) + 1)}


def who_is(address: str, groups: set[str], others: dict[str, list[str]]) -> set[str]:
    """Return what the table of flows calls a source.

    Args:
        address: by which it connects.
        groups: that it is in, if it is a host of the pipeline.
        others: addresses and networks of sources that are no hosts, such as `operator`.
    """
    found = set(groups)
    for name, networks in others.items():
        if any(ip_address(address) in ip_network(it, strict=False) for it in networks):
            found.add(name)
    return found | ({"hosts"} if groups else set())


def let_in(flows: Iterable[Flow], sources: set[str], targets: set[str]) -> set[int]:
    """Return the ports of TCP that the table opens to a source."""
    return {
        port
        for flow in flows
        if flow.protocol == "tcp" and flow.sources & sources and flow.targets & targets
        for port in flow.ports
    }


def as_text(ports: Iterable[int]) -> str:
    """Return ports as a person writes them: 22, 7080-7096."""
    spans: list[list[int]] = []
    for port in sorted(ports):
        if spans and port == spans[-1][1] + 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans) or "none"
