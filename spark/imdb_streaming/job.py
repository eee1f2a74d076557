"""The streaming job: Kafka -> silver_movies, dead_letters and genre_counts."""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from imdb_streaming import backup, contract, guards, jvm, presence, runs, terms
from imdb_streaming.checkpoint import last_batch
from imdb_streaming.config import Config
from imdb_streaming.executors import ExecutorsLostError, ExecutorWatch
from imdb_streaming.files import local, uri
from imdb_streaming.locks import tables_locked
from imdb_streaming.metrics import MetricsServer
from imdb_streaming.notify import notify
from imdb_streaming.refusals import CredentialsError
from imdb_streaming.session import connect, read_messages
from imdb_streaming.sinks import MOVIES, BatchResult, MovieSink, count_rows
from imdb_streaming.status import QueryStatus, Status, batch_line
from imdb_streaming.stopping import STOP_SECONDS, end_in, listen_for_stop
from imdb_streaming.tls import speaks_tls, split_address
from imdb_streaming.transformations import latest_movies, parse_events

#: The status file is written at least so often, so that its age tells whether the job lives.
STATUS_SECONDS = 5
#: Seconds between two attempts of a user that Kafka does not take, at most: brokers log each.
_CREDENTIALS_SECONDS = 20
#: A start whose table has many files takes its time. Systemd gives it this long for each step, so
#: that one that hangs is ended all the same.
_STEP_SECONDS = 120
#: Spark's own number of executors of an application that has said none: spark.cores.max bounds it.
_NO_LIMIT = 2**31 - 1

log = logging.getLogger("imdb_streaming")


class QueryDiedError(Exception):
    """A query ended without being asked to, which the log has told: which, and why."""


class GapPassedError(Exception):
    """All that was lost and accepted is behind; the query ends, to be begun anew."""


def run(config: Config, stopping: threading.Event) -> None:
    """Check, connect, extract, transform, load, and watch until `stopping`.

    A run beside the one in service ends by itself when it has caught up. Raises OvertakenError when
    another start takes over.
    """
    guards.check_connector(config)
    # One that waits beside another is looked at with the topic, and put into service after that.
    if not config.is_in_bucket and not runs.is_waiting(config):
        take_up(config)
    guards.wait_for_broker(config, stopping)
    if stopping.is_set():
        return
    spark = connect(config)
    load = None
    try:
        # Spark's own handler of SIGINT would break into whatever the main thread does.
        listen_for_stop(stopping)
        if config.is_in_bucket:
            config = config.opened(spark)
            take_up(config)
        topic = check_topic(config, spark, stopping=stopping)
        if runs.is_waiting(config):
            check_tables(config)
            check_state(config, spark)
            if runs.is_behind(config):
                _catch_up(config, spark, stopping)
            if stopping.is_set():
                return
            take_up(config)
            topic = check_topic(config, spark)
        presence.remember(config)
        if stopping.is_set():
            return
        terms.check(config)

        load = _begin(config, spark, topic)
        load.watch(stopping)
    except (Py4JNetworkError, ConnectionError) as error:
        log.error("Spark's JVM is gone; was it killed, or out of memory? (%s)", error)
        raise QueryDiedError("Spark's JVM is gone.") from error
    except (QueryDiedError, ExecutorsLostError) as error:
        # Said before anything is stopped: stopping may take its time, or the process end in it.
        log.error("%s", error)
        raise
    finally:
        notify("STOPPING=1")
        if not stopping.is_set():
            end_in(STOP_SECONDS, 1)
        if load:
            load.close()
        _stop("Spark", spark.stop)
    log.info("Stopped.")


def check_tables(config: Config) -> None:
    """See that checkpoint and tables are of one run, also where it waits beside another."""
    if not runs.is_waiting(config):
        guards.check_belongs_together(config, mark=False)
    elif runs.run_in_service(config) != config.run_id:
        guards.check_belongs_together(replace(config, is_beside=True), mark=False)
    # Else an exchange was cut off, and the next start goes on with it.


def check_topic(
    config: Config,
    spark: SparkSession,
    *,
    note: bool = True,
    stopping: threading.Event | None = None,
) -> jvm.TopicState:
    """See that the topic is the run's, and has what comes next, or its loss was accepted.

    With `stopping` a user that Kafka does not take is waited for: see read_topic.
    """
    topic = read_topic(config, spark, stopping)
    if backup.is_restored(config):
        if not note:
            return topic
        backup.begin_in_new_topic(config, topic)
    contract.check_contract(config, topic, note=note)
    contract.check_offsets(config, topic)
    return topic


