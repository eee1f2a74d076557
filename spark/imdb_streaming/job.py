"""The streaming job: Kafka -> silver_movies and genre_counts."""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyspark
from py4j.protocol import Py4JNetworkError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from imdb_streaming import __version__, guards
from imdb_streaming.config import Config, ConfigError, load_config
from imdb_streaming.executors import ExecutorsLostError, ExecutorWatch
from imdb_streaming.sinks import (
    GENRE_COUNTS,
    SILVER,
    BatchResult,
    GenreCountsSink,
    SilverSink,
    count_rows,
)
from imdb_streaming.status import QueryStatus, Status, batch_line
from imdb_streaming.transformations import distinct_events, latest_genres, parse_events

#: Exit codes. A restart does not mend what REFUSED stands for.
DONE, FAILED, REFUSED = 0, 1, 2

#: It has a class elsewhere, and does not know of checksums of a checkpoint's files.
IS_SPARK_4_0 = pyspark.__version__.startswith("4.0.")

#: Stopping may take so long; then the batch is abandoned, which is always safe.
STOP_SECONDS = 25

#: The status file is written at least so often, so that its age tells whether the job lives.
STATUS_SECONDS = 5

log = logging.getLogger("imdb_streaming")


class QueryDiedError(Exception):
    """A query ended without being asked to, which the log has told: which, and why."""


def main(environ: Mapping[str, str] | None = None) -> int:
    """Run until SIGTERM. Returns the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    # It logs what it raises.
    for logger in ("py4j", "py4j.java_gateway", "py4j.clientserver"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    os.umask(0o022)
    stopping = threading.Event()
    _listen_for_stop(stopping)
    threading.Thread(target=_end_late_stop, args=[stopping], name="stop", daemon=True).start()
    try:
        config = load_config(environ)
        log.info("imdb-streaming %s, run %s", __version__, config.run_id)
        guards.prepare_folders(config)
        with guards.exclusive(config):
            run(config, stopping)
    except ConfigError as error:
        log.error("Wrong configuration.\n%s", error)
        return REFUSED
    except guards.StartRefusedError as error:
        log.error("Start refused. %s", error)
        return REFUSED
    except guards.BrokerUnreachableError as error:
        log.error("%s", error)
        return FAILED
    except (QueryDiedError, ExecutorsLostError):
        return DONE if stopping.is_set() else FAILED
    except Exception:
        if not stopping.is_set():
            log.exception("The job failed.")
            return FAILED
        log.info("Stopped before it was up.", exc_info=True)
    return DONE


def run(config: Config, stopping: threading.Event) -> None:
    """Check, connect, extract, transform, load, and watch until `stopping`."""
    guards.clean_staging(config)
    guards.check_connector(config)
    guards.check_belongs_together(config)
    guards.drop_checksums(config, of_spark=IS_SPARK_4_0)
    guards.wait_for_broker(config, stopping)
    if stopping.is_set():
        return
    spark = connect(config, stopping)
    load = None
    try:
        if stopping.is_set():
            return
        source = read_messages(spark, config)

        events = parse_events(source)
        silver = distinct_events(events)
        genres = latest_genres(events)

        load = Load.start(config, spark, silver, genres)
        executors = ExecutorWatch(lambda: _executors(spark), config.executor_wait_seconds)
        load.watch(stopping, executors)
    except (Py4JNetworkError, ConnectionError) as error:
        log.error("Spark's JVM is gone; was it killed, or out of memory? (%s)", error)
        raise QueryDiedError("Spark's JVM is gone.") from error
    except (QueryDiedError, ExecutorsLostError) as error:
        # Said before anything is stopped: stopping may take its time, or the process end in it.
        log.error("%s", error)
        raise
    finally:
        if not stopping.is_set():
            _end_in(STOP_SECONDS, FAILED)
        if load:
            load.stop()
        _stop("Spark", spark.stop)
    log.info("Stopped.")


def connect(config: Config, stopping: threading.Event) -> SparkSession:
    """Start Spark's driver and register with the master."""
    builder = SparkSession.builder.appName("imdb-streaming").master(config.spark_master)
    for key, value in spark_settings(config).items():
        builder = builder.config(key, value)
    spark: SparkSession = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    # Spark's own handler of SIGINT would break into whatever the main thread does.
    _listen_for_stop(stopping)
    return spark


