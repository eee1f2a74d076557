"""What the job does in the JVM, by the classes of spark/java."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession

from imdb_streaming.refusals import CredentialsError
from imdb_streaming.schema import PARSED_SCHEMA
from imdb_streaming.security import PLAIN, Security

#: The jar of those classes, beside this package where it is installed.
JAR = Path(os.environ.get("IMDB_STREAMING_JAR") or Path(__file__).parents[1] / "imdb-streaming.jar")

#: The SQL function that reads a message's value as a movie.
PARSE_MOVIE = "parse_movie"

_PACKAGE = "imdb.streaming"

#: The format of the topic as a stream: see the class.
PACED_KAFKA = f"{_PACKAGE}.PacedKafka"


class StateDamagedError(Exception):
    """A file of the job's state is missing or is not what was written. The text names it."""


def register(spark: SparkSession) -> None:
    """Make the SQL functions known to a session."""
    spark.udf.registerJavaFunction(PARSE_MOVIE, f"{_PACKAGE}.ParseMovie", PARSED_SCHEMA)


@dataclass(frozen=True)
class TopicState:
    """What the brokers say of a topic: by partition, the first offset there is, and the next.

    The settings are empty where the brokers do not tell them.
    """

    id: str
    beginnings: dict[int, int]
    ends: dict[int, int]
    settings: dict[str, str] = field(default_factory=dict)


class TopicUnknownError(Exception):
    """The brokers do not say where the topic begins and ends."""


class StateOutdatedError(StateDamagedError):
    """The job's state was written by a version of the job that knew events by their ids alone."""


class Batch:
    """A batch's messages on the executors, and what they are."""

    def __init__(self, spark: SparkSession, state: Any, batch: Any) -> None:
        self._spark = spark
        self._state = state
        self._batch = batch
        #: New events, those sent again, those older than what their movie has, and messages that
        #: are no events; decided later.
        self.fresh = self.duplicates = self.stale = self.malformed = 0
        #: When Kafka got the newest message, in seconds since 1970; 0 if there is none.
        self.newest = 0.0

    @property
    def parts_at_most(self) -> int:
        """How many parts it has at most; each becomes a file of a table."""
        return int(self._batch.partsAtMost())

    def valid_events(self) -> DataFrame:
        """The rows of all valid events, new or not. To be read once and wholly, before `decide`."""
        return DataFrame(self._batch.validEvents(), self._spark)

    def read(self) -> None:
        """Read all messages, in place of valid_events, where no row is to be made of them."""
        self._batch.read()

    def decide(self) -> None:
        """Tell new events from the others, by what the state has of their movies."""
        self._state.decide(self._batch)
        self.fresh = int(self._batch.fresh())
        self.duplicates = int(self._batch.duplicates())
        self.stale = int(self._batch.stale())
        self.malformed = int(self._batch.malformed())
        self.newest = float(self._batch.newest())

    def new_events(self) -> DataFrame:
        """The rows of the new events alone. Reads the messages again, from the same offsets."""
        return DataFrame(self._batch.newEvents(), self._spark)

    def fresh_parts(self) -> dict[int, int]:
        """The parts that have new events: as Spark numbers them, their places in the topic."""
        return {int(part): int(place) for part, place in self._batch.freshParts().items()}

    def malformed_messages(self) -> DataFrame:
        """The rows of messages that are no events. Reads the messages again."""
        return DataFrame(self._batch.malformedMessages(), self._spark)

    def malformed_parts(self) -> dict[int, int]:
        """The parts that have messages which are no events, likewise."""
        return {int(part): int(place) for part, place in self._batch.malformedParts().items()}


