"""Backups beside the running job, and starts over what was restored, on a topic made anew."""

import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from pyspark.sql import SparkSession

from imdb_streaming import backup, checkpoint, cli, job, jvm, sinks
from imdb_streaming.guards import StartRefusedError

from ..bench.brokers import Broker
from ..waiting import wait_for
from .local import LocalConfig as Config
from .local import load_local_config as load_config
from .local import short_lived_jvms, with_term
from .test_topic import begin, delete_before, made_again, on_topic, refusal, rows, run, send

pytestmark = pytest.mark.usefixtures("executors_without_python")

#: Of the fixture `movie`.
FIRST = "tt0111161"
MOVIES = "silver_movies"
NEVER = threading.Event()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with short_lived_jvms("-XX:+UseSerialGC"):
        started = Broker(tmp_path_factory.mktemp("broker"), heap="384m")
    with started as broker:
        yield broker


@pytest.fixture
def begun(
    spark: SparkSession,
    broker: Broker,
    environ: dict[str, str],
    movie: dict[str, Any],
    tmp_path: Path,
) -> Config:
    """A run that has read three movies of a topic of its own."""
    topic = tmp_path.name
    broker.create_topic(topic)
    config = load_config(
        environ | {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "KAFKA_TOPIC": topic}
    )
    begin(spark, config, movie)
    return config


