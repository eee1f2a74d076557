"""The producer."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hosts import ROOT
from testinfra.host import Host

from ..variables import HostVariables
from ..waiting import wait_for
from .checks import (
    environment,
    fetch,
    has_user,
    is_closed,
    is_confined,
    is_kept_from,
    is_up,
    owns,
    writes_only,
)

testinfra_hosts = ["ansible://producer"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("imdb-producer")]

ENVIRONMENT = "/etc/imdb-producer/producer.env"
PASSWORDS = "/etc/imdb-producer/passwords"

# The program's environment, and the variables that it follows from.
SETTINGS = {
    "KAFKA_BOOTSTRAP_SERVERS": "producer_bootstrap_servers",
    "KAFKA_TOPIC": "producer_topic",
    "MSGS_PER_SEC": "producer_msgs_per_sec",
    "PRODUCER_LIMIT": "producer_limit",
    "MIN_VOTES": "producer_min_votes",
    "RESEND": "producer_resend",
    "KAFKA_CLIENT": "producer_kafka_client",
    "METRICS_PORT": "producer_metrics_port",
    "LOG_FORMAT": "producer_log_format",
    "HTTP_PROXY": "producer_http_proxy",
    "HTTPS_PROXY": "producer_https_proxy",
    "NO_PROXY": "producer_no_proxy",
}
STATUS_LINE = re.compile(
    r"(finished: )?sent (?P<sent>[0-9,]+) of (?P<total>[0-9,]+) \([0-9.]+ %\), [0-9.]+/s"
    r"(, ETA [0-9]+:[0-9]{2}:[0-9]{2})?"
)


def test_unit_is_enabled_and_active(host: Host) -> None:
    is_up(host, "imdb-producer")


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_is_the_inventorys(host: Host, variables: HostVariables, name: str) -> None:
    assert environment(host, ENVIRONMENT)[name] == str(variables[SETTINGS[name]])


@pytest.mark.parametrize(
    ("name", "variable"), [("BASICS_URL", "producer_basics"), ("RATINGS_URL", "producer_ratings")]
)
def test_reads_the_data_that_the_inventory_names(
    host: Host, variables: HostVariables, name: str, variable: str
) -> None:
    deployed, wanted = environment(host, ENVIRONMENT)[name], variables[variable]
    if "://" in wanted:
        assert deployed == wanted
    else:  # a path on this machine: the host has a copy
        copied = host.file(urlsplit(deployed).path)
        with host.sudo():
            assert copied.sha256sum == hashlib.sha256(Path(ROOT, wanted).read_bytes()).hexdigest()


def test_has_its_own_user(host: Host, variables: HostVariables) -> None:
    has_user(host, variables["producer_user"], variables["producer_uid"])


def test_data_folder_is_its_own(host: Host, variables: HostVariables) -> None:
    owns(host, variables["producer_data_dir"], variables["producer_user"])


def test_configuration_is_not_its_own(host: Host, variables: HostVariables) -> None:
    is_kept_from(host, "/etc/imdb-producer", variables["producer_user"])
    is_kept_from(host, ENVIRONMENT, variables["producer_user"])


def test_settings_that_may_be_secrets_are_closed(host: Host) -> None:
    is_closed(host, ENVIRONMENT)


def test_logs_in_as_the_user_that_the_inventory_names(host: Host, variables: HostVariables) -> None:
    settings = environment(host, ENVIRONMENT)
    user = variables["producer_user_name"]
    assert settings.get("KAFKA_SASL_USERNAME", "") == user
    assert settings.get("KAFKA_SSL_CAFILE", "") == variables["producer_ca"]
    certificate = variables["producer_zookeeper_certificate"]
    assert settings.get("ZOOKEEPER_CERTIFICATE", "") == certificate
    with host.sudo():
        # None of a user that it was before.
        held = host.run(f"ls {PASSWORDS}").stdout.split()
        assert held == ([user] if user else [])


def test_the_password_stands_in_its_file_alone(host: Host, variables: HostVariables) -> None:
    password = variables["producer_password"]
    if not password:
        pytest.skip("the brokers ask for none")
    file = f"{PASSWORDS}/{variables['producer_user_name']}"
    is_closed(host, file)
    is_kept_from(host, file, variables["producer_user"])
    with host.sudo():
        assert host.file(file).content_string == f"{password}\n"
        shown = [
            host.check_output("systemctl cat imdb-producer"),
            host.check_output("systemctl show imdb-producer"),
            host.check_output("journalctl --no-pager --unit=imdb-producer"),
            host.check_output("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true"),
            host.check_output(
                "cat /proc/$(systemctl show --value -p MainPID imdb-producer)/environ"
                " 2>/dev/null | tr '\\0' ' '; true"
            ),
            host.file(ENVIRONMENT).content_string,
        ]
    assert [text for text in shown if password in text] == []


def test_a_password_of_a_proxy_stands_nowhere_else(host: Host, variables: HostVariables) -> None:
    secrets = {
        variables[name].split("@")[0].split(":")[-1]
        for name in ("producer_http_proxy", "producer_https_proxy")
        if "@" in variables[name]
    }
    units = host.check_output("systemctl cat imdb-producer imdb-producer-refresh")
    with host.sudo():
        journal = host.check_output("journalctl --no-pager --unit=imdb-producer")
    for secret in secrets:
        assert secret not in units
        assert secret not in journal


def test_is_confined(host: Host) -> None:
    is_confined(host, "imdb-producer", "imdb-producer-refresh")


def test_writes_nothing_but_its_data(host: Host, variables: HostVariables) -> None:
    writes_only(
        host, variables["producer_user"], variables["producer_data_dir"], "/run/imdb-producer"
    )


def test_says_to_others_how_to_run_it(host: Host, variables: HostVariables) -> None:
    shown = host.run("timeout 300 imdb-producer run")
    assert shown.rc == 2, shown
    assert f"sudo -u {variables['producer_user']} imdb-producer run" in shown.stderr
    assert variables["producer_version"] in host.check_output("timeout 300 imdb-producer --version")


def test_says_how_far_it_is_to_everyone(host: Host) -> None:
    status = json.loads(host.file("/run/imdb-producer/status.json").content_string)
    assert status["state"] in {"preparing", "sending", "finished", "stopped"}
    assert status["failed"] == 0


def shown(host: Host, unit: str, name: str) -> str:
    """What systemd says of a unit's property."""
    return str(host.check_output(f"systemctl show --property={name} --value {unit}"))


