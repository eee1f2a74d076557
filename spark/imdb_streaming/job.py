"""The streaming job: Kafka -> silver_movies, dead_letters and genre_counts."""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from imdb_streaming import contract, guards, jvm, runs, terms
from imdb_streaming.config import Config
from imdb_streaming.executors import ExecutorsLostError, ExecutorWatch
from imdb_streaming.files import local, uri
from imdb_streaming.metrics import MetricsServer
from imdb_streaming.notify import notify
from imdb_streaming.session import connect, read_messages
from imdb_streaming.sinks import MOVIES, BatchResult, MovieSink, count_rows
from imdb_streaming.status import IndexStatus, QueryStatus, Status, batch_line, last_commit
from imdb_streaming.stopping import STOP_SECONDS, end_in, listen_for_stop
from imdb_streaming.storage import open_places
from imdb_streaming.transformations import parse_events

#: The status file is written at least so often, so that its age tells whether the job lives.
STATUS_SECONDS = 5
#: Spark's own number of executors of an application that has said none: spark.cores.max bounds it.
_NO_LIMIT = 2**31 - 1

log = logging.getLogger("imdb_streaming")


class QueryDiedError(Exception):
    """A query ended without being asked to, which the log has told: which, and why."""


def run(config: Config, stopping: threading.Event) -> None:
    """Check, connect, extract, transform, load, and watch until `stopping`.

    A run beside the one in service ends by itself when it has caught up. Raises OvertakenError when
    another start takes over.
    """
    guards.check_connector(config)
    if not config.is_in_bucket:
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
            config = open_places(config, spark)
            take_up(config)
        topic = jvm.read_topic(spark, config.bootstrap_servers, config.topic)
        contract.check_contract(config, topic)
        is_loss_accepted = contract.check_offsets(config, topic)
        if stopping.is_set():
            return
        terms.check(config)

        source = read_messages(spark, config, fail_on_data_loss=not is_loss_accepted)
        events = parse_events(source)
        load = Load.start(config, spark, events)

        notify(READY="1", STATUS=load.status.line())
        executors = ExecutorWatch(
            lambda: _executors(spark),
            config.executor_wait_seconds,
            lambda: _ask_for_executors(spark),
        )
        load.watch(stopping, executors)
    except (Py4JNetworkError, ConnectionError) as error:
        log.error("Spark's JVM is gone; was it killed, or out of memory? (%s)", error)
        raise QueryDiedError("Spark's JVM is gone.") from error
    except (QueryDiedError, ExecutorsLostError) as error:
        # Said before anything is stopped: stopping may take its time, or the process end in it.
        log.error("%s", error)
        raise
    finally:
        notify(STOPPING="1")
        if not stopping.is_set():
            end_in(STOP_SECONDS, 1)
        if load:
            _stop(MOVIES, load.query.stop)
            load.metrics.close()
        _stop("Spark", spark.stop)
    log.info("Stopped.")


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
            log.warning("The Spark master was asked for executors, in vain: %s", error)

    threading.Thread(target=ask, name="ask for executors", daemon=True).start()


