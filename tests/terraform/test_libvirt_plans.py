"""terraform/libvirt without libvirt: plans with a mocked provider."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .inventories import ROOT

LIBVIRT = ROOT / "terraform/libvirt"
TOPOLOGIES = sorted((ROOT / "terraform/topologies").glob("*.tfvars"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of terraform/, so that no init of ours meets one of the user's."""
    folder = tmp_path_factory.mktemp("plans") / "terraform"
    # A plan with a mocked provider reads the schema of the real one.
    shown = subprocess.run(
        ["tools/providers", "libvirt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    shutil.copytree(
        ROOT / "terraform", folder, symlinks=True, ignore=shutil.ignore_patterns(".terraform")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CLI_CONFIG_FILE", shown.stdout.strip())
        terraform(folder / "libvirt", "init", "-input=false")
        yield folder / "libvirt"


def terraform(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run terraform; fail with what it said unless it exits with the code."""
    done = subprocess.run(
        ["terraform", *arguments, "-no-color"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == code, done.stdout[-6000:]
    return done.stdout


def test_wrong_input_is_refused_and_right_input_taken(project: Path) -> None:
    said = terraform(project, "test", "-filter=tests/inputs.tftest.hcl")
    runs = len(re.findall(r'^run "', (LIBVIRT / "tests/inputs.tftest.hcl").read_text(), re.M))
    assert f"Success! {runs} passed, 0 failed." in said


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda path: path.stem)
def test_every_topology_can_be_planned(project: Path, topology: Path) -> None:
    said = terraform(project, "test", "-filter=tests/topology.tftest.hcl", f"-var-file={topology}")
    assert "Success! 1 passed, 0 failed." in said


def test_every_input_that_can_be_wrong_is_tried() -> None:
    variables = (LIBVIRT / "variables.tf").read_text()
    checked = {
        match[1]
        for match in re.finditer(r'^variable "(\w+)" {\n(.*?)^}$', variables, re.M | re.S)
        if "validation {" in match[2]
    }
    tried = set(re.findall(r"var\.(\w+)\]", (LIBVIRT / "tests/inputs.tftest.hcl").read_text()))
    assert tried == checked


def test_a_daemon_that_does_not_run_is_named_at_plan_time(project: Path, tmp_path: Path) -> None:
    socket = tmp_path / "no-such-socket"
    said = terraform(
        project,
        "plan",
        "-input=false",
        f"-var=uri=qemu:///system?socket={socket}",
        "-var=accelerator=emulation",
        code=1,
    )
    text = " ".join(said.split())
    assert f"no libvirt daemon listens on {socket} of this machine" in text
    assert "tools/libvirtd start" in text