def read_topic(
    config: Config, spark: SparkSession, stopping: threading.Event | None = None
) -> jvm.TopicState:
    """Ask the brokers for the topic.

    With `stopping`, a password that they do not take, or a right that is missing, is waited for
    until BROKER_WAIT_SECONDS have passed: it may have been changed in one of two places so far.
    """
    deadline = time.monotonic() + config.broker_wait_seconds
    pause = 1
    while True:
        try:
            return jvm.read_topic(
                spark,
                config.bootstrap_servers,
                config.topic,
                config.security,
                config.isolation_level,
            )
        except CredentialsError as error:
            left = deadline - time.monotonic()
            if stopping is None or left <= 0 or stopping.is_set():
                raise
            if pause == 1:
                log.warning("%s Waiting for up to %d s.", error, left)
                _take_longer()
            stopping.wait(min(pause, left))
            pause = min(2 * pause, _CREDENTIALS_SECONDS)
        except jvm.TopicUnknownError as error:
            # A plain client of a port with TLS ends in a time-out.
            for server in [] if config.security.enabled else config.bootstrap_servers.split(","):
                if speaks_tls(*split_address(server), seconds=3):
                    raise jvm.TopicUnknownError(
                        f"{server} speaks TLS, and KAFKA_SECURITY_PROTOCOL is PLAINTEXT. Set it to "
                        "SASL_SSL, with user, password and CA, or name the port of another "
                        "listener."
                    ) from error
            raise


def _begin(config: Config, spark: SparkSession, topic: jvm.TopicState) -> "Load":
    """Start the query, and say so."""

    def events(fail_on_data_loss: bool) -> DataFrame:
        return parse_events(read_messages(spark, config, fail_on_data_loss=fail_on_data_loss))

    load = Load(config, spark, events, topic)
    notify("READY=1", f"STATUS={load.status.line()}")
    return load


def _catch_up(config: Config, spark: SparkSession, stopping: threading.Event) -> None:
    """Let the run that waits read what the one in service has published since it was made."""
    log.info(
        "Run %s has not read all that the tables of run %s have, and catches up beside them.",
        config.run_id,
        runs.run_in_service(config),
    )
    beside = replace(config, is_beside=True, take_over=False)
    guards.prepare_folders(beside)
    with terms.hold(beside) as held:
        take_up(held)
        load = _begin(held, spark, check_topic(held, spark))
        try:
            load.watch(stopping)
        finally:
            load.close()


def take_up(config: Config) -> None:
    """See that what is there can be gone on with, and make it ready for that."""
    guards.clean_staging(config)
    runs.switch_if_ready(config)
    guards.check_belongs_together(config)
    guards.drop_checksums(config)


