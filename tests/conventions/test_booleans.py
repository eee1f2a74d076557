"""A boolean that -e NAME=false gives is text, and text is true: `| bool` wherever one is used."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import nodes

from .test_roles import JINJA, ROLES, ROOT, specified

BOOLEANS = {
    name for role in ROLES for name, option in specified(role).items() if option["type"] == "bool"
} | {"pipeline_remove_data", "pipeline_remove_data_confirmed", "pipeline_standby"}
FILES = sorted(
    path
    for pattern in (
        "roles/*/tasks/*.yml",
        "roles/*/handlers/*.yml",
        "roles/*/vars/*.yml",
        "roles/*/templates/*",
        "ansible/*.yml",
        "ansible/tasks/*.yml",
        "inventories/pipeline/group_vars/all/*.yml",
    )
    for path in ROOT.glob(pattern)
)
# Their values are expressions without braces.
CONDITIONS = {"when", "that", "until", "changed_when", "failed_when"}


def expressions(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The templates in a file's content, each with the key that it is the value of."""
    if isinstance(value, dict):
        for name, it in value.items():
            yield from expressions(it, name)
    elif isinstance(value, list):
        for it in value:
            yield from expressions(it, key)
    elif isinstance(value, str):
        yield key, f"{{{{ {value} }}}}" if key in CONDITIONS else value


def bare(node: nodes.Node) -> Iterator[str]:
    """The booleans that an expression uses as they are."""
    if isinstance(node, nodes.Filter) and node.name == "bool":
        return
    if isinstance(node, nodes.Name) and node.name in BOOLEANS:
        yield node.name
    for child in node.iter_child_nodes():
        yield from bare(child)


def bare_in(path: Path) -> list[str]:
    text = path.read_text()
    if path.suffix != ".yml":
        return list(bare(JINJA.parse(text)))
    found = []
    for key, template in expressions(yaml.safe_load(text)):
        # Given on as it is to an argument of the same type, which is looked at where that is used.
        given_on = key in BOOLEANS and re.fullmatch(r"\{\{ \w+ \}\}", template.strip())
        if not given_on:
            found += list(bare(JINJA.parse(template)))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_booleans_are_used_as_booleans(path: Path) -> None:
    assert bare_in(path) == []


def test_each_kind_of_use_is_seen(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.yml"
    tasks.write_text(
        """
- when: producer_fast
- when: [producer_fast | bool, not producer_standby]
- vars: {x: "{{ 'yes' if producer_allow_cached else 'no' }}", spark_s3: "{{ producer_fast }}"}
- msg: Set producer_fast to true.
"""
    )
    assert bare_in(tasks) == ["producer_fast", "producer_standby", "producer_allow_cached"]
    template = tmp_path / "template.j2"
    template.write_text("{% if producer_fast %}{{ spark_s3 | default(false) | bool }}{% endif %}")
    assert bare_in(template) == ["producer_fast"]
