"""Settings: defaults, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from imdb_producer import __version__
from imdb_producer.cli import main
from imdb_producer.config import Config
from imdb_producer.errors import ConfigError
from imdb_producer.security import Security

from .fakes import configured

BROKER = {"KAFKA_BOOTSTRAP_SERVERS": "kafka-1:9092"}


def test_defaults_are_those_of_the_documentation() -> None:
    config = configured(BROKER)
    assert config.topic == "imdb-movies"
    assert config.msgs_per_sec == 10
    assert config.limit is None
    assert config.min_votes == 1000
    assert config.status_file is None
    assert config.basics.endswith("/title.basics.tsv.gz")
    assert config.ratings.endswith("/title.ratings.tsv.gz")


def test_every_setting_is_read() -> None:
    config = configured(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "kafka-1:9092, [fd00::1]:9094",
            "KAFKA_TOPIC": "movies.v2",
            "MSGS_PER_SEC": "0.5",
            "PRODUCER_LIMIT": "7",
            "BASICS_URL": "file:///srv/basics.tsv",
            "RATINGS_URL": "https://example.org/ratings.tsv.gz",
            "CACHE_DIR": "/var/cache/imdb",
            "STATUS_FILE": "/run/imdb/status.json",
            "MIN_VOTES": "10",
            "ALLOW_CACHED": "no",
            "DOWNLOAD_ATTEMPTS": "3",
            "RESEND": "once",
            "KAFKA_CLIENT": "confluent",
            "METRICS_PORT": "9401",
            "METRICS_ADDRESS": "::",
            "METRICS_FILE": "/run/imdb/metrics.prom",
        }
    )
    assert config == Config(
        bootstrap_servers=("kafka-1:9092", "[fd00::1]:9094"),
        topic="movies.v2",
        msgs_per_sec=0.5,
        limit=7,
        basics="file:///srv/basics.tsv",
        ratings="https://example.org/ratings.tsv.gz",
        cache_dir=Path("/var/cache/imdb"),
        status_file=Path("/run/imdb/status.json"),
        min_votes=10,
        allow_cached=False,
        download_attempts=3,
        resend="once",
        kafka_client="confluent",
        log_format="text",
        metrics_port=9401,
        metrics_address="::",
        metrics_file=Path("/run/imdb/metrics.prom"),
    )


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_limit_is_no_limit(empty: str) -> None:
    assert configured({**BROKER, "PRODUCER_LIMIT": empty}).limit is None


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "", "no broker is named"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka-1", "not host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka-1:9092,", "not host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka-1:99999", "not within 1 to 65535"),
        ("KAFKA_TOPIC", "", "not a name that Kafka allows"),
        ("KAFKA_TOPIC", "two words", "not a name that Kafka allows"),
        ("KAFKA_TOPIC", "..", "not a name that Kafka allows"),
        ("KAFKA_TOPIC", "x" * 250, "not a name that Kafka allows"),
        ("MSGS_PER_SEC", "-1", "cannot be negative"),
        ("MSGS_PER_SEC", "fast", "not a number"),
        ("MSGS_PER_SEC", "nan", "not a finite number"),
        ("MSGS_PER_SEC", "inf", "not a finite number"),
        ("PRODUCER_LIMIT", "0", "not within 1"),
        ("PRODUCER_LIMIT", "-5", "not within 1"),
        ("PRODUCER_LIMIT", "1.5", "not a whole number"),
        ("PRODUCER_LIMIT", "1_000", "not a whole number"),
        ("MIN_VOTES", "many", "not a whole number"),
        ("MIN_VOTES", "-1", "not within 0"),
        (
            "ALLOW_CACHED",
            "perhaps",
            "is not a valid boolean. Recognized values",
        ),
        ("DOWNLOAD_ATTEMPTS", "0", "not within 1"),
        ("KAFKA_CLIENT", "java", "is not one of 'kafka-python', 'confluent'"),
        ("METRICS_PORT", "70000", "not within 0 to 65535"),
        ("BASICS_URL", "ftp://example.org/x", "scheme 'ftp' is not supported"),
        ("BASICS_URL", "/srv/basics.tsv", "scheme '' is not supported"),
        ("BASICS_URL", "https:///x", "no host is named"),
        ("RATINGS_URL", "file://host/x", "must name a path on this host"),
        ("RATINGS_URL", "https://[::1/x", "Invalid IPv6 URL"),
        ("RATINGS_URL", "https://host:port/x", "no port stands behind the host"),
    ],
)
def test_a_bad_value_is_named_with_reason_and_advice(name: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured({**BROKER, name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}={value!r}: ")
    assert reason in message
    advice = message.partition(reason)[2]
    # What is one of some words names them all.
    assert (
        "'confluent'" in reason or "Recognized" in reason or "Give " in advice or "Use " in advice
    )


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:planted@host/x",
        "user:planted@host/x",
        "planted:@host/x",
        "https://user:plan/planted@host/x",
        "https://user:pl@planted@host:port/x",
        "https://[user:planted@host/x",
        "https:///x?signature=planted",
        "https://user:planted@ho st/x",
        "https://user:planted planted@host/x",
    ],
)
def test_a_bad_url_is_named_without_its_secret(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured({**BROKER, "BASICS_URL": url})
    assert "planted" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_bad_value_ends_the_program_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"], {**BROKER, "MSGS_PER_SEC": "-1"}) == 2
    assert "MSGS_PER_SEC='-1'" in capsys.readouterr().err


def test_a_status_file_that_cannot_be_written_ends_the_program_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing" / "status.json"
    environment = {**BROKER, "CACHE_DIR": str(tmp_path / "cache"), "STATUS_FILE": str(missing)}
    assert main(["run"], environment) == 2
    assert f"STATUS_FILE={str(missing)!r}: cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "text"),
    [("--version", __version__), ("run --help", "MSGS_PER_SEC"), ("--help", "Exit codes")],
)
def test_help_and_version_need_no_settings(
    option: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(option.split(), {}) == 0
    assert text in capsys.readouterr().out


SECURED = BROKER | {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_USERNAME": "producer",
    "KAFKA_SASL_PASSWORD_FILE": "/etc/imdb-producer/password",
    "KAFKA_SSL_CAFILE": "/etc/ssl/imdb-pipeline/ca.pem",
}


def test_a_user_and_its_files_are_read() -> None:
    assert not configured(BROKER).security.enabled
    security = configured(SECURED).security
    assert security == Security(
        "SASL_SSL", "producer", "/etc/imdb-producer/password", "/etc/ssl/imdb-pipeline/ca.pem"
    )
    assert security.enabled


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("KAFKA_SECURITY_PROTOCOL", "SSL", "is not one of 'PLAINTEXT', 'SASL_SSL'"),
        ("KAFKA_SASL_USERNAME", "", "SASL_SSL needs it"),
        ("KAFKA_SASL_USERNAME", "a=b", "not a user's name"),
        ("KAFKA_SASL_PASSWORD_FILE", "", "SASL_SSL needs it. Name a file"),
        ("KAFKA_SSL_CAFILE", "", "SASL_SSL needs it. Name a file"),
        ("ZOOKEEPER_CA", "/ca.pem", "ZOOKEEPER_CERTIFICATE='': ZOOKEEPER_CA='/ca.pem' needs it"),
        ("KAFKA_SASL_PASSWORD", "secret", "'***': the environment of a process is no place"),
    ],
)
def test_what_is_wrong_with_a_user_is_named(name: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(SECURED | {name: value})
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_was_given_as_an_option_is_named_so(tmp_path: Path) -> None:
    options = "--sasl-password-file", str(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"--sasl-password-file=.*: cannot be read: No such"):
        configured(SECURED, *options).security.password()
