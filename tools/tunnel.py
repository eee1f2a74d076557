"""Put the web UIs of an environment on this machine's localhost, until Ctrl-C.

Usage: python tools/tunnel.py [--environment local]
"""

from __future__ import annotations

import argparse
import sys

from hosts import UIS, HostsError, attend, host_running, load


def main() -> int:
    """Forward the ports until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--environment", default="local", help="its name (default: local)")
    arguments = parser.parse_args()
    try:
        target = load(arguments.environment)
        through = target.host_of("spark-master")
    except HostsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    command = ["ssh", "-F", str(target.ssh_config), "-N", "-o", "ExitOnForwardFailure=yes"]
    for title, (group, port) in UIS.items():
        # The first host of each; a worker among many is reached through the master's page.
        for host in target.groups[group][:1]:
            print(f"{title}: http://localhost:{port}", flush=True)
            # The page of the job is on the host that leads.
            serving = host_running(target, "imdb-streaming") if group == "streaming" else host
            address = target.hosts[serving]["host_address"]
            command += ["-L", f"127.0.0.1:{port}:{address}:{port}"]
    print("Ctrl-C ends it.", flush=True)
    return attend([*command, through])


if __name__ == "__main__":
    sys.exit(main())
