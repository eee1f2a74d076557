"""Write the dashboards for Grafana: monitoring/grafana/dashboards, of tools/grafana_dashboards.

.venv/bin/python tools/grafana.py            writes them
.venv/bin/python tools/grafana.py --check    says which are not what the code writes
"""

from __future__ import annotations

import argparse
import json
import sys
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


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description="Write the dashboards for Grafana.")
    parser.add_argument("--check", action="store_true", help="write nothing; say what differs")
    check = parser.parse_args().check
    wanted = written()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    different = sorted(
        name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)
    )
    if check:
        for name in different:
            print(f"{FOLDER / name} is not what tools/grafana.py writes; run it", file=sys.stderr)
        return 1 if different else 0
    for name in different:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
