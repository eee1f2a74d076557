"""The streaming job."""

from __future__ import annotations

import json
import os

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from .checks import (
    ends_without_memory,
    environment,
    is_closed,
    is_confined,
    is_kept_from,
    is_up,
    listens,
    patience,
    runs_as,
    runs_native_code,
)

testinfra_hosts = ["ansible://streaming"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("imdb-streaming")]

ENVIRONMENT = "/etc/imdb-streaming/streaming.env"
PASSWORDS = "/etc/imdb-streaming/passwords"

# The job's environment, and the variables that it follows from.
SETTINGS = {
    "KAFKA_BOOTSTRAP_SERVERS": "streaming_bootstrap_servers",
    "KAFKA_TOPIC": "streaming_topic",
    "KAFKA_ISOLATION_LEVEL": "streaming_isolation_level",
    "GLOBAL_MEAN_RATING": "streaming_global_mean_rating",
    "MIN_VOTES_PRIOR": "streaming_min_votes_prior",
    "OUTPUT_PATH": "streaming_output_path",
    "OUTPUT_PATH_CSV": "streaming_output_path_csv",
    "RUN_ID": "streaming_run_id",
    "TRIGGER_INTERVAL": "streaming_trigger_interval",
    "MAX_OFFSETS_PER_TRIGGER": "streaming_max_offsets_per_trigger",
    "SHUFFLE_PARTITIONS": "streaming_shuffle_partitions",
    "SPARK_MASTER": "streaming_master",
    "METRICS_PORT": "streaming_metrics_port",
    "METRICS_ADDRESS": "streaming_metrics_address",
}


def test_unit_is_enabled_and_active(host: Host) -> None:
    is_up(host, "imdb-streaming")


