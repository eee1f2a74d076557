"""ZooKeeper and one Kafka broker as plain processes on the loopback address."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic, UserScramCredentialUpsertion

from ..certificates import Ca
from ..releases import home_of
from .processes import Program, free_port

LOG4J = """\
log4j.rootLogger=WARN, STDERR
log4j.appender.STDERR=org.apache.log4j.ConsoleAppender
log4j.appender.STDERR.Target=System.err
log4j.appender.STDERR.layout=org.apache.log4j.PatternLayout
log4j.appender.STDERR.layout.ConversionPattern=%p %m (%c{1})%n
"""

ZOOKEEPER = """\
tickTime=2000
dataDir={folder}/zookeeper
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=ruok
"""

KAFKA = """\
broker.id=1
listeners={listeners}
log.dirs={folder}/kafka
zookeeper.connect=127.0.0.1:{zookeeper_port}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
"""

#: What a broker has beside that where the pipeline is secured. The plain port is open to all.
LOGIN = """\
sasl.enabled.mechanisms={mechanism}
authorizer.class.name=kafka.security.authorizer.AclAuthorizer
super.users=User:ANONYMOUS;User:{user}
ssl.keystore.type=PEM
ssl.keystore.location={certificate}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class Broker:
    """A broker with a ZooKeeper of its own; their data lie in a folder and stay there."""

    USER, PASSWORD, MECHANISM = "bench", "of-the-benchmark-alone", "SCRAM-SHA-512"

    def __init__(self, folder: Path, heap: str = "1g", *, secured: bool = False) -> None:
        """Start both and wait until the broker answers.

        Args:
            folder: an empty one that exists.
            heap: the broker's, as Java has it.
            secured: whether it has a port for SASL_SSL too.

        Raises:
            RuntimeError: One of them did not come up.
        """
        self._folder = folder
        self._heap = heap
        self._programs: list[Program] = []
        zookeeper_port, self._port, self._secured_port = free_port(), free_port(), free_port()
        listeners = f"PLAINTEXT://{self.bootstrap}"
        login = ""
        if secured:
            authority = Ca(folder)
            self._ca = authority.ca
            listeners += f",SASL_SSL://127.0.0.1:{self._secured_port}"
            login = LOGIN.format(
                mechanism=self.MECHANISM,
                user=self.USER,
                certificate=authority.certificate("broker"),
                ca=self._ca,
            )
        (folder / "zookeeper").mkdir()
        (folder / "zoo.cfg").write_text(ZOOKEEPER.format(folder=folder, port=zookeeper_port))
        (folder / "server.properties").write_text(
            KAFKA.format(folder=folder, listeners=listeners, zookeeper_port=zookeeper_port) + login
        )
        (folder / "log4j.properties").write_text(LOG4J)
        try:
            self._run(
                "zookeeper",
                "256m",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                folder / "zoo.cfg",
            )
            self._until_open(zookeeper_port)
            self._run("kafka", heap, "kafka.Kafka", folder / "server.properties")
            self._until_open(self._port)
            if secured:
                self._make_user()
        except BaseException:
            self.stop()
            raise

    @property
    def bootstrap(self) -> str:
        """Its address, host:port."""
        return f"127.0.0.1:{self._port}"

    def client(self, *, secured: bool = False) -> dict[str, str]:
        """Return what a client of kafka-python is told."""
        if not secured:
            return {"bootstrap_servers": self.bootstrap}
        return {
            "bootstrap_servers": f"127.0.0.1:{self._secured_port}",
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": self.MECHANISM,
            "sasl_plain_username": self.USER,
            "sasl_plain_password": self.PASSWORD,
            "ssl_cafile": str(self._ca),
        }

    def settings(self, *, secured: bool = False, key: str = "") -> dict[str, str]:
        """Return what our programs are told.

        `key` is what stands before the password in its file.
        """
        told = self.client(secured=secured)
        settings = {"KAFKA_BOOTSTRAP_SERVERS": told["bootstrap_servers"]}
        if secured:
            password = self._folder / ("password.properties" if key else "password")
            password.write_text(f"{key}{self.PASSWORD}\n")
            password.chmod(0o600)
            settings |= {
                "KAFKA_SECURITY_PROTOCOL": told["security_protocol"],
                "KAFKA_SASL_USERNAME": self.USER,
                "KAFKA_SASL_PASSWORD_FILE": str(password),
                "KAFKA_SSL_CAFILE": told["ssl_cafile"],
            }
        return settings

    def _make_user(self) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.alter_user_scram_credentials(
                [
                    UserScramCredentialUpsertion(
                        self.USER, self.MECHANISM, self.PASSWORD, iterations=4096
                    )
                ]
            )
        finally:
            admin.close()

    @property
    def pids(self) -> list[int]:
        """The two processes."""
        return [program.pid for program in self._programs]

    def create_topic(self, topic: str, partitions: int = 3) -> None:
        """Make a topic and wait until it has its leaders."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.create_topics([NewTopic(topic, partitions, 1)])
        finally:
            admin.close()
        end = time.monotonic() + 30
        while len(self.end_offsets(topic)) < partitions:
            if time.monotonic() > end:
                raise RuntimeError(f"topic {topic} has no {partitions} partitions after 30 s")
            time.sleep(0.1)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the offset behind the last message of each partition."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        try:
            partitions = [
                TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()
            ]
            ends = consumer.end_offsets(partitions) if partitions else {}
        finally:
            consumer.close()
        return {partition.partition: int(end) for partition, end in ends.items()}

    def stop(self) -> None:
        """Stop both, the broker first; it finishes writing its logs."""
        for program in reversed(self._programs):
            program.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, name: str, heap: str, main: str, configuration: Path) -> None:
        command = [*java(name, heap, self._folder / "log4j.properties"), main, str(configuration)]
        self._programs.append(Program(name, command, self._folder / f"{name}.log"))

    def _until_open(self, port: int, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while True:
            self._programs[-1].alive()
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5):
                    return
            except OSError as error:
                if time.monotonic() > end:
                    raise RuntimeError(
                        f"{self._programs[-1].name} does not answer after {seconds:g} s: {error}\n"
                        f"{self._programs[-1].tail()}"
                    ) from error
            time.sleep(0.1)


def java(release: str, heap: str, log4j: Path) -> list[str]:
    """Return the beginning of a command that runs a class of Kafka or ZooKeeper."""
    return [
        "java",
        f"-Xmx{heap}",
        f"-Dlog4j.configuration=file:{log4j}",
        "-cp",
        f"{home_of(release)}/libs/*",
    ]
