"""How the program's modules depend on each other."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import imdb_producer

FOLDER = Path(imdb_producer.__file__).parent


def imported(path: Path) -> set[str]:
    """Name the program's modules that one imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            package, _, module = node.module.partition(".")
            if package == "imdb_producer":
                names |= {module} if module else {it.name for it in node.names}
    return names - {"__version__"}


def test_imports_are_not_circular() -> None:
    graph = {path.stem: imported(path) for path in FOLDER.glob("*.py")}
    assert len(graph) > 30
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("records") < order.index("dumps") < order.index("service")
