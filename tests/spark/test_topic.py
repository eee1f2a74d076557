"""Starts over a real topic: what is refused, and the commands that resolve it."""

import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from operator import lt
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import InvalidTimestampError, TopicAlreadyExistsError
from pyspark.sql import SparkSession

from imdb_streaming import (
    checkpoint,
    cli,
    contract,
    files,
    guards,
    job,
    jvm,
    locks,
    runs,
    session,
    sinks,
)
from imdb_streaming.compact import CompactionCutOffError, compact
from imdb_streaming.executors import ExecutorWatch
from imdb_streaming.guards import StartRefusedError
from imdb_streaming.job import Load, QueryDiedError
from imdb_streaming.session import read_messages
from imdb_streaming.sinks import BatchResult
from imdb_streaming.transformations import parse_events

from ..bench.brokers import Broker
from ..waiting import wait_for
from .batches import silver
from .local import LocalConfig as Config
from .local import environment, short_lived_jvms, with_term
from .local import load_local_config as load_config

pytestmark = pytest.mark.usefixtures("executors_without_python")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with short_lived_jvms("-XX:+UseSerialGC"):
        started = Broker(tmp_path_factory.mktemp("broker"), heap="384m")
    with started as broker:
        yield broker


@pytest.fixture
def here(environ: dict[str, str], broker: Broker, tmp_path: Path) -> dict[str, str]:
    """The environment of a job on a topic of its own."""
    topic = f"movies-{tmp_path.name.replace('[', '.').replace(']', '')}"[:200]
    broker.create_topic(topic)
    return environ | {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "KAFKA_TOPIC": topic}


def send(config: Config, *movies: dict[str, Any], partition: int = 0) -> None:
    producer = KafkaProducer(bootstrap_servers=config.bootstrap_servers, acks="all")
    try:
        for movie in movies:
            value = json.dumps(movie, sort_keys=True).encode()
            producer.send(config.topic, value=value, partition=partition).get(timeout=30)
    finally:
        producer.close(timeout=10)


@contextmanager
def transaction(config: Config, *movies: dict[str, Any]) -> Iterator[KafkaProducer]:
    """Send to partition 0 in a transaction, which is open then."""
    producer = KafkaProducer(
        bootstrap_servers=config.bootstrap_servers, acks="all", transactional_id=config.topic
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        for movie in movies:
            value = json.dumps(movie, sort_keys=True).encode()
            producer.send(config.topic, value=value, partition=0).get(timeout=30)
        yield producer
    finally:
        producer.close(timeout=10)


def send_and_end(config: Config, end: str, *movies: dict[str, Any]) -> None:
    """Send to partition 0 in a transaction, and `commit` or `abort` it."""
    with transaction(config, *movies) as producer:
        getattr(producer, f"{end}_transaction")()


def run(spark: SparkSession, config: Config) -> Load:
    """Start as the service does, read all there is, and end."""
    guards.prepare_folders(config)
    config = with_term(config)
    runs.switch_if_ready(config)
    guards.check_belongs_together(config)
    topic = job.check_topic(config, spark)
    is_loss_accepted = bool(contract.lost_messages(config, topic))
    messages = read_messages(spark, config, fail_on_data_loss=not is_loss_accepted)
    events = parse_events(messages)
    load = Load(config, spark, lambda _: events, trigger={"availableNow": True})
    try:
        assert load.query.awaitTermination(240)
    finally:
        load.query.stop()
        load.metrics.close()
    return load


def refusal(spark: SparkSession, config: Config) -> str:
    with pytest.raises(StartRefusedError) as caught:
        run(spark, config)
    return str(caught.value)


def rows(config: Config) -> list[tuple[str, float]]:
    return [(row["tconst"], row["weighted_score"]) for row in silver(config)]


def begin(spark: SparkSession, config: Config, movie: dict[str, Any]) -> None:
    """Let a run read two movies of partition 0 and one of partition 1."""
    send(config, movie, movie | {"tconst": "tt2"})
    send(config, movie | {"tconst": "tt3"}, partition=1)
    run(spark, config)


@pytest.fixture
def begun(spark: SparkSession, here: dict[str, str], movie: dict[str, Any]) -> Config:
    """A run that has read what `begin` sends."""
    config = load_config(here)
    begin(spark, config, movie)
    return config


def on_topic(broker: Broker, folder: Path) -> Config:
    """The configuration of a run in a folder, on a topic of its name that is made here."""
    broker.create_topic(folder.name)
    where = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "KAFKA_TOPIC": folder.name}
    return load_config(environment(folder) | where)


