"""The job's configuration: environment variables, read and checked once."""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imdb_streaming.bucket import BucketPath, Place
from imdb_streaming.security import PLAIN, PROTOCOLS, Security
from imdb_streaming.storage_settings import scheme_of


class ConfigError(ValueError):
    """The environment does not describe a job; one line for each wrong variable."""


@dataclass(frozen=True)
class Config:
    """What the job was asked to do. Paths are absolute; those of tables may be in a bucket."""

    bootstrap_servers: str
    topic: str
    isolation_level: str
    global_mean_rating: float
    min_votes_prior: float
    output_path: Place
    output_path_csv: Place
    run_id: str
    trigger_interval_ms: int
    max_offsets_per_trigger: int
    broker_wait_seconds: int
    executor_wait_seconds: int
    status_file: Path
    metrics_port: int
    metrics_address: str
    shuffle_partitions: int
    spark_master: str
    spark_home: Path
    spark_connector_path: str
    spark_cores_max: int
    spark_executor_memory: str
    spark_driver_memory: str
    spark_executor_jvm_options: str | None
    spark_driver_host: str | None
    spark_driver_port: int | None
    spark_block_manager_port: int | None
    spark_ui_port: int | None
    #: A folder on this host's own disk, for what it remembers of the output folder; None for none.
    host_folder: Path | None = None
    #: Whether a start takes over from a job that holds the tables, in place of being refused.
    take_over: bool = False
    #: Whether this run is made beside the one in service (`imdb-streaming reprocess`).
    is_beside: bool = False
    #: The name of this start's term: see terms.py. None before it is taken.
    term: str | None = None
    #: How Kafka is spoken to.
    security: Security = PLAIN

    @property
    def is_in_bucket(self) -> bool:
        """Whether tables are in a bucket, which can be looked at when Spark is connected."""
        return isinstance(self.output_path, BucketPath) or isinstance(
            self.output_path_csv, BucketPath
        )

    @property
    def tables_path(self) -> Place:
        """Where the tables are; those of a run beside the one in service have a folder there."""
        return self.output_path / "_runs" / self.run_id if self.is_beside else self.output_path

    @property
    def tables_path_csv(self) -> Place:
        if self.is_beside:
            return self.output_path_csv / "_runs" / self.run_id
        return self.output_path_csv

    @property
    def silver_folder(self) -> Place:
        return self.tables_path / "silver_movies"

    @property
    def dead_letters_folder(self) -> Place:
        return self.tables_path / "dead_letters"

    @property
    def genre_counts_folder(self) -> Place:
        return self.tables_path / "genre_counts"

    @property
    def genre_counts_csv_folder(self) -> Place:
        return self.tables_path_csv / "genre_counts"

    @property
    def staging_root(self) -> Place:
        """Where the terms and the locks are; on the tables' file system."""
        return self.tables_path / "_staging"

    @property
    def staging_root_csv(self) -> Place:
        """The same for the CSV table, which may be on another file system."""
        return self.tables_path_csv / "_staging"

    @property
    def staging_folder(self) -> Place:
        """Where files grow before they are renamed into a table."""
        return self._of_term(self.staging_root) or self.staging_root

    @property
    def out_folder(self) -> Path | None:
        """The way of every finished file into a table or the checkpoint; None in a bucket.

        Whoever takes over removes it: see terms.py.
        """
        return self._out_of(self.staging_root)

    @property
    def out_folder_csv(self) -> Path | None:
        """The same for the CSV table."""
        return self._out_of(self.staging_root_csv)

    def _of_term(self, root: Place) -> Path | None:
        return root / self.term if self.term and isinstance(root, Path) else None

    def _out_of(self, root: Place) -> Path | None:
        folder = self._of_term(root)
        return folder / "out" if folder else None

    @property
    def checkpoint_folder(self) -> Place:
        """Spark's checkpoint: what of the topic was read."""
        return self.output_path / "_chk" / f"silver_movies_{self.run_id}"

    @property
    def state_folder(self) -> Place:
        """The job's own state: of each movie its last version and genres."""
        return self.output_path / "_chk" / f"genre_counts_{self.run_id}"


