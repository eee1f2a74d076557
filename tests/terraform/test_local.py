"""terraform/local for real: hosts join and leave a set that is there, and lost files come back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = "grow"
GENERATED = ROOT / f"inventories/{NAME}/.ssh"
GROUPS = ["kafka", "producer", "spark_master", "spark_worker", "streaming", "zookeeper"]
ONE = {"1": {"groups": GROUPS}}
TWO = ONE | {"2": {"groups": ["spark_worker"]}}


def terraform(*arguments: str, code: int = 0, delete_data: str = "") -> str:
    """Run terraform on the set of hosts that is the tests' own; fail with what it said."""
    # Molecule's scenarios prepare the same folder, by the same lock.
    alone = ["flock", f"{ROOT}/terraform/local/versions.tf"] if arguments[0] == "init" else []
    done = subprocess.run(
        [*alone, "terraform", f"-chdir={ROOT}/terraform/local", *arguments],
        env={**os.environ, "TF_WORKSPACE": NAME, "TF_VAR_delete_data": delete_data},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == code, done.stdout[-4000:]
    return done.stdout


def options(hosts: dict[str, dict[str, list[str]]]) -> list[str]:
    return ["-input=false", "-no-color", f"-var=name={NAME}", f"-var=hosts={json.dumps(hosts)}"]


def apply(hosts: dict[str, dict[str, list[str]]]) -> None:
    """Apply, and assert that a further plan is empty."""
    terraform("apply", "-auto-approve", *options(hosts))
    terraform("plan", "-detailed-exitcode", *options(hosts))


@pytest.fixture(scope="module", autouse=True)
def one_host() -> Iterator[None]:
    """A set of one host, removed at the end whatever happens."""
    # Terraform takes a workspace by its folder.
    GENERATED.parent.mkdir(exist_ok=True)
    terraform("init", "-input=false")
    try:
        apply(ONE)
        yield
    finally:
        terraform("destroy", "-auto-approve", *options(ONE), delete_data=NAME)
    assert not GENERATED.exists()
    shutil.rmtree(GENERATED.parent)


def known() -> set[str]:
    """The hosts that the operator's ssh knows."""
    lines = (GENERATED / "known_hosts").read_text(encoding="ascii").splitlines()
    return {line.split()[0].partition(",")[2] for line in lines}


def test_a_host_joins_and_leaves() -> None:
    apply(TWO)
    assert known() == {f"{NAME}-1", f"{NAME}-2"}
    config = str(GENERATED / "config")
    for host in sorted(known()):
        name = subprocess.run(
            ["ssh", "-F", config, host, "hostname"],
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        assert name.strip() == host
    terraform("apply", "-auto-approve", *options(ONE), code=1)
    terraform("apply", "-auto-approve", *options(ONE), delete_data="2")
    assert known() == {f"{NAME}-1"}


@pytest.mark.parametrize("name", ["known_hosts", "config"])
def test_a_file_that_was_lost_is_written_again(name: str) -> None:
    before = (GENERATED / name).read_text(encoding="ascii")
    (GENERATED / name).unlink()
    apply(ONE)
    assert (GENERATED / name).read_text(encoding="ascii") == before
