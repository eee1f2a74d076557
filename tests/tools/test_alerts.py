"""The list of alerts: what fires first, what is about to, and where to read on."""

from __future__ import annotations

import json
from typing import Any

import alerts
import pytest
from hosts import HostsError, Target


def alert(name: str, severity: str, state: str = "firing") -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": severity},
        "annotations": {"summary": f"summary of {name}"},
        "state": state,
        "activeAt": "2026-01-01T00:00:00.123456Z",
    }


@pytest.fixture
def target() -> Target:
    return Target("trial", {"host-1": {}}, {"monitoring": ["host-1"]})


def test_the_worst_comes_first_and_what_is_pending_last(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [
        alert("Watchdog", "info"),
        alert("Soon", "critical", "pending"),
        alert("Worse", "critical"),
        alert("Bad", "warning"),
    ]
    answer = json.dumps({"data": {"alerts": given}})
    monkeypatch.setattr(alerts, "run", lambda *_: answer)
    found = alerts.ask(target, 9406)
    assert [it["labels"]["alertname"] for it in found] == ["Worse", "Bad", "Watchdog", "Soon"]


def test_each_is_shown_with_its_section_of_the_runbook() -> None:
    page = list(alerts.lines([alert("HostDown", "critical"), alert("Watchdog", "info")]))
    assert page == [
        "FIRING   critical  HostDown                     since 2026-01-01T00:00:00Z",
        "         summary of HostDown",
        "         docs/runbook.md#hostdown",
    ]


def test_nothing_is_said_to_be_well_only_where_the_watchdog_fires() -> None:
    assert list(alerts.lines([alert("Watchdog", "info")])) == ["Nothing fires."]
    assert next(iter(alerts.lines([]))).startswith("Watchdog does not fire")


def test_an_environment_without_prometheus_is_told_what_to_do(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HostsError, match=r"docs/monitoring\.md"):
        alerts.ask(Target("trial", {}, {}), 9406)

    def refused(*_: Any) -> str:
        raise HostsError("host-1: refused")

    monkeypatch.setattr(alerts, "run", refused)
    with pytest.raises(HostsError, match="Is pipeline_monitoring true"):
        alerts.ask(target, 9406)
