"""A local host's network, cut for a while on the bridge, from outside of the host.

The kernel itself ends the cut: the rules match a set whose one element has a timeout, so that a
test that dies leaves no host cut off.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from hosts import Target

from .power import as_operator_root

#: What is dropped: what comes to the host, what comes from it, or both.
WAYS = ("both", "in", "out")

_HOOKS = {
    "in": "chain in { type filter hook postrouting priority 0; ip daddr @away drop; }",
    "out": "chain out { type filter hook prerouting priority 0; ip saddr @away drop; }",
}


def rules(table: str, address: str, way: str, seconds: int) -> str:
    """Return the rules of nft that cut an address off for so many seconds."""
    chains = [_HOOKS[key] for key in _HOOKS if way in (key, "both")]
    element = f"elements = {{ {address} timeout {seconds}s }}"
    return "\n".join(
        [
            f"table bridge {table} {{",
            f"set away {{ type ipv4_addr; flags timeout; {element}; }}",
            *chains,
            "}",
        ]
    )


@contextmanager
def network_cut(target: Target, host: str, way: str, seconds: int) -> Generator[None]:
    """Cut a host off from everybody, the operator's machine too, until the end of the block.

    The block ends no sooner than the cut itself. What stays within the host is not touched.

    Args:
        target: the local hosts.
        host: which of them.
        way: one of WAYS.
        seconds: how long.
    """
    assert way in WAYS, f"{way!r} is none of {WAYS}"
    address = target.hosts[host]["host_address"]
    table = f"cut_{address.replace('.', '_')}"
    end = time.monotonic() + seconds
    as_operator_root("/usr/sbin/nft", "-f", "-", stdin=rules(table, address, way, seconds))
    try:
        yield
        time.sleep(max(0.0, end - time.monotonic()))
    finally:
        as_operator_root("/usr/sbin/nft", "delete", "table", "bridge", table)