@pytest.fixture(scope="module")
def done(
    spark: SparkSession,
    broker: Broker,
    movie: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Config:
    """The same, on a topic that stays as it is."""
    config = on_topic(broker, tmp_path_factory.mktemp("backed-up"))
    begin(spark, config, movie)
    return config


def restore(config: Config, taken: Path) -> None:
    """Put a backup in the place of what is there."""
    kept = shutil.copytree(taken, config.output_path.parent / "kept")
    shutil.rmtree(config.output_path)
    shutil.rmtree(config.output_path_csv)
    (kept / "parquet").rename(config.output_path)
    (kept / "csv").rename(config.output_path_csv)


def make_topic_anew(config: Config, broker: Broker) -> None:
    admin = KafkaAdminClient(bootstrap_servers=config.bootstrap_servers)
    try:
        admin.delete_topics([config.topic])
    finally:
        admin.close()
    wait_for("another topic", lambda: made_again(broker, config.topic), bool, 60)


def offsets(config: Config) -> dict[int, int] | None:
    return checkpoint.planned_offsets(config.checkpoint_folder)


def test_restored_job_reads_the_new_topic_and_keeps_its_rows(
    spark: SparkSession, broker: Broker, begun: Config, movie: dict[str, Any]
) -> None:
    taken = backup.take(begun, {0: 2, 1: 1}, 5, NEVER)
    send(begun, movie | {"tconst": "tt4"})
    run(spark, begun)
    restore(begun, taken)
    make_topic_anew(begun, broker)
    # One that the tables have, sent again; the one that came after the backup, in another place.
    send(begun, movie, movie | {"tconst": "tt4"}, partition=1)
    assert run(spark, begun).sink.totals.duplicates == 1
    assert [it for it, _ in rows(begun)] == [FIRST, "tt2", "tt3", "tt4"]
    assert offsets(begun) == {0: 0, 1: 2, 2: 0}
    # And goes on from there as ever.
    send(begun, movie | {"tconst": "tt5"}, partition=2)
    run(spark, begun)
    assert [it for it, _ in rows(begun)] == [FIRST, "tt2", "tt3", "tt4", "tt5"]
    assert offsets(begun) == {0: 0, 1: 2, 2: 1}


@pytest.mark.slow
def test_restored_job_of_several_batches_reads_the_new_topic(
    spark: SparkSession, broker: Broker, begun: Config, movie: dict[str, Any]
) -> None:
    """Spark looks at the last two batches."""
    send(begun, movie | {"tconst": "tt4"})
    run(spark, begun)
    restore(begun, backup.take(begun, {}, 5, NEVER))
    make_topic_anew(begun, broker)
    send(begun, movie | {"tconst": "tt5"})
    run(spark, begun)
    assert [it for it, _ in rows(begun)] == [FIRST, "tt2", "tt3", "tt4", "tt5"]


def test_start_that_is_cut_off_between_its_files_is_begun_again(
    spark: SparkSession,
    broker: Broker,
    begun: Config,
    movie: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restore(begun, backup.take(begun, {}, 5, NEVER))
    make_topic_anew(begun, broker)
    send(begun, movie | {"tconst": "tt4"})
    for name in ("write_json", "write_atomically"):
        with monkeypatch.context() as patch:
            patch.setattr(backup, name, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                run(spark, begun)
    run(spark, begun)
    assert [it for it, _ in rows(begun)] == [FIRST, "tt2", "tt3", "tt4"]


@pytest.mark.slow
def test_restored_job_goes_on_in_the_topic_of_the_backup(
    spark: SparkSession, begun: Config, movie: dict[str, Any]
) -> None:
    restore(begun, backup.take(begun, {}, 5, NEVER))
    send(begun, movie | {"tconst": "tt4"})
    load = run(spark, begun)
    assert (load.sink.totals.duplicates, load.sink.table_rows) == (0, 4)


def test_topic_made_anew_without_a_restore_is_refused_as_ever(
    spark: SparkSession, broker: Broker, begun: Config
) -> None:
    backup.take(begun, {}, 5, NEVER)
    make_topic_anew(begun, broker)
    assert "is not the one that was read before" in refusal(spark, begun)


@pytest.mark.slow
def test_new_topic_that_has_lost_messages_is_refused(
    spark: SparkSession, broker: Broker, begun: Config, movie: dict[str, Any]
) -> None:
    restore(begun, backup.take(begun, {}, 5, NEVER))
    make_topic_anew(begun, broker)
    send(begun, movie | {"tconst": "tt4"}, movie | {"tconst": "tt5"})
    delete_before(begun, 0, 1)
    assert "has lost messages that were not read yet: offsets 0 to 0" in refusal(spark, begun)


def test_backups_beside_the_running_job_are_of_one_batch_each(
    spark: SparkSession,
    broker: Broker,
    begun: Config,
    environ: dict[str, str],
    movie: dict[str, Any],
) -> None:
    often = {
        "KAFKA_BOOTSTRAP_SERVERS": begun.bootstrap_servers,
        "KAFKA_TOPIC": begun.topic,
        "TRIGGER_INTERVAL": "100 milliseconds",
    }
    config = with_term(load_config(environ | often))
    load = job._begin(config, spark, job.check_topic(config, spark))
    ended = threading.Event()
    batches: list[int] = []

    def feed() -> None:
        producer = KafkaProducer(bootstrap_servers=config.bootstrap_servers)
        number = 10
        while not ended.wait(0.05):
            some = [movie | {"tconst": f"tt{number + it}"} for it in range(5)]
            for it in [*some, {"no": "movie"}]:
                producer.send(config.topic, value=json.dumps(it).encode(), partition=0)
            number += 5
        producer.close(timeout=10)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        for _ in range(4):
            ends = broker.end_offsets(begun.topic)
            taken = backup.take(config, ends, 30, NEVER)
            batches.append(_is_of_one_batch(taken))
            assert all(read_to(taken)[it] >= end for it, end in ends.items())
        assert batches == sorted(batches)
        assert batches[-1] > batches[0]
    finally:
        ended.set()
        feeder.join()
        load.query.stop()
        load.metrics.close()


def read_to(taken: Path) -> dict[int, int]:
    found = json.loads((taken / backup.MANIFEST_FILE).read_bytes())["offsets"]
    return {int(partition): offset for partition, offset in found.items()}


def _is_of_one_batch(taken: Path) -> int:
    """See that what was taken fits together; the batch that it is of."""
    manifest = json.loads((taken / backup.MANIFEST_FILE).read_bytes())
    tables = taken / "parquet"
    silver = [
        row
        for path in (tables / MOVIES).glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    letters = sum(
        pq.read_metadata(it).num_rows for it in (tables / "dead_letters").glob("*.parquet")
    )
    assert len(silver) == len({row["tconst"] for row in silver}) == manifest["silver_rows"]
    assert len(silver) + letters == sum(manifest["offsets"].values())
    genres = Counter(genre for row in silver for genre in row["genres"])
    counts = pq.read_table(tables / "genre_counts").to_pylist()
    assert {row["genre"]: row["movie_count"] for row in counts} == genres
    lines = (taken / "csv/genre_counts/genre_counts.csv").read_text().splitlines()
    assert {(it := line.rsplit(",", 1))[0]: int(it[1]) for line in lines[1:]} == genres
    batch: int = manifest["batch"]
    state = {it.name for it in (tables / "_chk/genre_counts_main").glob("*-*")}
    assert state == {f"delta-{number:010d}" for number in range(batch + 1)}
    found = {str(it.relative_to(taken)) for it in taken.rglob("*") if it.is_file()}
    assert found - {backup.MANIFEST_FILE} == set(manifest["files"])
    return batch


def test_backup_waits_for_what_is_to_be_read(done: Config) -> None:
    with pytest.raises(backup.BackupNotReadyError, match="the offsets 3 of partition 0, and"):
        backup.take(done, {0: 3, 1: 1}, 0.2, NEVER)
    # And leaves nothing that could be taken for one.
    assert not (done.output_path / "_backup/whole").exists()


def test_batch_that_was_cut_off_is_in_no_backup(
    spark: SparkSession, begun: Config, movie: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are in silver, and the checkpoint does not say that it is done."""
    send(begun, movie | {"tconst": "tt4"})
    with monkeypatch.context() as patch:
        patch.setattr(sinks.GenreCounts, "publish", lambda *_: (_ for _ in ()).throw(ValueError))
        with pytest.raises(Exception, match="ValueError"):
            run(spark, begun)
    with pytest.raises(backup.BackupNotReadyError, match="has put rows into silver"):
        backup.take(begun, {}, 0.2, NEVER)
    run(spark, begun)
    assert _is_of_one_batch(backup.take(begun, {0: 3}, 5, NEVER)) == 1


@pytest.mark.slow
def test_totals_of_a_batch_that_is_not_done_are_in_no_backup(
    spark: SparkSession, begun: Config, movie: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch without new events puts nothing into silver."""
    send(begun, movie)
    with monkeypatch.context() as patch:
        patch.setattr(jvm.JobState, "save", lambda *_: (_ for _ in ()).throw(ValueError))
        with pytest.raises(Exception, match="ValueError"):
            run(spark, begun)
    with pytest.raises(backup.BackupNotReadyError, match="a batch is ending"):
        backup.take(begun, {}, 0.2, NEVER)


def test_backup_keeps_what_a_compaction_removes_and_goes_when_asked(done: Config) -> None:
    taken = backup.take(done, {}, 5, NEVER)
    (file,) = done.silver_folder.glob("*.parquet")
    content = file.read_bytes()
    file.unlink()
    assert (taken / "parquet" / MOVIES / file.name).read_bytes() == content
    file.write_bytes(content)
    backup.remove(done)
    assert [it.name for it in (done.output_path / "_backup").iterdir()] == [".lock"]


def test_one_backup_at_a_time(done: Config) -> None:
    root = done.output_path / "_backup"
    with backup._alone(root), pytest.raises(StartRefusedError, match="Another backup is being"):
        backup.take(done, {}, 5, NEVER)


def test_command_prints_the_folder(done: Config, capsys: pytest.CaptureFixture[str]) -> None:
    folder = done.output_path.parent
    given = {
        "KAFKA_BOOTSTRAP_SERVERS": done.bootstrap_servers,
        "KAFKA_TOPIC": done.topic,
        "OUTPUT_PATH": str(done.output_path),
        "OUTPUT_PATH_CSV": str(done.output_path_csv),
        "STATUS_FILE": f"{folder}/status.json",
        "SPARK_MASTER": "local[2]",
    }
    code = cli.main(["backup", "--read-to", '{"0": 2, "1": 1}', "--wait", "5"], given)
    assert (code, capsys.readouterr().out) == (cli.DONE, f"{done.output_path}/_backup/whole\n")
    assert cli.main(["backup", "--read-to", '{"0": 9}', "--wait", "0"], given) == cli.FAILED
    assert cli.main(["backup", "--remove"], given) == cli.DONE


def test_nothing_to_back_up_is_refused(config: Config, environ: dict[str, str]) -> None:
    with pytest.raises(StartRefusedError, match="there is nothing that could be backed up"):
        backup.take(config, {}, 0, NEVER)
    in_bucket = environ | {"OUTPUT_PATH": "s3a://bucket/tables"}
    assert cli.main(["backup"], in_bucket) == cli.REFUSED
