"""What the inventory computes is the same at each run: no list is in an order that varies."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from hosts import ROOT

HOSTS = ROOT / "inventories/example/hosts.yml"
#: Prints what each of the pipeline's variables is for each host.
RENDER = """
import json, sys
from pathlib import Path
import yaml
from tests.variables import Variables
*inventories, folder = sys.argv[1:]
files = [yaml.safe_load(file.read_text()) or {} for file in Path(folder).glob("*.yml")]
names = {name for file in files for name in file}
known = Variables(inventories)
found = {}
for host in known.hosts():
    variables = known.of(host)
    for name in sorted(names):
        try:
            found[f"{name} of {host}"] = json.dumps(variables[name], default=str)
        except Exception as error:  # what needs facts or secrets has none here
            found[f"{name} of {host}"] = type(error).__name__
print(json.dumps(found))
"""


def rendered(seed: int) -> dict[str, str]:
    """Every variable of every host, where Python's sets are in the order of a seed."""
    pipeline = ROOT / "inventories/pipeline"
    done = subprocess.run(
        [sys.executable, "-c", RENDER, pipeline / "hosts.yml", HOSTS, pipeline / "group_vars/all"],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        check=True,
        timeout=300,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_no_variable_depends_on_the_order_of_a_set() -> None:
    first, *others = (rendered(seed) for seed in (1, 2, 3))
    # Which they are: most can be rendered without a host.
    assert sum(it.startswith(("[", "{")) for it in first.values()) > 100
    for other in others:
        assert {name for name, it in other.items() if first[name] != it} == set()
