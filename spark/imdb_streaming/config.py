"""The job's configuration: each environment variable is declared once, and read at the start."""

# ruff: noqa: RUF009 - a setting is a field of the class, and no value that objects would share.

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdb_streaming.bucket import BucketPath, Place
from imdb_streaming.security import PLAIN, PROTOCOLS, Security
from imdb_streaming.storage_settings import scheme_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class ConfigError(ValueError):
    """The environment does not describe a job; one line for each wrong variable."""


def _matching(
    pattern: str, complaint: str, convert: Callable[[str], Any] = str
) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if not re.fullmatch(pattern, text):
            raise ValueError(complaint)
        return convert(text)

    return parse


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


def _servers(text: str) -> str:
    servers = [server.strip() for server in text.split(",")]
    for server in servers:
        match = re.fullmatch(r".+:([0-9]+)", server)
        if not match or not 1 <= int(match[1]) <= 65535:
            raise ValueError(f"{server!r} is not host:port. Write host:port[,host:port...].")
    return ",".join(servers)


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("not a port. Give a number from 1 to 65535, or leave it empty.")
    return int(text)


def _place(text: str) -> Place:
    if scheme_of(text) == "s3a":
        return BucketPath(text.rstrip("/"))
    return Path(text.removeprefix("file://"))


_MILLISECONDS = {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000}


def _interval(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9}) (millisecond|second|minute|hour)s?", text)
    if not match or int(match[1]) == 0:
        raise ValueError("not an interval. Write a number above 0 and a unit, as in '20 seconds'.")
    return int(match[1]) * _MILLISECONDS[match[2]]


_absolute_path = _matching(
    r"(?s)/.*",
    "not an absolute path. Name a folder or file that is mounted on this host, from '/' on.",
    Path,
)
# Kafka's file provider ends a path at a colon or a brace.
_plain_path = _matching(
    r"(/[A-Za-z0-9._-]+)+",
    "not an absolute path of letters, digits, '.', '_' and '-'. Name a file so, the same on this "
    "host and on the workers.",
)
_user = _matching(
    r'[^\s,="\\$`]+',
    "not a user's name. Give one without blanks, commas, quotes, backslashes, dollar signs, "
    "backticks and '='.",
)
_topic = _matching(
    r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}",
    "not a Kafka topic name. Use one topic: up to 249 letters, digits, '.', '_' or '-'.",
)
_run_id = _matching(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    "it becomes part of file names. Use up to 64 letters, digits, '.', '_' or '-', a letter or "
    "digit first.",
)
_memory = _matching(r"[1-9][0-9]*[mg]", "not an amount of memory. Write it as 1024m or 2g.")
_master = _matching(
    r"spark://[^\s/]+:[0-9]+(,[^\s/]+:[0-9]+)*|local(\[[0-9*]+\])?",
    "not a Spark master. Write spark://host:7077, or local[2] for a trial.",
)
_isolation_level = _matching(
    "read_committed|read_uncommitted", "not a choice. Give read_committed or read_uncommitted."
)
_protocol = _matching("|".join(PROTOCOLS), f"not a choice. Give {' or '.join(PROTOCOLS)}.")
_yes_or_no = _matching("yes|no", "neither yes nor no. Write one of the two.", "yes".__eq__)


def _setting(variable: str, parse: Callable[[str], Any], default: str | None = None) -> Any:
    """A setting of the environment: required without a default; None if that is empty."""
    return field(metadata={"variable": variable, "parse": parse, "default": default})


