"""Where the password of a user of Kafka lies: what runs as the user before keeps its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def written(role: str, folder: Path, *users: str) -> list[tuple[str, str]]:
    """Return the file that a role writes each user's password to, and what the service is told."""
    role_files = ROOT / "roles" / role
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.include_vars": str(role_files / name)}
        for name in ("defaults/main.yml", "vars/main.yml")
    ]
    for user in users:
        given = {
            f"{role}_user_name": user,
            f"{role}_password": "a-password",
            f"{role}_ca": "/ca.pem",
        }
        settings = {"src": str(role_files / f"templates/{role}.env.j2")}
        files = {"content": f"{{{{ __{role}_password_files | to_json }}}}"}
        tasks += [
            {"ansible.builtin.set_fact": given},
            {"ansible.builtin.template": settings | {"dest": str(folder / f"{user}.env")}},
            {"ansible.builtin.copy": files | {"dest": str(folder / f"{user}.files")}},
        ]
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
    (folder / "play.yml").write_text(json.dumps(play), encoding="utf-8")
    (folder / "ansible.cfg").touch()
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("-i", "localhost,", "-e", json.dumps({"ansible_python_interpreter": sys.executable})),
            folder / "play.yml",
        ],
        env=os.environ | {"ANSIBLE_CONFIG": str(folder / "ansible.cfg")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = []
    for user in users:
        (file,) = json.loads((folder / f"{user}.files").read_text())
        lines = (folder / f"{user}.env").read_text().splitlines()
        (told,) = (it for it in lines if it.startswith("KAFKA_SASL_PASSWORD_FILE="))
        found.append((str(file["dest"]), told.partition("=")[2].strip('"')))
    return found


@pytest.mark.parametrize("role", ["streaming", "producer"])
def test_a_new_user_leaves_the_password_of_the_one_before(role: str, tmp_path: Path) -> None:
    (before, told_before), (after, told_after) = written(role, tmp_path, role, f"{role}-2")
    assert (before, after) == (told_before, told_after)
    assert before != after
