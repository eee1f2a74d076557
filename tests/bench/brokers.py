"""ZooKeeper and one Kafka broker as plain processes on the loopback address."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

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
listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={folder}/kafka
zookeeper.connect=127.0.0.1:{zookeeper_port}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


class Broker:
    """A broker with a ZooKeeper of its own; their data lie in a folder and stay there."""

    def __init__(self, folder: Path, heap: str = "1g") -> None:
        """Start both and wait until the broker answers.

        Args:
            folder: an empty one that exists.
            heap: the broker's, as Java has it.

        Raises:
            RuntimeError: One of them did not come up.
        """
        self._folder = folder
        self._heap = heap
        self._programs: list[Program] = []
        zookeeper_port, self._port = free_port(), free_port()
        (folder / "zookeeper").mkdir()
        (folder / "zoo.cfg").write_text(ZOOKEEPER.format(folder=folder, port=zookeeper_port))
        (folder / "server.properties").write_text(
            KAFKA.format(folder=folder, port=self._port, zookeeper_port=zookeeper_port)
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
        except BaseException:
            self.stop()
            raise

    @property
    def bootstrap(self) -> str:
        """Its address, host:port."""
        return f"127.0.0.1:{self._port}"

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
