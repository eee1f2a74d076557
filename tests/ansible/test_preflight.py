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

KRAFT = {"kafka_mode": "kraft", "kafka_heap_size": "256m"}

# A role, the variables that it gets, and what it must say of each that is wrong. Types are checked
# before anything else, and memory after all else, so they are alone.
WRONG: list[tuple[str, dict[str, Any], list[tuple[str, ...]]]] = [
    ("java", {"java_supported_versions": ["ten"]}, [("java_supported_versions", INT)]),
    ("zookeeper", {"zookeeper_tick_time": "abc"}, [("zookeeper_tick_time", INT)]),
    (
        "zookeeper",
        {"zookeeper_data_dir": "var/lib/zookeeper", "zookeeper_max_session_timeout_ms": 3000},
        [("zookeeper_data_dir", DEEP), ("max_session", "Give 4000")],
    ),
    ("zookeeper", {"zookeeper_heap_size": "600m"}, [(MEMORY, "zookeeper_heap_size=600")]),
    ("kafka", {"kafka_start_timeout": "abc"}, [("kafka_start_timeout", INT)]),
    (
        "kafka",
        {
            "kafka_data_dir": "/data",
            "kafka_tmp_dir": "tmp",
            "kafka_address": "0.0.0.0",
            "kafka_external_address": "broker 1",
            "kafka_plaintext": False,
            "kafka_zookeeper_tls": True,
            "kafka_version": "4.4.0",
        },
        [
            ("kafka_version is 4.4.0", "3.9 is the last line", "kafka_mode: kraft"),
            ("kafka_data_dir is '/data'", DEEP),
            ("kafka_tmp_dir is 'tmp'", DEEP),
            ("kafka_address", "'0.0.0.0'"),
            ("kafka_external_address", "'broker 1'"),
            ("kafka_plaintext", "Give a certificate"),
            ("kafka_zookeeper_tls", "no kafka_certificate"),
        ],
    ),
    (
        "kafka",
        {
            "kafka_data_dir": "/var/..",
            "kafka_tmp_dir": "/var/tmp",
            "kafka_certificate": "/etc/ssl/a/kafka.pem",
            "kafka_version": "latest",
        },
        [
            ("kafka_version is 'latest'", "such as 3.9.2"),
            ("kafka_data_dir is '/var/..'", DEEP),
            ("kafka_tmp_dir", "'/var/tmp'", ALONE),
            ("kafka_ca is ''", "both files"),
        ],
    ),
    ("kafka", {"kafka_tmp_dir": "/var/cache/"}, [("kafka_tmp_dir", ALONE)]),
    ("kafka", {"kafka_tmp_dir": "/var/lib/kafka"}, [("kafka_tmp_dir", ALONE)]),
    (
        "kafka",
        {"kafka_tmp_dir": "/opt/kafka", "kafka_port": 9094},
        [("kafka_tmp_dir", ALONE), ("kafka_port", "9094", "two that are open are the same")],
    ),
    (
        "kafka",
        {"kafka_data_dir": "/srv/kafka/", "kafka_tmp_dir": "/srv/kafka"},
        [("kafka_tmp_dir", ALONE)],
    ),
    (
        "kafka",
        {"kafka_data_dir": "/srv/kafka", "kafka_tmp_dir": "/srv/kafka/tmp"},
        [("kafka_tmp_dir", ALONE)],
    ),
    (
        "kafka",
        {"kafka_data_dir": "/srv/kafka/data", "kafka_tmp_dir": "/srv/kafka"},
        [("kafka_tmp_dir", ALONE)],
    ),
    ("kafka", {}, [(MEMORY, "kafka_heap_size=1024", "Ask for less")]),
    (
        "kafka",
        KAFKA_TLS
        | {
            "kafka_secure_port": 9094,
            "kafka_broker_password": "short",
            "kafka_broker_user": "other",
            "kafka_super_users": ["ANONYMOUS"],
            "kafka_inter_broker_plaintext": True,
            "kafka_zookeeper_tls": False,
            "kafka_zookeeper_set_acl": True,
        },
        [
            ("kafka_secure_port", "are the same"),
            ("have 5 and 20", "16 or more"),
            ("'other'", "kafka_broker_users"),
            ("ANONYMOUS", "Leave it out"),
            ("kafka_inter_broker_plaintext", "then close the port"),
            ("kafka_zookeeper_set_acl", "both be true"),
        ],
    ),
    (
        "kafka",
        KAFKA_TLS
        | {"kafka_broker_password": 'with-a-"quotation"-mark', "kafka_admin_users": ["kafka"]},
        [("kafka_broker_password", "letters, digits"), ("kafka_admin_users", "name of its own")],
    ),
    (
        "kafka",
        KAFKA_TLS | {"kafka_admin_password": KAFKA_TLS["kafka_broker_password"]},
        [("kafka_admin_password", "are the same")],
    ),
    ("kafka", KAFKA_TLS | {"kafka_admin_user": "other"}, [("'other'", "kafka_admin_users")]),
    (
        "kafka",
        KAFKA_TLS
        | {
            "kafka_properties": {
                "allow.everyone.if.no.acl.found": True,
                "listeners": "PLAINTEXT://:9092",
                "listener.name.sasl_ssl.ssl.client.auth": "none",
                "ssl.endpoint.identification.algorithm": "",
                "zookeeper.set.acl": False,
                "log.cleaner.enable": True,
            }
        },
        [
            (
                "kafka_properties names allow.everyone.if.no.acl.found, listener.name.sasl_ssl.",
                "auth, listeners, ssl.endpoint.identification.algorithm, zookeeper.set.acl, which",
                "Leave it out",
            )
        ],
    ),
    ("kafka", {"kafka_mode": "zk"}, [("kafka_mode", "zookeeper, kraft", "zk")]),
    (
        "kafka",
        KRAFT
        | {
            "kafka_controller_address": "0.0.0.0",
            "kafka_controller_port": 9094,
            "kafka_listener_name": "controller",
            "kafka_log_segment_bytes": 65536,
            "kafka_properties": {
                "zookeeper.connect": "a:2181",
                "inter.broker.protocol.version": "3.8",
                "controller.quorum.voters": "1@a:9095",
                "log.message.format.version": "3.0",
                "log.cleaner.enable": True,
            },
        },
        [
            ("kafka_controller_address is '0.0.0.0'", "an address of this host"),
            ("kafka_controller_port", "9094", "are the same"),
            ("the listeners' names", "CONTROLLER", "are the same"),
            ("is 65536", "Kafka 4.4.0 refuses", "1048576"),
            (
                "controller.quorum.voters, inter.broker.protocol.version, zookeeper.connect,",
                "log.message.format.version, which",
                "Leave it out",
            ),
        ],
    ),
    (
        "kafka",
        KRAFT | {"kafka_properties": {"log.segment.bytes": 65536}, "kafka_version": "5.0.0"},
        [("log.segment.bytes", "is 65536"), ("kafka_version is 5.0.0", "3.9 and 4")],
    ),
    (
        "kafka",
        KAFKA_TLS | KRAFT | {"kafka_certificate_subjects": ["kafka", "CN=a;User:b"]},
        [("kafka_certificate_subjects is ['kafka'", "CN=kafka")],
    ),
    (
        "kafka",
        KAFKA_TLS | KRAFT | {"kafka_certificate_subjects": [], "kafka_version": "3.8.1"},
        [
            ("kafka_certificate_subjects is []", "CN=kafka"),
            ("kafka_version is 3.8.1", "3.9 and 4", "such as 4.4.0"),
        ],
    ),
    (
        "firewall",
        {
            "firewall_ssh_port": 0,
            "firewall_ssh_sources": ["my.host"],
            "firewall_rollback_after": 5,
            "firewall_rules": [{"name": "a", "ports": [1, 2], "sources": ["b"]}],
        },
        [
            ("firewall_ssh_port is '0'", "that sshd listens on"),
            ("has my.host", "Names are not looked up"),
            ("firewall_rollback_after is '5'", "Give 20"),
            ("firewall_rules has the source 'b'", "host_address"),
        ],
    ),
    ("kafka_topic", {"kafka_topic_wait_timeout": "x"}, [("kafka_topic_wait_timeout", INT)]),
    (
        "kafka_topic",
        {
            "kafka_topic_security": {"password": "x"},
            "kafka_topic_users": [{"name": "a,b"}],
            "kafka_topic_behind_ms": -2,
        },
        [
            ("security has password;",),
            ("names a,b", "16 characters"),
            ("kafka_topic_behind_ms", "'-2'", "or -1"),
        ],
    ),
    (
        "kafka_topic",
        {
            "kafka_topic_security": {"sasl_mechanism": "x"},
            "kafka_topic_users": [USER, USER, USER | {"name": "c", "rights": ["all"]}],
        },
        [("username", "missing"), ("names a, a", "another one"), ("the rights all",)],
    ),
    ("spark", {"spark_uid": "x"}, [("spark_uid", INT)]),
    (
        "spark",
        {
            "spark_work_root": "/srv",
            "spark_output_dirs": ["/a/b", "/a b/c"],
            "spark_s3": True,
            "spark_log_level": "loud",
            "spark_executor_log_mb": 0,
            "spark_secret": "short",
            "spark_ui_certificate": "/etc/a.p12",
        },
        [
            ("spark_work_root", DEEP),
            ("spark_output_dirs", "/a b/c", DEEP),
            ("spark_s3_region", "s3a://", "fs.s3a.endpoint"),
            ("spark_log_level", "'loud'"),
            ("spark_executor_log_mb", "from 1 up"),
            ("spark_secret has 5 characters", "Give 16"),
            ("'/etc/a.p12'", "Give both or neither"),
        ],
    ),
    (
        "spark",
        {
            "spark_s3": True,
            "spark_s3_region": "Frankfurt",
            "spark_secret": "of a hundred words",
        },
        [("'Frankfurt'", "eu-central-1"), ("spark_secret has 18", "others than A-Z")],
    ),
    (
        "spark",
        {
            "spark_secret": SECRET,
            "spark_defaults": {
                "spark.authenticate": False,
                "spark.redaction.regex": "mine",
                "spark.master.ui.decommission.allow.mode": "ALLOW",
            },
        },
        [
            ("spark_defaults names", "spark.authenticate,", "Leave it out"),
            ("spark.redaction.regex", "spark.master.ui.decommission.allow.mode"),
        ],
    ),
    ("spark_master", {"spark_master_start_timeout": "x"}, [("spark_master_start_timeout", INT)]),
    (
        "spark_master",
        {
            "spark_master_webui_certificate": "/a.p12",
            "spark_master_zookeeper_ca": "/a.pem",
            "spark_master_address": "my_host",
            "spark_master_recovery_dir": "/",
        },
        [
            ("webui_ca", "both files"),
            ("zookeeper_ca", "both files"),
            ("spark_master_address", *REFUSED),
            ("spark_master_recovery_dir", DEEP),
        ],
    ),
    (
        "spark_master",
        {
            "spark_master_zookeeper_certificate": "/b.pem",
            "spark_master_zookeeper_ca": "/a.pem",
            "spark_master_address": "node.1",
        },
        [
            ("spark_master_recovery_zookeeper names no server",),
            ("spark_master_address", "'node.1'"),
        ],
    ),
    ("spark_master", {"spark_master_memory_mb": 600}, [(MEMORY, "spark_master_memory_mb=600")]),
    (
        "spark_worker",
        {
            "spark_worker_webui_ca": "/a.pem",
            "spark_worker_address": "my_host",
            "spark_worker_masters": "spark://right:7077,a_master:7077",
            "spark_worker_scratch_dir": "/tmp",
            "spark_worker_writable_paths": ["/"],
        },
        [
            ("webui_certificate", "both files"),
            ("spark_worker_address", *REFUSED),
            ("spark_worker_masters names a_master,", "without _"),
            ("spark_worker_scratch_dir", DEEP),
            ("writable_paths", "'/'", DEEP),
        ],
    ),
    # By default it is what the inventory calls the host.
    ("spark_worker", {"ansible_host": "my_host"}, [("spark_worker_address", *REFUSED)]),
    ("spark_worker", {"spark_worker_memory_mb": "lots"}, [("spark_worker_memory_mb", INT)]),
    # With its own JVM: 256 alone would fit.
    ("spark_worker", {"spark_worker_memory_mb": 256}, [(MEMORY, "spark_worker_memory_mb=256")]),
    ("standby", {"standby_session_seconds": "x"}, [("standby_session_seconds", INT)]),
    ("standby", {"standby_ca": "/ca.pem"}, [("standby_certificate is ''", "TLS needs both")]),
    ("standby", {"standby_ca": "ca-1"}, [("standby_ca is 'ca-1'", "absolute paths")]),
    ("streaming", {"streaming_cores_max": "x"}, [("streaming_cores_max", INT)]),
    (
        "streaming",
        {
            "streaming_address": "my_host",
            "streaming_master": "spark://a_master:7077",
            "streaming_output_path": "/tables",
            "streaming_spark_work_dir": "tmp",
            "streaming_user_name": "a b",
            "streaming_password": "a b",
            "streaming_ca": "ca-2",
            "streaming_zookeeper_certificate": "/streaming.pem",
        },
        [
            ("streaming_address", *REFUSED),
            ("streaming_master names a_master",),
            ("streaming_output_path", DEEP),
            ("streaming_spark_work_dir", DEEP),
            ("streaming_user_name", "'a b'", "blanks"),
            ("streaming_password holds a blank",),
            ("streaming_ca is 'ca-2'", "absolute paths"),
            ("streaming_zookeeper_certificate", "TLS needs both"),
        ],
    ),
    ("streaming", {"streaming_user_name": "a"}, [("has 0 characters", "needs all three")]),
    ("streaming", {"streaming_password": 'a"b'}, [("streaming_password holds a blank",)]),
    ("streaming", {"streaming_password": "a\\b"}, [("streaming_password holds a blank",)]),
    ("streaming", {}, [(MEMORY, "streaming_driver_memory_mb=1024")]),
    (
        "producer",
        {"producer_uid": "x", "producer_msgs_per_sec": "ten"},
        [("producer_uid", INT), ("producer_msgs_per_sec", FLOAT)],
    ),
    (
        "producer",
        {
            "producer_data_dir": "/srv/a b",
            "producer_https_proxy": "socks5://u:secret@proxy:1080",
            "producer_user_name": "a b",
            "producer_password": "a\tb",
            "producer_ca": "ca-1",
            "producer_zookeeper_ca": "/ca.pem",
            "producer_no_proxy": "a, b",
        },
        [
            ("producer_data_dir", DEEP),
            ("producer_https_proxy", "'socks5://***proxy:1080'", "http://host:port"),
            ("producer_user_name", "'a b'", "blanks"),
            ("producer_password holds a control",),
            ("producer_ca is 'ca-1'", "absolute paths"),
            ("producer_zookeeper_certificate", "TLS needs both"),
            ("producer_no_proxy", "'a, b'", "commas"),
        ],
    ),
    ("producer", {"producer_user_name": "a"}, [("has 0 characters", "needs all three")]),
    ("volumes", {"volumes_device_timeout": "x"}, [("volumes_device_timeout", INT)]),
    ("exporters", {"exporters_port": "x"}, [("exporters_port", INT)]),
    (
        "exporters",
        {
            "exporters_port": 80,
            "exporters_address": "host-1",
            "exporters_certificate": "a.pem",
            "exporters_clients": ["prometheus"],
            "exporters_sources": [{"path": "node", "url": "ftp://a"}],
            "exporters_textfiles": [{"name": "A", "path": "a"}],
            "exporters_units": ["kafka"],
        },
        [
            ("exporters_port", "from 1024 to 65535"),
            ("exporters_address", "'host-1'"),
            ("exporters_certificate is 'a.pem'", "TLS needs both"),
            ("absolute paths",),
            ("exporters_clients", "CN=prometheus"),
            ("exporters_sources", "none is node"),
            ("exporters_sources", "ftp://a", "https://ADDRESS"),
            ("exporters_textfiles", "absolute path"),
            ("exporters_units", "kafka.service"),
        ],
    ),
    (
        "exporters",
        {"exporters_sources": [{"path": "a", "url": "https://127.0.0.1:4440/"}]},
        [("by https", "exporters_ca")],
    ),
    (
        "grafana",
        {
            "grafana_settings": "etc",
            "grafana_unit": "a.service",
            "grafana_prometheus_url": "localhost:9406",
            "grafana_scrape_seconds": 0,
            "grafana_title": "$HOME",
        },
        [
            ("grafana_settings is 'etc'", "/etc/grafana"),
            ("grafana_unit is 'a.service'", "without its ending"),
            ("grafana_prometheus_url is 'localhost:9406'", "http://"),
            ("grafana_scrape_seconds is '0'", "from 1 up"),
            ("grafana_title is '$HOME'", "without quotes"),
        ],
    ),
    ("grafana", {"grafana_unit": "nowhere"}, [("no unit nowhere", "Nothing was changed")]),
    ("prometheus", {"prometheus_retention_mb": "lots"}, [("prometheus_retention_mb", INT)]),
    (
        "prometheus",
        {
            "prometheus_port": 9407,
            "prometheus_scrape_seconds": 0,
            "prometheus_data_dir": "/data",
            "prometheus_ca": "ca",
            "prometheus_targets": [{"job": "a", "instance": "b", "address": "c", "path": "/d"}],
            "prometheus_webhook": "hook",
            "prometheus_mail_to": ["ops"],
            "prometheus_mail_user": "a",
        },
        [
            ("prometheus_port", "9407 and 9407"),
            ("prometheus_scrape_seconds", "'0'"),
            ("prometheus_data_dir is '/data'", DEEP),
            ("prometheus_ca is 'ca'", "TLS needs both"),
            ("absolute paths",),
            ("prometheus_targets", "host:port"),
            ("prometheus_webhook", "no address"),
            ("prometheus_mail_to", "Mail needs an address"),
            ("prometheus_mail_to has ops",),
            ("prometheus_mail_password has 0",),
        ],
    ),
    (
        "zookeeper",
        {"zookeeper_heap_size": "256m", "zookeeper_metrics_agent": "agent.jar"},
        [("zookeeper_metrics_agent", "'agent.jar'")],
    ),
    (
        "kafka",
        {"kafka_heap_size": "256m", "kafka_metrics_agent": "/a.jar", "kafka_metrics_port": 0},
        [("kafka_metrics_agent", "'/a.jar' and '0'")],
    ),
    ("spark", {"spark_metrics_namespace": "a-b"}, [("spark_metrics_namespace", "'a-b'")]),
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
    (
        "spark",
        {
            "spark_s3": True,
            "spark_s3_region": "us-gov-west-1",
            "spark_secret": SECRET,
            "spark_defaults": {"spark.network.timeout": "60s"},
        },
    ),
    (
        "spark",
        {"spark_s3": True, "spark_defaults": {"spark.hadoop.fs.s3a.endpoint": "s3.lan:9000"}},
    ),
    (
        "kafka",
        {
            "kafka_heap_size": "512m",
            "kafka_data_dir": "/srv/kafka",
            "kafka_tmp_dir": "/srv/kafka-tmp",
            "kafka_address": "under_score.example",
        },
    ),
    ("kafka", {"kafka_heap_size": "512m", "kafka_tmp_dir": "/var/cache/deep/kafka"}),
    ("kafka", KAFKA_TLS),
    ("kafka", KAFKA_TLS | {"kafka_properties": {"ssl.enabled.protocols": "TLSv1.3"}}),
    ("kafka", {"kafka_heap_size": "256m", "kafka_properties": {"super.users": "User:a"}}),
    ("kafka", KAFKA_TLS | {"kafka_plaintext": True, "kafka_inter_broker_plaintext": True}),
    ("kafka", KAFKA_TLS | {"kafka_port": 9093, "kafka_listener_name": "SASL_SSL"}),
    # Whatever is said of a ZooKeeper that is not there.
    ("kafka", KRAFT | {"kafka_zookeeper_connect": "", "kafka_zookeeper_tls": True}),
    ("kafka", KAFKA_TLS | KRAFT | {"kafka_version": "3.9.2", "kafka_log_segment_bytes": 65536}),
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
#: Each has a host, by the number of its row.
HOSTS = {f"wrong-{number}": row[:2] for number, row in enumerate(WRONG)} | {
    f"right-{number}": row for number, row in enumerate(RIGHT)
}
REFUSALS = [
    pytest.param(f"wrong-{number}", words, id=f"{role}-{words[0]}")
    for number, (role, _, problems) in enumerate(WRONG)
    for words in problems
]


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
    hosts = {host: {"role": role} | values for host, (role, values) in HOSTS.items()}
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
        environment={"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )
    assert "changed=1" not in done.stdout
    return refusals(done.stdout) | {"": done.stdout}


@pytest.mark.parametrize(("host", "words"), REFUSALS)
def test_wrong_value_is_refused(said: dict[str, str], host: str, words: tuple[str, ...]) -> None:
    message = said.get(host, "accepted")
    assert [word for word in words if word not in message] == [], (HOSTS[host], message)


@pytest.mark.parametrize("host", [host for host in HOSTS if host.startswith("right")])
def test_right_value_is_taken(said: dict[str, str], host: str) -> None:
    recap = re.search(rf"^{host} +: .* unreachable=0 +failed=0 ", said[""], re.MULTILINE)
    assert recap, (HOSTS[host], said.get(host))


def check(tmp_path: Path, *values: str, environment: dict[str, str] | None = None) -> str:
    """Run ansible/check.yml with one host that is all of the pipeline: this machine."""
    groups = ("zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer")
    host = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "host_address": "127.0.0.1",
        "host_external_address": "127.0.0.1",
        # Without secrets nothing else would be looked at.
        "pipeline_security": False,
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
        environment=environment,
    )
    assert "changed=0" in done.stdout
    return refusals(done.stdout).get("here", done.stdout + done.stderr)


def test_types_of_all_roles_are_checked_before_the_first_runs(tmp_path: Path) -> None:
    # The last role that is imported.
    assert FLOAT in check(tmp_path, "producer_msgs_per_sec=ten")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("pipeline_security=ture", "pipeline_security is 'ture', "),
        ('{"pipeline_firewall": null}', "pipeline_firewall is 'None', "),
    ],
)
def test_what_turns_security_off_must_say_so(tmp_path: Path, given: str, told: str) -> None:
    message = check(tmp_path, given)
    assert told in message
    assert "neither true nor false" in message


