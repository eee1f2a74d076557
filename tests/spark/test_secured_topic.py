"""The job on a broker that lets nobody in without TLS, a password and a right."""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)
from pyspark.sql import SparkSession

from imdb_streaming import cli, guards, job, jvm
from imdb_streaming.guards import BrokerUnreachableError, CredentialsError
from imdb_streaming.job import Load
from imdb_streaming.jvm import TopicUnknownError
from imdb_streaming.session import read_messages
from imdb_streaming.tls import TlsFileError
from imdb_streaming.transformations import parse_events

from ..bench.processes import Program
from ..bench.subjects import Cluster
from ..certificates import make_certificates
from ..producer.broker import SecuredBroker, free_port
from ..waiting import wait_for
from .batches import silver
from .local import LocalConfig as Config
from .local import load_local_config as load_config
from .local import short_lived_jvms, with_term

pytestmark = pytest.mark.usefixtures("executors_without_python")

PASSWORD = "of-the-job-and-of-nobody-else"
CHANGED = "changed-since-the-job-has-started"
SPARK = Path(__file__).parents[2] / "spark"
COMMAND = [sys.executable, "-m", "imdb_streaming"]


class Broker(SecuredBroker):
    """Ends sessions whose password is no more the broker's, and has a user for each test."""

    def _listener(self) -> str:
        listener = "listener.name.sasl_ssl.scram-sha-512"
        return f"{super()._listener()}{listener}.connections.max.reauth.ms=3000\n"

    def set_user(self, name: str, password: str) -> None:
        """Make a user, or change its password."""
        admin = self.admin()
        try:
            admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(name, "SCRAM-SHA-512", password, iterations=4096)]
            )
        finally:
            admin.close()

    def give_right(self, name: str, topic: str, operation: str) -> None:
        """Give a user one right on a topic."""
        admin = self.admin()
        try:
            admin.create_acls(
                [
                    ACL(
                        principal=f"User:{name}",
                        host="*",
                        operation=ACLOperation[operation],
                        permission_type=ACLPermissionType.ALLOW,
                        resource_pattern=ResourcePattern(ResourceType.TOPIC, topic),
                    )
                ]
            )
        finally:
            admin.close()

    def send(self, topic: str, *movies: dict[str, Any]) -> None:
        producer = KafkaProducer(bootstrap_servers=self.address, acks="all", **self.security)
        try:
            for movie in movies:
                value = json.dumps(movie, sort_keys=True).encode()
                producer.send(topic, value=value, partition=0).get(timeout=30)
        finally:
            producer.close(timeout=10)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("secured-broker"))
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.fixture
def here(environ: dict[str, str], broker: Broker, tmp_path: Path) -> dict[str, str]:
    """The environment of a job that may read a topic of its own, and nothing else."""
    name = tmp_path.name
    broker.make_topic(name)
    broker.set_user(name, PASSWORD)
    broker.give_right(name, name, "READ")
    write_password(tmp_path / "password", PASSWORD)
    return environ | {
        "KAFKA_BOOTSTRAP_SERVERS": broker.address,
        "KAFKA_TOPIC": name,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": name,
        "KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password"),
        "KAFKA_SSL_CAFILE": str(broker.ca),
        "BROKER_WAIT_SECONDS": "0",
    }


def write_password(path: Path, password: str, mode: int = 0o640) -> None:
    path.write_text(f"# Of the user of the job.\npassword={password}\n")
    path.chmod(mode)


def started(spark: SparkSession, config: Config, trigger: dict[str, Any]) -> Load:
    """The job as the service starts it."""
    guards.prepare_folders(config)
    config = with_term(config)
    guards.check_belongs_together(config)
    guards.wait_for_broker(config, threading.Event())
    job.check_topic(config, spark)
    messages = read_messages(spark, config, fail_on_data_loss=True)
    return Load(config, spark, lambda _: parse_events(messages), trigger=trigger)


def drain(spark: SparkSession, config: Config) -> Load:
    """Read all there is, and end."""
    load = started(spark, config, {"availableNow": True})
    try:
        assert load.query.awaitTermination(240)
    finally:
        load.query.stop()
        load.metrics.close()
    return load


