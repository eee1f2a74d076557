"""Run on a host, as root, by `make status`: print what its units of the pipeline do, as JSON.

Usage: python3 - UNIT... < probe.py. Needs nothing but the standard library; the topic's
offsets are read with the Kafka client that the producer brings.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MASTER_UNIT = Path("/etc/systemd/system/spark-master.service")
MASTER_ASK = "/usr/local/bin/spark-master-ask"
# What the unit says where the page is by TLS.
BY_TLS = "-Dspark.ssl.standalone.port="
# Role certificates has it written daily.
CERTIFICATES = Path("/run/imdb-certificates.prom")
# There, where the host has a page of movies and pipeline.
DASHBOARD = Path("/etc/imdb-dashboard/settings.json")
KAFKA_SETTINGS = Path("/etc/kafka/server.properties")
PRODUCER_LIBRARIES = "/opt/imdb-producer/current/lib"


def units(names: list[str]) -> dict[str, dict[str, str]]:
    """Return each unit's state, sub-state, since when, and how often it was restarted."""
    properties = "Id,LoadState,ActiveState,SubState,UnitFileState,StateChangeTimestamp,NRestarts"
    command = ["systemctl", "show", "--property", properties, "--", *names]
    text = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    blocks = [dict(line.split("=", 1) for line in b.splitlines()) for b in text.split("\n\n") if b]
    return {block["Id"].removesuffix(".service"): block for block in blocks}


def environment(path: str) -> dict[str, str]:
    """Return the variables of an environment file; none if there is no such file."""
    with contextlib.suppress(FileNotFoundError):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        return {name.strip(): value.strip().strip('"') for name, value in pairs}
    return {}


def without_zookeeper() -> bool:
    """Return whether this host's broker is its own controller (kafka_mode: kraft)."""
    with contextlib.suppress(FileNotFoundError):
        return "\nprocess.roles=" in KAFKA_SETTINGS.read_text(encoding="utf-8")
    return False


def status(unit: str) -> dict[str, Any] | None:
    """Return what a program of ours says of itself."""
    with contextlib.suppress(FileNotFoundError):
        said: dict[str, Any] = json.loads(Path(f"/run/{unit}/status.json").read_text("utf-8"))
        return said
    return None


def role(unit: str) -> str:
    """Return whether this host leads or stands by for a program; empty if it has no peers."""
    with contextlib.suppress(FileNotFoundError):
        said = json.loads(Path(f"/run/{unit}/standby.json").read_text("utf-8"))
        return str(said["role"])
    return ""


