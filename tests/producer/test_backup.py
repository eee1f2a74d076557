"""A copy of how far sending has come, made while it sends, and what is sent after a restore."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from imdb_producer import backup
from imdb_producer.config import Config
from imdb_producer.errors import BusyError, StateError
from imdb_producer.lock import exclusive
from imdb_producer.progress import Progress, ProgressFile

from .fakes import configured
from .test_resume import Topic, data_set, message

ELSEWHERE = "another-cluster/imdb-movies/2"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configured({"KAFKA_BOOTSTRAP_SERVERS": "broker:9092", "CACHE_DIR": str(tmp_path)})


@pytest.fixture
def topic(config: Config) -> Topic:
    return Topic(config.cache_dir / "state" / config.topic)


def restored(topic: Topic, taken: Path) -> Topic:
    """The same producer on a new host, with a topic that was made anew."""
    other = Topic(topic.folder.parents[1] / "new-host/state")
    shutil.copytree(taken, other.folder)
    other.name = ELSEWHERE
    return other


def test_restored_producer_goes_on_from_its_position(config: Config, topic: Topic) -> None:
    topic.run(data_set(100), crash_after=35)
    taken = backup.take(config)
    assert taken == config.cache_dir / "backup/whole"
    topic.run(data_set(100))
    there = restored(topic, taken)
    assert there.run(data_set(100)) == 70
    assert there.received == [it.event_id for it in data_set(100)[30:]]
    # As the same versions: the job knows by them what it has.
    assert set(there.versions) <= set(topic.versions)
    assert there.run(data_set(100)) == 0


def test_restored_producer_that_was_through_sends_what_a_new_dump_changes(
    config: Config, topic: Topic
) -> None:
    topic.run(data_set(100))
    taken = backup.take(config)
    assert taken
    there = restored(topic, taken)
    assert there.run(data_set(100)) == 0
    assert there.run(data_set(100, changed=3), name="more") == 3


def test_topic_that_is_made_anew_once_more_gets_everything(config: Config, topic: Topic) -> None:
    topic.run(data_set(10), crash_after=5, keep_every=1)
    taken = backup.take(config)
    assert taken
    there = restored(topic, taken)
    assert there.run(data_set(10)) == 5
    there.name = "a-third-cluster/imdb-movies/3"
    assert there.run(data_set(10)) == 10


def test_restored_producer_that_is_killed_at_once_goes_on_all_the_same(
    config: Config, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.run(data_set(10), crash_after=5, keep_every=1)
    taken = backup.take(config)
    assert taken
    there = restored(topic, taken)
    with monkeypatch.context() as patch:
        patch.setattr(backup.RestoredFile, "remove", lambda _: (_ for _ in ()).throw(KeyError))
        with pytest.raises(KeyError):
            there.run(data_set(10))
    assert there.run(data_set(10)) == 5


def test_backup_beside_a_run_claims_no_more_than_is_acknowledged(
    config: Config, topic: Topic
) -> None:
    """The next data set is at work when it is taken: what was delivered of the first counts."""
    topic.run(data_set(20))
    topic.run(data_set(20, changed=8), name="more", crash_after=5, keep_every=1, finish=False)
    taken = backup.take(config)
    assert taken
    with closing(sqlite3.connect(taken / "delivered.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM delivered").fetchone() == (20,)
    assert json.loads((taken / "progress.json").read_bytes())["position"] == 5
    assert restored(topic, taken).run(data_set(20, changed=8), name="more") == 3


def test_refused_records_are_in_it(config: Config, topic: Topic) -> None:
    topic.refuses = {message(3).key}
    topic.run(data_set(10))
    taken = backup.take(config)
    assert taken
    there = restored(topic, taken)
    assert (there.run(data_set(10)), there.aside()) == (0, [message(3).key])


def test_data_set_that_is_finished_meanwhile_is_copied_again(
    config: Config, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.run(data_set(10), crash_after=5, keep_every=1)
    load = ProgressFile.load

    def then_finish(file: ProgressFile) -> Progress | None:
        found = load(file)
        monkeypatch.setattr(ProgressFile, "load", load)
        topic.run(data_set(10))
        return found

    monkeypatch.setattr(ProgressFile, "load", then_finish)
    taken = backup.take(config)
    assert taken
    assert json.loads((taken / "progress.json").read_bytes())["position"] == 10


def test_nothing_is_taken_where_nothing_is_kept(config: Config, topic: Topic) -> None:
    assert backup.take(config) is None
    topic.run(data_set(10))
    assert backup.take(replace(config, progress_servers=("zookeeper:2181",))) is None
    # Nor is there one of before, which could be taken for it.
    assert not (config.cache_dir / "backup/whole").exists()


def test_backup_is_removed_when_asked(config: Config, topic: Topic) -> None:
    topic.run(data_set(10))
    assert backup.take(config)
    backup.remove(config)
    assert not (config.cache_dir / "backup").exists()


def test_one_backup_at_a_time(config: Config, topic: Topic) -> None:
    topic.run(data_set(10))
    with (
        exclusive(config.cache_dir / backup.LOCK, "takes a backup"),
        pytest.raises(BusyError, match="takes a backup"),
    ):
        backup.take(config)


def test_damaged_note_of_a_restore_is_named(topic: Topic) -> None:
    topic.folder.mkdir(parents=True)
    (topic.folder / "restored.json").write_text("{")
    with pytest.raises(StateError, match=r"restored\.json cannot be read"):
        topic.run(data_set(10))


def test_the_note_of_a_restore_goes_with_the_first_run(config: Config, topic: Topic) -> None:
    topic.run(data_set(10))
    taken = backup.take(config)
    assert taken
    there = restored(topic, taken)
    assert backup.RestoredFile(there.folder).destination() == topic.name
    there.run(data_set(10))
    assert backup.RestoredFile(there.folder).destination() == ""