def load_config(environ: Mapping[str, str] | None = None) -> Config:
    """Read the environment.

    Raises ConfigError that names every wrong variable, its value, the reason and what to do.
    """
    reader = _Reader(os.environ if environ is None else environ)
    spark_home = reader.get("SPARK_HOME", _absolute_path, "/opt/spark/current")
    config = Config(
        bootstrap_servers=reader.get("KAFKA_BOOTSTRAP_SERVERS", _servers),
        topic=reader.get("KAFKA_TOPIC", _topic, "imdb-movies"),
        isolation_level=reader.get("KAFKA_ISOLATION_LEVEL", _isolation_level, "read_committed"),
        global_mean_rating=reader.get("GLOBAL_MEAN_RATING", _between(0, 10), "6.5"),
        min_votes_prior=reader.get("MIN_VOTES_PRIOR", _between(0, 1e12), "3000"),
        output_path=reader.get("OUTPUT_PATH", _place, "/opt/spark-output/parquet"),
        output_path_csv=reader.get("OUTPUT_PATH_CSV", _place, "/opt/spark-output/csv"),
        run_id=reader.get("RUN_ID", _run_id, "main"),
        trigger_interval_ms=reader.get("TRIGGER_INTERVAL", _interval, "20 seconds"),
        max_offsets_per_trigger=reader.get("MAX_OFFSETS_PER_TRIGGER", _at_least(1), "200000"),
        broker_wait_seconds=reader.get("BROKER_WAIT_SECONDS", _at_least(0), "120"),
        executor_wait_seconds=reader.get("EXECUTOR_WAIT_SECONDS", _at_least(1), "60"),
        status_file=reader.get("STATUS_FILE", _absolute_path, "/run/imdb-streaming/status.json"),
        metrics_port=reader.get("METRICS_PORT", _port_or_none, "0"),
        metrics_address=reader.get("METRICS_ADDRESS", str, "127.0.0.1"),
        shuffle_partitions=reader.get("SHUFFLE_PARTITIONS", _at_least(1), "4"),
        spark_master=reader.get("SPARK_MASTER", _master),
        spark_home=spark_home,
        spark_connector_path=reader.get("SPARK_CONNECTOR_PATH", str, f"{spark_home}/connector/*"),
        spark_cores_max=reader.get("SPARK_CORES_MAX", _at_least(1), "2"),
        spark_executor_memory=reader.get("SPARK_EXECUTOR_MEMORY", _memory, "1024m"),
        spark_driver_memory=reader.get("SPARK_DRIVER_MEMORY", _memory, "1024m"),
        spark_executor_jvm_options=reader.optional("SPARK_EXECUTOR_JVM_OPTIONS", str),
        spark_driver_host=reader.optional("SPARK_DRIVER_HOST", str),
        spark_driver_port=reader.optional("SPARK_DRIVER_PORT", _port),
        spark_block_manager_port=reader.optional("SPARK_BLOCK_MANAGER_PORT", _port),
        spark_ui_port=reader.optional("SPARK_UI_PORT", _port),
        host_folder=reader.optional("HOST_FOLDER", _absolute_path),
        take_over=reader.get("TAKE_OVER", _yes_or_no, "no"),
        security=_security(reader),
    )
    reader.raise_errors()
    return config


