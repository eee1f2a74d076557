"""Which routes of this machine a subnet overlaps, and a free one: subnets.py SUBNET BRIDGE ID.

Reads `ip -j -4 route show table all`. Prints nothing where the subnet is free, else two lines: what
takes it, and a free subnet (an empty line where there is none).
"""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Iterator

# Where the default lies, and what else there is for private use. A VPN seldom takes them all.
POOLS = ("10.192.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
# As wide a route leads everywhere (VPNs split the default route), and narrower ones win over it.
NARROWEST_DEFAULT = 7


def taken_networks(routes: list[dict[str, str]], bridge: str) -> dict[ipaddress.IPv4Network, str]:
    """Return the networks that this machine has routes to, and by what, without the bridge's."""
    taken = {}
    for route in routes:
        if route["dst"] == "default" or route.get("dev") == bridge or route.get("table") == "local":
            continue
        network = ipaddress.IPv4Network(route["dst"], strict=False)
        if network.prefixlen > NARROWEST_DEFAULT:
            taken[network] = route.get("dev", "another route")
    return taken


def candidates(identity: int) -> Iterator[ipaddress.IPv4Network]:
    """Yield every /24 of the pools, in each from a place that follows from the identity."""
    for pool in POOLS:
        network = ipaddress.IPv4Network(pool)
        count = 1 << (24 - network.prefixlen)
        for step in range(count):
            offset = ((identity + step) % count) << 8
            yield ipaddress.IPv4Network((int(network.network_address) + offset, 24))


def main() -> None:
    """Print what takes the subnet and what is free instead."""
    subnet, bridge, identity = sys.argv[1:]
    taken = taken_networks(json.load(sys.stdin), bridge)
    conflicts = [
        f"{network} on {device}"
        for network, device in taken.items()
        if network.overlaps(ipaddress.IPv4Network(subnet))
    ]
    if conflicts:
        print(", ".join(conflicts))
        free = (
            it
            for it in candidates(int(identity, 16))
            if not any(it.overlaps(network) for network in taken)
        )
        print(next(free, ""))


if __name__ == "__main__":
    main()