def sends_or_has_sent(host: Host) -> dict[str, Any]:
    """The status, once there is something to tell."""
    return wait_for(
        "the producer sends, or has sent",
        lambda: json.loads(host.file("/run/imdb-producer/status.json").content_string),
        lambda status: status["state"] in {"sending", "finished"} and status["sent"] > 0,
        120,
    )


def test_systemctl_status_says_how_far_it_is(host: Host) -> None:
    status = sends_or_has_sent(host)
    line = wait_for(
        "systemd knows it too",
        lambda: shown(host, "imdb-producer", "StatusText"),
        lambda text: STATUS_LINE.fullmatch(text) is not None,
        30,
    )
    assert f" of {status['total']:,} (" in line


def test_is_ready_only_when_it_says_so_and_is_watched(host: Host, variables: HostVariables) -> None:
    assert shown(host, "imdb-producer", "Type") == "notify"
    minutes, seconds = divmod(int(variables["producer_watchdog_timeout"]), 60)
    expected = " ".join(
        [*([f"{minutes}min"] if minutes else []), *([f"{seconds}s"] if seconds else [])]
    )
    assert shown(host, "imdb-producer", "WatchdogUSec") == expected


def test_it_is_not_a_failure_that_the_broker_has_refused_some(host: Host) -> None:
    assert shown(host, "imdb-producer", "SuccessExitStatus") == "4"


def test_metrics_tell_the_same(host: Host, variables: HostVariables) -> None:
    status = sends_or_has_sent(host)
    text = host.file("/run/imdb-producer/metrics.prom").content_string
    if shown(host, "imdb-producer", "MainPID") != "0" and variables["producer_metrics_port"]:
        address = f"{variables['producer_metrics_address']}:{variables['producer_metrics_port']}"
        text = fetch(host, f"http://{address}/metrics")
    metrics = dict(re.findall(r"^(imdb_producer_\w+) ([0-9.e+]+)$", text, re.MULTILINE))
    assert float(metrics["imdb_producer_records"]) == status["total"]
    assert float(metrics["imdb_producer_position"]) >= status["sent"]
    assert float(metrics["imdb_producer_failed_total"]) == 0
    assert float(metrics["imdb_producer_data_set_age_seconds"]) > 0


def test_goes_on_where_it_was(host: Host) -> None:
    sends_or_has_sent(host)
    with host.sudo():
        journal = host.check_output("journalctl --no-pager --output=cat --unit=imdb-producer")
    # As a line of its own, or as the message of a line of JSON.
    prepared = re.findall(r"\bPrepared [0-9]+ records(.*)$", journal, re.MULTILINE)
    assert prepared
    # What follows a kill and a reboot does not begin from the start.
    assert all("of them are delivered" in remarks for remarks in prepared[1:]), prepared


def test_looks_for_new_dumps_when_it_is_asked_to(host: Host, variables: HostVariables) -> None:
    timer = host.service("imdb-producer-refresh.timer")
    wanted = bool(variables["producer_refresh_schedule"])
    assert (timer.is_enabled, timer.is_running) == (wanted, wanted)
    if wanted:
        calendar = shown(host, "imdb-producer-refresh.timer", "TimersCalendar")
        assert variables["producer_refresh_schedule"] in calendar


def test_extra_is_used_if_it_is_asked_for(host: Host, variables: HostVariables) -> None:
    wrapper = host.file("/usr/local/bin/imdb-producer").content_string
    assert "/opt/imdb-producer-duckdb/" in wrapper
    assert ("/opt/imdb-producer-fast/" in wrapper) == bool(variables["producer_fast"])


@pytest.mark.skipif("MOLECULE_SCENARIO_NAME" not in os.environ, reason="it restarts the producer")
def test_look_for_new_dumps_restarts_it(host: Host) -> None:
    sends_or_has_sent(host)
    before = shown(host, "imdb-producer", "InvocationID")
    with host.sudo():
        host.check_output("systemctl start imdb-producer-refresh")
    wait_for(
        "the producer runs anew",
        lambda: (
            shown(host, "imdb-producer", "ActiveState"),
            shown(host, "imdb-producer", "InvocationID"),
        ),
        lambda state: state[0] == "active" and state[1] != before,
        60,
    )
