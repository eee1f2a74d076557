"""terraform/aws without any AWS: plans with a mocked provider, and what its files say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .attached import attached
from .aws_project import ROOT, copy_sources, environment

AWS = ROOT / "terraform/aws"
# That which has the most hosts, and the fewest groups on each, shows the most.
TOPOLOGIES = [
    pytest.param(path, id=path.stem, marks=[] if path.stem == "cluster" else pytest.mark.slow)
    for path in sorted((ROOT / "terraform/topologies").glob("*.tfvars"))
]
NONE: Mapping[str, str] = {}
EXPECTED = re.compile(r"expect_failures = (\[.*?\])", re.S)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of terraform/, so that no init of ours meets one of the user's."""
    folder = tmp_path_factory.mktemp("plans")
    copy_sources(folder)
    terraform(folder / "terraform/aws", "init", "-input=false", "-backend=false")
    return folder / "terraform/aws"


@pytest.fixture(scope="module")
def provider(project: Path) -> Iterator[Mapping[str, str]]:
    """One of the provider for all plans: what is mocked still takes its schema."""
    with attached(project, environment()) as found:
        yield found


def terraform(folder: Path, *arguments: str, provider: Mapping[str, str] = NONE) -> str:
    """Run terraform; fail with what it said unless it exits 0."""
    done = subprocess.run(
        ["terraform", *arguments, "-no-color"],
        cwd=folder,
        env={**environment(), **provider},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout


def test_wrong_input_is_refused_and_right_input_taken(
    project: Path, provider: Mapping[str, str]
) -> None:
    said = terraform(project, "test", "-filter=tests/inputs.tftest.hcl", provider=provider)
    runs = len(re.findall(r'^run "', (AWS / "tests/inputs.tftest.hcl").read_text(), re.M))
    assert f"Success! {runs} passed, 0 failed." in said


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_topology_is_closed_and_encrypted(
    project: Path, provider: Mapping[str, str], topology: Path
) -> None:
    said = terraform(
        project,
        "test",
        "-filter=tests/topology.tftest.hcl",
        f"-var-file=../topologies/{topology.name}",
        provider=provider,
    )
    assert "Success! 4 passed, 0 failed." in said


def test_every_variable_with_a_validation_is_refused_something() -> None:
    blocks = re.split(r'^variable "', (AWS / "variables.tf").read_text(), flags=re.M)[1:]
    validated = {block.split('"')[0] for block in blocks if "validation {" in block}
    tests = (AWS / "tests/inputs.tftest.hcl").read_text()
    refused = set(re.findall(r"\bvar\.(\w+)[,\]]", "".join(EXPECTED.findall(tests))))
    assert refused == validated


@pytest.fixture
def own_knobs(project: Path) -> Iterator[Path]:
    """The folder of the settings of these hosts."""
    knobs = project.parents[1] / "inventories/aws/group_vars/all"
    knobs.mkdir(parents=True)
    yield knobs
    shutil.rmtree(project.parents[1] / "inventories/aws")


def test_ports_that_the_inventory_of_these_hosts_asks_for_are_opened(
    project: Path, provider: Mapping[str, str], own_knobs: Path
) -> None:
    (own_knobs / "knobs.yml").write_text("pipeline_security: false\n")
    (own_knobs / "ports.yml").write_text("kafka_port: 19092 # ours\nstreaming_metrics_port: 0\n")
    (own_knobs / "vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3336\n")
    said = terraform(project, "test", "-filter=tests/ports.tftest.hcl", provider=provider)
    assert "Success! 1 passed, 0 failed." in said


@pytest.mark.parametrize(
    ("knobs", "opened"),
    [
        ("pipeline_security: false\n", [9402]),
        ("pipeline_monitoring: true\n", [9400, 9400]),
        ("pipeline_security: false\npipeline_monitoring: true\n", [9400, 9400]),
    ],
)
def test_metrics_are_opened_where_they_are_served(
    project: Path, provider: Mapping[str, str], own_knobs: Path, knobs: str, opened: list[int]
) -> None:
    (own_knobs / "knobs.yml").write_text(knobs)
    test = project / "tests/metrics.tftest.hcl"
    written = test.read_text()
    assert "=> [9402] }" in written
    test.write_text(written.replace("=> [9402] }", f"=> {opened} }}"))
    try:
        said = terraform(project, "test", f"-filter=tests/{test.name}", provider=provider)
    finally:
        test.write_text(written)
    assert "Success! 1 passed, 0 failed." in said


def test_the_lock_has_every_platform() -> None:
    lock = (AWS / "providers.lock").read_text()
    version = re.search(r'^ +version = "(.*)"', (AWS / "versions.tf").read_text(), re.M)
    assert version
    assert f'version     = "{version[1]}"' in lock
    # All of the provider's platforms, with linux_amd64, linux_arm64 and darwin_arm64.
    assert len(set(re.findall(r'"h1:[\w+/]{43}="', lock))) == 14
    assert len(set(re.findall(r'"zh:[0-9a-f]{64}"', lock))) == 15


def test_the_provider_that_was_installed_is_in_the_lock(project: Path) -> None:
    found = re.findall(r'"(h1:\S+)"', (project / ".terraform.lock.hcl").read_text())
    assert found
    lock = (AWS / "providers.lock").read_text()
    assert [it for it in found if f'"{it}"' not in lock] == []


def test_the_example_of_a_backend_is_one(project: Path, tmp_path: Path) -> None:
    # Taken as it is, but for the backend's own wish to talk to AWS.
    example = (AWS / "backend.tf.example").read_text()
    (tmp_path / "backend.tf").write_text(example)
    terraform(tmp_path, "init", "-input=false", "-backend=false")
    terraform(tmp_path, "validate")
    assert re.search(r"^\s+use_lockfile = true$", example, re.M)
    assert re.search(r"^\s+encrypt\s+= true$", example, re.M)


@pytest.mark.parametrize("tool", ["aws", "ssh", "ssh-keygen", "session-manager-plugin"])
def test_what_this_machine_lacks_is_said_before_anything_is_made(tool: str, tmp_path: Path) -> None:
    for each in {"aws", "ssh", "ssh-keygen", "session-manager-plugin"} - {tool}:
        (tmp_path / each).symlink_to("/bin/true")
    (tmp_path / "bash").symlink_to(shutil.which("bash") or "/bin/bash")

    def preflight(access: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(tmp_path / "bash"), str(AWS / "scripts/preflight.sh")],
            env={"PATH": str(tmp_path), "AWS_ACCESS_BY": access},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    done = preflight("ssm")
    assert done.returncode == 1
    assert f"this machine lacks {tool}." in done.stderr
    # A bastion needs no plugin.
    assert preflight("bastion").returncode == (0 if tool == "session-manager-plugin" else 1)


def test_keys_of_hosts_are_forgotten_one_by_one_and_all(tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
    known.write_text("".join(f"i-{number} {key}\n" for number in range(8)))

    def script(action: str, address: str = "") -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(AWS / "scripts/known_hosts.sh"), action],
            env={**os.environ, "KNOWN_HOSTS": str(known), "KNOWN_HOSTS_ADDRESS": address},
        )

    # At once, as terraform does it.
    gone = [script("forget", f"i-{number}") for number in range(7)]
    assert [process.wait(timeout=60) for process in gone] == [0] * 7
    assert known.read_text() == f"i-7 {key}\n"
    assert script("delete").wait(timeout=30) == 0
    assert list(tmp_path.iterdir()) == []
    assert script("forget", "i-7").wait(timeout=30) == 0
