"""Wrong values are refused before anything changes, with their name and what to do.

On this machine: a preflight only reads. tests/pipeline/test_wrong_input.py does it on real hosts.
"""

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

ROOT = Path(__file__).resolve().parents[2]
INT, FLOAT = "unable to convert to int", "unable to convert to float"
DEEP = "two folders deep"
ALONE = "a folder for this alone"
REFUSED = ("'my_host'", "Spark refuses", "without _")
USER = {"name": "a", "password": "long-and-random-enough"}
SECRET = "MDEyMzQ1Njc4OWFiY2RlZg=="
MEMORY = "512 MiB of memory"
KAFKA_TLS = {
    "kafka_heap_size": "256m",
    "kafka_certificate": "/etc/ssl/a/kafka.pem",
    "kafka_ca": "/etc/ssl/a/ca.pem",
    "kafka_broker_password": "of-the-brokers-0123",
    "kafka_admin_password": "of-the-operator-0123",
}

# A role, the variables that it gets, and what it must say of them.
WRONG: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("java", {"java_supported_versions": ["ten"]}, ("java_supported_versions", INT)),
    ("zookeeper", {"zookeeper_tick_time": "abc"}, ("zookeeper_tick_time", INT)),
    ("zookeeper", {"zookeeper_data_dir": "var/lib/zookeeper"}, ("zookeeper_data_dir", DEEP)),
    ("zookeeper", {"zookeeper_heap_size": "600m"}, (MEMORY, "zookeeper_heap_size=600")),
    ("zookeeper", {"zookeeper_max_session_timeout_ms": 3000}, ("max_session", "Give 4000")),
    ("kafka", {"kafka_start_timeout": "abc"}, ("kafka_start_timeout", INT)),
    ("kafka", {"kafka_data_dir": "/data"}, ("kafka_data_dir", "'/data'", DEEP)),
    ("kafka", {"kafka_data_dir": "/var/.."}, ("kafka_data_dir", DEEP)),
    ("kafka", {"kafka_tmp_dir": "tmp"}, ("kafka_tmp_dir", DEEP)),
    ("kafka", {"kafka_tmp_dir": "/var/tmp"}, ("kafka_tmp_dir", "'/var/tmp'", ALONE)),
    ("kafka", {"kafka_tmp_dir": "/var/cache/"}, ("kafka_tmp_dir", ALONE)),
    ("kafka", {"kafka_tmp_dir": "/var/lib/kafka"}, ("kafka_tmp_dir", ALONE)),
    ("kafka", {"kafka_tmp_dir": "/opt/kafka"}, ("kafka_tmp_dir", ALONE)),
    (
        "kafka",
        {"kafka_data_dir": "/srv/kafka/", "kafka_tmp_dir": "/srv/kafka"},
        ("kafka_tmp_dir", ALONE),
    ),
    (
        "kafka",
        {"kafka_data_dir": "/srv/kafka", "kafka_tmp_dir": "/srv/kafka/tmp"},
        ("kafka_tmp_dir", ALONE),
    ),
    (
        "kafka",
        {"kafka_data_dir": "/srv/kafka/data", "kafka_tmp_dir": "/srv/kafka"},
        ("kafka_tmp_dir", ALONE),
    ),
    ("kafka", {"kafka_address": "0.0.0.0"}, ("kafka_address", "'0.0.0.0'")),
    ("kafka", {"kafka_external_address": "broker 1"}, ("kafka_external_address", "'broker 1'")),
    ("kafka", {}, (MEMORY, "kafka_heap_size=1024", "Ask for less")),
    ("kafka", {"kafka_port": 9094}, ("kafka_port", "9094", "two that are open are the same")),
    ("kafka", {"kafka_certificate": "/etc/ssl/a/kafka.pem"}, ("kafka_ca is ''", "both files")),
    ("kafka", {"kafka_plaintext": False}, ("kafka_plaintext", "Give a certificate")),
    ("kafka", {"kafka_zookeeper_tls": True}, ("kafka_zookeeper_tls", "no kafka_certificate")),
    ("kafka", KAFKA_TLS | {"kafka_secure_port": 9094}, ("kafka_secure_port", "are the same")),
    ("kafka", KAFKA_TLS | {"kafka_broker_password": "short"}, ("have 5 and 20", "16 or more")),
    (
        "kafka",
        KAFKA_TLS | {"kafka_broker_password": 'with-a-"quotation"-mark'},
        ("kafka_broker_password", "letters, digits"),
    ),
    (
        "kafka",
        KAFKA_TLS | {"kafka_admin_password": KAFKA_TLS["kafka_broker_password"]},
        ("kafka_admin_password", "are the same"),
    ),
    ("kafka", KAFKA_TLS | {"kafka_broker_user": "other"}, ("'other'", "kafka_broker_users")),
    ("kafka", KAFKA_TLS | {"kafka_admin_user": "kafka"}, ("kafka_admin_user", "name of its own")),
    ("kafka", KAFKA_TLS | {"kafka_super_users": ["ANONYMOUS"]}, ("ANONYMOUS", "Leave it out")),
    (
        "kafka",
        KAFKA_TLS | {"kafka_inter_broker_plaintext": True},
        ("kafka_inter_broker_plaintext", "then close the port"),
    ),
    (
        "kafka",
        KAFKA_TLS | {"kafka_zookeeper_tls": False, "kafka_zookeeper_set_acl": True},
        ("kafka_zookeeper_set_acl", "both be true"),
    ),
    ("firewall", {"firewall_ssh_port": 0}, ("firewall_ssh_port is '0'", "that sshd listens on")),
    ("firewall", {"firewall_ssh_sources": ["my.host"]}, ("has my.host", "Names are not looked up")),
    ("firewall", {"firewall_rollback_after": 5}, ("firewall_rollback_after is '5'", "Give 20")),
    (
        "firewall",
        {"firewall_rules": [{"name": "a", "ports": [1, 2], "sources": ["b"]}]},
        ("firewall_rules has the source 'b'", "host_address"),
    ),
    ("kafka_topic", {"kafka_topic_wait_timeout": "x"}, ("kafka_topic_wait_timeout", INT)),
    ("kafka_topic", {"kafka_topic_security": {"password": "x"}}, ("security has password;",)),
    ("kafka_topic", {"kafka_topic_security": {"sasl_mechanism": "x"}}, ("username", "missing")),
    ("kafka_topic", {"kafka_topic_users": [{"name": "a,b"}]}, ("names a,b", "16 characters")),
    ("kafka_topic", {"kafka_topic_users": [USER, USER]}, ("names a, a", "another one")),
    ("kafka_topic", {"kafka_topic_users": [USER | {"rights": ["all"]}]}, ("the rights all",)),
    ("kafka_topic", {"kafka_topic_behind_ms": -2}, ("kafka_topic_behind_ms", "'-2'", "or -1")),
    ("spark", {"spark_uid": "x"}, ("spark_uid", INT)),
    ("spark", {"spark_work_root": "/srv"}, ("spark_work_root", DEEP)),
    ("spark", {"spark_output_dirs": ["/a/b", "/a b/c"]}, ("spark_output_dirs", "/a b/c", DEEP)),
    ("spark", {"spark_s3": True}, ("spark_s3_region", "s3a://", "fs.s3a.endpoint")),
    ("spark", {"spark_s3": True, "spark_s3_region": "Frankfurt"}, ("'Frankfurt'", "eu-central-1")),
    ("spark", {"spark_log_level": "loud"}, ("spark_log_level", "'loud'")),
    ("spark", {"spark_executor_log_mb": 0}, ("spark_executor_log_mb", "from 1 up")),
    ("spark", {"spark_secret": "short"}, ("spark_secret has 5 characters", "Give 16")),
    ("spark", {"spark_secret": "of a hundred words"}, ("spark_secret has 18", "others than A-Z")),
    ("spark", {"spark_ui_certificate": "/etc/a.p12"}, ("'/etc/a.p12'", "Give both or neither")),
    (
        "spark",
        {"spark_secret": SECRET, "spark_defaults": {"spark.authenticate": False}},
        ("spark_defaults names spark.authenticate,", "Leave it out"),
    ),
    ("spark_master", {"spark_master_webui_certificate": "/a.p12"}, ("webui_ca", "both files")),
    ("spark_master", {"spark_master_zookeeper_ca": "/a.pem"}, ("zookeeper_ca", "both files")),
    (
        "spark_master",
        {"spark_master_zookeeper_certificate": "/b.pem", "spark_master_zookeeper_ca": "/a.pem"},
        ("spark_master_recovery_zookeeper names no server",),
    ),
    ("spark_worker", {"spark_worker_webui_ca": "/a.pem"}, ("webui_certificate", "both files")),
    ("spark_master", {"spark_master_address": "my_host"}, ("spark_master_address", *REFUSED)),
    ("spark_master", {"spark_master_address": "node.1"}, ("spark_master_address", "'node.1'")),
    ("spark_worker", {"spark_worker_address": "my_host"}, ("spark_worker_address", *REFUSED)),
    (
        "spark_worker",
        {"spark_worker_masters": "spark://right:7077,my_host:7077"},
        ("spark_worker_masters names my_host,", "without _"),
    ),
    # By default it is what the inventory calls the host.
    ("spark_worker", {"ansible_host": "my_host"}, ("spark_worker_address", *REFUSED)),
    ("streaming", {"streaming_address": "my_host"}, ("streaming_address", *REFUSED)),
    (
        "streaming",
        {"streaming_master": "spark://my_host:7077"},
        ("streaming_master names my_host",),
    ),
    ("spark_master", {"spark_master_start_timeout": "x"}, ("spark_master_start_timeout", INT)),
    ("spark_master", {"spark_master_recovery_dir": "/"}, ("spark_master_recovery_dir", DEEP)),
    ("spark_master", {"spark_master_memory_mb": 600}, (MEMORY, "spark_master_memory_mb=600")),
    ("spark_worker", {"spark_worker_memory_mb": "lots"}, ("spark_worker_memory_mb", INT)),
    ("spark_worker", {"spark_worker_scratch_dir": "/tmp"}, ("spark_worker_scratch_dir", DEEP)),
    ("spark_worker", {"spark_worker_writable_paths": ["/"]}, ("writable_paths", "'/'", DEEP)),
    # With its own JVM: 256 alone would fit.
    ("spark_worker", {"spark_worker_memory_mb": 256}, (MEMORY, "spark_worker_memory_mb=256")),
    ("standby", {"standby_session_seconds": "x"}, ("standby_session_seconds", INT)),
    ("standby", {"standby_ca": "/ca.pem"}, ("standby_certificate is ''", "TLS needs both")),
    ("standby", {"standby_ca": "ca-1"}, ("standby_ca is 'ca-1'", "absolute paths")),
    ("streaming", {"streaming_cores_max": "x"}, ("streaming_cores_max", INT)),
    ("streaming", {"streaming_output_path": "/tables"}, ("streaming_output_path", DEEP)),
    ("streaming", {"streaming_spark_work_dir": "tmp"}, ("streaming_spark_work_dir", DEEP)),
    ("streaming", {"streaming_user_name": "a b"}, ("streaming_user_name", "'a b'", "blanks")),
    ("streaming", {"streaming_user_name": "a"}, ("has 0 characters", "needs all three")),
    ("streaming", {"streaming_password": "a b"}, ("streaming_password holds a blank",)),
    ("streaming", {"streaming_password": 'a"b'}, ("streaming_password holds a blank",)),
    ("streaming", {"streaming_password": "a\\b"}, ("streaming_password holds a blank",)),
    ("streaming", {"streaming_ca": "ca-2"}, ("streaming_ca is 'ca-2'", "absolute paths")),
    (
        "streaming",
        {"streaming_zookeeper_certificate": "/streaming.pem"},
        ("streaming_zookeeper_certificate", "TLS needs both"),
    ),
    ("streaming", {}, (MEMORY, "streaming_driver_memory_mb=1024")),
    ("producer", {"producer_uid": "x"}, ("producer_uid", INT)),
    ("producer", {"producer_msgs_per_sec": "ten"}, ("producer_msgs_per_sec", FLOAT)),
    ("producer", {"producer_data_dir": "/srv/a b"}, ("producer_data_dir", DEEP)),
    (
        "producer",
        {"producer_https_proxy": "socks5://u:secret@proxy:1080"},
        ("producer_https_proxy", "'socks5://***proxy:1080'", "http://host:port"),
    ),
    ("producer", {"producer_user_name": "a b"}, ("producer_user_name", "'a b'", "blanks")),
    ("producer", {"producer_user_name": "a"}, ("has 0 characters", "needs all three")),
    ("producer", {"producer_password": "a\tb"}, ("producer_password holds a control",)),
    ("producer", {"producer_ca": "ca-1"}, ("producer_ca is 'ca-1'", "absolute paths")),
    (
        "producer",
        {"producer_zookeeper_ca": "/ca.pem"},
        ("producer_zookeeper_certificate", "TLS needs both"),
    ),
    ("producer", {"producer_no_proxy": "a, b"}, ("producer_no_proxy", "'a, b'", "commas")),
    ("volumes", {"volumes_device_timeout": "x"}, ("volumes_device_timeout", INT)),
]
RIGHT: list[tuple[str, dict[str, Any]]] = [
    ("zookeeper", {"zookeeper_data_dir": "/srv/zookeeper/"}),
    ("producer", {"producer_https_proxy": "http://u:p%24@proxy:3128/", "producer_no_proxy": "*"}),
    (
        "producer",
        {
            "producer_user_name": "imdb-producer",
            "producer_password": "a 'b\" $c\\d",
            "producer_ca": "/etc/ssl/imdb-pipeline/ca.pem",
            "producer_zookeeper_certificate": "/etc/ssl/imdb-pipeline/producer.pem",
            "producer_zookeeper_ca": "/etc/ssl/imdb-pipeline/ca.pem",
        },
    ),
    ("kafka", {"kafka_heap_size": "512m", "kafka_data_dir": "/srv/kafka"}),
    ("spark", {"spark_s3": True, "spark_s3_region": "us-gov-west-1"}),
    (
        "spark",
        {"spark_s3": True, "spark_defaults": {"spark.hadoop.fs.s3a.endpoint": "s3.lan:9000"}},
    ),
    ("kafka", {"kafka_heap_size": "512m", "kafka_address": "under_score.example"}),
    ("kafka", {"kafka_heap_size": "512m", "kafka_tmp_dir": "/var/cache/deep/kafka"}),
    ("kafka", {"kafka_heap_size": "512m", "kafka_tmp_dir": "/srv/kafka-tmp"}),
    ("spark", {"spark_secret": SECRET, "spark_defaults": {"spark.network.timeout": "60s"}}),
    ("kafka", KAFKA_TLS),
    ("kafka", KAFKA_TLS | {"kafka_plaintext": True, "kafka_inter_broker_plaintext": True}),
    ("kafka", KAFKA_TLS | {"kafka_port": 9093, "kafka_listener_name": "SASL_SSL"}),
    ("spark_master", {"spark_master_address": "127.0.0.1"}),
    ("spark_master", {"spark_master_address": "node-1.example"}),
    (
        "streaming",
        {
            "streaming_driver_memory_mb": 512,
            "streaming_output_path": "s3a://b/parquet",
            "streaming_address": "192.0.2.1",
            "streaming_user_name": "imdb-streaming",
            "streaming_password": "a-_9=:#!$[]{}'~",
            "streaming_ca": "/etc/ssl/imdb-pipeline/ca.pem",
            "streaming_zookeeper_certificate": "/etc/ssl/imdb-pipeline/streaming.pem",
            "streaming_zookeeper_ca": "/etc/ssl/imdb-pipeline/ca.pem",
        },
    ),
]