class _Reader:
    """Reads variables and keeps every complaint, so that one start shows all of them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._errors: list[str] = []

    def get(self, name: str, parse: Callable[[str], Any], default: str | None = None) -> Any:
        """The parsed value; an empty variable counts as unset, one without default is required."""
        text = self._environ.get(name, "").strip() or default
        if text is None:
            self._errors.append(f"{name} is not set. Set it; the job cannot guess it.")
            return None
        try:
            return parse(text)
        except ValueError as error:
            self._errors.append(f"{name}={text!r}: {error}")
            return None

    def optional(self, name: str, parse: Callable[[str], Any]) -> Any:
        return self.get(name, parse) if self._environ.get(name, "").strip() else None

    def refuse(self, name: str, reason: str) -> None:
        """Complain if a variable is set at all; its value is not shown."""
        if name in self._environ:
            self._errors.append(f"{name}='***': {reason}")

    def raise_errors(self) -> None:
        if self._errors:
            raise ConfigError("\n".join(self._errors))


def _security(reader: _Reader) -> Security:
    """How Kafka is spoken to."""
    reader.refuse(
        "KAFKA_SASL_PASSWORD",
        "the environment of a process is no place for a password. Write it into a file of mode "
        "0640 or 0600, as password=..., and name that in KAFKA_SASL_PASSWORD_FILE.",
    )
    protocol = reader.get("KAFKA_SECURITY_PROTOCOL", _protocol, PROTOCOLS[0])
    if protocol in (None, PROTOCOLS[0]):
        return PLAIN
    return Security(
        protocol,
        reader.get("KAFKA_SASL_USERNAME", _user),
        reader.get("KAFKA_SASL_PASSWORD_FILE", _plain_path),
        reader.get("KAFKA_SSL_CAFILE", _plain_path),
    )


def _protocol(text: str) -> str:
    if text not in PROTOCOLS:
        raise ValueError(f"not a choice. Give {' or '.join(PROTOCOLS)}.")
    return text


def _user(text: str) -> str:
    if not re.fullmatch(r'[^\s,="\\$`]+', text):
        raise ValueError(
            "not a user's name. Give one without blanks, commas, quotes, backslashes, dollar "
            "signs, backticks and '='."
        )
    return text


def _plain_path(text: str) -> str:
    # Kafka's file provider ends a path at a colon or a brace.
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", text):
        raise ValueError(
            "not an absolute path of letters, digits, '.', '_' and '-'. Name a file so, the same "
            "on this host and on the workers."
        )
    return text


def _servers(text: str) -> str:
    for server in text.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise ValueError(
                f"{server.strip()!r} is not host:port. Write host:port[,host:port...]."
            )
    return ",".join(server.strip() for server in text.split(","))


def _topic(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) or text in {".", ".."}:
        raise ValueError(
            "not a Kafka topic name. Use one topic: up to 249 letters, digits, '.', '_' or '-'."
        )
    return text


def _isolation_level(text: str) -> str:
    if text not in {"read_committed", "read_uncommitted"}:
        raise ValueError("not a choice. Give read_committed or read_uncommitted.")
    return text


def _between(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"not a number in the range. Give one from {low:g} to {high:g}.")
        return number

    return parse


def _at_least(low: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < low:
            raise ValueError(f"not a whole number in the range. Give one from {low} up.")
        return int(text)

    return parse


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("not a port. Give a number from 1 to 65535, or leave it empty.")
    return int(text)


def _port_or_none(text: str) -> int:
    return 0 if text == "0" else _port(text)


def _yes_or_no(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise ValueError("neither yes nor no. Write one of the two.")
    return text == "yes"


def _absolute_path(text: str) -> Path:
    if not text.startswith("/"):
        raise ValueError(
            "not an absolute path. Name a folder or file that is mounted on this host, from '/' on."
        )
    return Path(text)


def _place(text: str) -> Place:
    if scheme_of(text) == "s3a":
        return BucketPath(text.rstrip("/"))
    return Path(text.removeprefix("file://"))


def _run_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError(
            "it becomes part of file names. Use up to 64 letters, digits, '.', '_' or '-', "
            "a letter or digit first."
        )
    return text


_MILLISECONDS = {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000}


def _interval(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9}) (millisecond|second|minute|hour)s?", text)
    if not match or int(match[1]) == 0:
        raise ValueError("not an interval. Write a number above 0 and a unit, as in '20 seconds'.")
    return int(match[1]) * _MILLISECONDS[match[2]]


def _memory(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[mg]", text):
        raise ValueError("not an amount of memory. Write it as 1024m or 2g.")
    return text


def _master(text: str) -> str:
    if not re.fullmatch(r"spark://[^\s/]+:[0-9]+(,[^\s/]+:[0-9]+)*|local(\[[0-9*]+\])?", text):
        raise ValueError("not a Spark master. Write spark://host:7077, or local[2] for a trial.")
    return text
