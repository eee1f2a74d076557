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
NOT_CONFIRMED = ("-e", "pipeline_remove_data_confirmed=false")
# What holds data on a host, and what lies in it.
DATA = "sudo find /srv /var/lib /opt/spark-output -maxdepth 1 2>/dev/null | sort"
# What systemd remembers, though its file is gone.
GHOSTS = "systemctl list-units --all --plain --no-legend --state=not-found | awk '$3 == \"failed\"'"
PACKAGES = "dpkg-query --show --showformat '${Package} ${db:Status-Status}\\n' | sort"
# What differs between two hosts of one image whoever installs what: identities, caches, logs, what
# systemd and apt note.
OF_THE_HOST = re.compile(
    r"/(etc/(ssh/ssh_host_|hostname|hosts|machine-id|resolv\.conf|ld\.so\.cache|systemd/network/|\.pwd\.lock)"
    r"|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?\b"
    r"|var/lib/(apt|dpkg|systemd|private|dbus|pam|python|ucf)\b"
    r"|usr/lib/python3|usr/share/(mime|info|man)\b)"
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
        *(["prometheus_data_dir"] if variables["pipeline_monitoring"] else []),
    )
    return [str(variables[name]) for name in names]


def holds_files(target: Target, host: str, folder: str) -> bool:
    """Return whether there is any file below a folder."""
    found = run(target, host, f"sudo find {folder} -type f -print -quit 2>/dev/null || true")
    return bool(found.strip())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (ASKED, "would be deleted for good"),
        (ASKED + NOT_CONFIRMED, "would be deleted for good"),
        # Of a role whose turn comes late.
        (("-e", "kafka_remove_data=true"), "would be deleted for good"),
        ((*ASKED, *CONFIRMED, "-e", "kafka_data_dir=/"), "Not deleted as a folder of data"),
    ],
    ids=["asked once", "the second time is false", "one role's", "no folder of data"],
)
def test_a_removal_that_is_refused_removes_nothing(
    target: Target, arguments: tuple[str, ...], reason: str
) -> None:
    before = unit_states(target)
    refused = run_playbook(*arguments, playbook="remove.yml")
    assert refused.exit_code != 0
    assert reason in " ".join(refused.output.split())
    assert set(refused.changed.values()) == {0}, refused.changed_tasks
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
        assert run(target, host, GHOSTS) == ""
        assert run(target, host, PACKAGES) == run(bare, fresh_host, PACKAGES)
        passwd = "cut -d: -f1,3 /etc/passwd /etc/group | sort"
        assert run(target, host, passwd) == run(bare, fresh_host, passwd)
        left = [
            path
            for path in difference(listing(target, host), fresh)
            if not path.startswith(("/opt/spark-output", *data_folders(variables)))
        ]
        assert left == []
    for (host, folder), before in held.items():
        assert holds_files(target, host, folder) == before, f"{folder} on {host}"


def test_a_second_removal_changes_nothing(target: Target) -> None:
    again = run_playbook(playbook="remove.yml")
    assert again.exit_code == 0, again.end
    assert again.changed == dict.fromkeys(target.hosts, 0), again.changed_tasks


def test_data_that_was_asked_for_twice_goes(
    target: Target, bare: Target, variables: HostVariables
) -> None:
    removed = run_playbook(*ASKED, *CONFIRMED, playbook="remove.yml")
    assert removed.exit_code == 0, removed.end
    for host in target.hosts:
        for folder in data_folders(variables):
            assert run(target, host, f"ls -d {folder} 2>/dev/null || true") == ""
        assert data_on(target, host) == data_on(bare, next(iter(bare.hosts)))


def data_on(target: Target, host: str) -> list[str]:
    """Return what holds data on a host."""
    return [path for path in run(target, host, DATA).splitlines() if not OF_THE_HOST.match(path)]
