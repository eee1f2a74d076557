"""What a standby prepares ahead: `run` takes it, if it is of the same data set and version."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import sample_data

from imdb_producer import ahead, cli, service, sources
from imdb_producer.lock import AT_WORK, RUN_LOCK, exclusive
from imdb_producer.records import Message

from .bad_server import serving
from .test_service import Setting

Prepare = Callable[..., int]


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    setting = Setting(tmp_path)
    setting.take_the_place_of_kafka(monkeypatch)
    return setting


@pytest.fixture
def prepare(setting: Setting, caplog: pytest.LogCaptureFixture) -> Prepare:
    """Prepares ahead, without a broker's address."""
    caplog.set_level(logging.INFO)

    def prepare(**changes: str) -> int:
        environment = setting.environment | changes
        del environment["KAFKA_BOOTSTRAP_SERVERS"]
        return cli.main(["prepare", "--ahead"], environment)

    return prepare


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The dumps that were unpacked."""
    opened: list[Path] = []

    def noted(path: Path) -> object:
        opened.append(path)
        return sources.open_blocks(path)

    monkeypatch.setattr("imdb_producer.dataset.open_blocks", noted)
    return opened


def sent(setting: Setting) -> list[Message]:
    return list(setting.client.sent)


def test_run_reads_nothing_of_what_is_prepared(
    setting: Setting,
    prepare: Prepare,
    reads: list[Path],
    tmp_path: Path,
) -> None:
    assert setting.run(CACHE_DIR=str(tmp_path / "other")) == 0
    expected = sent(setting)
    setting.client.sent.clear()
    assert prepare() == 0
    assert len(reads) == 4
    assert setting.run() == 0
    assert len(reads) == 4
    # Each run is a version of its own.
    assert [it._replace(version=b"") for it in sent(setting)] == [
        it._replace(version=b"") for it in expected
    ]
    assert len(expected) == setting.summary.kept


def test_preparing_sends_nothing_and_keeps_no_progress(
    setting: Setting,
    prepare: Prepare,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: object) -> None:
        pytest.fail("neither Kafka nor the progress is for it")

    for name in ("ready_topic", "open_resumption", "connect"):
        monkeypatch.setattr(service, name, forbidden)
    assert prepare(PROGRESS_SERVERS="127.0.0.1:1") == 0
    assert not (setting.folder / "cache" / "state").exists()
    assert not setting.status_file.exists()


def test_a_standby_goes_on_where_the_leader_was(
    setting: Setting,
    prepare: Prepare,
    reads: list[Path],
    tmp_path: Path,
) -> None:
    """Two hosts, which share the progress: here its file is carried over."""
    leader = tmp_path / "leader"
    assert setting.run(CACHE_DIR=str(leader)) == 0
    progress = json.loads((leader / "state/imdb-movies/progress.json").read_text())
    standby = setting.folder / "cache" / "state" / "imdb-movies"
    standby.mkdir(parents=True)
    (standby / "progress.json").write_text(json.dumps(progress | {"position": 7}))
    assert prepare() == 0
    before = sent(setting)
    setting.client.sent.clear()
    reads.clear()
    assert setting.run() == 0
    assert sent(setting) == before[7:]
    assert reads == []


def test_nothing_is_read_again_for_the_same_data_set(
    prepare: Prepare, reads: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert (prepare(), prepare()) == (0, 0)
    assert len(reads) == 2
    assert "records of this data set are prepared already" in caplog.text


def change_dump(setting: Setting) -> None:
    dump = setting.folder / "dumps" / sample_data.BASICS_FILE
    dump.write_bytes(dump.read_bytes() + gzip.compress(b"tt9999999\tmovie\tCut\n"))


def cut_file(setting: Setting) -> None:
    (file,) = (setting.folder / "cache" / "ahead").glob("outbox-*")
    file.write_bytes(file.read_bytes()[:-100])


def damage_about(setting: Setting) -> None:
    (setting.folder / "cache" / "ahead" / "about.json").write_text('{"data_set": 1}')


def lose_file(setting: Setting) -> None:
    (file,) = (setting.folder / "cache" / "ahead").glob("outbox-*")
    file.unlink()


@pytest.mark.parametrize("change", [change_dump, cut_file, damage_about, lose_file])
def test_what_is_of_another_data_set_or_damaged_is_not_used(
    setting: Setting,
    prepare: Prepare,
    reads: list[Path],
    change: Callable[[Setting], None],
) -> None:
    assert prepare() == 0
    change(setting)
    reads.clear()
    assert setting.run() == 0
    assert len(reads) == 2
    assert len(setting.client.sent) == setting.summary.kept


@pytest.mark.parametrize(
    ("name", "value", "kept"), [("PRODUCER_LIMIT", "5", 5), ("MIN_VOTES", "0", None)]
)
def test_what_is_of_another_choice_is_not_used(
    setting: Setting,
    prepare: Prepare,
    reads: list[Path],
    name: str,
    value: str,
    kept: int | None,
) -> None:
    assert prepare() == 0
    reads.clear()
    assert setting.run(**{name: value}) == 0
    assert len(reads) == 2
    assert kept is None or len(setting.client.sent) == kept


def test_what_is_of_another_version_is_not_used(
    setting: Setting,
    prepare: Prepare,
    reads: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert prepare() == 0
    reads.clear()
    monkeypatch.setattr(ahead, "__version__", "0.0.1")
    assert setting.run() == 0
    assert len(reads) == 2


def test_a_new_data_set_takes_the_place_of_the_one_before(
    setting: Setting,
    prepare: Prepare,
) -> None:
    folder = setting.folder / "cache" / "ahead"
    assert prepare() == 0
    before = {path.name for path in folder.iterdir()}
    assert prepare(PRODUCER_LIMIT="5") == 0
    after = {path.name for path in folder.iterdir()}
    assert (len(before), len(after)) == (2, 2)
    assert before & after == {"about.json"}


def test_a_failure_leaves_what_was_prepared_before(
    setting: Setting,
    prepare: Prepare,
    reads: list[Path],
) -> None:
    assert prepare() == 0
    dump = setting.folder / "dumps" / sample_data.BASICS_FILE
    whole = dump.read_bytes()
    dump.write_bytes(whole[:-20])
    assert prepare() == 1
    dump.write_bytes(whole)
    reads.clear()
    assert setting.run() == 0
    assert reads == []


def test_downloads_are_those_that_run_takes(
    setting: Setting,
    prepare: Prepare,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dump = (setting.folder / "dumps" / sample_data.BASICS_FILE).read_bytes()
    with serving(dump) as site:
        assert prepare(BASICS_URL=site.url) == 0
        assert setting.run(BASICS_URL=site.url) == 0
    assert caplog.text.count("Downloaded ") == 1
    assert len(setting.client.sent) == setting.summary.kept


def test_it_never_works_beside_run(
    setting: Setting,
    prepare: Prepare,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with exclusive(setting.folder / "cache" / RUN_LOCK, AT_WORK):
        assert prepare() == 3
        assert setting.run() == 3
    assert capsys.readouterr().err.count("is at work in") == 2
    assert not (setting.folder / "cache" / "ahead").exists()


def test_a_file_and_ahead_are_not_asked_for_together(
    setting: Setting,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["prepare", "--ahead", "file"], setting.environment) == 2
    assert "--ahead writes no FILE" in capsys.readouterr().err
