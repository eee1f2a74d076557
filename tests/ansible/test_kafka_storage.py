"""A broker's folder: whose data it holds, what is refused, and what a format is given."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from .modules import load

storage = load("roles/kafka/library/kafka_storage.py", "kafka_storage")

USERS = [
    {"name": "kafka", "password": "of-the-brokers-0123"},
    {"name": "admin", "password": "of-the-operator-0123"},
]
KRAFT = "version=1\nnode.id=1\ncluster.id=one\n"
ZOOKEEPER = "version=0\nbroker.id=1\ncluster.id=one\n"
# Stands for kafka-run: keeps what it was given, and does as a format does.
FORMATS = """#!/bin/bash
echo "$@" >{0}/arguments
cat "${{3#@}}" >{0}/listed
stat --format=%a "${{3#@}}" >{0}/rights
cluster=$(sed -n 's/^--cluster-id=//p' "${{3#@}}")
printf 'version=1\\nnode.id=1\\ncluster.id=%s\\n' "$cluster" >{1}/meta.properties
"""


class FailedError(Exception):
    """The module has failed with these words."""


class Module:
    """What the module gets from Ansible."""

    def __init__(self, host: Path, check_mode: bool = False, **given: Any) -> None:
        self.check_mode = check_mode
        self.params = {
            "folder": str(host / "data"),
            "mode": "kraft",
            "version": "4.4.0",
            "note": str(host / "cluster.properties"),
            "state": "seen",
            "settings": "/etc/kafka/server.properties",
            "command": str(host / "kafka-run"),
            "uid": os.getuid(),
            "users": USERS,
        } | given

    def fail_json(self, msg: str, **_: Any) -> None:
        raise FailedError(msg)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with an empty data folder, and a stand-in for Kafka's format."""
    (tmp_path / "data").mkdir()
    command = tmp_path / "kafka-run"
    command.write_text(FORMATS.format(tmp_path, tmp_path / "data"))
    command.chmod(0o755)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(storage, "SCRATCH", str(tmp_path / "scratch"))
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(host: Path, **given: Any) -> dict[str, Any]:
    result: dict[str, Any] = storage.run(Module(host, **given))
    return result


def meta(host: Path, text: str) -> None:
    (host / "data/meta.properties").write_text(text)


def note(host: Path, text: str) -> None:
    (host / "cluster.properties").write_text(text)


@pytest.mark.parametrize(("text", "mode"), [(KRAFT, "kraft"), (ZOOKEEPER, "zookeeper")])
def test_says_whose_data_they_are(host: Path, text: str, mode: str) -> None:
    meta(host, text)
    found = run(host, mode=mode)
    assert found == {"changed": False, "problem": "", "mode": mode, "id": "1", "cluster": "one"}


@pytest.mark.parametrize("mode", ["kraft", "zookeeper"])
def test_a_folder_that_is_not_there_is_nobodys(host: Path, mode: str) -> None:
    found = run(host, mode=mode, folder=str(host / "none"))
    assert (found["mode"], found["id"], found["problem"]) == ("", "", "")


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (KRAFT, "zookeeper", "a broker without ZooKeeper (kafka_mode: kraft)"),
        (ZOOKEEPER, "kraft", "a broker with ZooKeeper"),
    ],
)
@pytest.mark.parametrize("state", ["seen", "formatted"])
def test_data_of_the_other_mode_are_refused(
    host: Path, text: str, mode: str, said: str, state: str
) -> None:
    meta(host, text)
    before = names(host / "data")
    if state == "formatted" and mode == "kraft":
        with pytest.raises(FailedError, match=r"Nothing was changed\.$") as failed:
            run(host, mode=mode, state=state)
        problem = str(failed.value)
    else:
        problem = run(host, mode=mode, state=state)["problem"]
    assert f"kafka_mode is {mode}" in problem
    assert said in problem
    assert "as it was deployed" in problem
    assert names(host / "data") == before
    assert not (host / "arguments").exists()


def test_a_new_broker_is_formatted_once(host: Path) -> None:
    first = run(host, state="formatted")
    assert first["changed"]
    assert first["mode"] == "kraft"
    assert first["cluster"]
    said = (host / "cluster.properties").read_text()
    assert said == f"cluster.id={first['cluster']}\nformatted.by=4.4.0\n"
    (host / "arguments").unlink()
    second = run(host, state="formatted")
    assert not second["changed"]
    assert second["cluster"] == first["cluster"]
    assert not (host / "arguments").exists()


