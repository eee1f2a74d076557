"""The way from the clear to secured and back: which phases are left, and that neighbours get on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from hosts import ROOT

from ..variables import HostVariables
from .modules import load
from .test_environments import SECRETS, SHARED, variables_of

phases = load("ansible/filter_plugins/phases.py", "phases")

#: In a rolling restart hosts of two phases run side by side, in either direction.
NEIGHBOURS = list(pairwise(phases.PHASES))
each_pair = pytest.mark.parametrize(("one", "other"), NEIGHBOURS)


def under_way(phase: str, towards: str) -> dict[str, str]:
    return {"phase": phase, "towards": towards}


@pytest.mark.parametrize(
    ("wanted", "deployed", "switch", "left"),
    [
        ("secured", "open", {}, ["both", "inside", "secured"]),
        ("open", "secured", {}, ["inside", "both", "open"]),
        ("secured", "secured", {}, []),
        ("open", "open", {}, []),
        # Cut off, each goes on where it was: half of the hosts may have that phase.
        ("secured", "secured", under_way("both", "secured"), ["both", "inside", "secured"]),
        ("secured", "secured", under_way("secured", "secured"), ["secured"]),
        ("open", "secured", under_way("both", "open"), ["both", "open"]),
        ("open", "open", under_way("open", "open"), ["open"]),
        # With the other value of pipeline_security it goes back.
        ("open", "secured", under_way("inside", "secured"), ["both", "open"]),
        ("open", "open", under_way("both", "secured"), ["open"]),
        ("secured", "secured", under_way("inside", "open"), ["secured"]),
        ("secured", "open", under_way("open", "open"), ["both", "inside", "secured"]),
    ],
)
def test_what_is_left_of_the_way(
    wanted: str, deployed: str, switch: dict[str, str], left: list[str]
) -> None:
    assert phases.phases_left(wanted, deployed, switch) == left


def test_a_phase_that_is_none_is_told() -> None:
    with pytest.raises(AnsibleFilterError, match=r"'half', which is none of open.*your backup"):
        phases.phases_left("secured", "open", under_way("half", "secured"))


def variables_in(folder: Path, phase: str, towards: str = "secured") -> HostVariables:
    """A host's variables while a phase is deployed."""
    switch = {"pipeline_switch": under_way(phase, towards)}
    secured = {"pipeline_security": towards == "secured"}
    return variables_of(folder / f"{phase}-{towards}", SECRETS | secured | switch)


def ports_of(addresses: str) -> set[int]:
    """The ports in host:port[,host:port...]."""
    return {int(address.rpartition(":")[2]) for address in addresses.split(",")}


def opened(found: HostVariables, service: str) -> set[int]:
    """The ports for clients that ZooKeeper's servers, or brokers, open."""
    plain = found["zookeeper_client_port"] if service == "zookeeper" else found["kafka_port"]
    secure = "zookeeper_secure_client_port" if service == "zookeeper" else "kafka_secure_port"
    ports = {plain} if found[f"{service}_plaintext"] else set()
    return ports | ({found[secure]} if found[f"{service}_certificate"] else set())


@pytest.mark.parametrize("phase", ["open", "secured"])
def test_without_a_switch_the_phase_is_what_pipeline_security_says(
    tmp_path: Path, phase: str
) -> None:
    found = variables_of(tmp_path, SECRETS | {"pipeline_security": phase == "secured"})
    assert found["pipeline_phase"] == phase
    assert found["pipeline_clients_change"] is False
    for service in ("zookeeper", "kafka"):
        assert len(opened(found, service)) == 1
    assert found["zookeeper_quorum_port_unification"] is False


@each_pair
def test_neighbours_reach_each_other(tmp_path: Path, one: str, other: str) -> None:
    for phase, neighbour in ((one, other), (other, one)):
        found, beside = variables_in(tmp_path / "a", phase), variables_in(tmp_path / "b", neighbour)
        assert ports_of(found["kafka_zookeeper_connect"]) <= opened(beside, "zookeeper")
        assert ports_of(found["kafka_topic_bootstrap_servers"]) <= opened(beside, "kafka")
        name = "kafka_port" if found["kafka_inter_broker_plaintext"] else "kafka_secure_port"
        assert found[name] in opened(beside, "kafka")
        # Servers of the ensemble speak in one way, and are answered in that or in both.
        speaks, hears = found["zookeeper_quorum_tls"], beside["zookeeper_quorum_tls"]
        assert speaks == hears or beside["zookeeper_quorum_port_unification"]


def test_health_checks_ask_by_what_both_sides_of_a_phase_have(tmp_path: Path) -> None:
    for phase in phases.PHASES:
        found = variables_in(tmp_path, phase)
        by_tls = found["pipeline_secured_clients"]
        assert bool(found["gates_zookeeper_certificate"]) == by_tls
        assert bool(found["gates_kafka_security"]) == by_tls
        (server,) = found["gates_zookeeper"]
        assert ports_of(server["address"]) == ports_of(found["kafka_zookeeper_connect"])
        (broker,) = found["gates_kafka"]
        assert ports_of(broker["address"]) == ports_of(found["kafka_topic_bootstrap_servers"])


