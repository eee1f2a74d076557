"""Write the variable table of each role's README from its argument specs and defaults.

Usage: python tools/role_docs.py [--check]

--check writes nothing, names the READMEs that are out of date, and exits 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"
HEADER = "| variable | type | default | meaning |\n|---|---|---|---|\n"
TABLE = re.compile(re.escape(HEADER) + r"(?:\|.*\n)*")


def options(role: Path) -> dict[str, dict[str, Any]]:
    """Return the options of a role's entry points by name, each once, in the order of the specs."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    found: dict[str, dict[str, Any]] = {}
    for spec in specs.values():
        for name, option in spec.get("options", {}).items():
            found.setdefault(name, option)
    return found


def shown_type(option: dict[str, Any]) -> str:
    """Return an option's type, a list's with that of its elements."""
    elements = option.get("elements")
    return f"{option['type']} of {elements}" if elements else str(option["type"])


def shown_default(name: str, option: dict[str, Any], defaults: dict[str, Any]) -> str:
    """Return a default as the table shows it: text as it is, anything else as JSON."""
    if option.get("required"):
        return "required"
    default = defaults[name]
    return f"`{default if isinstance(default, str) and default else json.dumps(default)}`"


def table(role: Path) -> str:
    """Return the table of a role's variables, in Markdown.

    Raises KeyError for an option that is neither required nor in the role's defaults.
    """
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text()) or {}
    lines = [HEADER]
    for name, option in options(role).items():
        cells = (f"`{name}`", shown_type(option), shown_default(name, option, defaults))
        row = [cell.replace("|", "\\|") for cell in (*cells, option["description"])]
        lines.append(f"| {' | '.join(row)} |\n")
    return "".join(lines)


def main() -> int:
    """Write or check every README; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if any differs")
    check = parser.parse_args().check
    outdated = []
    for role in sorted(path for path in ROLES.iterdir() if path.is_dir()):
        readme = role / "README.md"
        text = readme.read_text()
        if len(TABLE.findall(text)) != 1:
            print(f"{readme} must hold the table's header once:\n{HEADER}", file=sys.stderr)
            return 1
        # A function, as a default may hold what a replacement would take for a group.
        current = TABLE.sub(lambda _, role=role: table(role), text)  # type: ignore[misc]
        if current != text:
            outdated.append(f"roles/{role.name}/README.md")
            if not check:
                readme.write_text(current)
    if outdated:
        said = "is out of date; write it by: python tools/role_docs.py" if check else "written"
        print("\n".join(f"{name}: {said}" for name in outdated), file=sys.stderr)
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())
