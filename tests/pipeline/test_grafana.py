"""The dashboards for Grafana over a running pipeline: every query of every panel gives data."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hosts import Target, run

from ..grafana_queries import FILES, asked
from ..variables import HostVariables
from ..waiting import wait_for

pytestmark = pytest.mark.verify

#: What is there only where a variable says so: where connections are encrypted, and with ZooKeeper.
ONLY_WITH = {"imdb_certificate_": "pipeline_security", "zookeeper": "pipeline_zookeeper"}
#: Asks Prometheus all that it is given, and prints the answers.
ASK = """
import json, sys, urllib.error, urllib.parse, urllib.request as r
def ask(query):
    url = sys.argv[1] + "/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        found = json.load(r.urlopen(url, timeout=20))["data"]["result"]
        return [it for it in found if it["value"][1] != "NaN"]
    except urllib.error.HTTPError as error:
        return json.load(error)["error"]
print(json.dumps({query: ask(query) for query in json.loads(sys.argv[2])}))
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_query_gives_data(
    target: Target, variables: HostVariables, patience: float, path: Path
) -> None:
    if not variables["pipeline_monitoring"]:
        pytest.skip("pipeline_monitoring is false")
    wanted = {
        query: purpose
        for query, purpose in asked(path, int(variables["prometheus_scrape_seconds"])).items()
        if all(variables[knob] for name, knob in ONLY_WITH.items() if name in query)
    }
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