def test_dashboards_without_numbers_are_refused(tmp_path: Path) -> None:
    message = check(tmp_path, "pipeline_grafana=true")
    assert "pipeline_grafana is true, and pipeline_monitoring is false" in message


def of_check(*names: str) -> list[dict[str, Any]]:
    """Tasks of ansible/check.yml, each for every host: all of it takes five times as long."""
    (play,) = yaml.safe_load((ROOT / "ansible/check.yml").read_text(encoding="utf-8"))
    tasks = {task["name"]: task for task in play["tasks"]}
    return [{key: it for key, it in tasks[name].items() if key != "run_once"} for name in names]


def run_tasks(
    folder: Path,
    tasks: list[dict[str, Any]],
    hosts: dict[str, dict[str, Any]],
    environment: dict[str, str] | None = None,
) -> dict[str, str]:
    """Run tasks on hosts that are this machine; return what those say that refuse."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": hosts, "vars": here}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    done = ansible_playbook(
        "-i", folder / "hosts.yml", folder / "play.yml", environment=environment
    )
    ended = re.findall(r"^(\S+) +: ok=\d+ .* unreachable=0 ", done.stdout, re.MULTILINE)
    assert sorted(ended) == sorted(hosts), done.stdout + done.stderr
    return refusals(done.stdout)


def test_without_zookeeper_there_is_one_host_and_none_is_left(tmp_path: Path) -> None:
    one: dict[str, Any] = {"pipeline_hosts": ["a"]}
    several: dict[str, Any] = {"pipeline_hosts": ["a", "b"]}
    without = {"pipeline_zookeeper": False, "check_zookeeper": {"stat": {"exists": False}}}
    hosts: dict[str, dict[str, Any]] = {
        "single": one | without,
        "three": several | without,
        "left": one | without | {"check_zookeeper": {"stat": {"exists": True}}},
        "with": several | {"pipeline_zookeeper": True},
    }
    names = ("Check that one host does without ZooKeeper", "Check that no ZooKeeper is left")
    said = run_tasks(tmp_path, of_check(*names), hosts)
    assert set(said) == {"three", "left"}
    assert "kafka_mode is kraft, and the environment has 2 hosts (a, b)" in said["three"]
    assert "left runs ZooKeeper: it was deployed with kafka_mode: zookeeper" in said["left"]
    for message in said.values():
        assert "kafka_mode: zookeeper" in message
        assert message.endswith("Nothing was changed.")


NO_SECRET = "secret_spark has less than 16"


def test_spark_is_not_secured_without_a_secret(tmp_path: Path) -> None:
    given = {"pipeline_security": True, "secret_spark": "short"}
    assert NO_SECRET in check(tmp_path, json.dumps(given))


def test_a_secret_of_spark_that_is_empty_is_none(tmp_path: Path) -> None:
    secrets = {"empty": "", "none": None, "short": "short", "long": SECRET}
    hosts = {name: {"pipeline_tls": True, "secret_spark": it} for name, it in secrets.items()}
    said = run_tasks(tmp_path, of_check("Check that Spark has its secret"), hosts)
    assert {name for name, it in said.items() if NO_SECRET in it} == {"empty", "none", "short"}
    assert "long" not in said


@pytest.mark.parametrize("zone", ["UTC0", "CET-1", "IST-5:30", "EST5"])
def test_a_clock_that_is_right_is_taken_in_any_time_zone(tmp_path: Path, zone: str) -> None:
    gather, compare = of_check("Gather what little is asked for", "Check the clock")
    # As of a host that is an hour behind.
    behind = {
        "ansible.builtin.set_fact": {
            "date_time": {"epoch": "{{ ansible_facts.date_time.epoch | int - 3600 }}"},
            "cacheable": True,
        },
        "when": "inventory_hostname == 'behind'",
    }
    hosts: dict[str, dict[str, Any]] = {"right": {}, "behind": {}}
    said = run_tasks(tmp_path, [gather, behind, compare], hosts, {"TZ": zone})
    assert set(said) == {"behind"}
    assert re.match(r"The clock of behind is 36\d\d s behind this machine's", said["behind"])


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


@pytest.mark.parametrize(("original", "refused"), [("3f", True), ("another", False), ("", False)])
def test_a_copy_of_an_environment_deploys_nothing_to_the_hosts_of_the_first(
    tmp_path: Path, original: str, refused: bool
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, number in ((first, original), (second, "3f")):
        folder.mkdir()
        if number:
            record = {"folder": str(first), "id": number}
            (folder / ".identity").write_text(json.dumps(record), encoding="utf-8")
    if refused:
        assert f"{second} is a copy of {first}" in check(second)
    else:
        tasks = of_check("Check that the environment is no copy of another")
        assert run_tasks(second, tasks, {"here": {}}) == {}
