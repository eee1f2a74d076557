"""What the dashboards for Grafana ask, as Grafana would ask it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "monitoring/grafana/dashboards"
FILES = sorted(FOLDER.glob("*.json"))
#: What stands for a variable of which all values are chosen.
ALL = ".*"


def load(path: Path) -> dict[str, Any]:
    """Return a dashboard."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    """Return the panels of a dashboard, without the rows between them."""
    return [panel for panel in load(path)["panels"] if panel["type"] != "row"]


def raw_queries(path: Path) -> list[str]:
    """Return the queries of all panels as they are written."""
    return [target["expr"] for panel in panels(path) for target in panel["targets"]]


def asked(path: Path, scrape_seconds: int) -> dict[str, str]:
    """Return all that a dashboard asks, for panels and for variables, each with what it is for."""
    found = {
        _filled_in(target["expr"], scrape_seconds): panel["title"]
        for panel in panels(path)
        for target in panel["targets"]
    }
    for variable in load(path)["templating"]["list"]:
        if variable["type"] == "query":
            values = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert values, variable["query"]
            found[f"group by ({values[2]}) ({values[1]})"] = f"the variable {variable['name']}"
    return found


def _filled_in(query: str, scrape_seconds: int) -> str:
    """Put in the time of four scrapes, and all values of each variable."""
    query = query.replace("$__rate_interval", f"{4 * scrape_seconds}s")
    filled = re.sub(r"\$(?!__)\w+", ALL, query)
    assert "$" not in filled, query
    return filled
