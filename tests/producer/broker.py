"""ZooKeeper and Kafka as plain processes on the loopback, from the project's own archives.

Without a login, or with TLS, users and rights (SecuredBroker).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    ConfigResourceType,
    NewTopic,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError, TopicAlreadyExistsError

from ..certificates import Ca
from ..releases import home_of

REPOSITORY = Path(__file__).parents[2]
#: A JVM that starts fast and takes little.
_JVM = ["java", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]
#: Seconds that each of the two may take to start on a busy machine.
_PATIENCE = 120.0


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def cut_off_port() -> Iterator[int]:
    """Give a port that answers no attempt to connect, as that of a host that is cut off."""
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port: int = full.getsockname()[1]
        # Its queue is full with this one, and the kernel drops what comes after.
        waiting.connect(("127.0.0.1", port))
        yield port


def wait_until(what: str, ready: Callable[[], bool], seconds: float = _PATIENCE) -> None:
    """Wait until it is so; fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def takes_connections(port: int) -> bool:
    """Say whether somebody listens on a port of the loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def named(settings: dict[str, str]) -> dict[str, str]:
    """Give settings their names, which have dots."""
    return {name.replace("_", "."): value for name, value in settings.items()}


class Broker:
    """A ZooKeeper and one Kafka broker, whose data lies in a folder."""

    #: What a client of kafka-python is told beside the address.
    security: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        """Prepare both; start() starts them."""
        self._folder = folder
        self._zookeeper_port, self._port = free_port(), free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.address = f"127.0.0.1:{self._port}"
        self.zookeeper_address = f"127.0.0.1:{self._zookeeper_port}"
        (folder / "zoo.cfg").write_text(
            f"dataDir={folder}/zookeeper\nclientPort={self._zookeeper_port}\n"
            f"clientPortAddress=127.0.0.1\nadmin.enableServer=false\ntickTime=2000\n"
            f"{self._zookeeper_settings()}"
        )
        (folder / "server.properties").write_text(
            f"broker.id=1\nlog.dirs={folder}/kafka\n{self._listener()}"
            f"zookeeper.connect=127.0.0.1:{self._zookeeper_port}\nnum.partitions=3\n"
            "offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n"
            "auto.create.topics.enable=false\nzookeeper.session.timeout.ms=6000\n"
            "controlled.shutdown.enable=false\n"
            # What one client needs, and no more.
            "num.network.threads=1\nnum.io.threads=2\nbackground.threads=2\n"
            "offsets.topic.num.partitions=1\nlog.cleaner.enable=false\n"
        )

    def _listener(self) -> str:
        return f"listeners=PLAINTEXT://{self.address}\n"

    def _zookeeper_settings(self) -> str:
        return ""

    def _make_users(self) -> None:
        """Make whom `security` logs in as."""

    def start(self) -> None:
        """Start what does not run, and wait until it answers."""
        self.start_zookeeper()
        self._start("kafka", "kafka.Kafka", "server.properties", self._port)
        self._make_users()
        wait_until("the broker answers", self._answers)

    def start_zookeeper(self) -> None:
        """Start ZooKeeper alone, if it does not run."""
        self._start(
            "zookeeper",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            "zoo.cfg",
            self._zookeeper_port,
        )

    def _start(self, release: str, program: str, configuration: str, port: int) -> None:
        if release in self._processes:
            return
        classpath = f"{home_of(release)}/libs/*"
        with (self._folder / f"{release}.log").open("ab") as log:
            self._processes[release] = subprocess.Popen(
                [*_JVM, "-cp", classpath, program, str(self._folder / configuration)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )
        process = self._processes[release]

        def up() -> bool:
            assert process.poll() is None, self.log(release)
            return takes_connections(port)

        wait_until(f"{release} listens", up)

    def _answers(self, address: str = "", security: Mapping[str, str] | None = None) -> bool:
        try:
            admin = KafkaAdminClient(
                bootstrap_servers=address or self.address,
                bootstrap_timeout_ms=5000,
                request_timeout_ms=5000,
                **(self.security if security is None else security),
            )
        except KafkaError:
            return False
        try:
            return bool(admin.describe_cluster()["brokers"])
        except KafkaError:
            return False
        finally:
            admin.close()

    def log(self, release: str) -> str:
        """Give the end of what a process said."""
        text = (self._folder / f"{release}.log").read_text(errors="replace")
        return text[-3000:]

    def stop_kafka(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the broker; ZooKeeper stays."""
        self._stop("kafka", number)

    def stop_zookeeper(self) -> None:
        """End ZooKeeper."""
        self._stop("zookeeper", signal.SIGKILL)

    def _stop(self, release: str, number: signal.Signals) -> None:
        process = self._processes.pop(release)
        os.kill(process.pid, number)
        process.wait(timeout=60)

    def close(self) -> None:
        """End both."""
        for release in ("kafka", "zookeeper"):
            if release in self._processes:
                self._stop(release, signal.SIGKILL)

    def admin(self) -> KafkaAdminClient:
        """Give a client that may do everything."""
        return KafkaAdminClient(bootstrap_servers=self.address, **self.security)

    def make_topic(
        self, name: str, partitions: int = 3, settings: dict[str, str] | None = None
    ) -> None:
        """Make a topic, also one whose deletion goes on, and wait until it can be written to.

        In the names of settings underscores stand for dots.
        """
        admin = self.admin()

        def made() -> bool:
            try:
                admin.create_topics(
                    [NewTopic(name, partitions, 1, topic_configs=named(settings or {}))]
                )
            except TopicAlreadyExistsError:
                return False
            return True

        try:
            wait_until(f"the topic {name} is made", made, 30)
            admin.wait_for_topics([name], timeout_ms=30_000)
        finally:
            admin.close()

    def set_topic(self, name: str, **settings: str) -> None:
        """Change settings of a topic, named as for make_topic."""
        admin = self.admin()
        try:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, named(settings))])
        finally:
            admin.close()

    def delete_topic(self, name: str) -> None:
        """Delete a topic."""
        admin = self.admin()
        try:
            admin.delete_topics([name])
        finally:
            admin.close()

    def event_ids(self, topic: str) -> list[str]:
        """Give the event id of every message of a topic, partition by partition."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.address,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **self.security,
        )
        try:
            partitions = [
                TopicPartition(topic, it) for it in consumer.partitions_for_topic(topic) or ()
            ]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            # They come in any order, as soon as there is one.
            found: dict[TopicPartition, list[str]] = {it: [] for it in sorted(partitions)}
            deadline = time.monotonic() + _PATIENCE
            while any(consumer.position(it) < ends[it] for it in partitions):
                assert time.monotonic() < deadline, "the topic could not be read to its end"
                for partition, records in consumer.poll(timeout_ms=500).items():
                    headers = [dict(record.headers) for record in records]
                    assert all(int(it["movie_version"]) > 0 for it in headers)
                    found[partition] += [it["event_id"].decode() for it in headers]
            return [event_id for ids in found.values() for event_id in ids]
        finally:
            consumer.close()


class SecuredBroker(Broker):
    """The same, by TLS and a password (SASL_SSL, SCRAM-SHA-512); who may what is by ACLs.

    `address` is that of its port for clients, and `security` logs in there as the super user. Its
    folder has ca.pem, which clients trust. Who comes by the plain port, as what sets it up here
    does, may do everything. Its ZooKeeper has a port for TLS with certificates too.
    """

    USER, PASSWORD = "kafka", "of-the-brokers-themselves"
    MECHANISM = "SCRAM-SHA-512"

    def __init__(self, folder: Path) -> None:
        """Prepare both, and certificates; start() starts them."""
        self.authority = Ca(folder)
        self.other_authority = Ca(folder / "other", "another CA")
        self.ca = self.authority.ca
        self.security = self.login(self.USER, self.PASSWORD)
        self._certificate = self.authority.certificate("broker", "127.0.0.1", "localhost")
        #: By the name of a listener, beside the one for clients: sessions end, or it is a bad one.
        self._certificates = {
            "EXPIRING": self._certificate,
            "ENDED": self.authority.certificate("ended", hours=(-48, -1)),
            "EARLY": self.authority.certificate("early", hours=(1, 48)),
            "ELSEWHERE": self.authority.certificate("elsewhere", "192.0.2.1"),
            "STRANGE": self.other_authority.certificate("strange"),
        }
        #: Addresses by the name of the listener.
        self.listeners = {name: f"127.0.0.1:{free_port()}" for name in self._certificates}
        self.plain_address = f"127.0.0.1:{free_port()}"
        self.secured_zookeeper_address = f"127.0.0.1:{free_port()}"
        super().__init__(folder)

    def login(self, user: str, password: str) -> dict[str, str]:
        """Give what a client of kafka-python is told to log in so."""
        return {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": self.MECHANISM,
            "sasl_plain_username": user,
            "sasl_plain_password": password,
            "ssl_cafile": str(self.ca),
        }

    def _listener(self) -> str:
        secured = {"SASL_SSL": self.address, **self.listeners}
        every = {"PLAINTEXT": self.plain_address, **secured}
        lines = [
            "listeners=" + ",".join(f"{name}://{address}" for name, address in every.items()),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,"
            + ",".join(f"{name}:SASL_SSL" for name in secured),
            "inter.broker.listener.name=PLAINTEXT",
            f"sasl.enabled.mechanisms={self.MECHANISM}",
            "authorizer.class.name=kafka.security.authorizer.AclAuthorizer",
            f"super.users=User:{self.USER};User:ANONYMOUS",
            f"ssl.truststore.type=PEM\nssl.truststore.location={self.ca}",
        ]
        for name in secured:
            listener = f"listener.name.{name.lower()}"
            lines += [
                f"{listener}.ssl.keystore.type=PEM",
                f"{listener}.ssl.keystore.location="
                f"{self._certificates.get(name, self._certificate)}",
                f"{listener}.{self.MECHANISM.lower()}.sasl.jaas.config="
                "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            ]
        # A session ends after so many milliseconds, unless the client authenticates anew.
        expiring = f"listener.name.expiring.{self.MECHANISM.lower()}"
        return "\n".join([*lines, f"{expiring}.connections.max.reauth.ms=3000\n"])

    def _zookeeper_settings(self) -> str:
        return (
            f"secureClientPort={self.secured_zookeeper_address.rpartition(':')[2]}\n"
            "secureClientPortAddress=127.0.0.1\n"
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n"
            f"ssl.keyStore.location={self._certificate}\nssl.trustStore.location={self.ca}\n"
            "ssl.protocol=TLSv1.3\nssl.enabledProtocols=TLSv1.3,TLSv1.2\n"
            "ssl.ciphersuites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n"
        )

    def _make_users(self) -> None:
        """Make the super user, by the plain port."""
        wait_until("the plain port answers", lambda: self._answers(self.plain_address, {}))
        self._set_password(self.USER, self.PASSWORD)

    def set_user(self, name: str, password: str) -> None:
        """Make a user, or change its password."""
        self._set_password(name, password)

    def _set_password(self, name: str, password: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.plain_address)
        try:
            admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(name, self.MECHANISM, password, iterations=4096)]
            )
        finally:
            admin.close()

    def let_write(self, name: str, topic: str) -> None:
        """Give a user the right to write to a topic."""
        admin = KafkaAdminClient(bootstrap_servers=self.plain_address)
        try:
            admin.create_acls(
                [
                    ACL(
                        principal=f"User:{name}",
                        host="*",
                        operation=ACLOperation.WRITE,
                        permission_type=ACLPermissionType.ALLOW,
                        resource_pattern=ResourcePattern(ResourceType.TOPIC, topic),
                    )
                ]
            )
        finally:
            admin.close()


class SecondBroker(Broker):
    """Another broker of the first one's ZooKeeper."""

    def __init__(self, folder: Path, first: Broker) -> None:
        """Prepare it; start() starts it, once the first one's ZooKeeper runs."""
        super().__init__(folder)
        settings = (folder / "server.properties").read_text()
        settings = settings.replace("broker.id=1", "broker.id=2")
        settings = settings.replace(self.zookeeper_address, first.zookeeper_address)
        (folder / "server.properties").write_text(settings)

    def start_zookeeper(self) -> None:
        """Let it be."""


@dataclass(frozen=True)
class Brokers:
    """Two brokers of one ZooKeeper, with ids 1 and 2."""

    first: Broker
    second: Broker

    @property
    def servers(self) -> str:
        """Give the addresses of both."""
        return f"{self.first.address},{self.second.address}"
