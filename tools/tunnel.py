"""Put the web UIs of an environment on this machine's localhost, until Ctrl-C.

Usage: python tools/tunnel.py [--environment local]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from hosts import (
    BY_TLS,
    PAGE,
    PAGE_GROUP,
    TLS_PORTS,
    UIS,
    HostsError,
    Target,
    attend,
    host_running,
    load,
    page_port,
    run,
)


def main() -> int:
    """Forward the ports until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--environment", default="local", help="its name (default: local)")
    arguments = parser.parse_args()
    try:
        target = load(arguments.environment)
        commands = list(forwards(target))
    except HostsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print("Ctrl-C ends it.", flush=True)
    return attend(*commands)


def forwards(target: Target) -> Iterator[list[str]]:
    """Say where each web UI is, and give the commands that bring them there.

    Raises:
        HostsError: A host does not answer, or there is none.
    """
    through = target.host_of("spark-master")
    by_tls = BY_TLS in run(target, through, "systemctl", "cat", "spark-master")
    ssh = ["ssh", "-F", str(target.ssh_config), "-N", "-o", "ExitOnForwardFailure=yes"]
    together = []
    for title, (group, port) in UIS.items():
        # The first host of each; a worker among many is reached through the master's page.
        for host in target.groups[group][:1]:
            print(f"{title}: http{'s' * by_tls}://localhost:{port}", flush=True)
            # The page of the job is on the host that leads.
            serving = host_running(target, "imdb-streaming") if group == "streaming" else host
            here = f"127.0.0.1:{port}"
            if by_tls:
                yield [*ssh, "-L", f"{here}:127.0.0.1:{TLS_PORTS.get(port, port)}", serving]
            else:
                together += ["-L", f"{here}:{target.hosts[serving]['host_address']}:{port}"]
    for host in target.groups[PAGE_GROUP][:1]:
        if page := page_port(target, host):
            print(f"{PAGE}: http://localhost:{page}", flush=True)
            yield [*ssh, "-L", f"127.0.0.1:{page}:127.0.0.1:{page}", host]
    if together:
        yield [*ssh, *together, through]


if __name__ == "__main__":
    sys.exit(main())
