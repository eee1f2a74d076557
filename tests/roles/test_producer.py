"""The producer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hosts import ROOT
from testinfra.host import Host

from ..variables import HostVariables
from .checks import (
    environment,
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

# The program's environment, and the variables that it follows from.
SETTINGS = {
    "KAFKA_BOOTSTRAP_SERVERS": "producer_bootstrap_servers",
    "KAFKA_TOPIC": "producer_topic",
    "MSGS_PER_SEC": "producer_msgs_per_sec",
    "PRODUCER_LIMIT": "producer_limit",
}


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


def test_is_confined(host: Host) -> None:
    is_confined(host, "imdb-producer")


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
