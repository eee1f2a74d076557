"""What hosts of this machine ask each other for, recorded on their bridge from its first packet.

All that goes from one local host to another, to the operator's machine or beyond passes the
machine's bridges, so one table of nft sees it, and no host knows of it. It counts attempts, not
connections: what a firewall would have to let through.

Usage: python -m tests.pipeline.flow_record start|stop
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NFT = "/usr/sbin/nft"
#: One table a checkout. Another set of hosts that runs meanwhile is in it too, and is told apart by
#: its addresses.
TABLE = "flows_" + hashlib.sha256(str(Path(__file__).resolve()).encode()).hexdigest()[:8]

_ELEMENT = "meta l4proto . ip saddr . ip daddr"
# A request by UDP goes to a port below those that clients take; its answer does not.
_RULES = f"""
table bridge {TABLE} {{}}
delete table bridge {TABLE}
table bridge {TABLE} {{
    set seen {{
        type inet_proto . ipv4_addr . ipv4_addr . inet_service
        size 65535
        flags dynamic
    }}
    chain ask {{
        tcp flags & (syn | ack) == syn update @seen {{ {_ELEMENT} . tcp dport }}
        udp dport < 32768 update @seen {{ {_ELEMENT} . udp dport }}
    }}
    chain from_hosts {{
        type filter hook prerouting priority 0
        ether type ip jump ask
    }}
    chain from_operator {{
        type filter hook output priority 0
        ether type ip jump ask
    }}
}}
"""


@dataclass(frozen=True, order=True)
class Seen:
    """One address has asked another for a port."""

    protocol: str
    source: str
    target: str
    port: int


class NoRecordError(Exception):
    """Nothing was recorded; the text says what to do."""


def start() -> None:
    """Begin to record, and forget what was recorded before."""
    _nft("-f", "-", stdin=_RULES)


def stop() -> None:
    """Record no more, and forget."""
    _nft("-f", "-", stdin=f"table bridge {TABLE} {{}}\ndelete table bridge {TABLE}\n")


def read() -> set[Seen]:
    """Return what was seen since the start.

    Raises:
        NoRecordError: It was not started.
    """
    try:
        listed = json.loads(_nft("-j", "list", "set", "bridge", TABLE, "seen"))
    except subprocess.CalledProcessError as error:
        raise NoRecordError(
            f"nothing was recorded ({error.stderr.strip()}). Before the hosts are made: "
            "python -m tests.pipeline.flow_record start"
        ) from error
    (seen,) = (it["set"] for it in listed["nftables"] if "set" in it)
    return {Seen(*_plain(element)) for element in seen.get("elem", ())}


def _plain(element: dict[str, Any]) -> tuple[str, str, str, int]:
    protocol, source, target, port = element.get("elem", element).get("val", element)["concat"]
    return str(protocol), str(ipaddress.ip_address(source)), str(ipaddress.ip_address(target)), port


def _nft(*arguments: str, stdin: str = "") -> str:
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return subprocess.run(
        [*sudo, NFT, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout


if __name__ == "__main__":
    {"start": start, "stop": stop}[sys.argv[1]]()
