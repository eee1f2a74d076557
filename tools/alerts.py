"""List the alerts that fire, and those that are about to, by the Prometheus of an environment.

Usage: python tools/alerts.py [--environment local] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from hosts import HostsError, Target, load, run

#: Asked on its host: Prometheus listens there alone.
URL = "http://127.0.0.1:{port}/api/v1/alerts"
PORT = 9406
ASK = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"
#: It always fires, to prove that alerts arrive.
ALWAYS = "Watchdog"
SEVERITIES = ("critical", "warning", "info")


def ask(target: Target, port: int) -> list[dict[str, Any]]:
    """Return the alerts, the worst first.

    Raises:
        HostsError: There is no Prometheus, or it does not answer.
    """
    hosts = target.groups.get("monitoring", [])
    if not hosts:
        raise HostsError(
            f"no host of {target.name} is in the group monitoring; docs/monitoring.md says how to "
            "add it"
        )
    try:
        answer = run(target, hosts[0], "python3", "-c", f"'{ASK}'", URL.format(port=port))
    except HostsError as error:
        raise HostsError(
            f"Prometheus does not answer: {error}. Is pipeline_monitoring true? "
            "See: systemctl status imdb-prometheus there."
        ) from None
    found: list[dict[str, Any]] = json.loads(answer)["data"]["alerts"]
    return sorted(
        found,
        key=lambda it: (
            it["state"] != "firing",
            SEVERITIES.index(it["labels"]["severity"]),
            it["labels"]["alertname"],
        ),
    )


def lines(alerts: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the page."""
    shown = [it for it in alerts if it["labels"]["alertname"] != ALWAYS]
    if len(shown) == len(alerts):
        yield f"{ALWAYS} does not fire: the rules are not evaluated. See the unit imdb-prometheus."
    if not shown:
        yield "Nothing fires."
    for it in shown:
        labels = it["labels"]
        yield (
            f"{it['state'].upper():<8} {labels['severity']:<9} {labels['alertname']:<28} "
            f"since {it['activeAt'][:19]}Z"
        )
        yield f"         {it['annotations']['summary']}"
        yield f"         docs/runbook.md#{labels['alertname'].lower()}"


def main() -> int:
    """Print the alerts; exit code 1 if they cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--environment", default="local", help="its name (default: local)")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.add_argument("--port", type=int, default=PORT, help="prometheus_port")
    arguments = parser.parse_args()
    try:
        alerts = ask(load(arguments.environment), arguments.port)
    except HostsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(alerts, indent=2) if arguments.json else "\n".join(lines(alerts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
