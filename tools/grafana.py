"""Write the dashboards for Grafana: monitoring/grafana/dashboards, of tools/grafana_dashboards.

.venv/bin/python tools/grafana.py
"""

from __future__ import annotations

import json
from pathlib import Path

from grafana_dashboards import DASHBOARDS
from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER = Path(__file__).resolve().parents[1] / "monitoring/grafana/dashboards"


def written() -> dict[str, str]:
    """Return the text of each dashboard's file, by the name of the file."""
    found = {}
    for name, build in DASHBOARDS.items():
        model = build().build()
        for number, panel in enumerate(model.panels or (), 1):
            panel.id_val = number
        text = json.dumps(model, cls=JSONEncoder, indent=2, sort_keys=True)
        found[f"{name}.json"] = f"{text}\n"
    return found


def main() -> None:
    """Write the files, and delete what is no dashboard any more."""
    wanted = written()
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
