"""The commands `prepare` and `check`, and what a terminal shows."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sample_data

from imdb_producer import cli
from imdb_producer.bar import Bar
from imdb_producer.logs import set_up
from imdb_producer.status import Status
from imdb_producer.stop import Stop

from .bad_server import Answer, serving
from .broker import Broker


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    sample_data.generate(tmp_path, titles=300, seed=7)
    # The handlers stay out of pytest's own process.
    monkeypatch.setattr(Stop, "install", lambda _: None)
    return {
        "BASICS_URL": (tmp_path / sample_data.BASICS_FILE).as_uri(),
        "RATINGS_URL": (tmp_path / sample_data.RATINGS_FILE).as_uri(),
        "CACHE_DIR": str(tmp_path / "cache"),
    }


def test_prepare_writes_a_line_of_json_for_each_record(
    environment: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "records.jsonl"
    assert cli.main(["prepare", str(target)], environment) == 0
    records = [json.loads(line) for line in target.read_bytes().splitlines()]
    assert len(records) == 99
    assert set(records[0]) == {
        "tconst",
        "primaryTitle",
        "startYear",
        "runtimeMinutes",
        "genres",
        "averageRating",
        "numVotes",
    }


def test_prepare_writes_to_standard_output_and_its_log_beside(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "imdb_producer", "prepare", "-"],
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    cli.main(["prepare", str(tmp_path / "file")], environment)
    assert done.stdout == (tmp_path / "file").read_bytes()
    assert b"Prepared 99 records" in done.stderr


def test_options_win_over_the_environment(environment: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "records.jsonl"
    wrong = environment | {"BASICS_URL": "file:///nowhere", "PRODUCER_LIMIT": "3"}
    options = ["--basics", environment["BASICS_URL"], "--limit", "5", "--min-votes", "0"]
    assert cli.main(["prepare", *options, str(target)], wrong) == 0
    assert len(target.read_bytes().splitlines()) == 5


def test_a_bad_option_is_named_as_it_was_given(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["prepare", "--limit", "none"], environment) == 2
    assert "--limit='none': not a whole number" in capsys.readouterr().err


def test_a_failed_preparation_leaves_the_file_as_it_was(
    environment: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "records.jsonl"
    target.write_text("former\n")
    basics = tmp_path / sample_data.BASICS_FILE
    basics.write_bytes(basics.read_bytes()[:-20])
    assert cli.main(["prepare", str(target)], environment) == 1
    assert target.read_text() == "former\n"
    assert not list(tmp_path.glob(".records*"))


def test_a_target_that_cannot_be_written_is_named(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["prepare", str(tmp_path / "missing" / "file")], environment) == 2
    assert f"Cannot write {tmp_path}/missing/file: No such file" in capsys.readouterr().err


def test_plain_files_are_taken_by_https_and_file_alike(
    environment: dict[str, str], tmp_path: Path
) -> None:
    from imdb_producer.sources import open_blocks

    with open_blocks(tmp_path / sample_data.BASICS_FILE) as blocks:
        plain = b"".join(blocks)
    with serving(plain) as site:
        changed = environment | {"BASICS_URL": site.url}
        assert cli.main(["prepare", str(tmp_path / "one")], changed) == 0
    assert cli.main(["prepare", str(tmp_path / "two")], environment) == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_check_finds_that_all_is_well(
    environment: dict[str, str], broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.make_topic("checked")
    settings = {"KAFKA_BOOTSTRAP_SERVERS": broker.address, "KAFKA_TOPIC": "checked"}
    for client in ("kafka-python", "confluent"):
        assert cli.main(["check"], environment | settings | {"KAFKA_CLIENT": client}) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == ["ok"] * 6
    assert "has partitions [0, 1, 2]" in lines[1]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=404, body=b""), "404"),
        (Answer(status=500, body=b""), "500"),
        (Answer(body=b"<html></html>"), "neither gzip nor TSV"),
        (Answer(body=b""), "is empty"),
    ],
)
def test_check_says_what_is_wrong_with_a_source(
    environment: dict[str, str],
    broker: Broker,
    capsys: pytest.CaptureFixture[str],
    answer: Answer,
    reason: str,
) -> None:
    if "checked-sources" not in wait_topics(broker):
        broker.make_topic("checked-sources")
    settings = {"KAFKA_BOOTSTRAP_SERVERS": broker.address, "KAFKA_TOPIC": "checked-sources"}
    with serving(b"") as site:
        site.otherwise = answer
        assert cli.main(["check", "--ratings", site.url], environment | settings) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert reason in failed[0]


def wait_topics(broker: Broker) -> set[str]:
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(bootstrap_servers=broker.address)
    try:
        return set(consumer.topics())
    finally:
        consumer.close()


def test_check_says_that_there_is_no_broker(
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imdb_producer.check._TIMEOUT", 0.5)
    assert cli.main(["check", "--bootstrap-servers", "127.0.0.1:1"], environment) == 1
    assert "FAILED  topic: No Kafka broker answers at 127.0.0.1:1" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar() -> None:
    terminal = Terminal()
    status = Status("b", "r", state="sending", total=1000, sent=250, rate=10.0, eta_seconds=75)
    Bar(terminal).publish(status)
    assert terminal.getvalue().startswith("\r\x1b[K[######..................] sent 250 of 1,000")


def test_nothing_but_a_terminal_does() -> None:
    stream = io.StringIO()
    Bar(stream).publish(Status("b", "r", state="sending", total=1000, sent=250))
    assert stream.getvalue() == ""


def test_a_log_of_json_is_one_object_a_line(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "records.jsonl"
    assert cli.main(["prepare", str(target), "--log-format", "json"], environment) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[-1]["message"] == "Prepared 99 records"
    assert lines[-1]["level"] == "info"
    set_up("text")
    logging.getLogger("imdb_producer").info("plain again")
    assert capsys.readouterr().err == "plain again\n"
