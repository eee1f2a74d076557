"""ansible/remove.yml takes off what site.yml has put there; data only when asked twice."""

from __future__ import annotations

import re

import pytest
from hosts import Target, run

from ..variables import HostVariables
from .deployment import LISTING, run_playbook, unit_states

pytestmark = pytest.mark.removal

ASKED = ("-e", "pipeline_remove_data=true")
CONFIRMED = ("-e", "pipeline_remove_data_confirmed=true")
PACKAGES = "dpkg-query --show --showformat '${Package} ${db:Status-Status}\\n' | sort"
# What differs between two hosts of one image whoever installs what: identities, caches, logs, what
# systemd and apt note.
OF_THE_HOST = re.compile(
    r"/(etc/(ssh/ssh_host_|hostname|hosts|machine-id|resolv\.conf|ld\.so\.cache|systemd/network/|\.pwd\.lock)"
    r"|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?\b"
    r"|var/lib/(apt|dpkg|systemd|private|dbus|pam|python|ucf)\b"
    r"|usr/lib/python3|usr/share/(mime|info|man)\b|opt/spark-output)"
)


def listing(target: Target, host: str) -> dict[str, str]:
    """Return what a host holds: rights and content by path."""
    found = {}
    for line in run(target, host, LISTING, timeout=180).splitlines():
        # "digest  path" for a file's content, "path rights owner link" for all else.
        content = re.match(r"[0-9a-f]{64}  (.*)", line)
        path = content[1] if content else line.split(" ", 1)[0]
        if not OF_THE_HOST.match(path):
            found[f"{path} {'content' if content else 'rights'}"] = line
    return found


def difference(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return what stands in one listing and not, or not so, in the other."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def data_folders(variables: HostVariables) -> list[str]:
    """Return the folders of data that site.yml has made."""
    names = (
        "zookeeper_data_dir",
        "kafka_data_dir",
        "spark_work_root",
        "producer_data_dir",
        "streaming_output_path",
        "streaming_output_path_csv",
    )
    return [str(variables[name]) for name in names]


def holds_files(target: Target, host: str, folder: str) -> bool:
    """Return whether there is any file below a folder."""
    found = run(target, host, f"sudo find {folder} -type f -print -quit 2>/dev/null || true")
    return bool(found.strip())


def test_data_that_was_asked_for_once_stops_the_removal(target: Target) -> None:
    before = unit_states(target)
    refused = run_playbook(*ASKED, playbook="remove.yml")
    assert refused.exit_code != 0
    assert "would be deleted for good" in refused.output
    assert unit_states(target) == before


def test_check_of_a_removal_removes_nothing(target: Target) -> None:
    before = unit_states(target)
    check = run_playbook("--check", playbook="remove.yml")
    assert check.exit_code == 0, check.end
    assert all(count > 0 for count in check.changed.values())
    assert unit_states(target) == before


def test_removal_leaves_the_data_and_nothing_else(
    target: Target, bare: Target, variables: HostVariables
) -> None:
    held = {
        (host, folder): holds_files(target, host, folder)
        for host in target.hosts
        for folder in data_folders(variables)
    }
    assert all(held.values()), f"nothing to keep: {held}"

    removed = run_playbook(playbook="remove.yml")
    assert removed.exit_code == 0, removed.end

    fresh_host = next(iter(bare.hosts))
    fresh = listing(bare, fresh_host)
    for host in target.hosts:
        units = run(target, host, "systemctl list-units --all --plain --no-legend --state=failed")
        assert units == ""
        assert run(target, host, PACKAGES) == run(bare, fresh_host, PACKAGES)
        passwd = "cut -d: -f1,3 /etc/passwd /etc/group | sort"
        assert run(target, host, passwd) == run(bare, fresh_host, passwd)
        left = [
            path
            for path in difference(listing(target, host), fresh)
            if not path.startswith(tuple(data_folders(variables)))
        ]
        assert left == []
    for (host, folder), before in held.items():
        assert holds_files(target, host, folder) == before, f"{folder} on {host}"


def test_a_second_removal_changes_nothing(target: Target) -> None:
    again = run_playbook(playbook="remove.yml")
    assert again.exit_code == 0, again.end
    assert again.changed == dict.fromkeys(target.hosts, 0), again.changed_tasks


def test_data_that_was_asked_for_twice_goes(target: Target, variables: HostVariables) -> None:
    removed = run_playbook(*ASKED, *CONFIRMED, playbook="remove.yml")
    assert removed.exit_code == 0, removed.end
    for host in target.hosts:
        for folder in data_folders(variables):
            assert run(target, host, f"ls -d {folder} 2>/dev/null || true") == ""