def ensemble() -> dict[str, Any]:
    """Return the part of this ZooKeeper server in its ensemble, or why it is not known."""
    try:
        asked = subprocess.run(
            ["/usr/local/bin/zookeeper-ask", "mntr"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    if asked.returncode:
        return {"error": asked.stderr.strip()}
    answer = asked.stdout
    said = dict(line.split("\t", 1) for line in answer.splitlines() if "\t" in line)
    return {
        "role": said.get("zk_server_state", "no quorum"),
        "synced_followers": int(float(said.get("zk_synced_followers", 0))),
    }


def master() -> dict[str, Any]:
    """Return the part of this Spark master and its workers, or why it is not known."""
    try:
        unit = MASTER_UNIT.read_text(encoding="utf-8")
        found = dict(re.findall(r"--(host|webui-port) (\S+)", unit))
        said = secured_master() if BY_TLS in unit else plain_master(found)
    except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    alive = [worker["host"] for worker in said["workers"] if worker["state"] == "ALIVE"]
    return {"role": said["status"].lower(), "workers": sorted(alive)}


def dashboard_port() -> int | None:
    """Return the port of the page that shows movies and pipeline; None where there is none."""
    with contextlib.suppress(FileNotFoundError):
        return int(json.loads(DASHBOARD.read_text("utf-8"))["port"])
    return None


def pages_by_tls() -> bool:
    """Return whether this host's Spark master has its page by TLS, for its own host alone."""
    with contextlib.suppress(FileNotFoundError):
        return BY_TLS in MASTER_UNIT.read_text(encoding="utf-8")
    return False


def plain_master(found: dict[str, str]) -> dict[str, Any]:
    """Return what the page of this Spark master says."""
    # Not by a proxy of the host's environment.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = f"http://{found['host']}:{found['webui-port']}/json/"
    with direct.open(url, timeout=5) as answer:
        said: dict[str, Any] = json.load(answer)
    return said


def secured_master() -> dict[str, Any]:
    """Return what the page of this Spark master says, which answers by TLS."""
    asked = subprocess.run([MASTER_ASK], capture_output=True, text=True, timeout=10, check=True)
    said: dict[str, Any] = json.loads(asked.stdout)
    return said


def certificate() -> dict[str, Any] | None:
    """Return which certificate of this host ends first, and whether that is soon."""
    with contextlib.suppress(FileNotFoundError):
        told = CERTIFICATES.read_text(encoding="utf-8")
        ends = re.findall(r'^imdb_certificate_end_\w+{name="([^"]*)".*} (\d+)$', told, re.MULTILINE)
        warn = re.findall(r"^imdb_certificates_warn_seconds (\d+)$", told, re.MULTILINE)
        if ends and warn:
            name, end = min(ends, key=lambda it: int(it[1]))
            return {
                "name": name,
                "end": datetime.fromtimestamp(int(end), UTC).isoformat(),
                "soon": int(end) < time.time() + int(warn[0]),
            }
    return None


def login(settings: dict[str, str]) -> dict[str, str]:
    """Return how the producer logs in to the brokers, as kafka-python's options."""
    if "KAFKA_SASL_USERNAME" not in settings:
        return {}
    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": settings["KAFKA_SASL_USERNAME"],
        "sasl_plain_password": Path(settings["KAFKA_SASL_PASSWORD_FILE"]).read_text().rstrip("\n"),
        "ssl_cafile": settings["KAFKA_SSL_CAFILE"],
    }


def brokers(settings: dict[str, str]) -> dict[str, Any]:
    """Return who is up, who controls, and which partitions are not as they should be."""
    sys.path.insert(0, PRODUCER_LIBRARIES)
    try:
        from kafka import KafkaAdminClient

        admin = KafkaAdminClient(
            bootstrap_servers=settings["KAFKA_BOOTSTRAP_SERVERS"].split(","),
            # Enough to find that the first hosts to be asked are gone.
            bootstrap_timeout_ms=15000,
            request_timeout_ms=5000,
            **login(settings),
        )
        try:
            cluster = admin.describe_cluster()
            rows = [row for topic in admin.describe_topics() for row in topic["partitions"]]
        finally:
            admin.close()
    except Exception as error:  # whatever it is, the page shows it
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "up": sorted(broker["host"] for broker in cluster["brokers"]),
        "controller": next(
            (
                it["host"]
                for it in cluster["brokers"]
                if it["broker_id"] == cluster["controller_id"]
            ),
            None,
        ),
        "partitions": len(rows),
        "replicas": sum(len(row["replica_nodes"]) for row in rows),
        "in_sync": sum(len(row["isr_nodes"]) for row in rows),
        "under_replicated": sum(len(it["isr_nodes"]) < len(it["replica_nodes"]) for it in rows),
        "offline": sum(row["leader_id"] < 0 for row in rows),
    }


def topic(settings: dict[str, str]) -> dict[str, Any]:
    """Return the topic's partitions with their end offsets, or why they are not known."""
    sys.path.insert(0, PRODUCER_LIBRARIES)
    name = settings["KAFKA_TOPIC"]
    try:
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(
            bootstrap_servers=settings["KAFKA_BOOTSTRAP_SERVERS"].split(","),
            bootstrap_timeout_ms=5000,
            request_timeout_ms=5000,
            **login(settings),
        )
        try:
            partitions = sorted(consumer.partitions_for_topic(name) or ())
            ends = consumer.end_offsets([TopicPartition(name, p) for p in partitions])
        finally:
            consumer.close()
    except Exception as error:  # whatever it is, the page shows it
        return {"name": name, "error": f"{type(error).__name__}: {error}"}
    return {"name": name, "end_offsets": {str(tp.partition): end for tp, end in ends.items()}}


def genres(settings: dict[str, str]) -> list[dict[str, str]]:
    """Return the rows of the genre table; none before there is one."""
    path = Path(settings["OUTPUT_PATH_CSV"]) / "genre_counts" / "genre_counts.csv"
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
    return []


def main() -> None:
    """Print the state of the units that the arguments name."""
    names = sys.argv[1:]
    if "zookeeper" in names and without_zookeeper():
        names.remove("zookeeper")
    found: dict[str, Any] = {
        "units": units(names),
        "roles": {name: role(name) for name in names},
        "certificate": certificate(),
    }
    if "zookeeper" in names:
        found["ensemble"] = ensemble()
    if "spark-master" in names:
        found["master"] = master()
        found["pages_by_tls"] = pages_by_tls()
    if "imdb-streaming" in names:
        found["dashboard_port"] = dashboard_port()
    if "imdb-producer" in names and (settings := environment("/etc/imdb-producer/producer.env")):
        found["producer"] = status("imdb-producer")
        found["topic"] = topic(settings)
        found["brokers"] = brokers(settings)
    if "imdb-streaming" in names and (settings := environment("/etc/imdb-streaming/streaming.env")):
        found["streaming"] = status("imdb-streaming")
        found["genres"] = genres(settings)
        found["tables"] = {name: settings[name] for name in ("OUTPUT_PATH", "OUTPUT_PATH_CSV")}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
