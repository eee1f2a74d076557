"""The status page's lines of the streaming job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import probe
import pytest
from hosts import ROOT, Target
from status import collect, render, render_places, render_streaming, render_units

QUERY = {"batch_id": 4, "at": None, "rows_in": 0, "rows_written": 0, "input_rate": 0.0}
STREAMING: dict[str, Any] = {
    "run_id": "main",
    "silver_rows": 7,
    "dead_letters": 0,
    "duplicates": 0,
    "stale": 0,
}


@pytest.mark.parametrize(("lag", "said"), [(None, "unknown"), (0, "0"), (12345, "12,345")])
def test_lag_is_unknown_until_the_query_has_told(lag: int | None, said: str) -> None:
    *_, last = render_streaming(STREAMING | {"query": QUERY | {"lag": lag}})
    assert last.endswith(f", lag {said}")


def test_a_reader_may_take_a_part_of_the_page() -> None:
    page = f"{sys.executable} -c 'import status; status.show(\"line\\n\" * 100_000)'"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{page} | head -n 1"],
        cwd=ROOT / "tools",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "line\n", "")


def test_of_a_host_that_does_not_answer_nothing_is_claimed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "inventories/trial/.ssh/config"
    config.parent.mkdir(parents=True)
    config.touch()
    monkeypatch.setattr("hosts.ROOT", tmp_path)
    monkeypatch.setattr("status.ROOT", tmp_path)
    host = {"address": "192.0.2.1", "error": "no route", "units": {}}
    state = {"hosts": {"trial-1": host}, "tables": None, "urls": {}}
    page = "\n".join(render(state, Target("trial", {"trial-1": {}}, {"kafka": ["trial-1"]})))
    assert "does not answer: no route" in page
    assert "make hosts NAME=trial brings back a host that died" in page
    assert "unknown while no host answers" in page


def test_the_page_of_movies_is_named_with_what_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: dict[str, Any] = {"groups": [], "units": {}, "roles": {}, "dashboard_port": 9408}
    monkeypatch.setattr("status.probe", lambda target, host: answers)
    groups: dict[str, list[str]] = {"spark_master": [], "spark_worker": [], "streaming": ["a"]}
    hosts = {"a": {"host_address": "192.0.2.1", "host_external_address": "192.0.2.1"}}
    target = Target("trial", hosts, groups | {"kafka": ["a"]})
    state = collect(target)
    assert state["urls"]["Movies and pipeline (a)"] == "http://localhost:9408"
    lines = list(render_places(state, target))
    place = "Movies and pipeline (a): http://localhost:9408, by make tunnel NAME=trial"
    assert f"Web UI     {place}" in lines


def test_of_one_host_the_certificates_are_a_line() -> None:
    unit = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running"}
    certificate = {"name": "kafka", "end": "2026-12-24T10:00:00+00:00", "soon": True}
    host = {"address": "192.0.2.1", "error": None, "units": {"kafka": unit}}
    page = list(render_units({"hosts": {"a": host | {"certificate": certificate}}}))
    assert page[-1].split() == ["a", "192.0.2.1", "CERTIFICATE", "kafka", "ENDS", "2026-12-24"]
    assert len(list(render_units({"hosts": {"a": host}}))) == len(page) - 1


def test_a_host_says_which_certificate_ends_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    metrics = tmp_path / "metrics.prom"
    monkeypatch.setattr("probe.CERTIFICATES", metrics)
    assert probe.certificate() is None
    end = 'imdb_certificate_end_timestamp_seconds{name="%s",subject="CN=%s"} %d\n'
    lines = [end % ("ca", "a CA", 2100000000), end % ("kafka", "kafka", 2000000000)]
    metrics.write_text("".join([*lines, "imdb_certificates_warn_seconds 86400\n"]))
    assert probe.certificate() == {
        "name": "kafka",
        "end": "2033-05-18T03:33:20+00:00",
        "soon": False,
    }
    metrics.write_text(f"{lines[1]}imdb_certificates_warn_seconds 3000000000\n")
    assert (probe.certificate() or {})["soon"]


@pytest.mark.parametrize(
    ("settings", "without"),
    [
        ("# Kafka\nprocess.roles=broker,controller\n", True),
        ("# process.roles=\nbroker.id=1\n", False),
        (None, False),
    ],
)
def test_a_host_without_zookeeper_has_no_unit_of_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    settings: str | None,
    without: bool,
) -> None:
    path = tmp_path / "server.properties"
    if settings is not None:
        path.write_text(settings)
    monkeypatch.setattr("probe.KAFKA_SETTINGS", path)
    monkeypatch.setattr("probe.units", lambda names: {name: {} for name in names})
    monkeypatch.setattr("probe.ensemble", dict)
    monkeypatch.setattr(sys, "argv", ["probe.py", "zookeeper", "kafka"])
    probe.main()
    said = json.loads(capsys.readouterr().out)
    assert list(said["units"]) == (["kafka"] if without else ["zookeeper", "kafka"])
    assert ("ensemble" in said) != without


def logs_of(target: Target) -> list[str]:
    """The commands for logs on the page of an environment without tables yet."""
    first, second = list(render_places({"tables": None, "urls": {}}, target))[-2:]
    return [first.removeprefix("Logs").strip(), second.strip().removeprefix("or: ")]


def test_hosts_by_hand_have_no_ssh_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hosts.ROOT", tmp_path)
    hosts = {"a": {"ansible_host": "192.0.2.1"}, "b": {"ansible_host": "192.0.2.2"}}
    for host in hosts.values():
        host["ansible_user"] = "admin"
    assert logs_of(Target("hand", hosts, {"kafka": ["b"]})) == [
        "ssh -l admin 192.0.2.2 journalctl -u kafka",
        "make logs NAME=hand UNIT=imdb-streaming",
    ]


def test_the_environment_local_needs_no_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "inventories/local/.ssh/config"
    config.parent.mkdir(parents=True)
    config.touch()
    monkeypatch.setattr("hosts.ROOT", tmp_path)
    monkeypatch.setattr("status.ROOT", tmp_path)
    assert logs_of(Target("local", {"local-1": {}}, {"kafka": ["local-1"]})) == [
        "ssh -F inventories/local/.ssh/config local-1 journalctl -u kafka",
        "make logs UNIT=imdb-streaming",
    ]


def test_what_a_tunnel_brings_is_named_by_the_tunnel() -> None:
    urls = {
        "Spark master (a)": "https://localhost:8080",
        "Spark worker (a)": "http://192.0.2.1:8081",
    }
    hand = Target("hand", {"a": {}}, {"kafka": ["a"]})
    shown = list(render_places({"tables": None, "urls": urls}, hand))
    assert shown[:2] == [
        "Web UI     Spark master (a): https://localhost:8080, by make tunnel NAME=hand",
        "Web UI     Spark worker (a): http://192.0.2.1:8081",
    ]
