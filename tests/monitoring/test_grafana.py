"""Dashboards for Grafana: what is committed is what the code writes, and reads what is served."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import grafana
import jinja2
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from imdb_producer.metrics import StatusCollector
from imdb_producer.status import Status
from imdb_streaming.metrics import MetricsServer

from ..grafana_queries import FILES, asked, load, panels, raw_queries
from .test_alerts import STATUS, promtool

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "monitoring/grafana"
SCHEMA = Path(__file__).parent / "grafana_schema"
QUERY: Any = STATUS["query"]
#: Columns of Grafana's grid.
COLUMNS = 24

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_what_is_committed_is_what_the_code_writes() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FILES}
    assert committed == grafana.written(), "run .venv/bin/python tools/grafana.py"


@each_file
def test_the_schemas_classes_know_every_field(path: Path) -> None:
    # What they do not know they drop.
    register_default_plugins()
    model = Dashboard.from_json(load(path))
    assert json.loads(json.dumps(model, cls=JSONEncoder)) == load(path)


@pytest.mark.slow
def test_the_strict_reader_of_the_schema_takes_them(tmp_path: Path) -> None:
    go = shutil.which("go")
    if not go:
        pytest.skip("no Go here, whose half of the SDK refuses what the schema lacks")
    program = tmp_path / "grafana_schema"
    subprocess.run([go, "build", "-o", program, "."], cwd=SCHEMA, check=True, timeout=600)
    read = subprocess.run([program, *FILES], capture_output=True, text=True, timeout=60)
    assert read.returncode == 0, read.stdout

    wrong = load(FILES[0])
    panel = next(it for it in wrong["panels"] if it["type"] == "timeseries")
    panel["options"]["legnd"] = {}
    panel["targets"][0]["exprr"] = "up"
    del panel["options"]["tooltip"]
    (tmp_path / "wrong.json").write_text(json.dumps(wrong), encoding="utf-8")
    read = subprocess.run(
        [program, tmp_path / "wrong.json"], capture_output=True, text=True, timeout=60
    )
    assert read.returncode == 1
    assert "unexpected field 'legnd'" in read.stdout
    assert "unexpected field 'exprr'" in read.stdout
    assert "options.tooltip: required field is missing" in read.stdout


@each_file
def test_each_panel_says_what_it_is(path: Path) -> None:
    for panel in panels(path):
        assert panel["title"], panel["id"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


@each_file
def test_panels_ask_the_data_source_that_is_chosen(path: Path) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels(path):
        assert [panel["datasource"], *(it["datasource"] for it in panel["targets"])] == [chosen] * (
            1 + len(panel["targets"])
        ), panel["title"]


@each_file
def test_panels_lie_beside_each_other(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in load(path)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= COLUMNS, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_each_is_another() -> None:
    boards = [load(path) for path in FILES]
    assert len({board["uid"] for board in boards}) == len(boards) == 4
    assert len({board["title"] for board in boards}) == len(boards)


@each_file
def test_variables_of_queries_are_those_of_the_dashboard(path: Path) -> None:
    used = set(re.findall(r"\$(?!__)(\w+)", " ".join(raw_queries(path))))
    given = {it["name"] for it in load(path)["templating"]["list"]}
    assert used == given - {"datasource"}


@each_file
def test_prometheus_takes_every_query(path: Path, tmp_path: Path) -> None:
    rules = [{"record": "asked", "expr": query} for query in asked(path, 15)]
    file = tmp_path / "asked.yml"
    # A group each: in one, rules of the same name would be duplicates.
    groups = [{"name": f"{number}", "rules": [rule]} for number, rule in enumerate(rules)]
    file.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    checked = promtool("check", "rules", "--lint=none", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def served() -> set[str]:
    """The names of metrics that the exporters are told to serve, as far as files say them."""
    beans = yaml.safe_load((ROOT / "roles/kafka/vars/main.yml").read_text())
    names = {f"kafka_{bean['name']}" for bean in beans["__kafka_metrics_beans"]}
    rules = (ROOT / "roles/zookeeper/templates/metrics.yml.j2").read_text()
    names |= set(re.findall(r"name: (zookeeper_[a-z_]+)$", rules, re.MULTILINE))
    attributes = yaml.safe_load((ROOT / "roles/zookeeper/vars/main.yml").read_text())
    names |= {f"zookeeper_{it[1]}" for it in attributes["__zookeeper_metrics_attributes"]}
    collector = StatusCollector()
    collector.status = Status("basics", "ratings", data_modified=1.0)
    server = MetricsServer("127.0.0.1", 0)
    batch = dict.fromkeys(("duration_ms", "dead_letters", "duplicates", "stale"), 0)
    index = {"movies": 0, "bytes": 0}
    server.publish({**STATUS, "query": {**QUERY, **batch}, "index": index})
    families = [*collector.collect(), *server.collect()]
    return names | {sample.name for family in families for sample in family.samples}


def kept() -> list[str]:
    """The patterns of what Prometheus keeps of Spark's metrics."""
    rules = yaml.safe_load((ROOT / "roles/prometheus/vars/main.yml").read_text())
    return list(rules["__prometheus_keep"].values())


@each_file
def test_every_metric_that_a_panel_names_is_served(path: Path) -> None:
    named = set(re.findall(r"\b(?:kafka|zookeeper|imdb_\w+?)_\w+", " ".join(raw_queries(path))))
    assert named - served() - {"imdb_certificate_end_timestamp_seconds"} == set()


@each_file
def test_every_metric_of_sparks_that_a_panel_names_is_kept(path: Path) -> None:
    named = set(re.findall(r"\bmetrics_(?!executor_)\w+", " ".join(raw_queries(path))))
    patterns = kept()
    assert [it for it in named if not any(re.fullmatch(rule, it) for rule in patterns)] == []


@pytest.mark.parametrize("kind", ["datasources", "dashboards"])
def test_the_role_writes_what_is_there_to_be_copied(kind: str) -> None:
    defaults = yaml.safe_load((ROOT / "roles/grafana/defaults/main.yml").read_text())
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["comment"] = lambda text: f"# {text}"
    template = (ROOT / f"roles/grafana/templates/{kind}.yml.j2").read_text()
    by_role = environment.from_string(template).render(
        defaults,
        ansible_managed="",
        __grafana_dashboards=f"{defaults['grafana_settings']}/imdb-pipeline",
    )
    (by_hand,) = (GRAFANA / "provisioning" / kind).glob("*.yml")
    assert yaml.safe_load(by_role) == yaml.safe_load(by_hand.read_text())