def name(role: str, values: dict[str, Any]) -> str:
    """A host's name for its role and values."""
    return re.sub(r"[^a-z0-9_.]+", "-", f"{role}-{json.dumps(values)}".lower())


def ansible_playbook(
    *arguments: str | Path, folder: Path = ROOT, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook, plain and without the tests' inventories."""
    given = {key: it for key, it in os.environ.items() if not key.startswith("ANSIBLE_")}
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), *arguments],
        cwd=folder,
        env=given
        | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
        | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def refusals(output: str) -> dict[str, str]:
    """What each host that failed says."""
    found = re.findall(r"^fatal: \[(\S+)\]: FAILED! => (\{.*\})$", output, re.MULTILINE)
    return {host: " ".join(json.loads(result)["msg"].split()) for host, result in found}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each host's preflight says; one run for all, as most of its time is the start."""
    folder = tmp_path_factory.mktemp("preflight")
    cases = [(role, values) for role, values, _ in WRONG] + RIGHT
    hosts = {name(role, values): {"role": role} | values for role, values in cases}
    inventory = {
        "all": {
            "hosts": hosts,
            "vars": {
                "ansible_connection": "local",
                "ansible_host": "127.0.0.1",
                "ansible_python_interpreter": sys.executable,
                "service_host_memory_mb": 512,
            },
        }
    }
    play = {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [{"include_role": {"name": "{{ role }}", "tasks_from": "preflight"}}],
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    (folder / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    done = ansible_playbook(
        "-i",
        "hosts.yml",
        "play.yml",
        folder=folder,
        environment={"ANSIBLE_ROLES_PATH": str(ROOT / "roles")},
    )
    assert "changed=1" not in done.stdout
    return refusals(done.stdout) | {"": done.stdout}


@pytest.mark.parametrize(("role", "values", "words"), WRONG, ids=[name(*it[:2]) for it in WRONG])
def test_wrong_value_is_refused(
    said: dict[str, str], role: str, values: dict[str, Any], words: tuple[str, ...]
) -> None:
    message = said.get(name(role, values), "accepted")
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(("role", "values"), RIGHT, ids=[name(*it) for it in RIGHT])
def test_right_value_is_taken(said: dict[str, str], role: str, values: dict[str, Any]) -> None:
    assert name(role, values) not in said
    assert name(role, values) in said[""]


def check(tmp_path: Path, *values: str) -> str:
    """Run ansible/check.yml with one host that is all of the pipeline: this machine."""
    groups = ("zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer")
    host = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "host_address": "127.0.0.1",
        "host_external_address": "127.0.0.1",
    }
    inventory = {"all": {"children": {group: {"hosts": {"here": host}} for group in groups}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    done = ansible_playbook(
        "-i",
        ROOT / "inventories/pipeline/hosts.yml",
        "-i",
        tmp_path / "hosts.yml",
        ROOT / "ansible/check.yml",
        *(part for value in values for part in ("-e", value)),
    )
    assert "changed=0" in done.stdout
    return refusals(done.stdout).get("here", done.stdout + done.stderr)


def test_types_of_all_roles_are_checked_before_the_first_runs(tmp_path: Path) -> None:
    # The last role that is imported.
    assert FLOAT in check(tmp_path, "producer_msgs_per_sec=ten")


def test_the_sum_of_what_is_asked_is_compared_with_what_the_machine_has(tmp_path: Path) -> None:
    kib = re.search(r"MemTotal: *(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"))
    assert kib
    # Each alone would fit.
    part = int(kib[1]) // 1024 * 6 // 10
    message = check(
        tmp_path,
        f"kafka_heap_size={part}m",
        f"streaming_driver_memory_mb={part}",
        "producer_basics=https://a/b",
        "producer_ratings=https://a/c",
    )
    assert f"kafka_heap_size={part}, " in message
    assert f"streaming_driver_memory_mb={part}, " in message
