"""Which hosts restart, and in which order, where one run of a playbook deploys several times."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ["core-1", "core-2", "core-3"]
#: In place of the looks and restarts of role gates, which need services; it is told who leads.
GATES = {
    "defaults/main.yml": {
        "gates_job_hosts": [],
        "gates_timeout_before": 1,
        "gates_timeout_after": 1,
    },
    "tasks/main.yml": [
        {
            "ansible.builtin.shell": "echo look >>{{ log }}",
            "run_once": True,
        },
        {
            "ansible.builtin.set_fact": {
                "gates_core": {"leader": "{{ leader }}", "controller": "{{ controller }}"},
                "gates_spark": {},
            }
        },
    ],
    "tasks/restart.yml": [
        {"ansible.builtin.shell": "echo {{ gates_unit }} {{ inventory_hostname }} >>{{ log }}"}
    ],
}
#: A deployment after which units on some hosts are stale: `stale` has the hosts by unit.
DEPLOYMENT = [
    {
        "hosts": "zookeeper:kafka",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.include_role": {"name": "service", "tasks_from": "act"},
                "vars": {
                    "service_name": "{{ unit }}",
                    "service_postpone_restart": True,
                    "__service_state": {"stdout": "stale"},
                },
                "loop": ["zookeeper", "kafka"],
                "loop_control": {"loop_var": "unit"},
                "when": "inventory_hostname in stale[unit] | default([])",
            }
        ],
    },
    {"ansible.builtin.import_playbook": "rolling_core.yml"},
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The playbooks beside a role gates that writes down what it is asked for."""
    shutil.copytree(ROOT / "ansible", tmp_path / "ansible", ignore=shutil.ignore_patterns("roles"))
    shutil.copytree(ROOT / "roles/service", tmp_path / "ansible/roles/service")
    for name, content in GATES.items():
        write(tmp_path / "ansible/roles/gates" / name, content)
    write(tmp_path / "ansible/deployment.yml", DEPLOYMENT)
    shutil.copy(ROOT / "inventories/pipeline/hosts.yml", tmp_path / "groups.yml")
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {name: local | {"pipeline_parts": "{{ group_names }}"} for name in HOSTS}
    members: dict[str, Any] = {name: {} for name in HOSTS}
    children = {name: {"hosts": members} for name in ("zookeeper", "kafka")}
    write(tmp_path / "hosts.yml", {"all": {"hosts": hosts, "children": children}})
    return tmp_path


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def play(project: Path, plays: list[dict[str, Any]], **variables: Any) -> list[str]:
    """Run a playbook of these; return the looks and restarts, in their order."""
    write(project / "ansible/trial.yml", plays)
    log = project / "log"
    log.touch()
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("-i", project / "groups.yml", "-i", project / "hosts.yml"),
            *("-e", json.dumps({"log": str(log), "ansible_become": False} | variables)),
            project / "ansible/trial.yml",
        ],
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout, done.stdout
    return log.read_text().splitlines()


def deployment(leader: str, controller: str, **stale: list[str]) -> dict[str, Any]:
    """A deployment after which these units on these hosts are stale."""
    return {
        "ansible.builtin.import_playbook": "deployment.yml",
        "vars": {"leader": leader, "controller": controller, "stale": stale},
    }


def test_a_later_deployment_restarts_what_it_has_changed_alone(project: Path) -> None:
    said = play(
        project,
        [
            # Nothing is stale at first, and so nobody looks.
            deployment("core-1", "core-1"),
            deployment("core-1", "core-2", zookeeper=HOSTS, kafka=HOSTS),
            deployment("core-3", "core-1", kafka=["core-1", "core-2"]),
            deployment("core-3", "core-2"),
        ],
    )
    assert said == [
        "look",
        *("zookeeper core-2", "zookeeper core-3", "zookeeper core-1"),
        *("kafka core-1", "kafka core-3", "kafka core-2"),
        # Nothing of ZooKeeper's is stale; the controller, another one by now, comes last.
        "look",
        *("kafka core-2", "kafka core-1"),
        # Nothing is stale again.
    ]


def test_a_roll_restarts_what_is_asked_for_once(project: Path) -> None:
    plays = [{"ansible.builtin.import_playbook": "roll.yml"}]
    said = play(project, plays, leader="core-3", controller="core-2", roll_units=["kafka"])
    assert said == ["look", "kafka core-1", "kafka core-3", "kafka core-2"]
