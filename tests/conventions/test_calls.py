"""Calls that do something else than they seem to, and what is called in their place."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sorted(
    path
    for folder in (
        "ansible",
        "dashboard",
        "producer",
        "roles",
        "spark",
        "standby",
        "tests",
        "tools",
    )
    for path in (ROOT / folder).rglob("*.py")
)
TASKS = sorted(
    path for pattern in ("roles/*/tasks/*.yml", "ansible/**/*.yml") for path in ROOT.glob(pattern)
)
#: They fetch from the public network, by the operator's proxy if there is one.
BY_PROXY = {"tools/providers.py"}
FETCHING = {"get_url", "uri", "ansible.builtin.get_url", "ansible.builtin.uri"}


def names(path: Path) -> list[tuple[int, str]]:
    """The names and attributes in a file, each with its line."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    found = [(it.lineno, it.attr) for it in nodes if isinstance(it, ast.Attribute)]
    return found + [(it.lineno, it.id) for it in nodes if isinstance(it, ast.Name)]


def test_the_own_network_is_not_asked_by_a_proxy_of_the_environment() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in PYTHON
        if str(path.relative_to(ROOT)) not in BY_PROXY
        for line, name in names(path)
        if name in {"urlopen", "urlretrieve"}
    ]
    assert wrong == [], "use an opener with ProxyHandler({}); in tests it is direct.DIRECT"


@pytest.mark.parametrize("path", TASKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_task_asks_by_a_proxy_of_the_environment(path: Path) -> None:
    def tasks(node: object) -> list[dict[str, object]]:
        if isinstance(node, list):
            return [task for item in node for task in tasks(item)]
        if isinstance(node, dict):
            return [node, *(task for value in node.values() for task in tasks(value))]
        return []

    found = [task for task in tasks(yaml.safe_load(path.read_text())) if FETCHING & task.keys()]
    for task in found:
        (module,) = FETCHING & task.keys()
        arguments = task[module]
        assert isinstance(arguments, dict)
        assert arguments.get("use_proxy") is False, f"{task.get('name')}: use_proxy must be false"


def test_whether_a_unit_is_installed_is_not_asked_of_testinfra() -> None:
    wrong = []
    for path in PYTHON:
        tree = ast.parse(path.read_text())
        # Names that hold a service, and calls of host.service(...) themselves.
        holders = {
            target.id
            for it in ast.walk(tree)
            if isinstance(it, ast.Assign) and _is_service(it.value)
            for target in it.targets
            if isinstance(target, ast.Name)
        }
        wrong += [
            f"{path.relative_to(ROOT)}:{it.lineno}"
            for it in ast.walk(tree)
            if isinstance(it, ast.Attribute)
            and it.attr == "exists"
            and (
                _is_service(it.value) or (isinstance(it.value, ast.Name) and it.value.id in holders)
            )
        ]
    assert wrong == [], "it is true for the beginning of a name: checks.is_installed is exact"


def _is_service(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "service"
    )
