"""A Spark worker that names a master without having been registered does not count as started."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).resolve().parents[2] / "roles/spark_worker/templates/spark-worker-wait.j2"
REGISTERED = "Successfully registered with master spark://192.0.2.1:7077"
CHANGED = "Master has changed, new master is at spark://192.0.2.1:7077"
# Knows the options that the script gives it, and reads what this process has said from a file.
JOURNALCTL = """#!/bin/bash
case "$*" in
--sync) exit ;;
*" _SYSTEMD_INVOCATION_ID=7") ;;
*) echo "unexpected: $*" >&2 && exit 2 ;;
esac
for given; do
    case "$given" in --grep=*) exec grep -e "${given#--grep=}" SAID ;; esac
done
"""


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ([REGISTERED], 0),
        ([REGISTERED, CHANGED], 0),
        ([CHANGED, REGISTERED], 0),
        ([CHANGED], 1),
        ([], 0),
    ],
    ids=["registered", "then a new master", "after a new master", "never", "an empty journal"],
)
def test_worker_has_to_be_registered(tmp_path: Path, said: list[str], status: int) -> None:
    program, journal, wait = tmp_path / "journalctl", tmp_path / "said", tmp_path / "wait"
    journal.write_text("".join(f"{line}\n" for line in said))
    program.write_text(JOURNALCTL.replace("SAID", str(journal)))
    program.chmod(0o755)
    wait.write_text(
        TEMPLATE.read_text()
        .replace("{{ ansible_managed | comment }}", "# ours")
        .replace("/usr/local/bin/spark-worker-ask", "true")
    )
    settings = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "INVOCATION_ID": "7", "MAINPID": "1"}
    done = subprocess.run(["bash", wait], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert ("started anew" in done.stderr) == (status == 1)
    assert "unexpected" not in done.stderr
