"""The dashboards for Grafana over a running pipeline: every query of every panel gives data."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hosts import ROOT, Target, run

from ..variables import HostVariables
from ..waiting import wait_for

pytestmark = pytest.mark.verify

FILES = sorted((ROOT / "monitoring/grafana/dashboards").glob("*.json"))
#: What Grafana puts in place of its variables, with all values chosen.
CHOSEN = ".*"
#: What is there only where connections are encrypted.
SECURED = "imdb_certificate_"
#: Asks Prometheus all that it is given, and prints the answers.
ASK = """
import json, sys, urllib.error, urllib.parse, urllib.request as r
def ask(query):
    url = sys.argv[1] + "/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        return json.load(r.urlopen(url, timeout=20))["data"]["result"]
    except urllib.error.HTTPError as error:
        return json.load(error)["error"]
print(json.dumps({query: ask(query) for query in json.loads(sys.argv[2])}))
"""


def board(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def as_grafana_asks(query: str, scrape_seconds: int) -> str:
    """Put in what stands for variables, and for a time of four scrapes."""
    query = query.replace("$__rate_interval", f"{4 * scrape_seconds}s")
    asked = re.sub(r"\$\w+", CHOSEN, query)
    assert "$" not in asked
    return asked


def queries(path: Path, variables: HostVariables) -> dict[str, str]:
    """Return what a dashboard asks: the queries, each with what it is for."""
    found: dict[str, str] = {}
    scrape_seconds = int(variables["prometheus_scrape_seconds"])
    for panel in board(path)["panels"]:
        for target in panel.get("targets", ()):
            if SECURED in target["expr"] and not variables["pipeline_security"]:
                continue
            found[as_grafana_asks(target["expr"], scrape_seconds)] = panel["title"]
    for variable in board(path)["templating"]["list"]:
        if variable["type"] == "query":
            values = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert values
            found[f"group by ({values[2]}) ({values[1]})"] = f"the variable {variable['name']}"
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_query_gives_data(
    target: Target, variables: HostVariables, patience: float, path: Path
) -> None:
    if not variables["pipeline_monitoring"]:
        pytest.skip("pipeline_monitoring is false")
    wanted = queries(path, variables)
    assert wanted
    prometheus = f"http://127.0.0.1:{variables['prometheus_port']}"
    command = shlex.join(["python3", "-c", ASK, prometheus, json.dumps(list(wanted))])

    def without_data() -> dict[str, Any]:
        answers = json.loads(run(target, target.groups["monitoring"][0], command, timeout=120))
        return {
            f"{wanted[query]}: {query}": answer
            for query, answer in answers.items()
            if not answer or isinstance(answer, str)
        }

    # A rate needs two scrapes of what has just begun.
    wait_for("every query gives data", without_data, lambda it: not it, 90 * patience, every=5)