@each_pair
def test_nodes_are_closed_only_when_all_brokers_may_change_them(
    tmp_path: Path, one: str, other: str
) -> None:
    found, beside = variables_in(tmp_path, one), variables_in(tmp_path, other)
    if found["kafka_zookeeper_set_acl"] or beside["kafka_zookeeper_set_acl"]:
        assert found["kafka_zookeeper_tls"]
        assert beside["kafka_zookeeper_tls"]


def test_nodes_of_others_are_for_subjects_that_are_known(tmp_path: Path) -> None:
    defaults = {
        "standby_root": "/trial/elections",
        "spark_master_recovery_znode": "/spark",
        "spark_version": "1.2",
    }
    given = SECRETS | defaults | {"pipeline_security": True}

    def owners(folder: str, more: dict[str, Any]) -> dict[str, list[str]]:
        found = variables_of(tmp_path / folder, given | more)
        return {it["path"]: it["owners"] for it in found["kafka_zookeeper_others"]}

    shell, producer = "CN=zookeeper", "CN=imdb-producer"
    masters = [shell, "CN=spark"]
    assert owners("made", {}) == {
        "/trial/elections": [shell, "CN=imdb-streaming", producer],
        "/imdb-pipeline/imdb-producer-progress": [shell, producer],
        "/spark": masters,
        "/spark/1.2": masters,
        "/spark/1.2/leader_election": masters,
        "/spark/1.2/master_status": masters,
    }
    assert not any(owners("ready", {"certificates_ready": "/somewhere"}).values())


@pytest.mark.parametrize("towards", ["secured", "open"])
def test_spark_restarts_as_a_whole_once_on_each_way(tmp_path: Path, towards: str) -> None:
    way = phases.phases_left(towards, "open" if towards == "secured" else "secured", {})
    together, secrets = [], []
    for phase in way:
        found = variables_in(tmp_path, phase, towards)
        together.append(found["pipeline_spark_together"])
        secrets.append(bool(found["spark_secret"]))
    assert together.count(True) == 1
    # With the phase in which its secret comes or goes.
    before = towards == "open"
    changes = [now != then for then, now in pairwise([before, *secrets])]
    assert together == changes


def test_a_login_of_clients_is_never_made_in_the_clear(tmp_path: Path) -> None:
    for phase in phases.PHASES:
        found = variables_in(tmp_path, phase)
        if found["kafka_topic_users"]:
            assert found["kafka_topic_security"]["security_protocol"] == "SASL_SSL"


@pytest.mark.parametrize(
    ("phase", "kinds"),
    [("open", {False}), ("both", {True, False}), ("inside", {True, False}), ("secured", {True})],
)
def test_both_kinds_of_flows_hold_on_the_way(tmp_path: Path, phase: str, kinds: set[bool]) -> None:
    found = variables_in(tmp_path, phase)["pipeline_flows_here"]
    assert {flow["secured"] for flow in found if "secured" in flow} == kinds
    assert any("secured" not in flow for flow in found)


@pytest.fixture(scope="module")
def playbooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The playbooks, with steps that fail: a deployment in each takes seconds to be read."""
    folder = tmp_path_factory.mktemp("playbooks")
    shutil.copytree(ROOT / "ansible", folder / "ansible", symlinks=True)
    (folder / "roles").symlink_to(ROOT / "roles")
    step = [{"hosts": "all", "tasks": [{"ansible.builtin.fail": {"msg": "a step has begun"}}]}]
    for name in ("switch_security_step.yml", "rotate_step.yml"):
        (folder / "ansible" / name).write_text(yaml.safe_dump(step), encoding="utf-8")
    return folder / "ansible"


@pytest.mark.parametrize(
    ("playbook", "given", "told"),
    [
        ("switch_security.yml", {"pipeline_security": True}, "Nothing is deployed yet"),
        (
            "switch_security.yml",
            {"pipeline_rotation": {"kind": "ca", "left": ["ca-sign"]}},
            "A rotation of 'ca' was begun and has not ended",
        ),
        (
            "check.yml",
            {"pipeline_switch": under_way("inside", "secured")},
            "is on its way to secured, and nothing is deployed. Delete that file",
        ),
        (
            "rotate.yml",
            {"pipeline_security": True, "pipeline_switch": under_way("inside", "open")},
            "A switch to open was begun and has not ended",
        ),
    ],
    ids=["nothing deployed", "rotation", "new hosts", "switch"],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, playbooks: Path, playbook: str, given: dict[str, Any], told: str
) -> None:
    groups = ("zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer")
    hosts = {"localhost": {"ansible_connection": "local"}}
    inventory = {group: {"hosts": hosts} for group in groups}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    here = {"ansible_python_interpreter": sys.executable, "ansible_become": False}
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("-i", SHARED, "-i", tmp_path / "hosts.yml", "-e", json.dumps(given | here)),
            playbooks / playbook,
        ],
        cwd=tmp_path,
        env={name: it for name, it in os.environ.items() if not name.startswith("ANSIBLE_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert told in " ".join(done.stdout.split()), done.stdout + done.stderr
    assert "a step has begun" not in done.stdout
