"""Roles can be lifted out: with what their READMEs name, and nothing else, they work elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from release_artifacts.releases import RELEASES, OwnRelease, WheelsRelease

from .test_roles import ROLES, ROOT, every_role, flatten, load

MODULES = {path: path.parents[1] for path in (ROOT / "roles").glob("*/library/*.py")}


def named(role: Path, what: str) -> set[str]:
    """What a line of a README's section on needs names."""
    needs = re.search(r"\n## Needs\n(.+?)\n## ", (role / "README.md").read_text(), re.DOTALL)
    assert needs, "the README has no section Needs"
    line = re.search(rf"^- {what}: (.+)\.$", needs[1], re.MULTILINE)
    return set(re.findall(r"`([^`]+)`", line[1])) if line else set()


def tasks_of(role: Path) -> list[dict[str, Any]]:
    """All tasks and handlers of a role."""
    files = [*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")]
    return [task for path in files for task in flatten(load(path))]


def imports(role: Path) -> list[tuple[str, dict[str, Any]]]:
    """The roles that a role imports, each with its variables."""
    found: list[tuple[str, dict[str, Any]]]
    found = [(it["role"], {}) for it in load(role / "meta/main.yml")["dependencies"]]
    for task in tasks_of(role):
        for how in ("import_role", "include_role"):
            if imported := task.get(f"ansible.builtin.{how}"):
                found.append((imported["name"], task.get("vars", {})))
    return found


def siblings(role: Path) -> set[str]:
    """The roles that a role imports, and those that these do."""
    direct = {name for name, _ in imports(role)}
    return direct.union(*(siblings(ROOT / "roles" / name) for name in direct))


def folders(role: Path) -> set[str]:
    """What a role copies, and what its releases are made of, beside roles/."""
    found = {"artifacts/"} if "release" in siblings(role) | {role.name} else set()
    for _, variables in imports(role):
        release = RELEASES.get(variables.get("release_name", ""))
        if isinstance(release, OwnRelease):
            found.add(f"{release.package.relative_to(ROOT).parts[0]}/")
        if isinstance(release, WheelsRelease):
            found.add("requirements.txt")
    copied = re.findall(r"role_path \}\}/\.\./\.\./([\w-]+/)", str(tasks_of(role)))
    return found | set(copied)


def plays(role: Path) -> list[dict[str, Any]]:
    """The examples of a README, as plays; those that are tasks in one of their own."""
    found: list[dict[str, Any]] = []
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", (role / "README.md").read_text(), re.M):
        example = textwrap.dedent(block)
        if not example.lstrip().startswith("- "):
            continue
        items = yaml.safe_load(example)
        found += items if "hosts" in items[0] else [{"hosts": "all", "tasks": items}]
    return found


@every_role
def test_readme_names_the_roles_beside_it(role: Path) -> None:
    assert named(role, "Roles beside it") == siblings(role)


@every_role
def test_readme_names_what_lies_beside_the_roles(role: Path) -> None:
    assert named(role, "Beside `roles/`") == folders(role)


@every_role
def test_readme_names_the_collections(role: Path) -> None:
    used = {re.match(r"(\w+\.\w+)\.\w+$", key) for task in tasks_of(role) for key in task}
    assert named(role, "Collections") == {it[1] for it in used if it} - {"ansible.builtin"}


@every_role
def test_readme_names_the_roles_that_its_example_runs_before(role: Path) -> None:
    for play in plays(role):
        order = [it if isinstance(it, str) else it["role"] for it in play.get("roles", [])]
        if role.name in order:
            assert set(order[: order.index(role.name)]) == named(role, "On the host before")


def lift(role: Path, place: Path) -> None:
    """Copy to an empty folder what a role's README names, and the examples as playbooks."""
    # What runs before has needs of its own.
    names = {role.name} | named(role, "Roles beside it")
    for before in named(role, "On the host before"):
        names |= {before} | named(ROOT / "roles" / before, "Roles beside it")
    # An example may go on with a role that uses this one.
    for play in plays(role):
        for it in play.get("roles", []):
            name = it if isinstance(it, str) else it["role"]
            names |= {name} | named(ROOT / "roles" / name, "Roles beside it")
    for name in sorted(names):
        shutil.copytree(ROOT / "roles" / name, place / "roles" / name)
    for name in named(role, "Beside `roles/`"):
        copy = shutil.copytree if name.endswith("/") else shutil.copy
        copy(ROOT / name, place / name)
    (place / "examples.yml").write_text(yaml.safe_dump(plays(role)), encoding="utf-8")


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook on this machine, with nothing of this repository's settings."""
    given = {name: it for name, it in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", *arguments],
        cwd=place,
        env=given | {"ANSIBLE_LOCALHOST_WARNING": "false"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_examples_run_where_there_is_only_what_the_readmes_name(tmp_path: Path) -> None:
    for role in ROLES:
        lift(role, tmp_path / role.name)
    examples = sorted(str(path) for path in tmp_path.glob("*/examples.yml"))
    assert len(examples) == len(ROLES)
    # Each finds roles beside itself alone; one run, as most of its time is the start.
    done = run(tmp_path, "--syntax-check", *examples)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", sorted(MODULES), ids=lambda path: path.stem)
def test_modules_find_what_they_import(module: Path, tmp_path: Path) -> None:
    role = MODULES[module]
    lift(role, tmp_path)
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        # Loaded, not run.
        "roles": [{"role": role.name, "tags": ["never"]}],
        "tasks": [{module.stem: {"no_such_argument": 1}}],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    done = run(tmp_path, "play.yml")
    assert re.search(r"no_such_argument|missing required arguments", done.stdout), done.stdout


def test_the_tool_that_fetches_starts_where_only_the_readmes_needs_are(tmp_path: Path) -> None:
    lift(ROOT / "roles/kafka", tmp_path)
    done = subprocess.run(
        [sys.executable, tmp_path / "artifacts/artifacts.py", "list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "kafka" in done.stdout
