"""Spark as the job uses it: its settings, the session, and the topic as a stream."""

import os
import re

from pyspark.sql import DataFrame, SparkSession

from imdb_streaming import jvm
from imdb_streaming.config import Config
from imdb_streaming.sinks import MESSAGES_A_PART
from imdb_streaming.stopping import STOP_SECONDS
from imdb_streaming.storage_settings import storage_settings

#: Executors are to get through much, and a batch may wait for a collection: two cores get a fifth
#: more done than with G1, which collects beside the work. The driver has little garbage, and runs
#: little code so often that compiling it twice would pay: what the second compiler costs, a start
#: and the batches after it have.
EXECUTOR_COLLECTOR = "-XX:+UseParallelGC"
DRIVER_COLLECTOR = "-XX:+UseSerialGC"
DRIVER_COMPILER = "-XX:TieredStopAtLevel=1"
#: A driver whose heap is full ends, and systemd starts the job anew: half alive it would hang.
#: Executors have Spark's own handler, which ends them too, but first frees what a task can spill.
DRIVER_OUT_OF_MEMORY = "-XX:+ExitOnOutOfMemoryError"

#: How long the job asks a broker, before it asks others where a partition is now. With Kafka's own
#: times a host without power held up the job for long after other brokers had taken over.
BROKER_TIMES = {
    "kafka.request.timeout.ms": 10_000,
    "kafka.default.api.timeout.ms": 15_000,
    "kafka.socket.connection.setup.timeout.ms": 3_000,
    "kafka.socket.connection.setup.timeout.max.ms": 5_000,
    # So that it asks for as long as before in all.
    "fetchOffset.numRetries": 10,
}


def connect(config: Config) -> SparkSession:
    """Start Spark's driver and register with the master."""
    builder = SparkSession.builder.appName("imdb-streaming").master(config.spark_master)
    for key, value in spark_settings(config).items():
        builder = builder.config(key, value)
    spark: SparkSession = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    jvm.let_the_driver_alone_call(spark)
    jvm.register(spark)
    return spark


def spark_settings(config: Config) -> dict[str, str]:
    """What the job needs of Spark, each for a reason. Memory and class path reach the driver's
    JVM because pyspark starts it with them."""
    settings = {
        "spark.driver.memory": config.spark_driver_memory,
        "spark.executor.memory": config.spark_executor_memory,
        # Without a cap one application takes every core of a standalone cluster.
        "spark.cores.max": str(config.spark_cores_max),
        # Our jar is on the driver's class path for what Python calls; executors get it from there.
        "spark.driver.extraClassPath": f"{config.spark_connector_path}:{jvm.JAR}",
        "spark.executor.extraClassPath": config.spark_connector_path,
        "spark.jars": f"file://{jvm.JAR}",
        # The query keeps no state in Spark, so this may change at any time; it is what a batch's
        # own queries would be cut into, and they have no shuffle.
        "spark.sql.shuffle.partitions": str(config.shuffle_partitions),
        # Adaptive execution decides at shuffles. There is none.
        "spark.sql.adaptive.enabled": "false",
        # Polls for new messages; a batch begins by what read_messages says.
        "spark.sql.streaming.pollingDelay": f"{min(500, config.trigger_interval_ms // 4)}ms",
        # One rename less a file, and no file that says a job is done: a batch's own rename does.
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
        "spark.sql.streaming.stopTimeout": f"{STOP_SECONDS}s",
        "spark.sql.session.timeZone": "UTC",
        # Spark's default, INT96, is deprecated and read differently by others.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.hadoop.fs.permissions.umask-mode": "022",
        "spark.ui.showConsoleProgress": "false",
    }
    given = config.spark_executor_jvm_options or ""
    options = f"{_collector(EXECUTOR_COLLECTOR, given)} {given}"
    settings["spark.executor.extraJavaOptions"] = options.strip()
    # Java itself reads these too, in the driver's JVM.
    collector = _collector(DRIVER_COLLECTOR, os.environ.get("JDK_JAVA_OPTIONS", ""))
    options = f"{collector} {DRIVER_COMPILER} {DRIVER_OUT_OF_MEMORY}"
    settings["spark.driver.extraJavaOptions"] = options.strip()
    optional = {
        "spark.driver.host": config.spark_driver_host,
        "spark.driver.port": config.spark_driver_port,
        # Of the driver and, on their hosts, of the executors.
        "spark.blockManager.port": config.spark_block_manager_port,
        "spark.ui.port": config.spark_ui_port,
    }
    settings |= storage_settings(str(config.output_path))
    return settings | {key: str(value) for key, value in optional.items() if value is not None}


def _collector(wanted: str, given: str) -> str:
    """The garbage collector to ask for: none if the given options do, as two are an error."""
    return "" if re.search(r"-XX:\+Use\w+GC\b", given) else wanted


def read_messages(spark: SparkSession, config: Config, *, fail_on_data_loss: bool) -> DataFrame:
    """The topic as a stream of KAFKA_SCHEMA, from its first message for a new checkpoint.

    Offsets that the broker has lost end the query: they would be rows lost unseen. A batch begins
    when the trigger interval is over; a backlog is taken in full batches without a pause. Messages
    of transactions that were aborted are left out, and one that is open is waited for, unless
    KAFKA_ISOLATION_LEVEL says otherwise.
    """
    return (
        spark.readStream.format(jvm.PACED_KAFKA)
        .option("kafka.bootstrap.servers", config.bootstrap_servers)
        .options(**BROKER_TIMES)
        .options(**{f"kafka.{key}": it for key, it in config.security.client_options().items()})
        .option("kafka.isolation.level", config.isolation_level)
        .option("subscribe", config.topic)
        .option("includeHeaders", "true")
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", str(fail_on_data_loss).lower())
        .option("maxOffsetsPerTrigger", config.max_offsets_per_trigger)
        .option("maxRecordsPerPartition", MESSAGES_A_PART)
        .option("triggerIntervalMs", config.trigger_interval_ms)
        .load()
    )
