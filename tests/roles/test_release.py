"""Releases under /opt: versioned folders, and a link to the current one."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ..variables import HostVariables

testinfra_hosts = ["ansible://all"]
pytestmark = pytest.mark.verify

# Which release the hosts of a group have, and the variable that names its version.
RELEASES = {
    "zookeeper": ("zookeeper", "zookeeper_version"),
    "kafka": ("kafka", "kafka_version"),
    "spark_master": ("spark", "spark_version"),
    "spark_worker": ("spark", "spark_version"),
    "streaming": ("imdb-streaming", "streaming_version"),
    "producer": ("imdb-producer", "producer_version"),
}


def has_part(variables: HostVariables, group: str) -> bool:
    """Return whether a host runs what the hosts of a group run."""
    without = group == "zookeeper" and variables["kafka_mode"] == "kraft"
    return group in variables["group_names"] and not without


@pytest.mark.parametrize("group", RELEASES)
def test_current_is_the_version_asked_for(host: Host, variables: HostVariables, group: str) -> None:
    name, version = RELEASES[group]
    if has_part(variables, group):
        link = host.file(f"/opt/{name}/current")
        assert link.is_symlink
        assert link.linked_to == f"/opt/{name}/{variables[version]}"


@pytest.mark.parametrize("group", RELEASES)
def test_what_runs_does_not_hang_on_the_link(
    host: Host, variables: HostVariables, group: str
) -> None:
    # A link that is moved must not lead a process that runs to the jars of another version.
    name, _ = RELEASES[group]
    if has_part(variables, group):
        with host.sudo():
            look = "grep -ls '/opt/%s/[c]urrent' /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
            assert host.run(look % name).stdout.split() == []


@pytest.mark.parametrize("group", RELEASES)
def test_release_is_whole_and_belongs_to_root(
    host: Host, variables: HostVariables, group: str
) -> None:
    name, version = RELEASES[group]
    if has_part(variables, group):
        folder = f"/opt/{name}/{variables[version]}"
        assert host.file(f"{folder}/.sha256").size > 0, "unpacking has not ended"
        assert host.check_output("find %s ! -user root -print -quit", folder) == ""
        assert host.check_output("find %s -perm /022 ! -type l -print -quit", folder) == ""
        assert host.check_output("find %s -name '*.partial' -print -quit", f"/opt/{name}") == ""


def test_nothing_is_left_of_how_it_came(host: Host) -> None:
    left = "find /opt -maxdepth 2 '(' -name '*.tar' -o -name .offered -o -name '*.partial' ')'"
    with host.sudo():
        assert host.check_output(left) == ""
    assert host.check_output("systemctl list-units --all --no-legend 'release-seed-*'") == ""