def spark_settings(config: Config) -> dict[str, str]:
    """What the job needs of Spark, each for a reason. Memory and class path reach the driver's
    JVM because pyspark starts it with them."""
    settings = {
        "spark.driver.memory": config.spark_driver_memory,
        "spark.executor.memory": config.spark_executor_memory,
        # Without a cap one application takes every core of a standalone cluster.
        "spark.cores.max": str(config.spark_cores_max),
        "spark.driver.extraClassPath": config.spark_connector_path,
        "spark.executor.extraClassPath": config.spark_connector_path,
        # Becomes part of a checkpoint with its first batch: the state is cut into so many.
        "spark.sql.shuffle.partitions": str(config.shuffle_partitions),
        # Adaptive execution merges shuffle partitions, which the state store cannot follow: Spark
        # turns it off for both queries anyway, and a batch's own small queries gain nothing.
        "spark.sql.adaptive.enabled": "false",
        # State on disk with a small cache, so that it may outgrow the heap; a batch uploads
        # what it changed instead of a whole snapshot.
        "spark.sql.streaming.stateStore.providerClass": (
            "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
        ),
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
        # Hadoop's own local file system starts chmod or readlink for each file that it makes or
        # renames, some sixty programs a batch. This one asks the kernel.
        "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
        # The default manager goes by another class of Hadoop's, which does the same. Its rename is
        # one rename(2) here, and guards.exclusive sees to it that there is one writer.
        "spark.sql.streaming.checkpointFileManagerClass": _checkpoint_file_manager(),
        "spark.sql.streaming.stopTimeout": f"{STOP_SECONDS}s",
        # The newer of Spark's two Kafka readers dies with a NullPointerException after a batch
        # that is run again at start (SPARK-55271, in 4.1.1): every crash would cost a second one.
        "spark.sql.streaming.disabledV2MicroBatchReaders": (
            "org.apache.spark.sql.kafka010.KafkaSourceProvider"
        ),
        "spark.sql.session.timeZone": "UTC",
        # Spark's default, INT96, is deprecated and read differently by others.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.hadoop.fs.permissions.umask-mode": "022",
        "spark.ui.showConsoleProgress": "false",
    }
    optional = {
        "spark.executor.extraJavaOptions": config.spark_executor_jvm_options,
        "spark.driver.host": config.spark_driver_host,
        "spark.driver.port": config.spark_driver_port,
        "spark.driver.blockManager.port": config.spark_block_manager_port,
        "spark.ui.port": config.spark_ui_port,
    }
    return settings | {key: str(value) for key, value in optional.items() if value is not None}


def _executors(spark: SparkSession) -> int:
    """How many executors the job has now; the driver is counted among them by Spark."""
    return int(spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1


def _checkpoint_file_manager() -> str:
    """The class that writes checkpoints through spark.hadoop.fs.file.impl."""
    package = "org.apache.spark.sql.execution.streaming"
    if not IS_SPARK_4_0:
        package += ".checkpointing"
    return f"{package}.FileSystemBasedCheckpointFileManager"


def read_messages(spark: SparkSession, config: Config) -> DataFrame:
    """The topic as a stream of KAFKA_SCHEMA, from its first message for a new checkpoint.

    Offsets that the broker has lost end the query: they would be rows lost unseen. A backlog is
    taken in bounded batches.
    """
    messages: DataFrame = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", config.bootstrap_servers)
        .option("subscribe", config.topic)
        .option("includeHeaders", "true")
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", config.max_offsets_per_trigger)
        .load()
    )
    return messages


