"""What the job does in the JVM, by the classes of spark/java."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession

from imdb_streaming.refusals import CredentialsError, StartRefusedError
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


class Batch:
    """A batch's rows, kept on the executors once they are read, and what they are."""

    def __init__(self, spark: SparkSession, state: Any, batch: Any) -> None:
        self._spark = spark
        self._state = state
        self._batch = batch
        #: Events that were not known before the batch, known ones, and messages that are no events;
        #: decided later.
        self.fresh = self.duplicates = self.malformed = 0
        #: When Kafka got the newest message, in seconds since 1970; 0 if there is none.
        self.newest = 0.0

    def valid_events(self) -> DataFrame:
        """The rows of all valid events, known or not.

        To be read once and wholly, before `decide`, which then needs no pass of its own.
        """
        return DataFrame(self._batch.validEvents(), self._spark)

    def decide(self, planned_at: int, planned_before: int) -> None:
        """Tell new events from known ones.

        Takes when the batch was planned, and the one before it (the first: the same), in
        milliseconds since 1970. What is decided follows from that, not from when it runs.
        """
        self._state.decide(self._batch, planned_at, planned_before)
        self.fresh = int(self._batch.fresh())
        self.duplicates = int(self._batch.duplicates())
        self.malformed = int(self._batch.malformed())
        self.newest = float(self._batch.newest())

    def new_events(self) -> DataFrame:
        """The rows of EVENT columns of events that were not known; one row an event."""
        return DataFrame(self._batch.newEvents(), self._spark)

    def malformed_events(self) -> DataFrame:
        """The rows of messages that are no events."""
        return DataFrame(self._batch.malformedEvents(), self._spark)


class JobState:
    """What the job remembers over its batches: see imdb.streaming.JobState."""

    def __init__(
        self,
        spark: SparkSession,
        folder: str,
        last_batch: int,
        retention_days: int,
        out: Path | None = None,
        batches_a_snapshot: int = 200,
    ) -> None:
        """Read the state as it was after the batch `last_batch` (-1: none) from a folder (a URI).

        What it writes goes there by way of the folder `out` (terms.py); in a bucket there is none.
        A start reads a snapshot and at most `batches_a_snapshot` small files, twice that after a
        crash. Raises StateDamagedError, and StartRefusedError where the heap is too small.
        """
        self._spark = spark
        try:
            self._state = _classes(spark).JobState.open(
                folder,
                str(out) if out else None,
                _hadoop(spark),
                last_batch,
                retention_days,
                batches_a_snapshot,
            )
        except Py4JJavaError as error:
            name = error.java_exception.getClass().getSimpleName()
            if name == "IndexDamagedException":
                raise StateDamagedError(error.java_exception.getMessage()) from error
            if name == "IndexTooLargeException":
                raise StartRefusedError(error.java_exception.getMessage()) from error
            raise

    @contextmanager
    def batch(self, rows: DataFrame) -> Iterator[Batch]:
        """Keep a batch's rows, to tell its new events from known ones."""
        batch = self._state.begin(rows._jdf)
        try:
            yield Batch(self._spark, self._state, batch)
        finally:
            batch.close()

    def save(self, batch_id: int) -> None:
        """Write what the batch changed, once its rows are in the tables."""
        self._state.save(batch_id)

    def counts(self) -> dict[str, int]:
        """Movies by genre."""
        return {str(genre): int(count) for genre, count in self._state.counts().items()}

    @property
    def ids(self) -> int:
        """Event ids that are known."""
        return int(self._state.ids())

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


def concatenate(spark: SparkSession, parts: list[str], target: str) -> int:
    """Put the rows of Parquet files of one schema into one file, row group by row group. URIs.

    Returns how many rows there are.
    """
    listed = spark.sparkContext._jvm.java.util.ArrayList(parts)
    return int(_classes(spark).ParquetFiles.concatenate(listed, target, _hadoop(spark)))


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
