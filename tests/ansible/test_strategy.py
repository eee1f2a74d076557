"""The strategy of our playbooks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.stat: {path: /}
"""


@pytest.mark.parametrize("strategy", ["pipeline_linear", "linear"])
def test_a_checkout_may_have_a_blank_in_its_path(tmp_path: Path, strategy: str) -> None:
    """Ansible runs localhost's tasks by the interpreter that it runs by itself."""
    python = tmp_path / "a checkout/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (tmp_path / "play.yml").write_text(PLAY, encoding="ascii")
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible-playbook",
            *("--inventory", "localhost,"),
            *("--extra-vars", json.dumps({"ansible_python_interpreter": str(python)})),
            tmp_path / "play.yml",
        ],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STRATEGY": strategy,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "ok=1" in done.stdout