def rows(config: Config) -> list[str]:
    return [row["tconst"] for row in silver(config)]


def test_rows_arrive_with_the_right_to_read_alone(
    spark: SparkSession,
    broker: Broker,
    here: dict[str, str],
    movie: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = load_config(here)
    broker.send(config.topic, *(movie | {"tconst": f"tt{number}"} for number in range(5)))
    # Before it is started a plan shows the source's options.
    read_messages(spark, config, fail_on_data_loss=True).explain(True)
    load = drain(spark, config)
    load.query.explain(True)
    assert rows(config) == ["tt0", "tt1", "tt2", "tt3", "tt4"]
    assert PASSWORD not in capsys.readouterr().out
    assert files_with(PASSWORD, tmp_path) == ["password"]


def files_with(text: str, folder: Path) -> list[str]:
    """Names of the files in a folder, and the folders below it, that hold a text."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in found if text.encode() in path.read_bytes()]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A master and a worker, whose logs and executors' folders are among the test's files."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with short_lived_jvms():
        cluster = Cluster(folder, "standalone")
        try:
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def talkative(cluster: Cluster, here: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a program whose Spark and whose clients of Kafka write down all."""
    events = tmp_path / "events"
    events.mkdir()
    (tmp_path / "spark-defaults.conf").write_text(
        f"spark.eventLog.enabled true\nspark.eventLog.dir file://{events}\n"
        "spark.eventLog.compress false\n"
    )
    (tmp_path / "log4j2.properties").write_text(
        "rootLogger.level = info\nrootLogger.appenderRef.stderr.ref = stderr\n"
        "appender.stderr.type = Console\nappender.stderr.name = stderr\n"
        "appender.stderr.target = SYSTEM_ERR\nappender.stderr.layout.type = PatternLayout\n"
        "appender.stderr.layout.pattern = %p %c: %m%n%ex\n"
        # The job makes all others less talkative.
        "logger.kafka.name = org.apache.kafka\nlogger.kafka.level = info\n"
    )
    return here | {
        "PYTHONPATH": f"{SPARK}{os.pathsep}{os.environ['PYTHONPATH']}",
        "SPARK_CONF_DIR": str(tmp_path),
        "SPARK_CONNECTOR_PATH": f"{os.environ['SPARK_HOME']}/connector/*",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DRIVER_HOST": "127.0.0.1",
        "SPARK_DRIVER_MEMORY": "600m",
        "SPARK_MASTER": cluster.master,
        "TRIGGER_INTERVAL": "1 second",
    }


def test_program_keeps_and_shows_no_password(
    broker: Broker, talkative: dict[str, str], movie: dict[str, Any], tmp_path: Path
) -> None:
    """Neither in Spark's event log, nor in what Kafka's clients log, nor in a process's words."""
    broker.send(talkative["KAFKA_TOPIC"], movie)
    program = Program("job", COMMAND, tmp_path / "job.log", talkative)
    try:
        wait_for(
            "the row",
            lambda: (program.exit_code, "1 rows in, 1 written" in program.log.read_text()),
            lambda seen: seen != (None, False),
            240,
        )
        for process in Path("/proc").glob("[0-9]*"):
            for place in ("cmdline", "environ"):
                try:
                    assert PASSWORD.encode() not in (process / place).read_bytes()
                except OSError:
                    continue
        assert program.stop() == 0, program.tail()
    finally:
        program.kill()
    assert "sasl.mechanism = SCRAM-SHA-512" in program.log.read_text()
    assert any(path.stat().st_size for path in (tmp_path / "events").rglob("*") if path.is_file())
    # An executor's log is among the files that are looked through.
    (executor,) = (tmp_path / "cluster" / "work").glob("app-*/*/stderr")
    assert executor.stat().st_size
    assert files_with(PASSWORD, tmp_path) == ["password"]


# That a start is refused so is seen by test_what_is_wrong_ends_the_start_by_its_name.
@pytest.mark.slow
def test_program_that_is_refused_shows_no_password(
    talkative: dict[str, str], tmp_path: Path
) -> None:
    write_password(tmp_path / "password", CHANGED)
    program = Program("again", COMMAND, tmp_path / "again.log", talkative)
    try:
        code = wait_for("its end", lambda: program.exit_code, lambda seen: seen is not None, 240)
    finally:
        program.kill()
    assert code == cli.REFUSED
    assert "Start refused. Kafka does not take the user" in program.log.read_text()
    assert "Traceback" not in program.log.read_text()
    assert files_with(CHANGED, tmp_path) == ["password"]


def bad_settings(broker: Broker, folder: Path, case: str) -> dict[str, str]:
    """Settings of which one is wrong."""
    if case.startswith("password"):
        password = {"password empty": "", "password quoted": '"a b"', "password other": CHANGED}
        if case == "password no property":
            (folder / "bad").write_text(f"{PASSWORD}\n")
            (folder / "bad").chmod(0o600)
        elif case != "password missing":
            mode = 0o644 if case == "password open to all" else 0o600
            write_password(folder / "bad", password.get(case, PASSWORD), mode)
        return {"KAFKA_SASL_PASSWORD_FILE": str(folder / "bad")}
    other = folder / "other"
    other.mkdir()
    make_certificates(other, "other", ["127.0.0.1"])
    (folder / "text").write_text("no certificate\n")
    return {
        "CA missing": {"KAFKA_SSL_CAFILE": str(folder / "none.pem")},
        "CA no PEM": {"KAFKA_SSL_CAFILE": str(folder / "text")},
        "CA another": {"KAFKA_SSL_CAFILE": str(other / "ca.pem")},
        "nobody": {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"},
        "plain port": {"KAFKA_BOOTSTRAP_SERVERS": broker.zookeeper_address},
        "user unknown": {"KAFKA_SASL_USERNAME": "nobody"},
        "topic of others": {"KAFKA_TOPIC": "of-others"},
        "topic to describe": {"KAFKA_TOPIC": "to-describe"},
    }[case]


CASES: dict[str, tuple[type[Exception], str]] = {
    "CA missing": (TlsFileError, r"KAFKA_SSL_CAFILE='.*none.pem': there is no such file"),
    "CA no PEM": (TlsFileError, r"KAFKA_SSL_CAFILE=.*: holds no certificate in PEM format"),
    "CA another": (BrokerUnreachableError, r"The certificate of 127.* is of a CA that is not in"),
    "nobody": (BrokerUnreachableError, r"No Kafka broker took a connection within .*refused"),
    "plain port": (BrokerUnreachableError, r"127.* does not speak TLS .*: see that the port is"),
    "password missing": (TlsFileError, r"KAFKA_SASL_PASSWORD_FILE=.*: cannot be read: No such"),
    "password empty": (TlsFileError, r"KAFKA_SASL_PASSWORD_FILE=.*: has no line password="),
    "password no property": (TlsFileError, r"PASSWORD_FILE=.*: has no line password=.*Write the"),
    "password quoted": (TlsFileError, r"PASSWORD_FILE=.*: the password has a blank, a quote"),
    "password open to all": (TlsFileError, r"PASSWORD_FILE=.*: is open to every user of this"),
    "password other": (CredentialsError, r"Kafka does not take the user .* with the password in"),
    "user unknown": (CredentialsError, r"Kafka does not take the user nobody with the password in"),
    "topic of others": (CredentialsError, r"The user .* may not read the topic of-others. Give"),
    "topic to describe": (CredentialsError, r"The user .* may not read the topic to-describe."),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_ends_the_start_by_its_name(
    spark: SparkSession, broker: Broker, here: dict[str, str], tmp_path: Path, case: str
) -> None:
    if case.startswith("topic"):
        name = bad_settings(broker, tmp_path, case)["KAFKA_TOPIC"]
        broker.make_topic(name)
        if case == "topic to describe":
            broker.give_right(here["KAFKA_SASL_USERNAME"], name, "DESCRIBE")
        (tmp_path / "other" / "ca.pem").unlink()
        (tmp_path / "other" / "other.pem").unlink()
        (tmp_path / "other").rmdir()
    kind, pattern = CASES[case]
    with pytest.raises(kind, match=pattern) as caught:
        started(spark, load_config(here | bad_settings(broker, tmp_path, case)), {})
    assert PASSWORD not in str(caught.value)
    assert CHANGED not in str(caught.value)


def test_plain_client_of_a_port_with_tls_is_told(
    spark: SparkSession, here: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka's client would wait for a minute, and not know why."""
    monkeypatch.setattr(jvm, "read_topic", partial(jvm.read_topic, seconds=5))
    config = load_config(here | {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"})
    with pytest.raises(TopicUnknownError, match=r"speaks TLS, and KAFKA_SECURITY_PROTOCOL is PLAI"):
        job.read_topic(config, spark)


@pytest.mark.parametrize("case", ["CA missing", "password missing"])
def test_file_that_is_missing_exits_2(
    broker: Broker,
    here: dict[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    case: str,
) -> None:
    environ = here | bad_settings(broker, tmp_path, case)
    # The connector's jar is there in name alone: it does not come as far as Spark.
    assert cli.main(["check"], environ) == cli.REFUSED
    assert "Wrong configuration.\nKAFKA_" in caplog.text


def test_password_that_is_new_at_the_brokers_first_is_waited_for(
    spark: SparkSession,
    broker: Broker,
    here: dict[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = load_config(here | {"BROKER_WAIT_SECONDS": "60"})
    broker.set_user(config.security.username, CHANGED)
    timer = threading.Timer(6, write_password, [tmp_path / "password", CHANGED])
    timer.start()
    with caplog.at_level(logging.WARNING, "imdb_streaming"):
        topic = job.read_topic(config, spark, threading.Event())
    timer.join()
    assert len(topic.ends) == 3
    told = [it.getMessage() for it in caplog.records if "does not take the user" in it.getMessage()]
    assert len(told) == 1
    assert "Waiting for up to" in told[0]


def test_changed_password_ends_the_query_and_the_next_start_goes_on(
    spark: SparkSession,
    broker: Broker,
    here: dict[str, str],
    movie: dict[str, Any],
    tmp_path: Path,
) -> None:
    config = load_config(here | {"TRIGGER_INTERVAL": "1 second"})
    broker.send(config.topic, movie)
    load = started(spark, config, {"processingTime": "0 seconds"})
    try:
        wait_for("the first row", lambda: load.sink.table_rows, lambda count: count == 1, 120)
        broker.set_user(config.security.username, CHANGED)
        broker.send(config.topic, movie | {"tconst": "tt2"})
        wait_for("the query's end", lambda: load.query.isActive, lambda active: not active, 120)
        obituary = job._obituary(load.query)
    finally:
        load.query.stop()
        load.metrics.close()
    assert "SaslAuthenticationException" in obituary
    assert PASSWORD not in obituary
    with pytest.raises(CredentialsError):
        drain(spark, config)
    write_password(tmp_path / "password", CHANGED)
    drain(spark, config)
    assert rows(config) == ["tt0111161", "tt2"]


@pytest.mark.parametrize("name", ["KAFKA_SASL_PASSWORD_FILE", "KAFKA_SSL_CAFILE"])
def test_file_that_executors_lack_is_named_by_the_querys_end(
    spark: SparkSession, broker: Broker, here: dict[str, str], tmp_path: Path, name: str
) -> None:
    """As on a host of workers that was given none."""
    file = tmp_path / "file"
    file.write_bytes(Path(here[name]).read_bytes())
    file.chmod(0o640)
    broker.send(here["KAFKA_TOPIC"], {})
    load = started(spark, load_config(here | {name: str(file)}), {"processingTime": "1 hour"})
    try:
        file.unlink()
        wait_for("the query's end", lambda: load.query.isActive, lambda active: not active, 120)
        obituary = job._obituary(load.query)
    finally:
        load.query.stop()
        load.metrics.close()
    assert str(file) in obituary, obituary
