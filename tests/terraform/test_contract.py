"""The three targets take the same inputs, give the same outputs and are laid out alike."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .inventories import ROOT, check_inventory, groups_of_site

TARGETS = ["local", "libvirt", "aws"]
FILES = {
    "versions.tf",
    "variables.tf",
    "main.tf",
    "network.tf",
    "image.tf",
    "hosts.tf",
    "inventory.tf",
    "outputs.tf",
    "topology.auto.tfvars",
}
INPUTS = {
    "name",
    "target",
    "delete_data",
    "hosts",
    "replication_factor",
    "arch",
    "debian_release",
    "debian_mirror",
    "subnet",
}
OUTPUTS = {"hosts", "inventory", "ssh_config", "urls", "output"}
# That which has the most hosts, and the fewest groups on each, shows the most.
TOPOLOGIES = [
    pytest.param(path, id=path.stem, marks=[] if path.stem == "cluster" else pytest.mark.slow)
    for path in sorted((ROOT / "terraform/topologies").glob("*.tfvars"))
]
# A root that has nothing but the hand-off.
HAND_OFF = """
variable "hosts" {
  type = map(object({
    groups    = set(string)
    cpus      = optional(number, 2)
    memory_mb = optional(number, 4096)
    disk_gb   = optional(number, 20)
    number    = optional(number)
    id        = optional(number)
    rack      = optional(string, "a")
  }))
}

variable "replication_factor" {
  type    = number
  default = null
}

module "topology" {
  source             = "./modules/topology"
  hosts              = var.hosts
  replication_factor = var.replication_factor
}

module "inventory" {
  source           = "./modules/inventory"
  inventory_folder = "inventory"
  generated_folder = "inventory/.ssh"
  user             = "admin"
  facts            = { output = "s3a://tables" }
  hosts = { for key, host in var.hosts : "test-${key}" => {
    groups           = host.groups
    address          = "10.0.0.${module.topology.numbers[key]}"
    external_address = "10.0.0.${module.topology.numbers[key]}"
    ssh_address      = "10.0.0.${module.topology.numbers[key]}"
    cpus             = host.cpus
    memory_mb        = host.memory_mb
    arch             = "x86_64"
    id               = module.topology.ids[key]
    rack             = host.rack
    volumes          = [{ device = "/dev/disk/by-id/x", path = "/var/lib/x" }]
  } }
}

output "groups" {
  value = { for key, host in var.hosts : "test-${key}" => host.groups }
}

output "expected" {
  value = { for key, host in var.hosts : "test-${key}" => {
    host_id   = module.topology.ids[key]
    host_rack = host.rack
  } }
}

output "problems" {
  value = module.topology.problems
}
"""

every_target = pytest.mark.parametrize("target", TARGETS)


def declared(target: str, kind: str) -> dict[str, str]:
    """Return the blocks of a kind in a target's root, by name."""
    blocks = {}
    for file in sorted((ROOT / "terraform" / target).glob("*.tf")):
        for match in re.finditer(rf'^{kind} "(\w+)" {{\n(.*?)^}}$', file.read_text(), re.M | re.S):
            blocks[match[1]] = match[2]
    return blocks


def types(target: str) -> dict[str, str]:
    """Return the types of the common inputs; of an object just that it is a map."""
    found = {}
    for name, text in declared(target, "variable").items():
        match = re.search(r"^  type\s+= (\w+)", text, re.M)
        assert match, f"{target}: variable {name} has no type"
        found[name] = match[1]
    return {name: found[name] for name in found if name in INPUTS}


def test_these_are_all_targets() -> None:
    roots = {path.parent.name for path in (ROOT / "terraform").glob("*/versions.tf")}
    assert roots == set(TARGETS)


@every_target
def test_a_target_is_laid_out_like_the_others(target: str) -> None:
    assert {path.name for path in (ROOT / "terraform" / target).iterdir()} >= FILES


@every_target
def test_a_plain_apply_means_single(target: str) -> None:
    link = ROOT / "terraform" / target / "topology.auto.tfvars"
    assert link.resolve() == ROOT / "terraform/topologies/single.tfvars"


@every_target
def test_a_target_takes_the_common_inputs(target: str) -> None:
    assert types(target) == types("local")
    assert set(types(target)) == INPUTS


@every_target
def test_every_input_and_output_says_what_it_is(target: str) -> None:
    for kind in ("variable", "output"):
        silent = [
            name
            for name, text in declared(target, kind).items()
            if not re.search(r"^  description\s+=\s+\S", text, re.M)
        ]
        assert silent == [], f"{kind}s of {target} without a description"


@every_target
def test_a_target_gives_the_common_outputs(target: str) -> None:
    assert set(declared(target, "output")) >= OUTPUTS


def test_site_needs_no_group_that_no_host_can_have() -> None:
    text = (ROOT / "terraform/modules/topology/main.tf").read_text()
    known = re.search(r"groups\s+= (\[.*?\])", text)
    assert known
    assert groups_of_site() == set(json.loads(known[1]))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_ansible_reads_the_inventory_of_every_topology(topology: Path, tmp_path: Path) -> None:
    # The hand-off alone, without hosts; the targets' own tests do it with theirs.
    shutil.copytree(ROOT / "terraform/modules", tmp_path / "modules")
    shutil.copy(topology, tmp_path / "terraform.tfvars")
    (tmp_path / "main.tf").write_text(HAND_OFF)
    terraform("init", tmp_path)
    terraform("apply", tmp_path, "-auto-approve")
    outputs = json.loads(terraform("output", tmp_path, "-json"))
    assert outputs["problems"]["value"] == []

    groups = {host: set(of) for host, of in outputs["groups"]["value"].items()}
    variables = check_inventory(tmp_path / "inventory/hosts.yml", groups)
    for host, found in variables.items():
        assert outputs["expected"]["value"][host].items() <= found.items()
        assert found["host_volumes"] == [{"device": "/dev/disk/by-id/x", "path": "/var/lib/x"}]
        assert found["host_output"] == "s3a://tables"

    # What was lost or edited is written again, and then there is nothing to do.
    written = (tmp_path / "inventory/hosts.yml").read_text()
    (tmp_path / "inventory/hosts.yml").write_text("edited\n")
    shutil.rmtree(tmp_path / "inventory/.ssh")
    terraform("apply", tmp_path, "-auto-approve")
    assert (tmp_path / "inventory/hosts.yml").read_text() == written
    assert (tmp_path / "inventory/.ssh/config").exists()
    terraform("plan", tmp_path, "-detailed-exitcode")
    terraform("destroy", tmp_path, "-auto-approve")
    assert [path for path in (tmp_path / "inventory").rglob("*") if path.is_file()] == []


def terraform(command: str, folder: Path, *arguments: str) -> str:
    """Run terraform in a folder; fail with what it said unless it exits 0."""
    done = subprocess.run(
        ["terraform", f"-chdir={folder}", command, "-no-color", *arguments],
        env=os.environ | {"TF_CLI_CONFIG_FILE": os.devnull},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"terraform {command}:\n{done.stdout}{done.stderr}"
    return done.stdout