@pytest.fixture(scope="module")
def done(
    spark: SparkSession,
    broker: Broker,
    movie: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Config:
    """What `begun` is, on a topic that stays as it is."""
    config = on_topic(broker, tmp_path_factory.mktemp("movies-done"))
    begin(spark, config, movie)
    return config


@pytest.fixture(scope="module")
def done_twice(
    spark: SparkSession,
    broker: Broker,
    movie: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Config:
    """The same, and a batch of one movie more."""
    config = on_topic(broker, tmp_path_factory.mktemp("movies-done-twice"))
    begin(spark, config, movie)
    send(config, movie | {"tconst": "tt5"})
    run(spark, config)
    return config


def beside(environ: dict[str, str], done: Config) -> dict[str, str]:
    """The environment of a job on the topic of another, in folders of its own."""
    return environ | {
        "KAFKA_BOOTSTRAP_SERVERS": done.bootstrap_servers,
        "KAFKA_TOPIC": done.topic,
    }


def copy_of(done: Config, environ: dict[str, str]) -> Config:
    """A copy of a run, for tests that leave its topic alone: they need no run of their own."""
    config = load_config(environ)
    shutil.copytree(done.output_path, config.output_path)
    shutil.copytree(done.output_path_csv, config.output_path_csv)
    return config


@pytest.fixture
def kept(environ: dict[str, str], done: Config) -> dict[str, str]:
    """The environment of `copied`."""
    return beside(environ, done)


@pytest.fixture
def copied(kept: dict[str, str], done: Config) -> Config:
    """A copy of `done`."""
    return copy_of(done, kept)


@pytest.fixture
def copied_twice(environ: dict[str, str], done_twice: Config) -> Config:
    """A copy of `done_twice`, which has a file of each batch."""
    return copy_of(done_twice, beside(environ, done_twice))


def test_restart_goes_on_whatever_the_shuffle_partitions_are(
    spark: SparkSession, begun: Config, movie: dict[str, Any]
) -> None:
    send(begun, movie, movie | {"tconst": "tt4"})
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    try:
        load = run(spark, begun)
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", str(before))
    assert [tconst for tconst, _ in rows(begun)] == ["tt0111161", "tt2", "tt3", "tt4"]
    assert load.sink.totals.duplicates == 1


@pytest.mark.parametrize(
    ("given", "aborted"),
    [({}, []), ({"KAFKA_ISOLATION_LEVEL": "read_uncommitted"}, ["tt20", "tt21", "tt22"])],
    ids=["committed alone", "uncommitted too"],
)
def test_messages_of_aborted_transactions_become_no_rows(
    spark: SparkSession,
    here: dict[str, str],
    movie: dict[str, Any],
    given: dict[str, str],
    aborted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Tasks begin and end within the transactions.
    monkeypatch.setattr(session, "MESSAGES_A_PART", 2)
    config = load_config(here | given)
    movies = {name: movie | {"tconst": name} for name in ("tt1", "tt20", "tt21", "tt22", "tt3")}
    send(config, movies["tt1"])
    send_and_end(config, "abort", *(movies[f"tt2{number}"] for number in range(3)))
    send_and_end(config, "commit", movies["tt3"], movie | {"tconst": "tt4"})
    load = run(spark, config)
    read = ["tt1", *aborted, "tt3", "tt4"]
    assert [tconst for tconst, _ in rows(config)] == read
    assert load._report()
    assert (load.status.query.rows_in, load.status.query.lag) == (len(read), 0)
    # A marker, which is no message, ends each transaction.
    assert checkpoint.planned_offsets(config.checkpoint_folder) == {0: 8, 1: 0, 2: 0}

    (config.checkpoint_folder / "commits" / "0").unlink()
    run(spark, config)
    assert [tconst for tconst, _ in rows(config)] == read


def test_large_batch_is_cut_by_offsets_into_the_same_files_each_time(
    spark: SparkSession,
    here: dict[str, str],
    movie: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (session, sinks):
        monkeypatch.setattr(module, "MESSAGES_A_PART", 2)
    config = load_config(here)
    send(config, *(movie | {"tconst": f"tt1{number}"} for number in range(5)))
    # A movie that goes to another partition, as when one was added, and a copy.
    send(config, movie | {"tconst": "tt2"}, movie | {"tconst": "tt10"}, partition=1)
    load = run(spark, config)
    files = {path: path.read_bytes() for path in config.silver_folder.glob("*.parquet")}
    names = {f"main-0000000000-{part:04d}.parquet" for part in range(4)}
    assert {path.name for path in files} == names
    assert load.sink.totals.duplicates == 1
    expected = ["tt10", "tt11", "tt12", "tt13", "tt14", "tt2"]
    assert [tconst for tconst, _ in rows(config)] == expected

    (config.checkpoint_folder / "commits" / "0").unlink()
    load = run(spark, config)
    assert {path: path.read_bytes() for path in config.silver_folder.glob("*.parquet")} == files
    assert load.sink.table_rows == 6
    # Its parts become one file, with those of others or not.
    send(config, movie | {"tconst": "tt3"})
    run(spark, config)
    compact(spark, config)
    assert [path.name for path in config.silver_folder.glob("*.parquet")] == [
        "main-0000000000_0000000001.parquet"
    ]
    assert [tconst for tconst, _ in rows(config)] == [*expected, "tt3"]


def test_batch_without_a_message_but_of_aborted_transactions_adds_nothing(
    spark: SparkSession, begun: Config, movie: dict[str, Any]
) -> None:
    before = rows(begun)
    send_and_end(begun, "abort", movie | {"tconst": "tt4"})
    load = run(spark, begun)
    assert load.sink.results[1] == BatchResult(0, 0, 0, 0, 0, None)
    assert rows(begun) == before
    send(begun, movie | {"tconst": "tt5"})
    assert run(spark, begun).sink.table_rows == len(before) + 1


def test_what_comes_after_an_open_transaction_waits_for_its_end(
    spark: SparkSession, begun: Config, movie: dict[str, Any]
) -> None:
    with transaction(begun, movie | {"tconst": "tt4"}) as producer:
        send(begun, movie | {"tconst": "tt5"})
        send(begun, movie | {"tconst": "tt6"}, partition=1)
        load = run(spark, begun)
        assert [tconst for tconst, _ in rows(begun)][2:] == ["tt3", "tt6"]
        assert load._report()
        assert load.status.query.lag == 0
        producer.commit_transaction()
    run(spark, begun)
    assert [tconst for tconst, _ in rows(begun)][2:] == ["tt3", "tt4", "tt5", "tt6"]


def test_open_transaction_that_was_read_is_refused_until_it_has_ended(
    spark: SparkSession, begun: Config, here: dict[str, str], movie: dict[str, Any]
) -> None:
    with transaction(begun, movie | {"tconst": "tt4"}) as producer:
        run(spark, load_config(here | {"KAFKA_ISOLATION_LEVEL": "read_uncommitted"}))
        text = refusal(spark, begun)
        assert "up to offset 3 of partition 0, which ends at 2: the topic has shrunk" in text
        assert "a transaction that is open still" in text
        producer.commit_transaction()
    send(begun, movie | {"tconst": "tt5"})
    run(spark, begun)
    assert [tconst for tconst, _ in rows(begun)][2:] == ["tt3", "tt4", "tt5"]


def test_clock_that_is_set_back_holds_up_no_batch(
    spark: SparkSession,
    begun: Config,
    here: dict[str, str],
    movie: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the clock that Spark's source has for its own tests."""
    assert spark._jvm
    clock = spark._jvm.org.apache.spark.sql.kafka010.MockedSystemClock
    clock.advanceCurrentSystemTime(86_400_000)
    monkeypatch.setitem(session.BROKER_TIMES, "_mockSystemTime", "true")
    # As if they waited for that clock too.
    spark.conf.set("spark.sql.streaming.noDataProgressEventInterval", "1h")
    config = with_term(load_config(here | {"TRIGGER_INTERVAL": "1 second"}))
    load = job._begin(config, spark, job.check_topic(config, spark))
    try:
        send(begun, movie | {"tconst": "tt4"})
        clock.advanceCurrentSystemTime(5_000)
        wait_for("the row", lambda: load.sink.table_rows, lambda count: count == 4, 60)
        clock.advanceCurrentSystemTime(-7_200_000)
        send(begun, movie | {"tconst": "tt5"})
        clock.advanceCurrentSystemTime(5_000)
        wait_for("the next row", lambda: load.sink.table_rows, lambda count: count == 5, 60)
        before = load._activity()
        wait_for("a query that waits gets on", load._activity, lambda now: now != before, 60)
    finally:
        spark.conf.unset("spark.sql.streaming.noDataProgressEventInterval")
        clock.reset()
        load.query.stop()
        load.metrics.close()


def test_batch_begins_before_its_time_when_it_is_full(
    spark: SparkSession, begun: Config, here: dict[str, str], movie: dict[str, Any]
) -> None:
    hourly = {"TRIGGER_INTERVAL": "1 hour", "MAX_OFFSETS_PER_TRIGGER": "3"}
    send(begun, movie | {"tconst": "tt4"})
    config = with_term(load_config(here | hourly))
    load = job._begin(config, spark, job.check_topic(config, spark))
    try:
        wait_for("the row", lambda: load.sink.table_rows, lambda count: count == 4, 60)
        for number in range(3):
            one_more = jvm.polls(spark) + 1
            send(begun, movie | {"tconst": f"tt5{number}"})
            wait_for("a whole poll", partial(jvm.polls, spark), partial(lt, one_more), 60)
        wait_for("the rows", lambda: load.sink.table_rows, lambda count: count == 7, 60)
        assert load.sink.results[2].rows_written == 3
    finally:
        load.query.stop()
        load.metrics.close()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MIN_VOTES_PRIOR", "100", "scores of both would stand in one table"),
        ("GLOBAL_MEAN_RATING", "5", "scores of both would stand in one table"),
    ],
)
def test_other_parameters_of_the_score_are_refused(
    spark: SparkSession, copied: Config, kept: dict[str, str], name: str, value: str, reason: str
) -> None:
    text = refusal(spark, load_config(kept | {name: value}))
    assert reason in text
    assert "imdb-streaming reprocess NEW_RUN_ID" in text


def test_other_topic_is_refused(
    spark: SparkSession, copied: Config, broker: Broker, kept: dict[str, str]
) -> None:
    broker.create_topic(f"{copied.topic}-2")
    text = refusal(spark, load_config(kept | {"KAFKA_TOPIC": f"{copied.topic}-2"}))
    assert f"The checkpoint is of the topic {copied.topic}" in text


def test_other_columns_are_refused(
    spark: SparkSession, copied: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = copied.checkpoint_folder / contract.CONTRACT_FILE
    noted.write_text(noted.read_text().replace("numVotes:int", "numVotes:bigint"))
    assert "The table has the columns" in refusal(spark, copied)


def test_topic_that_was_made_again_is_refused_and_reset_resolves_it(
    spark: SparkSession, begun: Config, broker: Broker, movie: dict[str, Any]
) -> None:
    admin = KafkaAdminClient(bootstrap_servers=begun.bootstrap_servers)
    admin.delete_topics([begun.topic])
    admin.close()
    wait_for("the topic is made again", lambda: made_again(broker, begun.topic), bool, 60)
    send(begun, *(movie | {"tconst": f"tt1{number}"} for number in range(9)))
    text = refusal(spark, begun)
    assert "it was deleted and made again" in text
    assert "imdb-streaming reset" in text

    runs.set_aside(begun)
    run(spark, begun)
    assert len(rows(begun)) == 9


def made_again(broker: Broker, topic: str) -> bool:
    """Make the topic, once its deletion is through."""
    try:
        broker.create_topic(topic)
    except TopicAlreadyExistsError:
        return False
    return True


def test_topic_that_has_shrunk_is_refused(spark: SparkSession, copied: Config) -> None:
    # As after a broker that came back with an older disk.
    (offsets,) = copied.checkpoint_folder.glob("offsets/0")
    *head, last = offsets.read_text().splitlines()
    further = json.loads(last)
    further[copied.topic]["1"] += 5
    offsets.write_text("\n".join([*head, json.dumps(further)]))
    guards.drop_checksums(copied)
    text = refusal(spark, copied)
    assert "up to offset 6 of partition 1, which ends at 1: the topic has shrunk" in text


def test_lost_messages_are_refused_until_the_loss_is_accepted(
    spark: SparkSession, begun: Config, movie: dict[str, Any]
) -> None:
    send(begun, *(movie | {"tconst": f"tt9{number}"} for number in range(5)))
    admin = KafkaAdminClient(bootstrap_servers=begun.bootstrap_servers)
    admin.delete_records({TopicPartition(begun.topic, 0): 5})
    admin.close()
    text = refusal(spark, begun)
    assert "has lost messages that were not read yet: offsets 2 to 4 of partition 0" in text
    assert "imdb-streaming accept-loss" in text
    assert "behind or away for longer than the topic's retention.ms (7 d)" in text
    assert "the messages carried a time older than that" in text
    assert "retention.bytes" not in text

    topic = jvm.read_topic(spark, begun.bootstrap_servers, begun.topic)
    assert contract.accept_loss(begun, topic) == {0: (2, 4)}
    assert contract.accept_loss(begun, topic) == {0: (2, 4)}
    load = run(spark, begun)
    assert [tconst for tconst, _ in rows(begun)][-2:] == ["tt93", "tt94"]
    assert load.status.lost_messages == 3


@pytest.mark.parametrize(
    ("settings", "told", "not_told"),
    [
        ({}, ["retention.ms;", "a time older", "retention.bytes;"], ["retention.ms (", "bytes ("]),
        (
            {"retention.ms": "5400000", "message.timestamp.type": "LogAppendTime"},
            ["retention.ms (90 min)"],
            ["a time older"],
        ),
        (
            {"retention.ms": "-1", "retention.bytes": "1000"},
            ["outgrown its retention.bytes (1000)"],
            ["retention.ms", "a time older"],
        ),
        (
            {"retention.ms": "-1", "retention.bytes": "-1"},
            ["Either somebody has deleted them"],
            ["retention"],
        ),
        ({"retention.ms": "1001"}, ["(1001 ms)"], []),
    ],
)
def test_what_may_have_deleted_messages_follows_from_the_topics_settings(
    settings: dict[str, str], told: list[str], not_told: list[str]
) -> None:
    text = contract._why_lost(settings)
    assert all(part in text for part in told), text
    assert not any(part in text for part in not_told), text


@pytest.mark.slow
def test_messages_of_an_old_time_are_deleted_unread_and_the_start_says_so(
    spark: SparkSession, begun: Config, movie: dict[str, Any]
) -> None:
    """As the broker does it by itself, which looks every five minutes."""
    producer = KafkaProducer(bootstrap_servers=begun.bootstrap_servers, acks="all")
    old = int(time.time() * 1000) - 8 * 86_400_000
    for number in range(3):
        value = json.dumps(movie | {"tconst": f"tt9{number}"}, sort_keys=True).encode()
        producer.send(begun.topic, value, partition=2, timestamp_ms=old).get(30)
    producer.close(timeout=10)

    def beginning() -> int:
        return jvm.read_topic(spark, begun.bootstrap_servers, begun.topic).beginnings[2]

    wait_for("the broker has swept", beginning, lambda first: first == 3, 400)
    text = refusal(spark, begun)
    assert "offsets 0 to 2 of partition 2" in text
    assert "the messages carried a time older than that" in text


def test_loss_after_an_accepted_one_ends_the_query(
    spark: SparkSession, begun: Config, here: dict[str, str], movie: dict[str, Any]
) -> None:
    lose(spark, begun, movie, "tt9")
    config = with_term(load_config(here | {"TRIGGER_INTERVAL": "8 seconds"}))
    contract.accept_loss(config, jvm.read_topic(spark, config.bootstrap_servers, config.topic))
    load = job._begin(config, spark, job.check_topic(config, spark))
    stopping = threading.Event()
    deaths: list[str] = []

    def watch() -> None:
        try:
            load.watch(stopping, ExecutorWatch(lambda: 1, 60, lambda: None))
        except QueryDiedError as error:
            deaths.append(str(error))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        wait_for("the gap is passed", lambda: load.status.query.batch_id, lambda at: at == 1, 90)
        # Not read before the trigger, and gone by then.
        lose(spark, begun, movie, "tt8")
        watcher.join(90)
    finally:
        stopping.set()
        watcher.join(30)
        load.query.stop()
        load.metrics.close()
    (death,) = deaths
    assert "OFFSET_OUT_OF_RANGE" in death or "data may have been lost" in death, death
    assert "tt80" not in [tconst for tconst, _ in rows(begun)]
    # The next start says what is lost now.
    assert "has lost messages that were not read yet" in refusal(spark, begun)


def lose(spark: SparkSession, config: Config, movie: dict[str, Any], name: str) -> None:
    """Send five messages, and lose all but the last."""
    send(config, *(movie | {"tconst": f"{name}{number}"} for number in range(5)))
    topic = jvm.read_topic(spark, config.bootstrap_servers, config.topic)
    admin = KafkaAdminClient(bootstrap_servers=config.bootstrap_servers)
    admin.delete_records({TopicPartition(config.topic, 0): topic.ends[0] - 1})
    admin.close()


def test_broker_refuses_a_stamp_that_spark_cannot_read(broker: Broker) -> None:
    role = Path(__file__).parents[2] / "roles/kafka_topic"
    ahead = yaml.safe_load((role / "defaults/main.yml").read_text())["kafka_topic_ahead_ms"]
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    settings = {"message.timestamp.after.max.ms": str(ahead)}
    admin.create_topics([NewTopic("stamped", 1, 1, topic_configs=settings)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
    try:
        producer.send("stamped", b"{}", timestamp_ms=int(time.time() * 1000) + 1000).get(30)
        for stamp in (10**16, int(time.time() * 1000) + ahead + 60_000):
            with pytest.raises(InvalidTimestampError):
                producer.send("stamped", b"{}", timestamp_ms=stamp).get(30)
    finally:
        producer.close(timeout=10)


def delete_before(config: Config, partition: int, offset: int) -> None:
    """Let the topic lose the messages of a partition before an offset."""
    admin = KafkaAdminClient(bootstrap_servers=config.bootstrap_servers)
    admin.delete_records({TopicPartition(config.topic, partition): offset})
    admin.close()


def test_batch_that_was_not_done_keeps_its_rows_though_messages_are_lost(
    spark: SparkSession, begun: Config, movie: dict[str, Any]
) -> None:
    before = rows(begun)
    # Killed when its file was in place; and it was the first.
    (begun.checkpoint_folder / "commits" / "0").unlink()
    delete_before(begun, 0, 1)
    assert "offsets 0 to 0 of partition 0" in refusal(spark, begun)
    topic = jvm.read_topic(spark, begun.bootstrap_servers, begun.topic)
    assert contract.accept_loss(begun, topic) == {0: (0, 0)}
    send(begun, movie)
    load = run(spark, begun)
    assert rows(begun) == before
    assert load.sink.table_rows == len(before)


def test_added_partition_that_has_lost_its_beginning_is_refused(
    spark: SparkSession, begun: Config, movie: dict[str, Any]
) -> None:
    admin = KafkaAdminClient(bootstrap_servers=begun.bootstrap_servers)
    admin.create_partitions({begun.topic: NewPartitions(total_count=4)})
    admin.close()
    send(begun, *(movie | {"tconst": f"tt9{number}"} for number in range(5)), partition=3)
    delete_before(begun, 3, 2)
    assert "offsets 0 to 1 of partition 3" in refusal(spark, begun)
    topic = jvm.read_topic(spark, begun.bootstrap_servers, begun.topic)
    contract.accept_loss(begun, topic)
    load = run(spark, begun)
    assert [tconst for tconst, _ in rows(begun)][-3:] == ["tt92", "tt93", "tt94"]
    assert load.status.lost_messages == 2
    assert contract.lost_messages(begun, topic) == {}


def test_damaged_checkpoint_is_refused(spark: SparkSession, copied: Config) -> None:
    (copied.checkpoint_folder / "offsets" / "0").write_text("v1\n{}\nnonsense")
    text = refusal(spark, copied)
    assert "cannot be read as offsets" in text


def test_lost_state_is_refused_with_the_name_of_the_file(
    spark: SparkSession, copied: Config
) -> None:
    for path in copied.state_folder.glob("*-0000000000"):
        path.unlink()
    text = refusal(spark, copied)
    assert "delta-0000000000 is missing" in text


def test_unknown_topic_is_told(spark: SparkSession, broker: Broker) -> None:
    with pytest.raises(jvm.TopicUnknownError, match=r"say nothing of the topic none: .*Unknown"):
        jvm.read_topic(spark, broker.bootstrap, "none", seconds=10)


def test_compaction_keeps_each_row_once_and_the_run_goes_on(
    spark: SparkSession, begun: Config, movie: dict[str, Any]
) -> None:
    for number in range(3):
        send(begun, movie | {"tconst": f"tt5{number}"})
        run(spark, begun)
    before = rows(begun)
    reader = begun.silver_folder / "main-0000000001.parquet"
    compact(spark, begun)
    assert [path.name for path in begun.silver_folder.glob("*.parquet")] == [
        "main-0000000000_0000000003.parquet"
    ]
    assert rows(begun) == before
    assert not reader.exists()
    send(begun, movie, movie | {"tconst": "tt6"})
    run(spark, begun)
    assert [tconst for tconst, _ in rows(begun)] == [
        *(tconst for tconst, _ in before),
        "tt6",
    ]


def test_compaction_leaves_batches_alone_that_may_run_again(
    spark: SparkSession, copied_twice: Config
) -> None:
    (copied_twice.checkpoint_folder / "commits" / "1").unlink()
    compact(spark, copied_twice)
    assert len(list(copied_twice.silver_folder.glob("*.parquet"))) == 2


def files_of(config: Config) -> list[str]:
    """The names of silver's files."""
    return sorted(path.name for path in config.silver_folder.glob("*.parquet"))


def test_compaction_that_lost_its_lock_changes_nothing(
    spark: SparkSession,
    copied_twice: Config,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = files_of(copied_twice)
    taker = load_config(beside(environ, copied_twice) | {"TAKE_OVER": "yes"})
    exchange = files.exchange

    def paused_in_the_lock(one: Path, other: Path) -> None:
        with locks.tables_locked(taker):
            (one / "main-0000000002.parquet").touch()
        exchange(one, other)

    monkeypatch.setattr(locks, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr("imdb_streaming.compact.exchange", paused_in_the_lock)
    with pytest.raises(CompactionCutOffError, match="Begin again: imdb-streaming compact"):
        compact(spark, copied_twice)
    assert len(before) == 2
    assert files_of(copied_twice) == [*before, "main-0000000002.parquet"]


def test_compaction_keeps_a_file_that_came_in_spite_of_the_lock(
    spark: SparkSession, copied_twice: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = files.exchange

    def late(one: Path, other: Path) -> None:
        (one / "main-0000000002.parquet").write_text("late")
        exchange(one, other)

    monkeypatch.setattr("imdb_streaming.compact.exchange", late)
    compact(spark, copied_twice)
    assert (copied_twice.silver_folder / "main-0000000002.parquet").read_text() == "late"
    assert len(files_of(copied_twice)) == 2


def test_compaction_of_files_that_were_replaced_meanwhile_changes_nothing(
    spark: SparkSession, copied_twice: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(copied_twice)

    def replaced_meanwhile(source: Path, target: Path) -> None:
        path = copied_twice.silver_folder / before[0]
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        files.put_in_place(source, target)

    monkeypatch.setattr("imdb_streaming.compact.put_in_place", replaced_meanwhile)
    with pytest.raises(CompactionCutOffError, match="is not the file any more that was read"):
        compact(spark, copied_twice)
    assert files_of(copied_twice) == before


def test_reprocessed_run_takes_the_tables_place_and_gives_it_back(
    spark: SparkSession, begun: Config, here: dict[str, str], movie: dict[str, Any]
) -> None:
    old_scores = rows(begun)
    second = load_config(here | {"RUN_ID": "second", "MIN_VOTES_PRIOR": "0"})
    assert "imdb-streaming reprocess second" in refusal(spark, second)

    beside = replace(second, is_beside=True)
    beside.tables_path.mkdir(parents=True)
    run(spark, beside)
    assert rows(begun) == old_scores
    assert "imdb-streaming reprocess second" in refusal(spark, second)
    runs.mark_ready(beside)
    send(begun, movie | {"tconst": "tt4"})
    run(spark, second)
    assert [score for _, score in rows(second)] == [movie["averageRating"]] * 4
    csv = (second.genre_counts_csv_folder / "genre_counts.csv").read_text()
    assert csv == "genre,movie_count\nCrime,4\nDrama,4\n"

    run(spark, begun)
    assert rows(begun)[:2] == old_scores[:2]
    assert len(rows(begun)) == 4
    run(spark, second)
    assert len(rows(second)) == 4


@pytest.mark.parametrize(
    "exchanged",
    [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2)), 3],
)
def test_switch_that_was_cut_off_goes_on(
    spark: SparkSession,
    copied: Config,
    kept: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    exchanged: int,
) -> None:
    second = load_config(kept | {"RUN_ID": "second"})
    beside = replace(second, is_beside=True)
    beside.tables_path.mkdir(parents=True)
    run(spark, beside)
    runs.mark_ready(beside)
    left = exchanged
    exchange = files.exchange

    def exchange_or_crash(one: Path, other: Path) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        exchange(one, other)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "exchange", exchange_or_crash)
        with pytest.raises(KeyboardInterrupt):
            runs.switch_if_ready(second)
    run(spark, second)
    assert len(rows(second)) == 3
    assert [path.name for path in (copied.output_path / "_runs").iterdir()] == ["main"]
    run(spark, copied)
    assert len(rows(copied)) == 3


def test_new_run_needs_another_id(
    copied: Config, kept: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert cli.main(["reprocess", "main"], kept) == cli.REFUSED
    assert "Give the new run another id" in caplog.text


@pytest.fixture
def one_spark(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands have the tests' own Spark, and the job end without its process."""
    monkeypatch.setattr(cli, "_local_spark", lambda config: spark)
    monkeypatch.setattr(job, "connect", lambda config: spark)
    monkeypatch.setattr(job, "listen_for_stop", lambda stopping: None)
    monkeypatch.setattr(job, "end_in", lambda seconds, code: None)
    monkeypatch.setattr(job, "_executors", lambda spark: 1)
    monkeypatch.setattr(SparkSession, "stop", lambda self: None)


@pytest.fixture
def waiting(spark: SparkSession, begun: Config, here: dict[str, str]) -> Config:
    """A run that has read what `begun` has, and waits to be put into service."""
    second = load_config(here | {"RUN_ID": "second"})
    beside = replace(second, is_beside=True)
    beside.tables_path.mkdir(parents=True)
    run(spark, beside)
    runs.mark_ready(beside)
    return second


@pytest.mark.usefixtures("one_spark")
def test_run_that_is_behind_catches_up_before_it_is_shown(
    spark: SparkSession,
    begun: Config,
    waiting: Config,
    movie: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not runs.is_behind(waiting)
    send(begun, movie | {"tconst": "tt4"}, movie | {"tconst": "tt5"})
    run(spark, begun)
    assert runs.is_behind(waiting)
    shown: list[tuple[int, bool]] = []
    switch = runs.switch_if_ready

    def look_and_switch(config: Config) -> None:
        if runs.is_waiting(config):
            beside = replace(waiting, is_beside=True)
            shown.append((len(rows(beside)), runs.is_behind(config)))
        switch(config)

    monkeypatch.setattr(runs, "switch_if_ready", look_and_switch)
    stopping = threading.Event()
    held = with_term(waiting)
    started = threading.Thread(target=job.run, args=[held, stopping])
    started.start()
    try:
        wait_for(
            "it is in service", lambda: runs.run_in_service(held), lambda it: it == "second", 120
        )
        assert len(rows(held)) == 5
    finally:
        stopping.set()
        started.join(60)
    assert shown == [(5, False)]


@pytest.mark.usefixtures("one_spark")
def test_run_that_is_refused_does_not_take_the_tables_place(
    waiting: Config, here: dict[str, str]
) -> None:
    changed = with_term(load_config(here | {"RUN_ID": "second", "MIN_VOTES_PRIOR": "7"}))
    with pytest.raises(StartRefusedError, match="scores of both would stand in one table"):
        job.run(changed, threading.Event())
    assert runs.run_in_service(changed) == "main"


@pytest.mark.usefixtures("one_spark")
def test_check_says_what_a_start_would_do(
    spark: SparkSession,
    begun: Config,
    waiting: Config,
    here: dict[str, str],
    movie: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for run_id, can in (
        ("main", "run main can start or go on"),
        ("second", "run second can take the place of run main"),
    ):
        assert cli.main(["check"], here | {"RUN_ID": run_id}) == cli.DONE, caplog.text
        assert can in caplog.text
    send(begun, movie | {"tconst": "tt4"})
    run(spark, begun)
    assert cli.main(["check"], here | {"RUN_ID": "second"}) == cli.DONE
    assert "run second can catch up with run main and take its place" in caplog.text
    assert cli.main(["check"], here | {"RUN_ID": "third"}) == cli.REFUSED
    assert runs.run_in_service(waiting) == "main"


@pytest.mark.usefixtures("one_spark")
@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_check_reads_the_state(
    copied: Config, kept: dict[str, str], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    (delta,) = copied.state_folder.glob("delta-*")
    content = delta.read_bytes()
    delta.unlink()
    if damage == "cut short":
        delta.write_bytes(content[:-4])
    assert cli.main(["check"], kept) == cli.REFUSED
    assert f"{delta.name} is {damage}" in caplog.text


def test_check_refuses_a_folder_that_cannot_be_made(
    here: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "parquet"
    assert cli.main(["check"], here | {"OUTPUT_PATH": str(place)}) == cli.REFUSED
    assert f"{place} is not there, and cannot be made in {tmp_path / 'file'}" in caplog.text
