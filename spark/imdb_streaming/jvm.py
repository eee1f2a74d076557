"""What the job does in the JVM, by the classes of spark/java."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py4j.java_gateway import JavaObject
from py4j.protocol import Py4JJavaError
from pyspark.java_gateway import ensure_callback_server_started
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


def let_the_driver_alone_call(spark: SparkSession) -> None:
    """Let only the driver's JVM call this program, which it does for each batch.

    For that pyspark listens on the loopback address, where every user of the host comes. So who
    connects must say the password by which this program connects to the JVM.
    """
    gateway = spark.sparkContext._gateway
    password = gateway.gateway_parameters.auth_token
    gateway.callback_server_parameters.auth_token = password
    ensure_callback_server_started(gateway)
    # The JVM's side, which pyspark has told the port, has been given no password.
    client = JavaObject("GATEWAY_SERVER", gateway._gateway_client).getCallbackClient()
    said = client.getClass().getSuperclass().getDeclaredField("authToken")
    said.setAccessible(True)
    said.set(client, password)


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


class StateOutdatedError(Exception):
    """The job's state was written by a version of the job that knew events by their ids alone."""


class Batch:
    """A batch's messages on the executors, and what they are: see imdb.streaming.Batch."""

    def __init__(self, spark: SparkSession, state: Any, rows: DataFrame, as_one_part: bool) -> None:
        self._spark = spark
        self._state = state
        self._batch = _classes(spark).Batch(rows._jdf, as_one_part)
        #: New events, those sent again, those older than what their movie has, and messages that
        #: are no events; decided later.
        self.fresh = self.duplicates = self.stale = self.malformed = 0
        #: When Kafka got the newest message, in seconds since 1970; 0 if there is none.
        self.newest = 0.0
        #: How much the executors have told the driver of it.
        self.told_bytes = 0

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
        counts = dict(self._state.decide(self._batch))
        self.newest = counts.pop("newest", 0) / 1e6
        for name, count in counts.items():
            setattr(self, name, count)

    def chosen(self, *, events: bool) -> DataFrame:
        """The rows of the new events alone, or of the messages that are no events.

        Reads the messages again, from the same offsets.
        """
        return DataFrame(self._batch.chosen(events), self._spark)

    def places(self, *, events: bool) -> dict[int, int]:
        """The parts that have such messages: as Spark numbers them, their places in the topic."""
        return dict(self._batch.places(events))


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
        out_name = str(out) if out else None
        rows = None if made_of is None else made_of._jdf
        given = folder, out_name, _hadoop(spark), last_batch, batches_a_snapshot, makes, rows
        try:
            self._state = _classes(spark).JobState.open(*given)
        except Py4JJavaError as error:
            name = error.java_exception.getClass().getSimpleName()
            if name == "OutdatedException":
                raise StateOutdatedError(error.java_exception.getMessage()) from error
            if name == "DamagedException":
                raise StateDamagedError(error.java_exception.getMessage()) from error
            raise

    def batch(self, rows: DataFrame, *, as_one_part: bool = False) -> Batch:
        """Take a batch's messages, to tell its new events from the others."""
        return Batch(self._spark, self._state, rows, as_one_part)

    def save(self, batch_id: int) -> None:
        """Write what the batch changed, once its rows are in the tables."""
        self._state.save(batch_id)

    def counts(self) -> dict[str, int]:
        return {str(genre): int(count) for genre, count in self._state.counts().items()}

    @property
    def movies(self) -> int:
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
    java: Any = spark.sparkContext._jvm
    kafka = java.org.apache.kafka
    admins = kafka.clients.admin
    wait = int(seconds * 1000), java.java.util.concurrent.TimeUnit.MILLISECONDS
    options = security.client_options() | {
        "bootstrap.servers": servers,
        "default.api.timeout.ms": str(wait[0]),
        "request.timeout.ms": str(min(wait[0], 10_000)),
    }
    isolated = admins.ListOffsetsOptions(
        kafka.common.IsolationLevel.valueOf(isolation_level.upper())
    )
    forbidden = CredentialsError(
        f"The user {security.username} may not read the topic {topic}. Give it the right READ on "
        "that topic, and see that KAFKA_TOPIC is its name."
    )
    admin = None
    try:
        admin = admins.Admin.create(options)
        with_rights = admins.DescribeTopicsOptions().includeAuthorizedOperations(True)
        found = admin.describeTopics([topic], with_rights).allTopicNames().get(*wait)[topic]
        # A user that may only describe it would find out when the query runs.
        rights = found.authorizedOperations()
        if rights is not None and kafka.common.acl.AclOperation.READ not in rights:
            raise forbidden
        places = [kafka.common.TopicPartition(topic, it.partition()) for it in found.partitions()]

        def offsets(which: Any) -> dict[int, int]:
            asked = dict.fromkeys(places, which)
            told = admin.listOffsets(asked, isolated).all().get(*wait)
            return {place.partition(): told[place].offset() for place in places}

        specs = admins.OffsetSpec
        return TopicState(
            found.topicId().toString(),
            offsets(specs.earliest()),
            offsets(specs.latest()),
            _settings(kafka, admin, topic, wait),
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
            raise forbidden from error
        raise TopicUnknownError(
            f"The brokers {servers} say nothing of the topic {topic}: {cause.toString()}. Is the "
            "topic made, and does each of its partitions have a leader?"
        ) from error
    finally:
        if admin is not None:
            admin.close()


def _settings(kafka: Any, admin: Any, topic: str, wait: tuple[int, Any]) -> dict[str, str]:
    """What deletes a topic's messages; nothing where the brokers do not tell, as it is for messages
    alone."""
    resources = kafka.common.config.ConfigResource
    resource = resources(resources.Type.TOPIC, topic)
    try:
        found = admin.describeConfigs([resource]).all().get(*wait)[resource]
    except Py4JJavaError:
        return {}
    names = ("retention.ms", "retention.bytes", "message.timestamp.type")
    return {name: str(found.get(name).value()) for name in names}


def reason(error: Exception) -> str:
    """Why Java failed, in a line: the text of py4j's errors is a whole stack trace."""
    if not isinstance(error, Py4JJavaError):
        return str(error)
    cause = error.java_exception
    while cause.getCause() is not None:
        cause = cause.getCause()
    return str(cause.toString())


def polls(spark: SparkSession) -> int:
    """How often queries have asked for new messages."""
    return int(_classes(spark).PacedKafka.polls())


def checkpoint_uri(spark: SparkSession, folder: Path, out: Path) -> str:
    """The name of a folder by which Spark's checkpoint gets there by way of `out` (terms.py)."""
    settings = _hadoop(spark)
    settings.set("fs.term.impl", f"{_PACKAGE}.TermFileSystem")
    settings.set("imdb.streaming.out", str(out))
    return f"term://{out.parent.name}{folder}"


def upload(spark: SparkSession, files: dict[str, str]) -> None:
    """Copy files of a bucket to other names there, by the executors. URIs."""
    _classes(spark).TableFiles.upload(spark.sparkContext._jsc, files)


def write_counts(spark: SparkSession, counts: Mapping[str, int], target: str) -> None:
    """Write the table genre_counts as one Parquet file, in the order given. A URI."""
    rows = spark.sparkContext._jvm.java.util.LinkedHashMap()
    for genre, count in counts.items():
        rows.put(genre, count)
    _classes(spark).TableFiles.writeCounts(rows, target, _hadoop(spark))


def _classes(spark: SparkSession) -> Any:
    return spark.sparkContext._jvm.imdb.streaming


def _hadoop(spark: SparkSession) -> Any:
    return spark.sparkContext._jsc.hadoopConfiguration()
