#!/usr/bin/python
"""Ansible module: whether the pipeline's services are whole; waits until they are."""

from __future__ import annotations

import json
import socket
import ssl
import time
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_admin import (
    SECURITY,
    Cluster,
    KafkaError,
    LoginError,
    NotReadyError,
)

DOCUMENTATION = r"""
module: pipeline_gates
short_description: Whether the pipeline's services are whole
description:
  - Asks the services that are given until nothing is wrong with them or the time is up.
  - Changes nothing. Where brokers are given it needs kafka-python on the host (role kafka).
author: imdb-pipeline
options:
  zookeeper:
    description: Servers of the ensemble, each with C(host), its name, and C(address), host:port.
    type: list
    elements: dict
    default: []
  zookeeper_certificate:
    description:
      - PEM file on the host with private key and certificate for these servers; empty is no TLS.
    type: path
    default: ""
  zookeeper_ca:
    description: PEM file on the host with the CAs of these servers.
    type: path
    default: ""
  kafka:
    description: Brokers, each with C(host), C(id) and C(address), host:port.
    type: list
    elements: dict
    default: []
  kafka_security:
    description: How to log in to them, as C(security_protocol) and other options of kafka-python.
    type: dict
    default: {}
  kafka_absent:
    description: Ids of brokers that are known to be away; that their replicas lag is no problem.
    type: list
    elements: int
    default: []
  spark_masters:
    description: Masters, each with C(host) and C(address), host:port of the web UI.
    type: list
    elements: dict
    default: []
  spark_workers:
    description:
      - Workers, each with C(host), C(address), the address that they register with, and C(page),
        host:port of the web UI.
    type: list
    elements: dict
    default: []
  spark_answers:
    description:
      - What masters and workers have said of themselves on their own hosts, as results of a loop
        over items with C(host) and C(unit); they are not asked then.
    type: list
    elements: dict
    default: []
  job_host:
    description: Name of the host of the streaming job, on which this runs; empty is none.
    type: str
    default: ""
  job_status:
    description: File where the job says how far it is.
    type: path
    default: /run/imdb-streaming/status.json
  job_silence:
    description: Seconds that the job may have no batch with messages to read.
    type: int
    default: 120
  lag_limit:
    description: Messages that the job may lag behind; -1 is any number.
    type: int
    default: -1
  timeout:
    description: Seconds to wait until all is well.
    type: int
    default: 10
"""
EXAMPLES = r"""
- name: See that every replica is in sync
  pipeline_gates:
    kafka:
      - {host: core-1, id: 1, address: "192.0.2.1:9092"}
      - {host: core-2, id: 2, address: "192.0.2.2:9092"}
    timeout: 120
"""
RETURN = r"""
problems:
  description: What is wrong, each with C(text) and the C(host) and C(unit) that it is about.
  type: list
  returned: always
leader:
  description: Host of the leader of the ensemble; empty if unknown.
  type: str
  returned: always
controller:
  description: Host of Kafka's controller; empty if unknown.
  type: str
  returned: always
master:
  description: Host of the Spark master that leads; empty if unknown.
  type: str
  returned: always
job:
  description: Host of the job, if it says anything of itself; else empty.
  type: str
  returned: always
lag:
  description: Messages that the job lags behind; -1 if unknown.
  type: int
  returned: always
"""

PAUSE_SECONDS = 0.5
SOCKET_TIMEOUT_SECONDS = 5
SHOWN = 5
# The hosts' own network needs no proxy, whatever their environment says.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# The job says every few seconds that it is there, in the midst of a batch too.
WORD_SECONDS = 30


class Look:
    """What one look at the services has found."""

    def __init__(self) -> None:
        self.problems: list[dict[str, str]] = []
        # Whether waiting does not help.
        self.final = False
        self.found: dict[str, Any] = {
            "leader": "",
            "controller": "",
            "master": "",
            "job": "",
            "lag": -1,
        }

    def wrong(self, host: str, unit: str, text: str) -> None:
        self.problems.append({"host": host, "unit": unit, "text": text})