def test_web_ui_takes_connections(host: Host, variables: HostVariables) -> None:
    # By TLS it is for its host alone, at the port that Spark makes of the other.
    secured = bool(variables["spark_ui_certificate"])
    listens(
        host,
        "127.0.0.1" if secured else variables["host_address"],
        variables["streaming_webui_port"] + (400 if secured else 0),
        seconds=60 * patience(variables),
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_is_the_inventorys(host: Host, variables: HostVariables, name: str) -> None:
    assert environment(host, ENVIRONMENT)[name] == str(variables[SETTINGS[name]])


def test_runs_as_sparks_user(host: Host, variables: HostVariables) -> None:
    runs_as(host, "imdb-streaming", variables["streaming_user"])


def test_configuration_is_not_its_own(host: Host, variables: HostVariables) -> None:
    is_kept_from(host, "/etc/imdb-streaming", variables["streaming_user"])
    is_kept_from(host, ENVIRONMENT, variables["streaming_user"])


def test_logs_in_as_the_user_that_the_inventory_names(host: Host, variables: HostVariables) -> None:
    settings = environment(host, ENVIRONMENT)
    user = variables["streaming_user_name"]
    assert settings.get("KAFKA_SASL_USERNAME", "") == user
    assert settings.get("KAFKA_SSL_CAFILE", "") == variables["streaming_ca"]
    with host.sudo():
        # None of a user that it was before.
        held = host.run(f"ls {PASSWORDS}").stdout.split()
        assert held == ([user] if user else [])


def test_the_password_stands_in_its_file_alone(host: Host, variables: HostVariables) -> None:
    password = variables["streaming_password"]
    if not password:
        pytest.skip("the brokers ask for none")
    file = f"{PASSWORDS}/{variables['streaming_user_name']}"
    is_closed(host, file)
    is_kept_from(host, file, variables["streaming_user"])
    with host.sudo():
        assert host.file(file).content_string == f"password={password}\n"
        shown = [
            host.check_output("systemctl cat imdb-streaming"),
            host.check_output("systemctl show imdb-streaming"),
            host.check_output("journalctl --no-pager --unit=imdb-streaming"),
            host.check_output("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true"),
            host.check_output(
                "cat /proc/$(systemctl show --value -p MainPID imdb-streaming)/environ"
                " 2>/dev/null | tr '\\0' ' '; true"
            ),
            host.file(ENVIRONMENT).content_string,
        ]
        folders = (variables["streaming_output_path"], f"{variables['spark_work_root']}/work")
        found = host.run("grep -rlF -e %s %s %s", password, *folders)
    assert [text for text in shown if password in text] == []
    assert found.stdout == ""


def test_election_is_by_the_jobs_own_certificate(host: Host, variables: HostVariables) -> None:
    certificate = variables["streaming_zookeeper_certificate"]
    unit = host.check_output("systemctl cat imdb-streaming")
    is_named = f"Environment=STANDBY_CERTIFICATE={certificate} STANDBY_CA=" in unit
    assert is_named == (bool(certificate) and variables["streaming_standby"])


def test_heap_that_is_full_ends_it(host: Host) -> None:
    ends_without_memory(host, "imdb-streaming")


def test_native_code_may_be_run(host: Host) -> None:
    runs_native_code(host, "imdb-streaming")
    runs_native_code(host, "imdb-streaming-compact")


def test_is_confined(host: Host) -> None:
    is_confined(host, "imdb-streaming")


def test_says_to_others_how_to_run_it(host: Host, variables: HostVariables) -> None:
    shown = host.run("timeout 300 imdb-streaming")
    assert shown.rc == 2, shown
    assert f"sudo -u {variables['streaming_user']} imdb-streaming" in shown.stderr


@pytest.mark.skipif("MOLECULE_SCENARIO_NAME" not in os.environ, reason="it joins files")
def test_root_makes_no_files_of_its_own(host: Host, variables: HostVariables) -> None:
    folders = [variables["streaming_output_path"], variables["streaming_output_path_csv"]]
    if not all(folder.startswith("/") for folder in folders):
        pytest.skip("nothing is compacted in a bucket")
    with host.sudo():
        done = host.run(f"timeout {300 * patience(variables):.0f} imdb-streaming compact")
        assert done.rc == 0, done
        user = variables["streaming_user"]
        assert not host.check_output("find %s -mindepth 1 ! -user %s", folders[0], user)


def test_compacts_when_it_is_asked_to(host: Host, variables: HostVariables) -> None:
    timer = host.service("imdb-streaming-compact.timer")
    is_local = variables["streaming_output_path"].startswith("/")
    wanted = bool(variables["streaming_compact_schedule"]) and is_local
    assert (timer.is_enabled, timer.is_running) == (wanted, wanted)


def test_compaction_is_confined(host: Host) -> None:
    is_confined(host, "imdb-streaming-compact")


def test_host_remembers_its_output_folder(host: Host, variables: HostVariables) -> None:
    if not variables["streaming_output_path"].startswith("/") or variables["streaming_standby"]:
        pytest.skip("a bucket is always there, and another host may lead")
    with host.sudo():
        notes = host.check_output("sh -c 'cat /var/lib/imdb-streaming/held-*.json'")
    # One for each folder that it has been given.
    assert {
        "output_path": variables["streaming_output_path"],
        "run_id": variables["streaming_run_id"],
    } in [json.loads(note) for note in notes.splitlines()]


def test_says_how_far_it_is_to_everyone(host: Host, variables: HostVariables) -> None:
    status = json.loads(host.file("/run/imdb-streaming/status.json").content_string)
    assert status["run_id"] == variables["streaming_run_id"]
    assert {"batch_id", "lag", "lag_seconds"} <= set(status["query"])


def test_says_how_far_it_is_to_systemctl(host: Host) -> None:
    shown = host.check_output("systemctl show -p StatusText --value imdb-streaming")
    assert "lag" in shown or shown == "waiting for the first messages"


def test_watchdog_is_set(host: Host, variables: HostVariables) -> None:
    shown = host.check_output(
        "systemctl show -p WatchdogUSec --value --timestamp=us imdb-streaming"
    )
    assert shown not in {"0", "infinity"}, variables["streaming_watchdog_timeout"]
