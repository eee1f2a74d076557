"""Which values reach the roles: shared, an environment's own, and what terraform hands over."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from hosts import ROOT

from ..variables import HostVariables, Variables

SHARED = ROOT / "inventories/pipeline/hosts.yml"
EXAMPLE = ROOT / "inventories/example/hosts.yml"


def test_the_example_is_a_pipeline() -> None:
    listed = subprocess.run(
        ["ansible-inventory", "-i", SHARED, "-i", EXAMPLE, "--list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "WARNING" not in listed.stderr, listed.stderr
    groups = json.loads(listed.stdout)
    for group in ("zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer"):
        assert groups[group]["hosts"], group


def test_hosts_written_by_hand_need_an_address_alone() -> None:
    variables = Variables([str(SHARED), str(EXAMPLE)])
    first, third = variables.of("core-1"), variables.of("core-3")
    connect = "192.0.2.11:2281,192.0.2.12:2281,10.0.0.13:2281"
    assert first["kafka_zookeeper_connect"] == connect
    assert (first["kafka_address"], first["kafka_external_address"]) == ("192.0.2.11",) * 2
    assert (third["kafka_address"], third["kafka_external_address"]) == ("10.0.0.13", "192.0.2.13")
    assert (third["kafka_broker_id"], third["kafka_rack"]) == (3, "c")
    assert first["service_host_memory_mb"] == 0
    assert not first["host_emulated"]


def variables_of(folder: Path, knobs: dict[str, object], **facts: object) -> HostVariables:
    """Return a host's variables in an environment with these knobs, and facts of terraform's."""
    hosts = {"h": {"ansible_host": "192.0.2.1", **facts}}
    groups = ("zookeeper", "kafka", "streaming")
    children: dict[str, object] = {group: {"hosts": {"h": {}}} for group in groups}
    inventory = {"all": {"hosts": hosts, "children": children}}
    (folder / "group_vars/all").mkdir(parents=True)
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    (folder / "group_vars/all/knobs.yml").write_text(yaml.safe_dump(knobs), encoding="utf-8")
    return Variables([str(SHARED), str(folder / "hosts.yml")]).of("h")


@pytest.mark.parametrize(
    ("name", "fact", "handed_over", "value", "own"),
    [
        ("streaming_output_path", "host_output", "s3a://b", "s3a://b/parquet", "/srv/parquet"),
        ("streaming_output_path_csv", "host_output", "s3a://b", "s3a://b/csv", "/srv/csv"),
        ("kafka_default_replication_factor", "host_replication_factor", 2, 2, 1),
    ],
)
def test_what_a_person_wrote_wins_over_what_terraform_hands_over(
    tmp_path: Path, name: str, fact: str, handed_over: object, value: object, own: object
) -> None:
    facts = {fact: handed_over}
    assert variables_of(tmp_path / "handed", {}, **facts)[name] == value
    assert variables_of(tmp_path / "own", {name: own}, **facts)[name] == own


def test_terraform_hands_over_facts_of_hosts_alone() -> None:
    """No name that a role or inventories/pipeline sets: it would win over what a person wrote."""
    module = (ROOT / "terraform/modules/inventory/main.tf").read_text(encoding="utf-8")
    _, _, variables = module.partition("hosts = { for name, host in var.hosts : name => merge({")
    names = [
        line.split("=")[0].strip()
        for line in variables.partition("children =")[0].splitlines()
        if "=" in line and not line.strip().startswith(("#", "host.", "length", "var.", "{"))
    ]
    assert len(names) > 8
    assert [name for name in names if not name.startswith(("ansible_", "host_"))] == []


SECRETS = {
    "pipeline_security": True,
    **{f"secret_{it}": f"the secret of {it}" for it in ("certificate_authority", "keystores")},
    **{f"secret_kafka_{it}": f"new of {it}" for it in ("brokers", "operator", "producer")},
    "secret_kafka_streaming": "new of streaming",
    "secret_spark": "the secret of spark",
}
USERS = ("kafka_broker_user", "kafka_admin_user", "producer_user_name", "streaming_user_name")


@pytest.mark.parametrize(
    ("secrets", "names"),
    [
        ({}, ["kafka", "admin", "producer", "streaming"]),
        ({"secret_users_suffix": ""}, ["kafka", "admin", "producer", "streaming"]),
        ({"secret_users_suffix": "-2"}, ["kafka-2", "admin-2", "producer-2", "streaming-2"]),
    ],
)
def test_the_secrets_say_which_name_of_a_user_is_in_use(
    tmp_path: Path, secrets: dict[str, object], names: list[str]
) -> None:
    found = variables_of(tmp_path, SECRETS | secrets)
    assert [found[name] for name in USERS] == names
    assert [user["name"] for user in found["kafka_topic_users"]] == names[2:]
    assert found["kafka_topic_security"]["sasl_plain_username"] == names[1]
    assert found["pipeline_spark_together"] is False


def test_while_a_rotation_is_under_way_both_names_of_a_client_are_users(tmp_path: Path) -> None:
    before = {"secret_users_suffix": "-2", "secret_kafka_producer": "old of producer"}
    before["secret_kafka_streaming"] = "old of streaming"
    record = {"left": ["passwords", "spark"], "before": before}
    found = variables_of(tmp_path, SECRETS | {"pipeline_rotation": record})
    users = {user["name"]: user["password"] for user in found["kafka_topic_users"]}
    assert users == {
        "producer": "new of producer",
        "streaming": "new of streaming",
        "producer-2": "old of producer",
        "streaming-2": "old of streaming",
    }
    # Processes of Spark with the old secret and with the new do not speak to each other.
    assert found["pipeline_spark_together"] is True


@pytest.mark.parametrize("mode", ["zookeeper", "kraft"])
def test_without_zookeeper_a_host_has_no_part_in_it(tmp_path: Path, mode: str) -> None:
    found = variables_of(tmp_path, SECRETS | {"kafka_mode": mode, "pipeline_monitoring": True})
    there = mode == "zookeeper"
    assert (found["kafka_version"] < "4") == there
    assert bool(found["gates_zookeeper"]) == there
    assert len(found["gates_kafka"]) == 1
    for name, of_it in {
        "certificates_services": [it["name"] for it in found["certificates_services"]],
        "exporters_sources": [it["path"] for it in found["exporters_sources"]],
        "exporters_units": [it.removesuffix(".service") for it in found["exporters_units"]],
        "dashboard_units": found["dashboard_units"],
        "prometheus_targets": [it["job"] for it in found["prometheus_targets"]],
        "pipeline_memory_parts": [it.split("_")[0] for it in found["pipeline_memory_parts"]],
    }.items():
        assert ("zookeeper" in of_it) == there, name
        assert "kafka" in of_it, name
    assert found["kafka_certificate_subjects"] == ["CN=kafka"]
    # What nobody connects to is named nowhere.
    assert (found["kafka_zookeeper_connect"] == "192.0.2.1:2281") == there
