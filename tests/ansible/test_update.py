"""Updates host by host: in which order, what is restarted, and where a run stops."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .test_rolling import HOSTS, ROOT, write

#: In place of the looks and restarts of role gates, which need services; it is told who leads,
#: and what is not healthy.
GATES: dict[str, Any] = {
    "defaults/main.yml": {
        "gates_job_hosts": [],
        "gates_timeout_before": 1,
        "gates_timeout_after": 1,
        "gates_doing": "",
    },
    "tasks/main.yml": [
        {"ansible.builtin.shell": "echo {{ gates_doing }} >>{{ log }}", "run_once": True},
        {
            "ansible.builtin.fail": {"msg": "{{ gates_doing }}: not all is well"},
            "when": "gates_doing == unhealthy",
            "run_once": True,
        },
        {
            "ansible.builtin.set_fact": {
                "gates_core": {"leader": "core-2", "controller": "core-1"},
                "gates_spark": {"master": "core-2"},
                "gates_job": {"job": "core-1"},
            }
        },
    ],
    "tasks/restart.yml": [
        {"ansible.builtin.shell": "echo {{ gates_unit }} {{ inventory_hostname }} >>{{ log }}"}
    ],
}
#: In place of apt and the host's processes; `due` and `stale` say what there is on each host.
UPDATES: dict[str, Any] = {
    "tasks/preflight.yml": [],
    "tasks/see.yml": [
        {
            "ansible.builtin.set_fact": {
                "updates_found": {
                    "steps": "{{ due[inventory_hostname] | default([]) }}",
                    "left": ["held-one (held)"],
                }
            }
        }
    ],
    "tasks/take.yml": [
        {"ansible.builtin.shell": "echo update {{ inventory_hostname }} >>{{ log }}"},
        {
            "ansible.builtin.set_fact": {
                "updates_taken": {
                    "reboot": "{{ 'a kernel' if inventory_hostname == 'core-1' else '' }}",
                    "stale": ["zookeeper", "kafka"],
                }
            }
        },
    ],
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The playbooks beside roles that write down what they are asked for."""
    shutil.copytree(ROOT / "ansible", tmp_path / "ansible", ignore=shutil.ignore_patterns("roles"))
    for role, files in {"gates": GATES, "updates": UPDATES}.items():
        for name, content in files.items():
            write(tmp_path / "ansible/roles" / role / name, content)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    members: dict[str, Any] = {name: {} for name in HOSTS}
    groups = ("zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "monitoring")
    children: dict[str, Any] = {name: {"hosts": members} for name in groups}
    children["producer"] = {"hosts": {}}
    hosts = {name: local | {} for name in HOSTS}
    write(tmp_path / "hosts.yml", {"all": {"hosts": hosts, "children": children}})
    return tmp_path


def update(project: Path, *arguments: str, **variables: Any) -> tuple[int, str, list[str]]:
    """Run the playbook; return its exit code, its output, and what was done in its order."""
    log = project / "log"
    log.write_text("")
    given = {"log": str(log), "ansible_become": False, "unhealthy": "never"} | variables
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", str(project / "hosts.yml"), "-e", json.dumps(given), *arguments),
            str(project / "ansible/update.yml"),
        ],
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, log.read_text().splitlines()


EVERYWHERE = {host: ["update libssl3 1 -> 2"] for host in HOSTS}


def test_hosts_that_lead_come_last_and_each_is_healthy_before_the_next(project: Path) -> None:
    code, output, done = update(project, due=EVERYWHERE)
    assert code == 0, output
    assert done == [
        "Before any update",
        *("update core-3", "zookeeper core-3", "kafka core-3", "After the update of core-3"),
        *("update core-2", "zookeeper core-2", "kafka core-2", "After the update of core-2"),
        # It runs the job, and a reboot has restarted all of it.
        *("update core-1", "After the update of core-1"),
    ]
    assert "left alone: held-one (held)" in output


def test_a_host_that_does_not_come_back_healthy_stops_the_run(project: Path) -> None:
    due = {host: EVERYWHERE[host] for host in ("core-1", "core-3")}
    code, output, done = update(project, due=due, unhealthy="After the update of core-3")
    assert code != 0
    assert "After the update of core-3: not all is well" in output
    # Nothing is asked of a host that has nothing to do, nor of the next.
    assert [line for line in done if line.startswith("update")] == ["update core-3"]


def test_check_mode_says_what_there_is_to_do_and_does_nothing(project: Path) -> None:
    code, output, done = update(project, "--check", due=EVERYWHERE)
    assert code == 0, output
    assert "would update libssl3 1 -> 2" in output
    assert [line for line in done if line.startswith("update")] == []
