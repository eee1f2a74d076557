"""Alerts: rules that Prometheus loads, each tried with numbers that raise it and that do not."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from imdb_producer.metrics import StatusCollector
from imdb_producer.status import Status
from imdb_streaming.metrics import MetricsServer

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "roles/prometheus/files/alerts").glob("*.yml"))
TESTS = sorted(Path(__file__).parent.glob("*_test.yml"))

STATUS = {
    "run_id": "main",
    "silver_rows": 0,
    "dead_letters": 0,
    "duplicates": 0,
    "stale": 0,
    "lost_messages": 0,
    "started_at": "2026-01-01T00:00:00+00:00",
    "updated_at": "2026-01-01T00:00:00+00:00",
    "query": {
        "batch_id": 0,
        "at": "2026-01-01T00:00:00+00:00",
        "lag": 0,
        "lag_seconds": 0,
        "rows_in": 0,
        "rows_written": 0,
        "input_rate": 0,
        "processed_rate": 0,
        "batch_running_seconds": 0,
    },
    "index": {},
}

each_file = pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tools/promtool", *arguments], capture_output=True, text=True, timeout=300
    )


def alerts(path: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(path.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@each_file
def test_prometheus_takes_the_rules(path: Path) -> None:
    checked = promtool("check", "rules", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(alerts(path))} rules found" in checked.stdout


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_are_raised_when_they_should_be(path: Path) -> None:
    tested = promtool("test", "rules", path)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "SUCCESS" in tested.stdout


@each_file
def test_each_alert_is_tried_both_ways(path: Path) -> None:
    tried: dict[str, set[bool]] = {}
    for test in yaml.safe_load((Path(__file__).parent / f"{path.stem}_test.yml").read_text())[
        "tests"
    ]:
        for check in test["alert_rule_test"]:
            tried.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
    # One always fires.
    assert tried == {
        alert["alert"]: {True} if alert["alert"] == "Watchdog" else {False, True}
        for alert in alerts(path)
    }


@each_file
def test_each_alert_says_what_to_do(path: Path) -> None:
    for alert in alerts(path):
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}, alert["alert"]
        assert set(alert["annotations"]) == {"summary", "description"}, alert["alert"]


def test_the_runbook_says_what_to_do_about_each_alert_and_of_no_other() -> None:
    named = re.findall(r"^### (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(alert["alert"] for path in RULES for alert in alerts(path))


def test_the_job_tells_every_number_that_its_alerts_read() -> None:
    server = MetricsServer("127.0.0.1", 0)
    server.publish(STATUS)
    told = {sample.name for family in server.collect() for sample in family.samples}
    rules = (ROOT / "roles/prometheus/files/alerts/imdb-streaming.yml").read_text()
    read = set(re.findall(r"\bimdb_streaming_\w+", rules))
    assert read
    assert read - told == set()


def test_the_producer_tells_every_number_that_its_alerts_read() -> None:
    collector = StatusCollector()
    collector.status = Status("basics", "ratings", data_modified=1.0)
    told = {sample.name for family in collector.collect() for sample in family.samples}
    rules = (ROOT / "roles/prometheus/files/alerts/imdb-producer.yml").read_text()
    read = set(re.findall(r"\bimdb_producer_\w+", rules))
    assert read
    assert read - told == set()