class JobState:
    """What the job remembers over its batches: see imdb.streaming.JobState."""

    def __init__(
        self,
        spark: SparkSession,
        folder: str,
        last_batch: int,
        out: Path | None = None,
        batches_a_snapshot: int = 200,
        *,
        makes: bool = False,
        made_of: DataFrame | None = None,
    ) -> None:
        """Read the state as it was after the batch `last_batch` (-1: none) from a folder (a URI).

        What it writes goes there by way of the folder `out` (terms.py); in a bucket there is none.
        A start reads a snapshot and at most `batches_a_snapshot` small files, twice that after a
        crash. If asked, it `makes` the state of a row of each movie, or none, in place of what is
        there. Raises StateDamagedError, and StateOutdatedError where it can be made so.
        """
        self._spark = spark
        #: Whether it was made of the rows of silver.
        self.is_made = makes
        given = (
            folder,
            str(out) if out else None,
            _hadoop(spark),
            last_batch,
            batches_a_snapshot,
        )
        try:
            if makes:
                rows = None if made_of is None else made_of._jdf
                self._state = _classes(spark).JobState.make(*given, rows)
            else:
                self._state = _classes(spark).JobState.open(*given)
        except Py4JJavaError as error:
            name = error.java_exception.getClass().getSimpleName()
            if name == "Outdated":
                raise StateOutdatedError(error.java_exception.getMessage()) from error
            if name == "StateDamagedException":
                raise StateDamagedError(error.java_exception.getMessage()) from error
            raise

    def batch(self, rows: DataFrame, *, as_one_part: bool = False) -> Batch:
        """Take a batch's messages, to tell its new events from the others."""
        return Batch(self._spark, self._state, self._state.begin(rows._jdf, as_one_part))

    def save(self, batch_id: int) -> None:
        """Write what the batch changed, once its rows are in the tables."""
        self._state.save(batch_id)

    def counts(self) -> dict[str, int]:
        """Movies by genre."""
        return {str(genre): int(count) for genre, count in self._state.counts().items()}

    @property
    def movies(self) -> int:
        """Movies that are known."""
        return int(self._state.movies())

    @property
    def bytes(self) -> int:
        """Memory that they take in the driver, in bytes."""
        return int(self._state.bytes())


def read_topic(
    spark: SparkSession,
    servers: str,
    topic: str,
    security: Security = PLAIN,
    isolation_level: str = "read_committed",
    seconds: float = 60,
) -> TopicState:
    """Ask the brokers for a topic's id and offsets; with read_committed those before what is open.

    Raises TopicUnknownError when they do not answer in time, or know no such topic, and
    CredentialsError when they do not take the user, or it may not read the topic.
    """
    options = spark.sparkContext._jvm.java.util.HashMap()
    for key, value in security.client_options().items():
        options.put(key, value)
    try:
        state = _classes(spark).TopicState.read(
            servers, topic, int(seconds * 1000), options, isolation_level
        )
    except Py4JJavaError as error:
        cause = error.java_exception.getCause() or error.java_exception
        name = cause.getClass().getSimpleName()
        if name == "SaslAuthenticationException":
            raise CredentialsError(
                f"Kafka does not take the user {security.username} with the password in "
                f"{security.password_file}: {cause.getMessage()}. See that KAFKA_SASL_USERNAME "
                "names a user that the brokers know, and that the file holds the password that "
                "they have."
            ) from error
        if name == "TopicAuthorizationException":
            raise CredentialsError(
                f"The user {security.username} may not read the topic {topic}. Give it the right "
                "READ on that topic, and see that KAFKA_TOPIC is its name."
            ) from error
        raise TopicUnknownError(
            f"The brokers {servers} say nothing of the topic {topic}: {cause.toString()}. Is the "
            "topic made, and does each of its partitions have a leader?"
        ) from error
    return TopicState(
        str(state.id()),
        {int(partition): int(offset) for partition, offset in state.beginnings().items()},
        {int(partition): int(offset) for partition, offset in state.ends().items()},
        {str(name): str(value) for name, value in state.settings().items()},
    )


def polls(spark: SparkSession) -> int:
    """How often queries have asked for new messages."""
    return int(_classes(spark).PacedKafka.polls())


def checkpoint_uri(spark: SparkSession, folder: Path, out: Path) -> str:
    """The name of a folder by which Spark's checkpoint gets there by way of `out` (terms.py)."""
    settings = _hadoop(spark)
    settings.set("fs.term.impl", f"{_PACKAGE}.TermFileSystem")
    settings.set("imdb.streaming.out", str(out))
    return f"term://{out.parent.name}{folder}"


def upload(spark: SparkSession, sources: list[str], targets: list[str]) -> None:
    """Copy files of a bucket to other names there, by the executors. URIs."""
    names = spark.sparkContext._jvm.java.util.ArrayList
    _classes(spark).Uploads.copy(spark._jsparkSession, names(sources), names(targets))


def write_counts(spark: SparkSession, counts: Mapping[str, int], target: str) -> None:
    """Write the table genre_counts as one Parquet file, in the order given. A URI."""
    rows = spark.sparkContext._jvm.java.util.LinkedHashMap()
    for genre, count in counts.items():
        rows.put(genre, count)
    _classes(spark).ParquetFiles.writeCounts(rows, target, _hadoop(spark))


def _classes(spark: SparkSession) -> Any:
    return spark.sparkContext._jvm.imdb.streaming


def _hadoop(spark: SparkSession) -> Any:
    return spark.sparkContext._jsc.hadoopConfiguration()