def test_check_mode_formats_nothing(host: Path) -> None:
    assert run(host, state="formatted", check_mode=True)["changed"]
    assert names(host / "data") == []
    assert not (host / "cluster.properties").exists()


def test_passwords_are_in_a_closed_file_and_no_argument(host: Path) -> None:
    run(host, state="formatted")
    arguments = (host / "arguments").read_text()
    assert arguments.startswith("kafka.tools.StorageTool format @")
    listed = (host / "listed").read_text().splitlines()
    assert "--standalone" in listed
    for user in USERS:
        assert user["password"] not in arguments
        assert f"SCRAM-SHA-512=[name={user['name']},password={user['password']}]" in listed
    assert (host / "rights").read_text() == "600\n"
    # Nothing of it stays.
    assert names(host / "scratch") == []


def test_a_cluster_id_is_no_option(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([bytes([0xF8] * 16), bytes([1] * 16)])
    monkeypatch.setattr(storage.uuid, "uuid4", lambda: type("It", (), {"bytes": next(numbers)}))
    cluster = run(host, state="formatted")["cluster"]
    assert len(cluster) == 22
    assert not cluster.startswith("-")


def test_a_format_that_fails_says_why_without_passwords(host: Path) -> None:
    record = "Bootstrap metadata: [UserScramCredentialRecord(storedKey=[1, 2])]"
    (host / "kafka-run").write_text(
        f'#!/bin/bash\ncat "${{3#@}}"; echo; echo "{record}"; echo no such option; exit 1\n'
    )
    with pytest.raises(FailedError, match="no such option") as failed:
        run(host, state="formatted")
    assert "name=kafka,password=***" in str(failed.value)
    assert "storedKey" not in str(failed.value)
    for user in USERS:
        assert user["password"] not in str(failed.value)
    assert not (host / "cluster.properties").exists()


def test_what_a_format_that_was_cut_off_has_left_is_no_data(host: Path) -> None:
    (host / "data/bootstrap.checkpoint").touch()
    (host / "data/__cluster_metadata-0").mkdir()
    (host / "data/__cluster_metadata-0/0.checkpoint").touch()
    (host / "data/lost+found").mkdir()
    assert run(host)["problem"] == ""
    assert run(host, state="formatted")["changed"]


@pytest.mark.parametrize("name", ["movies-0/0.log", "__cluster_metadata-0/0.log", "some/file"])
def test_data_of_nobody_are_not_formatted_over(host: Path, name: str) -> None:
    path = host / "data" / name
    path.parent.mkdir()
    path.touch()
    with pytest.raises(FailedError, match=r"is not empty \(.*no meta\.properties.*backup"):
        run(host, state="formatted")
    assert path.exists()
    assert not (host / "arguments").exists()


def test_a_folder_that_has_lost_its_data_is_no_new_one(host: Path) -> None:
    note(host, "cluster.id=one\nformatted.by=4.4.0\n")
    with pytest.raises(FailedError, match=r"is empty.*the cluster one .*Mount the disk"):
        run(host, state="formatted")
    assert names(host / "data") == []


def test_data_of_another_cluster_are_refused(host: Path) -> None:
    meta(host, KRAFT)
    note(host, "cluster.id=two\n")
    said = run(host)["problem"]
    assert "holds the data of the cluster one, and this host belongs to two" in said


@pytest.mark.parametrize(
    ("by", "version", "refused"),
    [("4.4.0", "4.1.2", True), ("4.4.0", "4.10.0", False), ("4.1.2", "4.1.2", False)],
)
def test_an_older_version_than_the_one_that_formatted_is_refused(
    host: Path, by: str, version: str, refused: bool
) -> None:
    meta(host, KRAFT)
    note(host, f"cluster.id=one\nformatted.by={by}\n")
    said = run(host, version=version)["problem"]
    assert (f"kafka_version is {version}" in said and f"Give {by}" in said) == refused


def test_data_that_came_before_the_note_are_noted(host: Path) -> None:
    meta(host, KRAFT)
    assert run(host, state="formatted")["changed"]
    assert (host / "cluster.properties").read_text() == "cluster.id=one\n"
    assert stat.S_IMODE((host / "cluster.properties").stat().st_mode) == 0o644
    assert not run(host, state="formatted")["changed"]
    assert not (host / "arguments").exists()