@dataclass(frozen=True)
class Config:
    """What the job was asked to do. Paths are absolute; those of tables may be in a bucket."""

    bootstrap_servers: str = _setting("KAFKA_BOOTSTRAP_SERVERS", _servers)
    topic: str = _setting("KAFKA_TOPIC", _topic, "imdb-movies")
    isolation_level: str = _setting("KAFKA_ISOLATION_LEVEL", _isolation_level, "read_committed")
    global_mean_rating: float = _setting("GLOBAL_MEAN_RATING", _between(0, 10), "6.5")
    min_votes_prior: float = _setting("MIN_VOTES_PRIOR", _between(0, 1e12), "3000")
    output_path: Place = _setting("OUTPUT_PATH", _place, "/opt/spark-output/parquet")
    output_path_csv: Place = _setting("OUTPUT_PATH_CSV", _place, "/opt/spark-output/csv")
    run_id: str = _setting("RUN_ID", _run_id, "main")
    trigger_interval_ms: int = _setting("TRIGGER_INTERVAL", _interval, "20 seconds")
    max_offsets_per_trigger: int = _setting("MAX_OFFSETS_PER_TRIGGER", _at_least(1), "200000")
    broker_wait_seconds: int = _setting("BROKER_WAIT_SECONDS", _at_least(0), "120")
    executor_wait_seconds: int = _setting("EXECUTOR_WAIT_SECONDS", _at_least(1), "60")
    status_file: Path = _setting("STATUS_FILE", _absolute_path, "/run/imdb-streaming/status.json")
    metrics_port: int = _setting("METRICS_PORT", lambda it: 0 if it == "0" else _port(it), "0")
    metrics_address: str = _setting("METRICS_ADDRESS", str, "127.0.0.1")
    shuffle_partitions: int = _setting("SHUFFLE_PARTITIONS", _at_least(1), "4")
    spark_master: str = _setting("SPARK_MASTER", _master)
    spark_home: Path = _setting("SPARK_HOME", _absolute_path, "/opt/spark/current")
    spark_connector_path: str = _setting("SPARK_CONNECTOR_PATH", str, "{spark_home}/connector/*")
    spark_cores_max: int = _setting("SPARK_CORES_MAX", _at_least(1), "2")
    spark_executor_memory: str = _setting("SPARK_EXECUTOR_MEMORY", _memory, "1024m")
    spark_driver_memory: str = _setting("SPARK_DRIVER_MEMORY", _memory, "1024m")
    spark_executor_jvm_options: str | None = _setting("SPARK_EXECUTOR_JVM_OPTIONS", str, "")
    spark_driver_host: str | None = _setting("SPARK_DRIVER_HOST", str, "")
    spark_driver_port: int | None = _setting("SPARK_DRIVER_PORT", _port, "")
    spark_block_manager_port: int | None = _setting("SPARK_BLOCK_MANAGER_PORT", _port, "")
    spark_ui_port: int | None = _setting("SPARK_UI_PORT", _port, "")
    #: A folder on this host's own disk, for what it remembers of the output folder; None for none.
    host_folder: Path | None = _setting("HOST_FOLDER", _absolute_path, "")
    #: Whether a start takes over from a job that holds the tables, in place of being refused.
    take_over: bool = _setting("TAKE_OVER", _yes_or_no, "no")
    #: How Kafka is spoken to.
    security: Security = PLAIN
    #: Whether this run is made beside the one in service (`imdb-streaming reprocess`).
    is_beside: bool = False
    #: The name of this start's term: see terms.py. None before it is taken.
    term: str | None = None

    def opened(self, spark: "SparkSession") -> "Config":
        """The configuration whose places in buckets can be read and written.

        Raises StorageError if one cannot be reached.
        """
        paths = [
            path.opened(spark) if isinstance(path, BucketPath) else path
            for path in (self.output_path, self.output_path_csv)
        ]
        return replace(self, output_path=paths[0], output_path_csv=paths[1])

    @property
    def is_in_bucket(self) -> bool:
        """Whether tables are in a bucket, which can be looked at when Spark is connected."""
        return any(isinstance(it, BucketPath) for it in (self.output_path, self.output_path_csv))

    @property
    def tables_path(self) -> Place:
        """Where the tables are; those of a run beside the one in service have a folder there."""
        return self.output_path / "_runs" / self.run_id if self.is_beside else self.output_path

    @property
    def tables_path_csv(self) -> Place:
        root = self.output_path_csv
        return root / "_runs" / self.run_id if self.is_beside else root

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
        out = self.out_folder
        return out.parent if out else self.staging_root

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

    def _out_of(self, root: Place) -> Path | None:
        return root / self.term / "out" if self.term and isinstance(root, Path) else None

    @property
    def checkpoint_folder(self) -> Place:
        """Spark's checkpoint: what of the topic was read."""
        return self.output_path / "_chk" / f"silver_movies_{self.run_id}"

    @property
    def state_folder(self) -> Place:
        """The job's own state: of each movie its last version and genres."""
        return self.output_path / "_chk" / f"genre_counts_{self.run_id}"


#: What is needed besides where TLS is spoken.
_SECURITY = (
    ("KAFKA_SASL_USERNAME", _user),
    ("KAFKA_SASL_PASSWORD_FILE", _plain_path),
    ("KAFKA_SSL_CAFILE", _plain_path),
)


def load_config(environ: Mapping[str, str] | None = None) -> Config:
    """Read the environment; an empty variable counts as unset.

    Raises ConfigError that names every wrong variable, its value, the reason and what to do.
    """
    given = os.environ if environ is None else environ
    errors: list[str] = []
    found: dict[str, Any] = {}

    def read(variable: str, parse: Callable[[str], Any], default: str | None = None) -> Any:
        text = given.get(variable, "").strip() or default
        if text is None:
            errors.append(f"{variable} is not set. Set it; the job cannot guess it.")
        elif text:
            try:
                return parse(text)
            except ValueError as error:
                errors.append(f"{variable}={text!r}: {error}")
        return None

    for setting in fields(Config):
        if asked := dict(setting.metadata):
            if asked["default"]:
                asked["default"] = asked["default"].format_map(found)
            found[setting.name] = read(**asked)
    if "KAFKA_SASL_PASSWORD" in given:
        errors.append(
            "KAFKA_SASL_PASSWORD='***': the environment of a process is no place for a password. "
            "Write it into a file of mode 0640 or 0600, as password=..., and name that in "
            "KAFKA_SASL_PASSWORD_FILE."
        )
    protocol = read("KAFKA_SECURITY_PROTOCOL", _protocol, PROTOCOLS[0])
    if protocol not in (None, PROTOCOLS[0]):
        found["security"] = Security(protocol, *(read(*asked) for asked in _SECURITY))
    if errors:
        raise ConfigError("\n".join(errors))
    return Config(**found)