@dataclass
class Load:
    """The running query, its sink and its numbers."""

    config: Config
    query: StreamingQuery
    sink: MovieSink
    status: Status
    metrics: MetricsServer

    @classmethod
    def start(
        cls,
        config: Config,
        spark: SparkSession,
        events: DataFrame,
        trigger: dict[str, Any] | None = None,
    ) -> "Load":
        """Read the job's state and start the query, by default with a trigger that never waits:
        read_messages says when a batch begins."""
        last = last_commit(config.checkpoint_folder)
        try:
            state = jvm.JobState(
                spark,
                uri(config.state_folder),
                -1 if last is None else last,
                config.event_id_retention_days,
                config.out_folder,
            )
        except jvm.StateDamagedError as error:
            raise guards.StartRefusedError(
                f"The job's state after batch {last} cannot be read: {error} {guards.ADVICE}"
            ) from error
        sink = MovieSink(config, spark, state, count_rows(spark, config.silver_folder))
        if sink.table_rows < sink.totals.silver_rows:
            log.warning(
                "%s holds %d rows, but %d were written: someone has removed the rest.",
                config.silver_folder,
                sink.table_rows,
                sink.totals.silver_rows,
            )
        status = Status(
            config.run_id,
            sink.table_rows,
            sink.totals.dead_letters,
            sink.totals.duplicates,
            contract.accepted_loss(config),
            QueryStatus.of_checkpoint(config.checkpoint_folder),
            IndexStatus(state.ids, state.movies, state.bytes),
        )
        status.write(config.status_file)
        metrics = MetricsServer(config.metrics_address, config.metrics_port)
        metrics.publish(status.content())
        checkpoint = uri(config.checkpoint_folder)
        if config.out_folder:
            folder = local(config.checkpoint_folder)
            checkpoint = jvm.checkpoint_uri(spark, folder, config.out_folder)
        query = (
            events.writeStream.queryName(MOVIES)
            .option("checkpointLocation", checkpoint)
            .foreachBatch(sink)
            .trigger(**(trigger or {"processingTime": "0 seconds"}))
            .start()
        )
        log.info(
            "Reading %s at %s every %g s into %s (%d rows, %d event ids and %d movies known).",
            config.topic,
            config.bootstrap_servers,
            config.trigger_interval_ms / 1000,
            config.silver_folder,
            sink.table_rows,
            state.ids,
            state.movies,
        )
        return cls(config, query, sink, status, metrics)

    def watch(self, stopping: threading.Event, executors: ExecutorWatch) -> None:
        """Look at the query once a second, until `stopping`.

        Feeds systemd's watchdog while the query gets on. Raises OvertakenError when another start
        has taken over, QueryDiedError when the query has ended, ExecutorsLostError when it has
        nothing to run on.
        """
        seen = ""
        activity: Any = None
        written_at = 0.0
        while not stopping.is_set():
            # Looked at before the report, so that the last batch is not missed.
            is_dead = not self.query.isActive
            latest = self._report(seen)
            # A query that was fenced dies of it, with less to say.
            terms.check(self.config)
            if is_dead and not stopping.is_set():
                raise QueryDiedError(_obituary(self.query))
            executors.check()
            before, activity = activity, self._activity()
            if activity != before:
                notify(WATCHDOG="1")
            if latest != seen or time.monotonic() - written_at >= STATUS_SECONDS:
                seen = latest
                self.status.write(self.config.status_file)
                self.metrics.publish(self.status.content())
                notify(STATUS=self.status.line())
                written_at = time.monotonic()
                if self.config.is_beside and self._has_caught_up():
                    return
            stopping.wait(1)

    def _activity(self) -> Any:
        """Something that changes while the query gets on: reports, steps of a batch, tasks done."""
        progress = self.query.lastProgress
        tracker = self.sink.spark.sparkContext.statusTracker()
        tasks = [
            stage.numCompletedTasks
            for stage in map(tracker.getStageInfo, tracker.getActiveStageIds())
            if stage is not None
        ]
        return progress["timestamp"] if progress else None, self.sink.steps, tasks

    def _has_caught_up(self) -> bool:
        return self.status.query.batch_id is not None and self.status.query.lag == 0

    def _report(self, seen: str) -> str:
        """Log the batches since the report `seen`, take over their numbers; return the latest."""
        last = self.query.lastProgress
        if last is None or last["timestamp"] == seen:
            return seen
        for progress in [json.loads(found.json) for found in self.query.recentProgress]:
            if progress["timestamp"] <= seen:
                continue
            seen = progress["timestamp"]
            # A progress without a batch bears the number of the batch to come.
            has_run = "addBatch" in progress["durationMs"]
            result: BatchResult | None = (
                self.sink.results.pop(progress["batchId"], None) if has_run else None
            )
            if result is None:
                self.status.query.idle(progress)
            else:
                self.status.query.finished(progress, result)
                self.metrics.publish(self.status.content())
                log.info("%s", batch_line(progress, result))
        sink = self.sink
        self.status.silver_rows = sink.table_rows
        self.status.dead_letters = sink.totals.dead_letters
        self.status.duplicates = sink.totals.duplicates
        self.status.index = IndexStatus(sink.state.ids, sink.state.movies, sink.state.bytes)
        return seen


def _obituary(query: StreamingQuery) -> str:
    # Behind the cause Spark prints the whole plan.
    cause = str(query.exception() or "none given").partition("\n=== Streaming Query ===")[0]
    last = query.lastProgress
    progress = json.dumps(json.loads(last.json)) if last else "none"
    return f"Query {MOVIES} died. Its last progress: {progress}\nCause: {cause}"


def _stop(name: str, stop: Callable[[], None]) -> None:
    try:
        stop()
    except Exception as error:
        # The JVM may be gone already, or say that a batch was abandoned. Neither loses a row.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        log.warning("%s did not stop cleanly: %s", name, reason)
