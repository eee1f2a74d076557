"""The whole run, with a client in Kafka's place."""

from __future__ import annotations

import gzip
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sample_data

from imdb_producer import cli, service
from imdb_producer.client import Client
from imdb_producer.config import Config
from imdb_producer.errors import TopicError
from imdb_producer.records import Message
from imdb_producer.stop import Stop
from imdb_producer.topic import Topic, wait_for_topic

from .fakes import FakeClient, configured

HEADER = "\t".join(sample_data.BASICS_COLUMNS).encode() + b"\n"


class Setting:
    """Dumps, environment and client of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary = sample_data.generate(folder / "dumps", titles=300, seed=7)
        self.client = FakeClient()
        self.destination = "cluster/imdb-movies/topic"
        self.status_file = folder / "status.json"
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "MSGS_PER_SEC": "0",
            "BASICS_URL": (folder / "dumps" / sample_data.BASICS_FILE).as_uri(),
            "RATINGS_URL": (folder / "dumps" / sample_data.RATINGS_FILE).as_uri(),
            "CACHE_DIR": str(folder / "cache"),
            "STATUS_FILE": str(self.status_file),
        }

    def take_the_place_of_kafka(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def connect(_: Config) -> Client:
            return self.client

        monkeypatch.setattr(service, "connect", connect)
        monkeypatch.setattr(service, "ready_topic", lambda _: Topic((0, 1, 2), self.destination))
        # The handlers stay out of pytest's own process.
        monkeypatch.setattr(Stop, "install", lambda _: None)

    def run(self, **changes: str) -> int:
        return cli.main(["run"], self.environment | changes)

    @property
    def status(self) -> dict[str, object]:
        content: dict[str, object] = json.loads(self.status_file.read_text())
        return content


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    setting = Setting(tmp_path)
    setting.take_the_place_of_kafka(monkeypatch)
    return setting


def test_every_movie_is_sent_once(setting: Setting) -> None:
    assert setting.run() == 0
    keys = [message.key for message in setting.client.sent]
    assert len(keys) == len(set(keys)) == setting.summary.kept
    assert setting.client.closed == [5.0]


def test_the_status_tells_that_it_finished(setting: Setting) -> None:
    assert setting.run() == 0
    kept = setting.summary.kept
    assert setting.status["state"] == "finished"
    assert (setting.status["total"], setting.status["sent"]) == (kept, kept)


def test_the_limit_caps_the_records(setting: Setting) -> None:
    assert setting.run(PRODUCER_LIMIT="5") == 0
    assert len(setting.client.sent) == 5
    assert setting.status["total"] == 5


def test_the_lines_that_operators_grep_for(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert setting.run(PRODUCER_LIMIT="5") == 0
    assert f"Downloading {setting.environment['BASICS_URL']}" in caplog.text
    assert "Loaded 300 rows of title.basics" in caplog.text
    assert "Prepared 5 records (PRODUCER_LIMIT is 5)" in caplog.text
    assert "sent 5 messages of 5 (100.0 %)" in caplog.text


def test_the_topic_and_its_partitions_are_logged(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.undo()
    topic = Topic((0, 1, 2), "cluster/imdb-movies/topic")
    monkeypatch.setattr(service, "wait_for_topic", lambda *_: topic)
    caplog.set_level(logging.INFO)
    config = configured(setting.environment)
    assert service.ready_topic(config) is topic
    assert "Topic imdb-movies is ready with partitions: [0, 1, 2]" in caplog.text


def test_a_malformed_row_is_logged_and_the_rest_is_sent(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    basics = setting.folder / "dumps" / sample_data.BASICS_FILE
    basics.write_bytes(basics.read_bytes() + gzip.compress(b"tt9999999\tmovie\tCut\n"))
    assert setting.run() == 0
    assert len(setting.client.sent) == setting.summary.kept
    assert (
        "Malformed row of title.basics passed over: line 302: fewer than 9 columns" in caplog.text
    )


@pytest.mark.parametrize(
    ("variable", "content", "reason"),
    [
        ("BASICS_URL", b"tconst\tother\n", "title.basics lacks the column"),
        ("RATINGS_URL", b"<html></html>", "neither gzip nor TSV"),
        ("BASICS_URL", gzip.compress(HEADER + b"tt1\tshort\n" * 1000)[:-9], "damaged or cut short"),
        ("RATINGS_URL", b"tconst\taverageRating\tnumVotes\n", "No movie is left to send"),
    ],
)
def test_bad_dumps_end_the_run_before_anything_is_sent(
    setting: Setting,
    variable: str,
    content: bytes,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = setting.folder / "bad"
    bad.write_bytes(content)
    assert setting.run(**{variable: bad.as_uri()}) == 1
    assert setting.client.sent == []
    assert setting.status["state"] == "failed"
    assert reason in capsys.readouterr().err


def test_a_failed_delivery_ends_the_run_with_1(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    setting.client.errors[b"tt0000001"] = TimeoutError("expired")
    assert setting.run() == 1
    assert setting.status["state"] == "failed"
    assert setting.status["failed"] == 1
    assert setting.client.closed
    assert "TimeoutError: expired" in capsys.readouterr().err


def test_a_broker_that_does_not_answer_is_named() -> None:
    with pytest.raises(TopicError, match=r"No Kafka broker answers at 127\.0\.0\.1:1"):
        wait_for_topic(["127.0.0.1:1"], "imdb-movies", timeout=0.5)


def test_a_stop_while_sending_leaves_the_state_at_stopped(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_at_third(_: Message) -> None:
        if len(setting.client.sent) == 3:
            stops[0].request()

    stops: list[Stop] = []
    monkeypatch.setattr(Stop, "install", lambda stop: stops.append(stop))
    setting.client.on_send = stop_at_third
    assert setting.run(MSGS_PER_SEC="1e9") == 0
    assert len(setting.client.sent) == 3
    assert setting.status["state"] == "stopped"
    assert setting.status["sent"] == 3


def wait_for_state(setting: Setting, state: str) -> None:
    deadline = time.monotonic() + 60
    while not setting.status_file.exists() or setting.status["state"] != state:
        assert time.monotonic() < deadline, f"the state never was {state}"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_for_the_broker_at_once_with_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    setting = Setting(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "imdb_producer", "run"],
        env=setting.environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for_state(setting, "preparing")
            time.sleep(1)
            start = time.monotonic()
            process.send_signal(number)
            _, rest = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0, rest
    assert time.monotonic() - start < 5
    assert "Stopped before the first record was sent" in rest
