"""Spark's release, user and configuration, which master, worker and job share."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from .checks import has_user, is_closed, is_kept_from, writes_only

testinfra_hosts = ["ansible://spark_master", "ansible://spark_worker", "ansible://streaming"]
pytestmark = pytest.mark.verify

# What keeps processes of Spark's from a weaker way to know each other.
HANDSHAKE = {"saslFallback": "false", "authEngineVersion": "2"}


def test_user_has_the_same_number_on_every_host(host: Host, variables: HostVariables) -> None:
    has_user(host, variables["spark_user"], variables["spark_uid"])


def test_configuration_is_not_its_own(host: Host, variables: HostVariables) -> None:
    is_kept_from(host, "/etc/spark", variables["spark_user"])
    is_kept_from(host, "/etc/spark/spark-defaults.conf", variables["spark_user"])


def test_settings_that_may_be_secrets_are_closed(host: Host) -> None:
    is_closed(host, "/etc/spark/spark-defaults.conf")


def test_all_is_encrypted_where_there_is_a_secret(host: Host, variables: HostVariables) -> None:
    with host.sudo():
        lines = host.file("/etc/spark/spark-defaults.conf").content_string.splitlines()
    settings = dict(line.split(maxsplit=1) for line in lines if line.startswith("spark."))
    names = ("authenticate", "network.crypto.enabled", "io.encryption.enabled")
    wanted = {"true"} if variables["spark_secret"] else {None}
    assert {settings.get(f"spark.{name}") for name in names} == wanted
    crypto = {name: settings.get(f"spark.network.crypto.{name}") for name in HANDSHAKE}
    assert crypto == (HANDSHAKE if variables["spark_secret"] else dict.fromkeys(HANDSHAKE))
    killed = settings.get("spark.ui.killEnabled")
    assert killed == ("false" if variables["spark_secret"] else None)
    sent_away = settings.get("spark.master.ui.decommission.allow.mode")
    assert sent_away == ("DENY" if variables["spark_secret"] else None)
    assert settings["spark.master.rest.enabled"] == "false"


def test_writes_nothing_but_work_and_tables(host: Host, variables: HostVariables) -> None:
    writes_only(
        host,
        variables["spark_user"],
        *(f"{variables['spark_work_root']}/{folder}" for folder in ("recovery", "work", "tmp")),
        *variables["spark_output_dirs"],
        "/run/imdb-streaming",
        "/var/lib/imdb-streaming",
    )


# Starts three programs as each of Spark's own scripts does it, one after the other; the first is
# killed before the second starts. Prints which of the first two have a folder then.
SCRATCH = r"""
notes=$(mktemp -d)
start() {
    bash -c '. /etc/spark/spark-env.sh; echo "$SPARK_LOCAL_DIRS" >"$0"; exec sleep 60' \
        "$notes/$1" >/dev/null 2>&1 &
    until [ -s "$notes/$1" ]; do sleep 0.1; done
}
end() { kill -KILL "$1"; wait "$1"; }
start killed
end $! 2>/dev/null
start living
living=$!
start last
for name in killed living; do if [ -d "$(cat "$notes/$name")" ]; then echo "$name"; fi; done
end $! 2>/dev/null
end $living 2>/dev/null
rm -r "$notes"
"""


def test_scratch_of_what_was_killed_is_removed_and_no_other(
    host: Host, variables: HostVariables
) -> None:
    with host.sudo(variables["spark_user"]):
        kept = host.run("timeout 120 bash -c %s", SCRATCH)
    assert kept.stdout.split() == ["living"], kept


def test_submit_is_on_the_path_and_of_the_version(host: Host, variables: HostVariables) -> None:
    shown = host.run("timeout 300 spark-submit --version")
    assert shown.rc == 0, shown
    assert f"version {variables['spark_version']}" in shown.stdout + shown.stderr


def test_says_to_others_how_to_run_commands(host: Host, variables: HostVariables) -> None:
    shown = host.run("timeout 300 spark-submit job.py")
    assert shown.rc == 1, shown
    assert f"sudo -u {variables['spark_user']} spark-submit" in shown.stderr


def test_command_runs_as_its_user(host: Host, variables: HostVariables) -> None:
    with host.sudo(variables["spark_user"]):
        shown = host.run("timeout 300 spark-submit --master 'local[1]' /nowhere.py")
    assert "can't open file '/nowhere.py'" in shown.stdout, shown


def test_connector_is_on_the_host(host: Host, variables: HostVariables) -> None:
    pattern = f"spark-sql-kafka-*-{variables['spark_version']}.jar"
    assert host.check_output("find /opt/spark/current/connector/ -name %s", pattern)


def test_s3a_is_there_where_asked_for(host: Host, variables: HostVariables) -> None:
    asked = bool(variables["spark_s3"])
    assert host.file("/opt/spark-s3/current/libs").is_directory == asked
    with host.sudo(variables["spark_user"]):
        # As Spark's own scripts do, which are bash's.
        listed = host.check_output(
            "bash -c 'export SPARK_HOME=/opt/spark/current SPARK_CONF_DIR=/etc/spark && "
            ". $SPARK_HOME/bin/load-spark-env.sh && ls ${SPARK_DIST_CLASSPATH:-/nothing} || true'"
        )
    assert ("/hadoop-aws-" in listed) == asked


def test_s3a_asks_the_buckets_region(host: Host, variables: HostVariables) -> None:
    with host.sudo(variables["spark_user"]):
        settings = host.file("/etc/spark/spark-defaults.conf").content_string
    found = re.findall(r"^spark\.hadoop\.fs\.s3a\.endpoint\.region +(\S+)$", settings, re.M)
    assert found == ([variables["spark_s3_region"]] if variables["spark_s3"] else [])


def test_output_folders_belong_to_it(host: Host, variables: HostVariables) -> None:
    if "streaming" in variables["group_names"]:
        for name in ("streaming_output_path", "streaming_output_path_csv"):
            if variables[name].startswith("s3a://"):
                continue
            folder = host.file(variables[name])
            assert folder.user == variables["spark_user"]
            assert folder.mode & 0o005 == 0o005, f"{folder.path} is closed to readers"
