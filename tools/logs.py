"""Follow the journal of a unit on the host that runs it.

Usage: python tools/logs.py [--environment local] [--host HOST] UNIT
"""

from __future__ import annotations

import argparse
import sys

from hosts import HostsError, attend, host_running, load


def main() -> int:
    """Follow the journal until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("unit")
    parser.add_argument("--environment", default="local", help="its name (default: local)")
    parser.add_argument("--host", help="default: the one that runs the unit")
    arguments = parser.parse_args()
    try:
        target = load(arguments.environment)
        host = arguments.host or host_running(target, arguments.unit)
    except HostsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    journal = ("sudo", "journalctl", "--follow", "--lines=50", "--unit", arguments.unit)
    return attend(target.ssh(host, *journal))


if __name__ == "__main__":
    sys.exit(main())
