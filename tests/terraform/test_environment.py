"""An environment's data, when somebody slips: with hosts of terraform/local."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .inventories import ROOT

NAME = "slip"
TWO: dict[str, dict[str, list[str]]] = {"1": {"groups": []}, "2": {"groups": []}}
ONE = {"1": TWO["1"]}


class Checkout:
    """A copy of terraform/, and what its hosts keep."""

    def __init__(self, folder: Path, state: Path) -> None:
        """Take a folder that has terraform/, and one for the hosts' disks."""
        self.folder = folder
        self.state = state
        self.environment = folder / "inventories" / NAME

    def terraform(
        self,
        command: str,
        *arguments: str,
        hosts: dict[str, dict[str, list[str]]] = TWO,
        delete_data: str = "",
        workspace: str = NAME,
    ) -> tuple[int, str]:
        """Run terraform; return its exit code and what it said, as one line: Terraform wraps it."""
        options = [f"-var=name={NAME}", f"-var=hosts={json.dumps(hosts)}"]
        options.append(f"-var=state_dir={self.state}")
        done = subprocess.run(
            [
                "terraform",
                f"-chdir={self.folder}/terraform/local",
                command,
                *("-input=false", "-no-color"),
                *([] if command == "init" else options),
                *(["-auto-approve"] if command in {"apply", "destroy"} else []),
                *arguments,
            ],
            env={**os.environ, "TF_WORKSPACE": workspace, "TF_VAR_delete_data": delete_data},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, " ".join(done.stdout.split())

    def tables(self) -> Path:
        """Return the file that stands for the tables."""
        (folder,) = self.state.glob("*/output")
        return folder / "silver.parquet"

    def is_whole(self) -> None:
        """Assert that the hosts run, their data is there, and a further plan is empty."""
        assert self.tables().read_text(encoding="ascii") == "rows"
        assert len(list(self.state.glob("*/hosts/*/disk/upper/data"))) == len(TWO)
        code, said = self.terraform("plan", "-detailed-exitcode")
        assert code == 0, said


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Two hosts with data on them."""
    # Its path is no simple one.
    folder = tmp_path_factory.mktemp("a 100% new") / "it's"
    shutil.copytree(
        ROOT / "terraform",
        folder / "terraform",
        symlinks=True,
        ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"),
    )
    (folder / "inventories").mkdir()
    made = Checkout(folder, tmp_path_factory.mktemp("state"))
    made.terraform("init")
    try:
        code, said = made.terraform("apply")
        assert code == 0, said
        made.tables().write_text("rows", encoding="ascii")
        for disk in made.state.glob("*/hosts/*/disk/upper"):
            (disk / "data").touch()
        yield made
    finally:
        code, said = made.terraform("destroy", delete_data=NAME)
        assert code == 0, said
    assert list(made.state.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "arguments", "hosts", "named"),
    [
        pytest.param("apply", [], ONE, ["host slip-2"], id="fewer hosts"),
        pytest.param(
            "apply", [], {"3": TWO["1"]}, ["host slip-1", "host slip-2"], id="other hosts"
        ),
        pytest.param(
            "apply", ['-replace=terraform_data.disk["1"]'], TWO, ["host slip-1"], id="replaced"
        ),
        pytest.param(
            "apply", ["-replace=terraform_data.output"], TWO, ["the tables"], id="tables replaced"
        ),
        pytest.param(
            "apply", ["-var=state_dir=/var/lib/imdb-elsewhere"], TWO, ["host slip-1"], id="moved"
        ),
        pytest.param(
            "destroy", [], TWO, ["host slip-1", "host slip-2", "the tables"], id="destroy"
        ),
        pytest.param(
            "destroy", ['-target=terraform_data.disk["2"]'], TWO, ["host slip-2"], id="target"
        ),
    ],
)
def test_no_data_goes_unasked(
    checkout: Checkout,
    command: str,
    arguments: list[str],
    hosts: dict[str, dict[str, list[str]]],
    named: list[str],
) -> None:
    code, said = checkout.terraform(command, *arguments, hosts=hosts)
    assert code == 1
    assert f"would delete data of the environment {NAME}" in said
    for what in named:
        assert what in said
    assert "TF_VAR_delete_data" in said
    repaired, said = checkout.terraform("apply")
    assert repaired == 0, said
    checkout.is_whole()


def test_another_hosts_name_allows_nothing(checkout: Checkout) -> None:
    code, said = checkout.terraform("apply", hosts=ONE, delete_data="1")
    assert code == 1, said
    assert "the disk of host slip-2" in said
    checkout.is_whole()


@pytest.mark.parametrize("workspace", ["default", "another"])
def test_in_another_workspace_only_that_is_said(checkout: Checkout, workspace: str) -> None:
    code, said = checkout.terraform("plan", workspace=workspace)
    assert code == 1
    assert f'name is "{NAME}" but the Terraform workspace is "{workspace}"' in said
    assert ("inventories/another/environment.tfvars" in said) == (workspace == "another")
    # All is there, and nobody is to be led to let it go.
    for word in ("would delete data", "delete_data", "is not there any more"):
        assert word not in said


def test_another_id_is_not_passed_over(checkout: Checkout) -> None:
    (there,) = checkout.state.iterdir()
    code, said = checkout.terraform("plan", "-var=id=0123abcd")
    assert code == 1
    assert "The id 0123abcd is asked for" in said
    assert f"with the id {there.name}" in said
    code, said = checkout.terraform("plan", "-detailed-exitcode", f"-var=id={there.name}")
    assert code == 0, said


def test_an_input_of_another_target_is_refused(checkout: Checkout) -> None:
    code, said = checkout.terraform("apply", "-var=target=aws")
    assert code == 1
    assert "is made by the target aws, and this is local" in said


def test_a_checkout_that_was_moved_goes_on(checkout: Checkout) -> None:
    old = checkout.folder
    new = old.with_name("moved")
    old.rename(new)
    moved = Checkout(new, checkout.state)
    code, said = moved.terraform("apply")
    assert code == 0, said
    moved.is_whole()
    done = subprocess.run(
        ["ssh", "-F", moved.environment / ".ssh/config", "slip-1", "hostname"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "slip-1", done.stderr
    new.rename(old)
    code, said = checkout.terraform("apply")
    assert code == 0, said
    checkout.is_whole()


def test_ssh_takes_a_path_that_is_no_simple_one(checkout: Checkout) -> None:
    done = subprocess.run(
        ["ssh", "-F", checkout.environment / ".ssh/config", "slip-2", "hostname"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "slip-2", done.stderr
    done = subprocess.run(
        ["ansible", "-i", checkout.environment / "hosts.yml", "slip-1", "-m", "ping"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_a_copied_checkout_is_refused(checkout: Checkout, command: str, tmp_path: Path) -> None:
    copy = Checkout(tmp_path / "other", checkout.state)
    shutil.copytree(checkout.folder, copy.folder, symlinks=True)
    code, said = copy.terraform(command, delete_data=NAME)
    assert code == 1
    assert f"is a copy of {checkout.environment}, " in said
    assert "the hosts belong to that. Go on there" in said
    checkout.is_whole()


def test_lost_state_leaves_data_that_is_taken_up_again(checkout: Checkout) -> None:
    known = json.loads((checkout.environment / ".identity").read_text(encoding="ascii"))["id"]
    kept = checkout.environment.with_name("kept")
    checkout.environment.rename(kept)
    code, said = checkout.terraform("apply")
    assert code == 1
    assert f"To take them up again: TF_VAR_id={known} make hosts NAME={NAME}" in said
    # The hosts run on meanwhile, and are started anew from their disks.
    code, said = checkout.terraform("apply", f"-var=id={known}")
    assert code == 0, said
    checkout.is_whole()


def test_another_checkout_in_the_place_of_one_that_was_moved(checkout: Checkout) -> None:
    old = checkout.folder
    moved = Checkout(old.with_name("moved"), checkout.state)
    old.rename(moved.folder)
    left = shutil.ignore_patterns("inventories")
    shutil.copytree(moved.folder, old, symlinks=True, ignore=left)
    try:
        checkout.environment.mkdir(parents=True)
        code, said = checkout.terraform("apply")
        assert code == 1
        assert f"Was that folder moved? Run make hosts NAME={NAME} where it is" in said
        code, said = moved.terraform("apply")
        assert code == 0, said
        moved.is_whole()
        # It is an environment of its own, with hosts that are still to be made.
        code, said = checkout.terraform("plan", "-detailed-exitcode")
        assert code == 2, said
    finally:
        shutil.rmtree(old)
        moved.folder.rename(old)
    code, said = checkout.terraform("apply")
    assert code == 0, said
    checkout.is_whole()


def test_a_disk_that_is_gone_is_missed(checkout: Checkout) -> None:
    """As where the checkout came from another machine: files here alone tell of the hosts."""
    (disk,) = checkout.state.glob("*/hosts/1")
    away = disk.with_name("away")
    disk.rename(away)
    try:
        code, said = checkout.terraform("apply")
        assert code == 1, said
        assert f"The environment {NAME} has data that is not there on this machine" in said
        assert "the disk of host slip-1" in said
        assert "the disk of host slip-2" not in said
        assert f"make down NAME={NAME} CONFIRM={NAME}" in said
    finally:
        away.rename(disk)
    checkout.is_whole()


def test_a_host_without_its_image_is_started_anew(checkout: Checkout) -> None:
    """As where somebody has emptied the cache of images under hosts that run."""
    (noted,) = checkout.state.glob("*/hosts/1/image")
    before = noted.read_text(encoding="utf-8")
    noted.write_text("/nowhere\n", encoding="ascii")
    code, said = checkout.terraform("plan", "-detailed-exitcode")
    noted.write_text(before, encoding="utf-8")
    assert code == 2, said
    assert 'terraform_data.machine["1"] must be replaced' in said
    assert 'terraform_data.machine["2"] must be replaced' not in said
    assert 'terraform_data.disk["1"] must be' not in said
    checkout.is_whole()


def test_a_state_that_was_cut_off_is_not_taken_for_none(checkout: Checkout) -> None:
    """As a Terraform leaves it that is killed while it writes the state."""
    state = checkout.environment / "terraform.tfstate"
    backup = state.with_name("terraform.tfstate.backup")
    whole = state.read_bytes()
    backup.write_bytes(whole)
    state.write_bytes(b"")
    code, said = checkout.terraform("apply")
    assert code == 1
    assert "terraform.tfstate is empty: Terraform was killed" in said
    assert backup.read_bytes() == whole
    shutil.copy(backup, state)
    checkout.is_whole()


def test_a_link_to_the_checkout_is_no_copy(checkout: Checkout, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(checkout.folder)
    seen = Checkout(link, checkout.state)
    code, said = seen.terraform("plan", "-detailed-exitcode")
    assert code == 0, said


def test_disks_that_are_left_tell_whose_they_are(checkout: Checkout) -> None:
    """The last of all: what a removal leaves that fails in its middle, or is cut off."""
    (disk,) = checkout.state.glob("*/hosts/2")
    (disk / "busy").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk / "busy"], check=True)
    try:
        code, said = checkout.terraform("destroy", delete_data=NAME)
        assert code == 1
        assert "terraform_data.disk" in said
    finally:
        subprocess.run(["umount", disk / "busy"], check=True)
    (noted,) = checkout.state.glob("*/environment")
    assert noted.read_text(encoding="ascii").strip() == str(checkout.environment)
