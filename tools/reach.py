"""Wait until every host of an environment answers by ssh.

A host that made its own key is met here for the first time, so that later connections know it.

Usage: python tools/reach.py [--environment local] [--wait SECONDS]
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from hosts import HostsError, Target, load, run


def reach(target: Target, host: str, deadline: float) -> str:
    """Return why a host gave no answer until the deadline (of time.monotonic), or nothing."""
    while True:
        try:
            run(target, host, "true", timeout=30)
        except HostsError as error:
            if time.monotonic() > deadline:
                return str(error)
            time.sleep(2)
        else:
            return ""


def main() -> int:
    """Wait for all hosts at once; tell which did not answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--environment", default="local", help="its name (default: local)")
    parser.add_argument("--wait", type=float, default=600, metavar="SECONDS", help="at most")
    arguments = parser.parse_args()
    try:
        target = load(arguments.environment)
    except HostsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    deadline = time.monotonic() + arguments.wait
    with ThreadPoolExecutor(max_workers=16) as pool:
        reasons = list(pool.map(lambda host: reach(target, host, deadline), target.hosts))
    failed = [reason for reason in reasons if reason]
    for reason in failed:
        print(f"Error: {reason}", file=sys.stderr)
    if failed:
        config = target.ssh_config
        print(
            f"{len(failed)} of {len(reasons)} hosts gave no answer by ssh within "
            f"{arguments.wait:g} s. Try: ssh -v -F {config} {next(iter(target.hosts))} true",
            file=sys.stderr,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
