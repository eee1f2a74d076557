"""The playbooks run from any folder; without ansible.cfg they are slower, and say so."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = {path.name: path.read_text() for path in sorted(ROOT.glob("ansible/*.yml"))}
GROUPS = ("zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer")
# All that could hold for an inventory of someone's own: by password, Kerberos or hardware key.
RESTRICTIONS = (
    "authentication",
    "batchmode",
    "identit",
    "-i ",
    "-f ",
    "private_key",
    "remote_user",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout that everybody may write to."""
    folder = tmp_path_factory.mktemp("open") / "checkout"
    folder.mkdir()
    for name in ("ansible", "roles", "inventories/pipeline"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    shutil.copy(ROOT / "ansible.cfg", folder / "ansible.cfg")
    folder.chmod(0o777)
    # Not one that Ansible finds by itself, which may be a shim of a version manager.
    host = f"{{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}"
    hosts = "".join(f"{group}: {{hosts: {{localhost: {host}}}}}\n" for group in GROUPS)
    (folder / "hosts.yml").write_text(hosts)
    return folder


def play(*arguments: str | Path, folder: Path, **environment: str) -> str:
    """Run ansible-playbook without settings but those given, and return all it says."""
    given = {key: it for key, it in os.environ.items() if not key.startswith("ANSIBLE_")}
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), *arguments],
        cwd=folder,
        env=given | {"ANSIBLE_NOCOLOR": "1"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return f"{done.stdout}{done.stderr}\nstatus {done.returncode}"


def importing(name: str) -> set[str]:
    """The playbooks that import one, and those that import these."""
    direct = {it for it, text in PLAYBOOKS.items() if f"import_playbook: {name}\n" in text}
    return direct.union(*map(importing, direct))


# Here one place is enough, there the other: each run takes seconds.
@pytest.mark.parametrize(
    "where", ["/", pytest.param("a folder that everybody may write to", marks=pytest.mark.slow)]
)
def test_every_playbook_finds_its_roles_and_modules(copy: Path, where: str) -> None:
    inventories = ("-i", copy / "inventories/pipeline/hosts.yml", "-i", copy / "hosts.yml")
    folder = Path(where) if where == "/" else copy

    def read(names: set[str]) -> None:
        # A role or a module that is not found ends this, as each task is read.
        files = [copy / "ansible" / name for name in sorted(names)]
        said = play("--list-tasks", *inventories, *files, folder=folder)
        assert said.endswith("status 0"), said
        assert said.count("playbook: ") == len(files)

    deploying = importing("site.yml")
    assert len(deploying) > 4
    read(PLAYBOOKS.keys() - deploying)
    # What they import has been read; ten times it would take as long as all else.
    site = copy / "ansible/site.yml"
    site.write_text("- hosts: kafka\n  gather_facts: false\n  tasks: []\n")
    try:
        read(deploying)
    finally:
        site.write_text(PLAYBOOKS["site.yml"])


@pytest.mark.parametrize(
    "where", [pytest.param("elsewhere", marks=pytest.mark.slow), "open", "named"]
)
def test_settings_that_are_not_in_use_are_told(copy: Path, where: str) -> None:
    # What tells it, and the next check, which ends the run.
    (check,) = yaml.safe_load(PLAYBOOKS["check.yml"])
    playbook = copy / "ansible/check_settings.yml"
    playbook.write_text(yaml.safe_dump([check | {"tasks": check["tasks"][:2]}]))
    said = play(
        *("-i", copy / "inventories/pipeline/hosts.yml", "-i", copy / "hosts.yml"),
        *("-e", "pipeline_security=ture", "-e", "ansible_become=false"),
        playbook,
        folder=copy if where == "open" else Path("/"),
        **({"ANSIBLE_CONFIG": str(copy / "ansible.cfg")} if where == "named" else {}),
    )
    assert "failed=1" in said
    assert "pipeline_security is 'ture'" in said
    told = f"to have it in use anywhere: export ANSIBLE_CONFIG={copy}/ansible.cfg"
    assert (told in " ".join(said.split())) == (where != "named"), said


def test_the_strategy_is_found_from_anywhere(copy: Path) -> None:
    playbook = copy / "ansible/strategy.yml"
    playbook.write_text(
        "- hosts: localhost\n  gather_facts: false\n  strategy: pipeline_linear\n"
        "  tasks: [{ansible.builtin.debug: {msg: it runs}}]\n"
    )
    assert "it runs" in play(playbook, folder=Path("/"))


def test_no_way_to_log_in_is_ruled_out() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "ansible.cfg")
    values = [
        f"{key} = {it}".lower() for section in settings.values() for key, it in section.items()
    ]
    assert len(values) > 10
    assert [it for it in values if any(word in it for word in RESTRICTIONS)] == []