def _executors(spark: SparkSession) -> int:
    """How many executors the job has now; the driver is counted among them by Spark."""
    return int(spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1


def _ask_for_executors(spark: SparkSession) -> None:
    """Have the master look for room for executors, within spark.cores.max, as at the beginning.

    Spark waits for its answer; nobody here does.
    """
    context = spark.sparkContext._jsc.sc()
    nowhere = spark._jvm.PythonUtils.toScalaMap({})

    def ask() -> None:
        try:
            context.requestTotalExecutors(_NO_LIMIT, 0, nowhere)
        except (Py4JError, ConnectionError) as error:
            log.warning("The Spark master was asked for executors, in vain: %s", jvm.reason(error))

    threading.Thread(target=ask, name="ask for executors", daemon=True).start()


def open_state(config: Config, spark: SparkSession) -> jvm.JobState:
    """Read the job's state as it was after the last batch that is done.

    Where it is of a version that knew events by their ids, it is made of silver's rows.
    """
    try:
        return _read_state(config, spark)
    except jvm.StateOutdatedError as error:
        log.info("%s The last version of each movie is taken from silver.", error)
        return _read_state(config, spark, made_of=_latest_in_silver(config, spark), makes=True)


def check_state(config: Config, spark: SparkSession) -> None:
    """See that the state can be read, or made of silver; change nothing."""
    with suppress(jvm.StateOutdatedError):
        _read_state(config, spark)


def _read_state(
    config: Config, spark: SparkSession, made_of: DataFrame | None = None, makes: bool = False
) -> jvm.JobState:
    last = last_batch(config.checkpoint_folder, "commits")
    last = -1 if last is None else last
    folder = uri(config.state_folder)
    try:
        return jvm.JobState(spark, folder, last, config.out_folder, makes=makes, made_of=made_of)
    except jvm.StateDamagedError as error:
        raise guards.StartRefusedError(
            f"The job's state after batch {last} cannot be read: {error} {guards.ADVICE}"
        ) from error


def _latest_in_silver(config: Config, spark: SparkSession) -> DataFrame | None:
    """The latest event of each movie in the files of the batches that are done; None of no file."""
    last = last_batch(config.checkpoint_folder, "commits")
    done = [
        uri(path)
        for path in config.silver_folder.glob("*.parquet")
        if last is not None and guards.last_batch_of(path) <= last
    ]
    _take_longer()
    return latest_movies(spark.read.parquet(*done)) if done else None


def _take_longer() -> None:
    """Have systemd wait for one more step of a start."""
    notify(f"EXTEND_TIMEOUT_USEC={_STEP_SECONDS * 1_000_000}")


class Load:
    """The running query, its sink and its numbers.

    A query that may read on over lost messages does so over any, for as long as it runs. So when
    those are behind whose loss was accepted, the next batch ends the query before it is read: its
    plan is written, that of before is done, and another query that stops at lost messages begins
    with it. Between two batches nothing else may stop a query: the state in memory would be ahead.
    """

    def __init__(
        self,
        config: Config,
        spark: SparkSession,
        events: Callable[[bool], DataFrame],
        topic: jvm.TopicState | None = None,
        trigger: dict[str, Any] | None = None,
    ) -> None:
        """Read the job's state and start the query, by default with a trigger that never waits:
        read_messages says when a batch begins.

        `events` are those of a source that stops at lost messages, if it is given True. If the
        `topic` has lost some they go on over them at first: that was accepted.
        """
        _take_longer()
        state = open_state(config, spark)
        with tables_locked(config):
            files = config.silver_folder.glob("*.parquet")
            table_rows = count_rows(spark, files, _take_longer)
        guards.check_rows(config, table_rows)
        self.config = config
        self.sink = MovieSink(config, spark, state, table_rows)
        self.status = Status(
            config.run_id,
            contract.accepted_loss(config),
            QueryStatus.of_checkpoint(config.checkpoint_folder),
        )
        self.status.take(self.sink)
        self.status.write(config.status_file)
        self.metrics = MetricsServer(config.metrics_address, config.metrics_port)
        self.metrics.publish(self.status.content())
        self._trigger = trigger or {"processingTime": "0 seconds"}
        self._events = events
        self._topic = topic
        self._has_gap = self._is_before_gap()
        #: Whether the query has ended as the gap is behind.
        self._gap_passed = False
        #: The batch in flight, and since when.
        self._in_flight: tuple[int, float] | None = None
        #: The report that was taken over last, and the last batch that one told of.
        self._last = ""
        self._told = -1
        self.query = self._begin()
        log.info(
            "Reading %s at %s every %g s into %s (%d rows, %d movies known).",
            config.topic,
            config.bootstrap_servers,
            config.trigger_interval_ms / 1000,
            config.silver_folder,
            table_rows,
            state.movies,
        )

    def _is_before_gap(self) -> bool:
        return self._topic is not None and bool(contract.lost_messages(self.config, self._topic))

    def _begin(self) -> StreamingQuery:
        config = self.config
        checkpoint = uri(config.checkpoint_folder)
        if config.out_folder:
            folder = local(config.checkpoint_folder)
            checkpoint = jvm.checkpoint_uri(self.sink.spark, folder, config.out_folder)
        return (
            self._events(not self._has_gap)
            .writeStream.queryName(MOVIES)
            .option("checkpointLocation", checkpoint)
            .foreachBatch(self.take_batch)
            .trigger(**self._trigger)
            .start()
        )

    def take_batch(self, rows: DataFrame, batch_id: int) -> None:
        """Put a batch into the tables."""
        if self._has_gap and not self._is_before_gap():
            self._has_gap = False
            self._gap_passed = True
            raise GapPassedError("The messages are behind whose loss was accepted.")
        self._in_flight = batch_id, time.monotonic()
        self.sink(rows, batch_id)

    def running_seconds(self) -> float:
        """How long the batch in flight takes; 0 where none is."""
        in_flight = self._in_flight
        return time.monotonic() - in_flight[1] if in_flight else 0.0

    def watch(self, stopping: threading.Event, executors: ExecutorWatch | None = None) -> None:
        """Look at the query once a second, until `stopping`.

        Feeds systemd's watchdog while the query gets on. Raises OvertakenError when another start
        has taken over, QueryDiedError when the query has ended, ExecutorsLostError when it has
        nothing to run on.
        """
        spark = self.sink.spark
        executors = executors or ExecutorWatch(
            lambda: _executors(spark),
            self.config.executor_wait_seconds,
            lambda: _ask_for_executors(spark),
        )
        activity: Any = None
        written_at = 0.0
        while not stopping.is_set():
            # Looked at before the report, so that the last batch is not missed.
            is_dead = not self.query.isActive
            is_news = self._report()
            # A query that was fenced dies of it, with less to say.
            terms.check(self.config)
            if is_dead and not stopping.is_set():
                if not self._gap_passed:
                    raise QueryDiedError(_obituary(self.query))
                self._gap_passed = False
                log.info("The accepted loss is behind: the query stops at lost messages again.")
                self.query = self._begin()
            executors.check()
            before, activity = activity, self._activity()
            if activity != before:
                notify("WATCHDOG=1")
            if is_news or time.monotonic() - written_at >= STATUS_SECONDS:
                self.status.query.refresh(self.running_seconds())
                self.status.write(self.config.status_file)
                self.metrics.publish(self.status.content())
                notify(f"STATUS={self.status.line()}")
                written_at = time.monotonic()
                query = self.status.query
                if self.config.is_beside and query.batch_id is not None and query.lag == 0:
                    return
            stopping.wait(1)

    def close(self) -> None:
        _stop(MOVIES, self.query.stop)
        self.metrics.close()

    def _activity(self) -> Any:
        """Something that changes while the query gets on: polls, steps of a batch, tasks done.

        Not the reports, which wait for the clock when that is set back.
        """
        tracker = self.sink.spark.sparkContext.statusTracker()
        tasks = [
            stage.numCompletedTasks
            for stage in map(tracker.getStageInfo, tracker.getActiveStageIds())
            if stage is not None
        ]
        return jvm.polls(self.sink.spark), self.sink.steps, tasks

    def _report(self) -> bool:
        """Log the batches that have not been told, take over their numbers; say if there is news.

        They are told apart by their numbers, as a clock may be set back.
        """
        last = self.query.lastProgress
        if last is None or last.json == self._last:
            return False
        self._last = last.json
        for progress in [json.loads(found.json) for found in self.query.recentProgress]:
            batch_id = progress["batchId"]
            # A progress without a batch bears the number of the batch to come.
            if "addBatch" not in progress["durationMs"] or batch_id <= self._told:
                continue
            self._told = batch_id
            if self._in_flight and self._in_flight[0] <= batch_id:
                self._in_flight = None
            result: BatchResult | None = self.sink.results.pop(batch_id, None)
            if result is not None:
                self.status.query.finished(progress, result)
                self.metrics.publish(self.status.content())
                log.info("%s", batch_line(progress, result))
        self.status.query.idle(json.loads(last.json))
        self.status.take(self.sink)
        return True


def _obituary(query: StreamingQuery) -> str:
    # Behind the cause Spark prints the whole plan.
    cause = str(query.exception() or "none given").partition("\n=== Streaming Query ===")[0]
    last = query.lastProgress
    progress = json.dumps(json.loads(last.json)) if last else "none"
    text = f"Query {MOVIES} died. Its last progress: {progress}\nCause: {cause}"
    # What began it Spark leaves out of what failed in the driver.
    found = query._jsq.exception()
    error = found.get() if found.isDefined() else None
    while error is not None and error.getCause() is not None:
        error = error.getCause()
    root = "" if error is None else str(error.toString())
    return text if root in cause else f"{text}\nBehind it: {root}"


def _stop(name: str, stop: Callable[[], None]) -> None:
    try:
        stop()
    except Exception as error:
        # The JVM may be gone already, or say that a batch was abandoned. Neither loses a row.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        log.warning("%s did not stop cleanly: %s", name, reason)