@dataclass
class Load:
    """The running queries, their sinks and their numbers."""

    config: Config
    queries: dict[str, StreamingQuery]
    silver_sink: SilverSink
    genre_counts_sink: GenreCountsSink
    status: Status

    @classmethod
    def start(
        cls,
        config: Config,
        spark: SparkSession,
        silver: DataFrame,
        genres: DataFrame,
        trigger: Mapping[str, Any] | None = None,
    ) -> "Load":
        """Start both queries. `trigger` replaces the configured one, for a run that ends."""
        trigger = trigger or {"processingTime": config.trigger_interval}
        silver_sink = SilverSink(config, table_rows=count_rows(spark, config.silver_folder))
        genre_counts_sink = GenreCountsSink(config)
        if silver_sink.table_rows < silver_sink.totals.silver_rows:
            log.warning(
                "%s holds %d rows, but %d were written: someone has removed the rest.",
                config.silver_folder,
                silver_sink.table_rows,
                silver_sink.totals.silver_rows,
            )
        status = Status(
            config.run_id,
            silver_sink.table_rows,
            silver_sink.totals.malformed_rows,
            {
                query: QueryStatus.of_checkpoint(config.checkpoint_folder(query))
                for query in (SILVER, GENRE_COUNTS)
            },
        )
        status.write(config.status_file)
        queries = {
            # Complete mode hands over one row for every movie so far: the whole snapshot.
            query: stream.writeStream.queryName(query)
            .outputMode(mode)
            .option("checkpointLocation", f"file://{config.checkpoint_folder(query)}")
            .foreachBatch(sink)
            .trigger(**trigger)
            .start()
            for query, stream, mode, sink in (
                (SILVER, silver, "append", silver_sink),
                (GENRE_COUNTS, genres, "complete", genre_counts_sink),
            )
        }
        log.info(
            "Reading %s at %s every %s into %s (%d rows) and %s.",
            config.topic,
            config.bootstrap_servers,
            config.trigger_interval,
            config.silver_folder,
            silver_sink.table_rows,
            config.genre_counts_folder,
        )
        return cls(config, queries, silver_sink, genre_counts_sink, status)

    def watch(self, stopping: threading.Event, executors: ExecutorWatch) -> None:
        """Look at the queries once a second, until `stopping`.

        Raises QueryDiedError when one has ended, ExecutorsLostError when they have nothing to run
        on.
        """
        seen: dict[str, str] = {}
        written_at = 0.0
        while not stopping.is_set():
            # Looked at before the reports, so that a query's last batch is not missed.
            dead = [name for name, query in self.queries.items() if not query.isActive]
            reports = [self._report(name, seen) for name in self.queries]
            if dead and not stopping.is_set():
                raise QueryDiedError(
                    "\n".join(_obituary(name, self.queries[name]) for name in dead)
                )
            executors.check()
            if any(reports) or time.monotonic() - written_at >= STATUS_SECONDS:
                self.status.write(self.config.status_file)
                written_at = time.monotonic()
            stopping.wait(1)

    def stop(self) -> None:
        """Stop the queries. A batch that is under way is abandoned; the next start repeats it."""
        for name, query in self.queries.items():
            _stop(name, query.stop)

    def _report(self, name: str, seen: dict[str, str]) -> bool:
        """Log the batches since the last look and take over their numbers; whether any were."""
        query = self.queries[name]
        last = query.lastProgress
        if last is None or last["timestamp"] == seen.get(name):
            return False
        news = [json.loads(progress.json) for progress in query.recentProgress]
        results = self._results(name)
        numbers = self.status.queries[name]
        for progress in news:
            if progress["timestamp"] <= seen.get(name, ""):
                continue
            seen[name] = progress["timestamp"]
            # A progress without a batch bears the number of the batch to come.
            has_run = "addBatch" in progress["durationMs"]
            result = results.pop(progress["batchId"], None) if has_run else None
            if result is None:
                numbers.idle(progress)
            else:
                numbers.finished(progress, result)
                log.info("%s", batch_line(name, progress, result))
        self.status.silver_rows = self.silver_sink.table_rows
        self.status.malformed_rows = self.silver_sink.totals.malformed_rows
        return True

    def _results(self, name: str) -> dict[int, BatchResult]:
        return self.silver_sink.results if name == SILVER else self.genre_counts_sink.results


def _obituary(name: str, query: StreamingQuery) -> str:
    # Behind the cause Spark prints the whole plan.
    cause = str(query.exception() or "none given").partition("\n=== Streaming Query ===")[0]
    last = query.lastProgress
    progress = json.dumps(json.loads(last.json)) if last else "none"
    return f"Query {name} died. Its last progress: {progress}\nCause: {cause}"


def _stop(name: str, stop: Callable[[], None]) -> None:
    try:
        stop()
    except Exception as error:
        # The JVM may be gone already, or say that a batch was abandoned. Neither loses a row.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        log.warning("%s did not stop cleanly: %s", name, reason)


def _listen_for_stop(stopping: threading.Event) -> None:
    """Let SIGTERM and SIGINT set an event, and do nothing else."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())


def _end_late_stop(stopping: threading.Event) -> None:
    stopping.wait()
    log.info("Stopping.")
    _end_in(STOP_SECONDS, DONE)


def _end_in(seconds: float, code: int) -> None:
    """End the process then, if it has not ended: Spark's calls can block for ever."""

    def end() -> None:
        log.warning("Stopping took more than %d s; the batch is abandoned.", seconds)
        logging.shutdown()
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
