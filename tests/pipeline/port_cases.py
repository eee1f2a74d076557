"""What is tried at each port of a secured pipeline, and what each client must get.

The table of docs/security-ports.md has a row for each. Of each port some are clients with the right
credentials: without them nobody would know that the attempt itself is a good one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hosts import ROOT

from .port_attempts import (
    ANSWERED,
    API_VERSIONS,
    CLOSED,
    ENCRYPTED,
    METADATA,
    NO_ANSWER,
    NO_LOGIN,
    NO_RIGHT,
    NO_SECRET,
    NO_TLS,
    kafka_request,
)

NUMBERS: dict[str, Any] = yaml.safe_load(
    (ROOT / "inventories/pipeline/group_vars/all/ports.yml").read_text(encoding="utf-8")
)
#: The ports, by their names in ports.yml, in the order of the table; and whose each is.
SERVERS = {
    "pipeline_ssh_port": "ssh",
    "zookeeper_secure_client_port": "ZooKeeper",
    "zookeeper_peer_port": "ZooKeeper's leader",
    "zookeeper_election_port": "ZooKeeper's elections",
    "kafka_secure_port": "Kafka",
    "kafka_external_port": "Kafka",
    "spark_master_port": "Spark master",
    "spark_worker_port": "Spark worker",
    "streaming_driver_port": "driver",
    "streaming_block_manager_port": "blocks",
    "exporters_port": "metrics",
    "release_seed_port": "releases",
}
#: That nobody listens on at most times.
CLOSED_PORTS = {"release_seed_port"}
#: Kinds of requests: what spark_attempts.py makes, and applications that are submitted.
SPARK = "spark"
SUBMIT = "submit"


@dataclass(frozen=True)
class Means:
    """What clients have, and where they find what they ask for.

    certificates: PEM files by service, with `another CA` for one that the pipeline does not trust.
    peer: PEM files of the host that the client is on, or stands for, by service.
    logins: users of Kafka's and passwords, by `admin`, `producer` and `streaming`.
    ssh: options of ssh, by what the client has: `nothing`, `another key`, `key`.
    """

    ca: str
    certificates: dict[str, Path]
    logins: dict[str, tuple[str, str]]
    spark_secret: str
    ssh: dict[str, list[str]]
    topic: str
    peer: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """An attempt at a port.

    request: makes what port_attempts.py or spark_attempts.py is given, beside address and port.
    open: why the client gets what it should not; empty if it does not.
    right: the client is one that the port is for.
    several: there is this only where there are several hosts.
    """

    port: str
    client: str
    tries: str
    gets: str
    request: Callable[[Means], dict[str, Any]]
    open: str = ""
    right: bool = False
    several: bool = False

    @property
    def label(self) -> str:
        """The port as the table names it."""
        number = NUMBERS[self.port] or "any free one"
        return f"{number}, {SERVERS[self.port]}"

    def words(self, outcome: str) -> str:
        """Return what the table says of an outcome."""
        if self.open and outcome == self.gets:
            return f"**{outcome}**: {self.open}"
        return outcome


def _ssh() -> list[Case]:
    port = "pipeline_ssh_port"

    def shell(user: str, has: str) -> Callable[[Means], dict[str, Any]]:
        return lambda means: {"kind": "shell", "user": user, "options": means.ssh[has]}

    return [
        Case(port, "nothing", "log in, by a password too", NO_LOGIN, shell("admin", "nothing")),
        Case(port, "another key", "log in", NO_LOGIN, shell("admin", "another key")),
        Case(port, "the operator's key", "log in as root", NO_LOGIN, shell("root", "key")),
        Case(port, "the operator's key", "log in as spark", NO_LOGIN, shell("spark", "key")),
        Case(port, "the operator's key", "log in", ANSWERED, shell("admin", "key"), right=True),
    ]


def _zookeeper() -> list[Case]:
    port = "zookeeper_secure_client_port"
    producer = "the producer's certificate"

    def word(certificate: str, said: str) -> Callable[[Means], dict[str, Any]]:
        return lambda means: {
            "kind": "tls",
            "certificate": str(means.certificates[certificate]) if certificate else "",
            "sends": said.encode().hex(),
        }

    def znode(
        does: str, path: str, who: str = "imdb-producer"
    ) -> Callable[[Means], dict[str, Any]]:
        return lambda means: {
            "kind": "znode",
            "does": does,
            "path": path.format(topic=means.topic, user=means.logins["admin"][0]),
            "certificate": str(means.certificates[who]),
        }

    user, topic = "/config/users/{user}", "/config/topics/{topic}"
    return [
        Case(port, "nothing", "ask `ruok` in the clear", NO_ANSWER, _clear("ruok")),
        Case(port, "nothing", "ask `ruok` by TLS", NO_TLS, word("", "ruok")),
        Case(port, "a certificate of another CA", "ask `ruok`", NO_TLS, word("another CA", "ruok")),
        Case(port, producer, "read a user's password, as a digest", NO_RIGHT, znode("read", user)),
        Case(port, producer, "make a user of Kafka's", NO_RIGHT, znode("make", "/config/users")),
        Case(
            port,
            producer,
            "change rights on the topic",
            NO_RIGHT,
            znode("write", "/kafka-acl/Topic/{topic}"),
        ),
        Case(port, producer, "change the topic's settings", NO_RIGHT, znode("write", topic)),
        Case(
            port,
            producer,
            "change which broker is the controller",
            NO_RIGHT,
            znode("write", "/controller"),
        ),
        Case(
            port,
            producer,
            "read the topic's settings",
            ANSWERED,
            znode("read", topic),
            open="names and settings are for every certificate, messages are not there",
        ),
        Case(
            port,
            producer,
            "ask `srvr`",
            ANSWERED,
            word("imdb-producer", "srvr"),
            open="figures of the server are for every certificate",
        ),
        Case(
            port,
            producer,
            "make a node at the top",
            NO_RIGHT,
            znode("make", "/"),
        ),
        Case(
            port,
            producer,
            "make a node where Spark's masters keep theirs",
            NO_RIGHT,
            znode("make", "/spark"),
        ),
        Case(
            port,
            producer,
            "change who runs the job",
            NO_RIGHT,
            znode("write", "/imdb-pipeline/imdb-streaming"),
            several=True,
        ),
        Case(
            port,
            "the brokers' certificate",
            "read a user's password, as a digest",
            ANSWERED,
            znode("read", user, "kafka"),
            right=True,
        ),
    ]


def _ensemble(port: str) -> list[Case]:
    def tls(certificate: str) -> Callable[[Means], dict[str, Any]]:
        def request(means: Means) -> dict[str, Any]:
            # Servers look for the address that a client connects from in its certificate.
            own = means.peer | {it: means.certificates[it] for it in ("another CA",)}
            return {"kind": "tls", "certificate": str(own[certificate]) if certificate else ""}

        return request

    return [
        Case(port, "nothing", "say something in the clear", NO_ANSWER, _clear("hello\n")),
        Case(port, "nothing", "connect by TLS", NO_TLS, tls("")),
        Case(port, "a certificate of another CA", "connect by TLS", NO_TLS, tls("another CA")),
        Case(
            port,
            "the brokers' certificate, on a host of ZooKeeper's",
            "connect by TLS",
            ENCRYPTED,
            tls("kafka"),
            open="servers trust every certificate of the CA that is the host's own",
        ),
        Case(
            port,
            "ZooKeeper's certificate",
            "connect by TLS",
            ENCRYPTED,
            tls("zookeeper"),
            right=True,
        ),
    ]


def _kafka(port: str) -> list[Case]:
    def bare(api: int) -> Callable[[Means], dict[str, Any]]:
        return lambda _: {"kind": "tls", "sends": kafka_request(api)}

    def login(does: str, who: str) -> Callable[[Means], dict[str, Any]]:
        def request(means: Means) -> dict[str, Any]:
            admin = means.logins["admin"][0]
            user, password = {
                **means.logins,
                "wrong": (admin, "wrong-wrong-wrong-wrong"),
                "another": (admin, means.logins["producer"][1]),
                "nobody": ("nobody", means.logins["admin"][1]),
            }[who]
            given = {"user": user, "password": password, "ca": means.ca, "topic": means.topic}
            return {"kind": "kafka", "does": does} | given

        return request

    clear = Case(
        port,
        "nothing",
        "ask for the topics in the clear",
        NO_ANSWER,
        lambda _: {"kind": "clear", "sends": kafka_request(METADATA)},
    )
    versions = Case(
        port,
        "nothing",
        "ask by TLS which versions of requests there are",
        ANSWERED,
        bare(API_VERSIONS),
        open="Kafka tells so before any login",
    )
    cases = [
        clear,
        Case(port, "nothing", "ask for the topics by TLS", NO_ANSWER, bare(METADATA)),
        versions,
        Case(port, "a wrong password", "log in as the operator", NO_LOGIN, login("list", "wrong")),
        Case(
            port,
            "the producer's password",
            "log in as the operator",
            NO_LOGIN,
            login("list", "another"),
        ),
        Case(
            port, "the operator's password", "log in as nobody", NO_LOGIN, login("list", "nobody")
        ),
    ]
    administration = {
        "see users": "users",
        "make a user": "password",
        "see rights": "rights",
        "give rights": "grant",
        "make a topic": "make",
        "delete the topic": "delete",
    }
    for who, wrong, own in (
        ("producer", ("read the topic", "read"), ("list the topic", "list")),
        ("streaming", ("write to the topic", "write"), ("read the topic", "read")),
    ):
        client = "the producer's login" if who == "producer" else "the job's login"
        tried = [wrong, *administration.items()]
        cases += [Case(port, client, text, NO_RIGHT, login(does, who)) for text, does in tried]
        cases.append(Case(port, client, own[0], ANSWERED, login(own[1], who), right=True))
    operator = "the operator's login"
    cases.append(Case(port, operator, "see users", ANSWERED, login("users", "admin"), right=True))
    return cases


def _spark(port: str, endpoint: str) -> list[Case]:
    def ask(secret: Callable[[Means], str | None]) -> Callable[[Means], dict[str, Any]]:
        return lambda means: {"kind": SPARK, "endpoint": endpoint, "secret": secret(means)}

    tries = "ask by Spark's own client"
    password = "Kafka's operator's password"
    return [
        Case(
            port,
            "nothing",
            "say something in the clear",
            NO_ANSWER,
            _clear("GET / HTTP/1.0\r\n\r\n"),
        ),
        Case(port, "nothing", tries, NO_SECRET, ask(lambda _: None)),
        Case(port, "a wrong secret", tries, NO_SECRET, ask(lambda _: "wrong-wrong-wrong-wrong")),
        Case(port, password, tries, NO_SECRET, ask(lambda means: means.logins["admin"][1])),
        Case(
            port,
            "Spark's secret",
            tries,
            ANSWERED,
            ask(lambda means: means.spark_secret),
            right=True,
        ),
    ]


def _submissions() -> list[Case]:
    def submit(secret: str) -> Callable[[Means], dict[str, Any]]:
        return lambda _: {"kind": SUBMIT, "secret": secret}

    port, tries = "spark_master_port", "submit an application"
    return [
        Case(port, "nothing", tries, NO_SECRET, submit("")),
        Case(port, "a wrong secret", tries, NO_SECRET, submit("wrong-wrong-wrong-wrong")),
    ]


def _metrics() -> list[Case]:
    def ask(certificate: str, scheme: str = "https") -> Callable[[Means], dict[str, Any]]:
        return lambda means: {
            "kind": "metrics",
            "scheme": scheme,
            "certificate": str(means.certificates[certificate]) if certificate else "",
        }

    port, tries = "exporters_port", "ask for the host's metrics"
    return [
        Case(port, "nothing", f"{tries} in the clear", NO_RIGHT, ask("", "http")),
        Case(port, "nothing", f"{tries} by TLS", NO_RIGHT, ask("")),
        Case(port, "a certificate of another CA", tries, NO_RIGHT, ask("another CA")),
        Case(port, "the brokers' certificate", tries, NO_RIGHT, ask("kafka")),
        Case(port, "Prometheus' certificate", tries, ANSWERED, ask("prometheus"), right=True),
    ]


def _clear(said: str) -> Callable[[Means], dict[str, Any]]:
    return lambda _: {"kind": "clear", "sends": said.encode().hex()}


CASES: list[Case] = [
    *_ssh(),
    *_zookeeper(),
    *_ensemble("zookeeper_peer_port"),
    *_ensemble("zookeeper_election_port"),
    *_kafka("kafka_secure_port"),
    *_kafka("kafka_external_port"),
    *_spark("spark_master_port", "Master"),
    *_submissions(),
    *_spark("spark_worker_port", "Worker"),
    *_spark("streaming_driver_port", "CoarseGrainedScheduler"),
    *_spark("streaming_block_manager_port", ""),
    *_metrics(),
    Case(
        "release_seed_port", "nothing", "connect while nothing is deployed", CLOSED, _clear("GET /")
    ),
]
