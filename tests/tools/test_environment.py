"""tools/environment and the Makefile: what a name means, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hosts import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with what make needs to know an environment, and stand-ins for what it starts."""
    parts = ("Makefile", "tools/environment", "tools/knobs.py", "terraform/topologies")
    for part in (*parts, "terraform/local/versions.tf"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for program in ("ansible-playbook", "terraform", "python"):
        write_program(programs / program, f'echo {program} "$@"')
    # Its inventory is what says that there are hosts.
    hosts = '[[ " $* " != *" apply "* ]] || touch "inventories/$TF_WORKSPACE/hosts.yml"'
    write_program(programs / "terraform", f'echo terraform "$@"\n{hosts}')
    for script in ("tools/setup", "terraform/local/scripts/network.sh"):
        (tmp_path / script).parent.mkdir(parents=True, exist_ok=True)
        write_program(tmp_path / script, ":")
    return tmp_path


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/usr/bin/env bash\n{script}\n", encoding="ascii")
    path.chmod(0o755)


def make(project: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    """Run make there; return what it said."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=project,
        env=kept | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode != 0) == (code != 0), done.stdout
    return done.stdout


def input_of(project: Path, name: str) -> str:
    return (project / "inventories" / name / "environment.tfvars").read_text(encoding="utf-8")


def test_an_environment_says_what_it_is_made_of(project: Path) -> None:
    make(project, "env", "NAME=prod", "TARGET=aws", "TOPOLOGY=cluster")
    written = input_of(project, "prod")
    assert 'target = "aws"\nname   = "prod"\narch   = "arm64"\n' in written
    assert (ROOT / "terraform/topologies/cluster.tfvars").read_text() in written
    assert (project / "inventories/prod/group_vars/all/knobs.yml").exists()


@pytest.mark.parametrize("command", ["hosts", "up"])
def test_later_commands_need_the_name_alone(project: Path, command: str) -> None:
    make(project, "env", "NAME=trial", "TOPOLOGY=three")
    before = input_of(project, "trial")
    said = make(project, command, "NAME=trial")
    assert "-var-file=../../inventories/trial/environment.tfvars" in said
    assert "-chdir=terraform/local apply" in said
    assert input_of(project, "trial") == before


def test_a_rotation_is_told_what_it_changes(project: Path) -> None:
    make(project, "up", "NAME=trial")
    said = make(project, "rotate", "NAME=trial", "WHAT=passwords")
    assert "ansible-playbook ansible/rotate.yml -e rotate=passwords" in said


def test_a_support_bundle_is_told_from_when_on(project: Path) -> None:
    make(project, "up", "NAME=trial")
    said = make(project, "support", "NAME=trial")
    assert "ansible-playbook ansible/support.yml\n" in said
    said = make(project, "support", "NAME=trial", "SINCE=2 days ago")
    assert "ansible-playbook ansible/support.yml -e support_since='2 days ago'" in said


def test_a_backup_has_a_secret_of_its_own_first(project: Path) -> None:
    make(project, "up", "NAME=trial")
    said = make(project, "backup", "NAME=trial").splitlines()
    assert said.index("python tools/vault.py trial") < said.index(
        "ansible-playbook ansible/backup.yml"
    )


def test_a_restore_makes_hosts_and_is_told_which_backup(project: Path) -> None:
    make(project, "env", "NAME=trial")
    said = make(project, "restore", "NAME=trial")
    assert said.index("-chdir=terraform/local apply") < said.index("ansible/restore.yml")
    assert "ansible-playbook ansible/restore.yml -e restore_snapshot=latest" in said
    assert "ansible/site.yml" not in said
    assert "restore_snapshot=0123abcd" in make(
        project, "restore", "NAME=trial", "SNAPSHOT=0123abcd"
    )


def test_updates_are_a_playbook_which_may_be_asked_first(project: Path) -> None:
    make(project, "up", "NAME=trial")
    said = make(project, "update", "NAME=trial")
    assert re.search(r"ansible-playbook ansible/update.yml *$", said, re.MULTILINE)
    said = make(project, "update", "NAME=trial", "CHECK=1")
    assert "ansible-playbook ansible/update.yml --check" in said


def test_a_switch_of_security_is_a_playbook(project: Path) -> None:
    make(project, "up", "NAME=trial")
    said = make(project, "switch-security", "NAME=trial")
    assert "ansible-playbook ansible/switch_security.yml" in said


@pytest.mark.parametrize(
    "command",
    [
        ["deploy"],
        ["rotate", "WHAT=all"],
        ["switch-security"],
        ["client"],
        ["support"],
        ["backup"],
        ["backups"],
        ["update"],
    ],
    ids=" ".join,
)
def test_a_name_without_hosts_is_refused(project: Path, command: list[str]) -> None:
    said = make(project, *command, "NAME=trail", code=1)
    assert 'there is no environment "trail"' in said
    make(project, "env", "NAME=trial")
    assert "make up NAME=trial" in make(project, *command, "NAME=trial", code=1)
    assert "ansible-playbook" not in said


def test_a_deployment_that_fails_is_asked_whether_the_secrets_open(project: Path) -> None:
    make(project, "up", "NAME=trial")
    assert "vault.py trial check" not in make(project, "deploy", "NAME=trial")
    write_program(project / ".venv/bin/ansible-playbook", "exit 4")
    for command in (
        "deploy",
        "rotate",
        "switch-security",
        "client",
        "support",
        "backup",
        "backups",
        "restore",
    ):
        assert "python tools/vault.py trial check" in make(project, command, "NAME=trial", code=1)


@pytest.mark.parametrize("other", ["TOPOLOGY=single", "TARGET=aws", "ARCH=arm64"])
@pytest.mark.parametrize("command", ["hosts", "up"])
def test_another_shape_of_the_same_name_is_refused(project: Path, command: str, other: str) -> None:
    make(project, "env", "NAME=trial", "TOPOLOGY=three")
    said = make(project, command, "NAME=trial", other, code=1)
    assert f'{other} is given, and the environment "trial" has the' in said
    assert "terraform" not in said.splitlines()


def test_what_a_person_has_written_beside_the_input_counts_for_nothing(project: Path) -> None:
    make(project, "env", "NAME=trial", "TARGET=aws", "TOPOLOGY=three")
    path = project / "inventories/trial/environment.tfvars"
    edited = path.read_text().replace('target = "aws"', 'target\t= "aws" # not "local"')
    path.write_text(edited.replace('arch   = "arm64"', 'arch = "arm64" # Graviton'))
    write_program(project / "tools/providers", ":")
    said = make(project, "hosts", "NAME=trial", "TARGET=aws", "TOPOLOGY=three", "ARCH=arm64")
    assert "-chdir=terraform/aws apply" in said


def test_a_plain_up_is_the_environment_local(project: Path) -> None:
    make(project, "up")
    assert 'name   = "local"' in input_of(project, "local")
    assert "# topology: single" in input_of(project, "local")


def test_the_callers_own_variables_name_nothing(project: Path) -> None:
    make(project, "up", NAME="DESKTOP-1", TARGET="aws", ARCH="mips", RUN_ID="7")
    assert 'target = "local"' in input_of(project, "local")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["env", "NAME=Prod"], 'NAME is "Prod"; it must start with a letter'),
        (["env", "NAME=pipeline"], 'NAME is "pipeline", which no environment can have'),
        (["env", "NAME=x", "TARGET=gcp"], 'TARGET is "gcp"; it must be local, libvirt or aws'),
        (["env", "NAME=x", "TOPOLOGY=two"], 'TOPOLOGY is "two"; it must be one of'),
        (["env", "NAME=x", "ARCH=mips"], 'ARCH is "mips"; it must be'),
        (["hosts", "NAME=x"], 'there is no environment "x"'),
        (["down", "NAME=x"], 'there is no environment "x"'),
    ],
)
def test_what_cannot_be_is_refused(project: Path, arguments: list[str], told: str) -> None:
    assert told in make(project, *arguments, code=1)
    assert not (project / "inventories/x").exists()


def test_an_environment_is_not_made_twice(project: Path) -> None:
    make(project, "env", "NAME=trial", "TOPOLOGY=three")
    assert "is there already" in make(project, "env", "NAME=trial", code=1)
    assert "# topology: three" in input_of(project, "trial")


def test_hosts_of_ones_own_are_deployed_to_and_not_made(project: Path) -> None:
    own = project / "inventories/own"
    own.mkdir(parents=True)
    (own / "hosts.yml").write_text("all: {}\n", encoding="ascii")
    for command in ("up", "env"):
        said = make(project, command, "NAME=own", code=1)
        assert "are none of Terraform's: make deploy NAME=own" in said
    assert "ansible-playbook ansible/site.yml" in make(project, "deploy", "NAME=own")
    assert [it.name for it in own.iterdir()] == ["hosts.yml"]


@pytest.mark.parametrize(
    "state", ["terraform.tfstate", "terraform.tfstate.d/second/terraform.tfstate"]
)
def test_the_state_of_an_earlier_version_is_not_passed_over(project: Path, state: str) -> None:
    path = project / "terraform/local" / state
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"resources": [{"mode": "managed"}]}', encoding="ascii")
    assert "an earlier version made" in make(project, "up", code=1)


def test_down_asks_for_the_name(project: Path) -> None:
    make(project, "env", "NAME=trial")
    data = project / "inventories/trial/.data"
    data.mkdir()
    (data / "1").write_text('{"host":"1","place":"/x","what":"the disk of host trial-1"}\n')
    for wrong in ([], ["CONFIRM=yes"], ["CONFIRM=local"]):
        said = make(project, "down", "NAME=trial", *wrong, code=1)
        assert "the disk of host trial-1" in said
        assert "CONFIRM=trial" in said
        assert "destroy" not in said
    said = make(project, "down", "NAME=trial", code=1, CONFIRM="trial", DELETE_DATA="trial")
    assert "destroy" not in said
    assert "destroy" in make(project, "down", "NAME=trial", "CONFIRM=trial")


@pytest.mark.parametrize("command", [["hosts"], ["up"], ["down", "CONFIRM=trial"]], ids=" ".join)
def test_a_state_that_was_cut_off_is_not_taken_for_none(project: Path, command: list[str]) -> None:
    make(project, "env", "NAME=trial")
    state = project / "inventories/trial/terraform.tfstate"
    backup = state.with_name("terraform.tfstate.backup")
    backup.write_text("{}\n", encoding="ascii")
    state.touch()
    said = make(project, *command, "NAME=trial", code=1)
    assert f"cp inventories/trial/{backup.name} inventories/trial/{state.name}" in said
    assert "terraform -chdir" not in said
    shutil.copy(backup, state)
    assert "terraform -chdir" in make(project, *command, "NAME=trial")
    # Nor is one that is about to be written for the first time refused.
    state.write_bytes(b"")
    backup.unlink()
    assert "terraform -chdir" in make(project, *command, "NAME=trial")


@pytest.mark.parametrize(
    "value",
    [
        "https://example.org/title.basics.tsv.gz?a=1&b=2",
        "file:///a path/$HOME/$(id)/`id`/100%/it's",
        'a "quoted" \\ one; # and $$',
    ],
)
def test_a_knob_reaches_ansible_as_it_was_typed(project: Path, value: str) -> None:
    make(project, "up", "NAME=trial")
    said = make(project, "deploy", "NAME=trial", f"BASICS={value}", "MSGS_PER_SEC=0")
    _, _, given = said.strip().partition(" -e ")
    assert json.loads(given) == {"producer_basics": value, "producer_msgs_per_sec": "0"}
