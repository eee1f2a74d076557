"""What a backup and a restore refuse before anything changes: by name, with what to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .modules import ROOT, load, load_utility

OURS, OTHER = "0123456789abcdef", "fedcba9876543210"
RIGHT: dict[str, Any] = {
    "backup_password": "of-the-repository",
    "backup_repository": "/mnt/backups",
    "backup_variables": {},
    "backup_keep": {"last": 7},
    "backup_data": "tables",
    "backup_wait_seconds": 300,
    "backup_read_data": "",
    "streaming_output_path": "/opt/spark-output/parquet",
    "streaming_output_path_csv": "/opt/spark-output/csv",
    "restore_snapshot": "latest",
    "restore_about": {"id": OURS},
}
#: By case: the tasks, what is otherwise, and what is said.
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "right": ("backup_settings", {}, ""),
    "shares": ("backup_settings", {"backup_read_data": "1/7", "backup_keep": {}}, ""),
    "no password": ("backup_settings", {"backup_password": ""}, "have no secret_backup"),
    "messages": ("backup_settings", {"backup_data": "topic"}, "backup_data is 'topic'"),
    "bucket": (
        "backup_settings",
        {"streaming_output_path": "s3a://b/t"},
        r"in a bucket \(s3a://b/t",
    ),
    "unit": ("backup_settings", {"backup_keep": {"fortnightly": 1}}, "last, hourly, daily"),
    "count": ("backup_settings", {"backup_keep": {"daily": "all"}}, "numbers for last"),
    "wait": ("backup_settings", {"backup_wait_seconds": "long"}, "backup_wait_seconds 'long'"),
    "read": ("backup_settings", {"backup_read_data": "some"}, "backup_read_data 'some'"),
    "nowhere": ("backup_settings", {"backup_repository": ""}, "backup_repository is ''"),
    "fresh": ("restore_hosts", {"restore_places": ["{tmp}/nothing"]}, ""),
    "data": (
        "restore_hosts",
        {"restore_places": ["{tmp}/data"]},
        "localhost holds data: {tmp}/data",
    ),
    "begun": (
        "restore_hosts",
        {"restore_places": ["{tmp}/data"], "restore_note": "{tmp}/ours"},
        "",
    ),
    "another": (
        "restore_hosts",
        {"restore_places": [], "restore_note": "{tmp}/other"},
        f"is being restored from the backup {OTHER[:8]}, and SNAPSHOT=latest is {OURS[:8]}",
    ),
}


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("restore")
    (folder / "data").mkdir()
    (folder / "ours").write_text(f"{OURS} begun\n")
    (folder / "other").write_text(f"{OTHER} placed\n")
    return folder


@pytest.fixture(scope="module")
def said(tmp: Path) -> dict[str, str]:
    """What was said in each case, in one run; empty where nothing was refused."""
    tasks = []
    for name, (file, changes, _) in CASES.items():
        given = RIGHT | {"restore_note": f"{tmp}/no-note"} | changes
        variables = json.loads(json.dumps(given).replace("{tmp}", str(tmp)))
        include = {"ansible.builtin.include_tasks": f"{ROOT}/ansible/tasks/{file}.yml"}
        failed = "{{ ansible_failed_result.msg }}"
        tasks.append(
            {
                "vars": variables,
                "block": [{"name": name} | include],
                "rescue": [
                    {
                        "name": f"Say why {name}",
                        "ansible.builtin.copy": {"content": failed, "dest": f"{tmp}/said {name}"},
                    }
                ],
            }
        )
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    path = tmp / "play.yml"
    path.write_text(yaml.safe_dump([play]))
    python = {"ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_LOCALHOST_WARNING": "0"}
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", str(path)],
        env=os.environ | python,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {name: it.read_text() if (it := tmp / f"said {name}").exists() else "" for name in CASES}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_refused_by_name(said: dict[str, str], tmp: Path, case: str) -> None:
    wanted = CASES[case][2].replace("{tmp}", str(tmp))
    if wanted:
        assert re.search(wanted, said[case])
        assert said[case].rstrip().endswith("Nothing was changed.")
    else:
        assert said[case] == ""


def test_the_tables_are_copied_behind_the_position_and_the_topics_end() -> None:
    """In that order a restore loses nothing: docs/backup.md says why."""
    text = (ROOT / "ansible/backup.yml").read_text()
    steps = ["imdb-producer, backup]", "kafka_ends:", "'--read-to'", "backup_does: store"]
    assert [text.index(step) for step in steps] == sorted(text.index(step) for step in steps)


def test_tables_are_in_place_before_anything_is_deployed() -> None:
    text = (ROOT / "ansible/restore.yml").read_text()
    steps = ["tasks/restore_hosts.yml", "begun", "backup_does: tables", "placed", "site.yml"]
    places = [text.index(step, text.index("hosts: ")) for step in steps]
    assert places == sorted(places)


def test_ends_of_a_topic_are_those_of_the_broker(broker: Any) -> None:
    load_utility("kafka_admin")
    ends = load("ansible/library/kafka_ends.py", "kafka_ends")
    broker.make_topic("ends", partitions=2)
    with ends.Cluster(broker.address) as cluster:
        assert ends.ends(cluster, "ends") == {"0": 0, "1": 0}
        with pytest.raises(ends.KafkaError, match=r"There is no topic nowhere\."):
            ends.ends(cluster, "nowhere")
