"""What Prometheus scrapes of a running pipeline: all of it, with what rules read, and no secret."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import subprocess
from typing import Any

import pytest
import yaml
from hosts import ROOT, Target, run

from ..variables import HostVariables
from ..waiting import wait_for

pytestmark = pytest.mark.verify

RULES = sorted((ROOT / "roles/prometheus/files/alerts").glob("*.yml"))
#: Beginnings of the names of metrics that rules read.
KNOWN = r"\b(?:node|kafka|zookeeper|metrics|imdb|alertmanager|prometheus)_\w+"
#: Of hosts that stand by for each other one serves these.
LED = {"imdb-streaming", "spark-driver", "spark-executors"}
#: Shorter titles could be there by chance.
SHORTEST = 8
ASK = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=20).read().decode())"
#: Prints what a target serves, asked as Prometheus asks.
SCRAPE = """
import ssl, sys, urllib.request as r
url, ca, certificate = sys.argv[1:]
context = None
if ca:
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate)
print(r.urlopen(url, timeout=20, context=context).read().decode())
"""


@pytest.fixture(scope="module")
def watcher(target: Target, variables: HostVariables) -> str:
    """The host that runs Prometheus."""
    if not variables["pipeline_monitoring"]:
        pytest.skip("pipeline_monitoring is false")
    return target.groups["monitoring"][0]


def api(target: Target, watcher: str, variables: HostVariables, path: str) -> Any:
    """Return what Prometheus answers."""
    url = f"http://127.0.0.1:{variables['prometheus_port']}/api/v1/{path}"
    answer = run(target, watcher, "python3", "-c", shlex.quote(ASK), shlex.quote(url))
    return json.loads(answer)["data"]


def test_every_target_is_up(
    target: Target, watcher: str, variables: HostVariables, patience: float
) -> None:
    def states() -> dict[tuple[str, str], str]:
        found = api(target, watcher, variables, "targets?state=active")["activeTargets"]
        return {(it["labels"]["job"], it["labels"]["instance"]): it["health"] for it in found}

    def as_it_should_be(found: dict[tuple[str, str], str]) -> bool:
        led = [job for (job, _), health in found.items() if health == "up" and job in LED]
        down = [job for (job, _), health in found.items() if health != "up" and job not in LED]
        return not down and sorted(led) == sorted(LED)

    found = wait_for("every target is up", states, as_it_should_be, 90 * patience, every=2)
    wanted = {(it["job"], it["instance"]) for it in variables["prometheus_targets"]}
    assert wanted <= set(found)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_metric_that_a_rule_reads_is_there(
    target: Target, watcher: str, variables: HostVariables, path: Any
) -> None:
    expressions = [
        rule["expr"]
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    read = set(re.findall(KNOWN, " ".join(expressions)))
    if not variables["pipeline_security"]:
        read = {name for name in read if not name.startswith("imdb_certificate")}
    if not variables["pipeline_zookeeper"]:
        read = {name for name in read if not name.startswith("zookeeper_")}
    read = {name for name in read if not name.startswith("imdb_settings_")}
    known = set(api(target, watcher, variables, "label/__name__/values"))
    assert read - known == set()


def test_nothing_that_is_scraped_is_a_secret_or_a_title(
    target: Target, watcher: str, variables: HostVariables, held_secrets: dict[str, Any]
) -> None:
    with gzip.open(ROOT / "data/sample/title.basics.tsv.gz", "rt", encoding="utf-8") as lines:
        titles = {line.split("\t")[2] for line in lines}
    titles = {title for title in titles if len(title) >= SHORTEST}
    secrets = {
        name: it for name, it in held_secrets.items() if isinstance(it, str) and len(it) >= 12
    }
    assert titles
    assert secrets
    ca, certificate = variables["prometheus_ca"], ""
    if ca:
        certificate = f"{variables['certificates_folder']}/prometheus.pem"
    scraped = 0
    for it in variables["prometheus_targets"]:
        url = f"{'https' if ca else 'http'}://{it['address']}{it['path']}"
        command = ["sudo", "python3", "-c", SCRAPE, url, ca, certificate]
        try:
            text = run(target, watcher, shlex.join(command), timeout=60)
        except Exception:
            # The host stands by.
            assert it["job"] in LED, url
            continue
        scraped += 1
        assert [name for name, secret in secrets.items() if secret in text] == [], url
        assert [title for title in titles if title in text] == [], url
    assert scraped >= len(LED) + len(target.hosts)


@pytest.mark.usefixtures("watcher")
def test_make_alerts_lists_what_fires(target: Target) -> None:
    said = subprocess.run(
        ["make", "--no-print-directory", "alerts", f"NAME={target.name}", "JSON=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert "Watchdog" in {it["labels"]["alertname"] for it in json.loads(said)}


def test_nothing_but_the_watchdog_fires(
    target: Target, watcher: str, variables: HostVariables, patience: float
) -> None:
    def firing() -> list[str]:
        alerts = api(target, watcher, variables, "alerts")["alerts"]
        return [
            f"{it['labels']['alertname']}: {it['annotations']['summary']}"
            for it in alerts
            if it["state"] == "firing" and it["labels"]["severity"] != "info"
        ]

    # What the deployment itself raised ends by itself.
    wait_for("nothing fires", firing, lambda found: not found, 120 * patience, every=2)