def tls(certificate: str, ca: str) -> ssl.SSLContext | None:
    """How to connect by TLS; None without a certificate. Raises OSError."""
    if not certificate:
        return None
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate)
    # ZooKeeper leaves without TLS's farewell.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def four_letter_word(address: str, word: str, by: ssl.SSLContext | None) -> dict[str, str]:
    """What a ZooKeeper server answers, by name. Raises OSError."""
    host, _, port = address.rpartition(":")
    with ExitStack() as stack:
        connection = socket.create_connection((host, int(port)), timeout=SOCKET_TIMEOUT_SECONDS)
        stack.enter_context(connection)
        if by:
            connection = stack.enter_context(by.wrap_socket(connection, server_hostname=host))
        connection.sendall(word.encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    pairs = (line.partition("\t") for line in answer.decode().splitlines())
    return {name: value for name, _, value in pairs}


def look_at_zookeeper(
    look: Look, servers: list[dict[str, Any]], certificate: str = "", ca: str = ""
) -> None:
    """One server leads and all others follow it, in sync."""
    leaders = []
    for server in servers:
        host = str(server["host"])
        try:
            answer = four_letter_word(server["address"], "mntr", tls(certificate, ca))
        except OSError as error:
            look.wrong(host, "zookeeper", f"ZooKeeper on {host} does not answer: {error}")
            continue
        state = answer.get("zk_server_state", "")
        if state == "leader":
            leaders.append((host, int(float(answer.get("zk_synced_followers", 0)))))
        elif state != ("standalone" if len(servers) == 1 else "follower"):
            what = f"is {state}" if state else "serves nobody: it has no quorum"
            look.wrong(host, "zookeeper", f"ZooKeeper on {host} {what}")
    if len(leaders) == 1:
        look.found["leader"] = leaders[0][0]
        if leaders[0][1] < len(servers) - 1:
            look.wrong(
                leaders[0][0],
                "zookeeper",
                f"the leader, {leaders[0][0]}, has {leaders[0][1]} followers in sync of "
                f"{len(servers) - 1}",
            )
    elif len(servers) > 1:
        names = ", ".join(host for host, _ in leaders) or "none"
        look.wrong(
            leaders[0][0] if leaders else str(servers[0]["host"]),
            "zookeeper",
            f"the ensemble has {len(leaders)} leaders: {names}",
        )


def look_at_kafka(
    look: Look, brokers: list[dict[str, Any]], absent: list[int], security: dict[str, Any]
) -> None:
    """Every broker answers, every partition has a leader and all of its replicas in sync.

    Of brokers that are absent nothing is expected. One that was lost is up for the others until
    its session with ZooKeeper ends, so each is asked itself.
    """
    names = {int(broker["id"]): str(broker["host"]) for broker in brokers}
    servers = [str(broker["address"]) for broker in brokers]
    try:
        with Cluster(",".join(servers), security) as cluster:
            seen = cluster.metadata()
    except LoginError as error:
        # Each attempt is one more that the broker refuses and logs.
        look.final = True
        look.wrong(str(brokers[0]["host"]), "kafka", f"no login at the brokers: {error}")
        return
    except (OSError, NotReadyError, KafkaError) as error:
        look.wrong(str(brokers[0]["host"]), "kafka", f"no broker answers: {error}")
        return
    look.found["controller"] = names.get(seen.controller, "")
    for broker, server in zip(brokers, servers, strict=True):
        number, host = int(broker["id"]), str(broker["host"])
        if number not in seen.brokers:
            look.wrong(host, "kafka", f"broker {number} on {host} is not up")
            continue
        try:
            with Cluster(server, security) as cluster:
                cluster.metadata([])
        except (OSError, NotReadyError, KafkaError) as error:
            look.wrong(host, "kafka", f"broker {number} on {host} does not answer: {error}")
    if seen.controller not in seen.brokers:
        look.wrong(str(brokers[0]["host"]), "kafka", "the brokers have no controller")
    lagging: dict[int, list[str]] = {}
    offline = []
    for topic, partitions in sorted(seen.topics.items()):
        for index, row in partitions.items():
            if row["leader"] < 0:
                offline.append((f"{topic}-{index}", row["replicas"]))
            for broker in set(row["replicas"]) - set(row["isr"]) - set(absent):
                lagging.setdefault(broker, []).append(f"{topic}-{index}")
    for partition, replicas in offline[:SHOWN]:
        host = names.get(replicas[0], str(brokers[0]["host"]))
        look.wrong(host, "kafka", f"partition {partition} has no leader; replicas on {replicas}")
    for broker, partitions_of in sorted(lagging.items()):
        host = names.get(broker, str(brokers[0]["host"]))
        shown = ", ".join(partitions_of[:SHOWN]) + (" ..." if len(partitions_of) > SHOWN else "")
        look.wrong(
            host,
            "kafka",
            f"broker {broker} on {names.get(broker, 'no known host')} is out of sync in "
            f"{len(partitions_of)} partitions: {shown}",
        )


def look_at_spark(
    look: Look,
    masters: list[dict[str, Any]],
    workers: list[dict[str, Any]],
    answers: list[dict[str, Any]],
) -> None:
    """One master leads and has every worker; the others stand by.

    A worker that was lost is alive for its master for a minute, so each is asked itself.
    """
    leading = []
    for master in masters:
        host = str(master["host"])
        try:
            said = said_by(answers, host, "spark-master", master["address"])
        except (OSError, ValueError) as error:
            look.wrong(host, "spark-master", f"the Spark master on {host} does not answer: {error}")
            continue
        if said["status"] == "ALIVE":
            leading.append((host, said))
        elif said["status"] != "STANDBY":
            look.wrong(host, "spark-master", f"the Spark master on {host} is {said['status']}")
    if len(leading) != 1:
        host = str(masters[0]["host"])
        look.wrong(host, "spark-master", f"{len(leading)} Spark masters lead, not one")
        return
    look.found["master"] = leading[0][0]
    alive = {it["host"] for it in leading[0][1]["workers"] if it["state"] == "ALIVE"}
    for worker in workers:
        host = str(worker["host"])
        if worker["address"] not in alive:
            look.wrong(host, "spark-worker", f"the Spark worker on {host} is not registered")
            continue
        try:
            said_by(answers, host, "spark-worker", worker["page"])
        except (OSError, ValueError) as error:
            look.wrong(host, "spark-worker", f"the Spark worker on {host} does not answer: {error}")


def said_by(answers: list[dict[str, Any]], host: str, unit: str, address: str) -> dict[str, Any]:
    """What a master or a worker says of itself: as its host has it, or by its page.

    Raises OSError, ValueError.
    """
    for answer in answers:
        if (answer["item"]["host"], answer["item"]["unit"]) == (host, unit):
            if answer.get("rc") != 0:
                raise OSError(answer.get("stderr") or answer.get("msg") or "no answer")
            said: dict[str, Any] = json.loads(answer["stdout"])
            return said
    return page(address)


def page(address: str) -> dict[str, Any]:
    """What a master or a worker says of itself. Raises OSError, ValueError."""
    with DIRECT.open(f"http://{address}/json/", timeout=SOCKET_TIMEOUT_SECONDS) as it:
        said: dict[str, Any] = json.load(it)
    return said


def look_at_job(look: Look, host: str, path: str, silence: int, lag_limit: int) -> None:
    """The job has said something lately, and does not lag more than it may.

    A job without new messages has no batches: it may be long since the last, as long as it says so.
    """
    try:
        said = json.loads(Path(path).read_text(encoding="utf-8"))
        query, age = said["query"], seconds_since(said["updated_at"])
    except (OSError, ValueError, KeyError) as error:
        look.wrong(host, "imdb-streaming", f"the job on {host} says nothing of itself: {error!r}")
        return
    look.found["job"] = host
    if age > WORD_SECONDS:
        look.wrong(host, "imdb-streaming", f"the job on {host} has said nothing for {age:.0f} s")
        return
    if query["lag"] is None:
        look.wrong(host, "imdb-streaming", f"the job on {host} has read nothing since its start")
        return
    look.found["lag"] = int(query["lag"])
    if look.found["lag"] > 0 and query["at"] and seconds_since(query["at"]) > silence:
        look.wrong(
            host,
            "imdb-streaming",
            f"the job on {host} has messages to read and no batch since {query['at']}",
        )
    if 0 <= lag_limit < look.found["lag"]:
        look.wrong(
            host,
            "imdb-streaming",
            f"the job lags {look.found['lag']} messages behind, {lag_limit} at most are allowed",
        )


def seconds_since(moment: str) -> float:
    """Seconds since a moment in ISO 8601. Raises ValueError."""
    at = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return (datetime.now(UTC) - at).total_seconds()


def look_once(given: dict[str, Any]) -> Look:
    """Look at all that is given, once."""
    look = Look()
    if given["zookeeper"]:
        by = (given["zookeeper_certificate"], given["zookeeper_ca"])
        look_at_zookeeper(look, given["zookeeper"], *by)
    if given["kafka"]:
        look_at_kafka(look, given["kafka"], given["kafka_absent"], given["kafka_security"])
    if given["spark_masters"]:
        look_at_spark(look, given["spark_masters"], given["spark_workers"], given["spark_answers"])
    if given["job_host"]:
        look_at_job(
            look, given["job_host"], given["job_status"], given["job_silence"], given["lag_limit"]
        )
    return look


def main() -> None:
    described = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "zookeeper": described,
            "zookeeper_certificate": {"type": "path", "default": ""},
            "zookeeper_ca": {"type": "path", "default": ""},
            "kafka": described,
            "kafka_security": SECURITY,
            "kafka_absent": {"type": "list", "elements": "int", "default": []},
            "spark_masters": described,
            "spark_workers": described,
            "spark_answers": described,
            "job_host": {"type": "str", "default": ""},
            "job_status": {"type": "path", "default": "/run/imdb-streaming/status.json"},
            "job_silence": {"type": "int", "default": 120},
            "lag_limit": {"type": "int", "default": -1},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    deadline = time.monotonic() + module.params["timeout"]
    look = look_once(module.params)
    while look.problems and not look.final and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
        look = look_once(module.params)
    module.exit_json(changed=False, problems=look.problems, **look.found)


if __name__ == "__main__":
    main()
