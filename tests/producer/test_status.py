"""The status file and systemd's status line."""

from __future__ import annotations

import json
import logging
import shutil
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from imdb_producer.status import Reporter, Status


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "status.json"


@pytest.fixture
def reporter(path: Path, clock: Clock) -> Reporter:
    path.parent.mkdir()
    status = Status(basics="file:///basics", ratings="file:///ratings")
    return Reporter(status, path, clock=clock)


def test_the_file_is_there_from_the_start(reporter: Reporter, path: Path) -> None:
    content = json.loads(path.read_text())
    assert content["state"] == reporter.status.state == "preparing"
    assert list(content) == [
        "basics",
        "ratings",
        "state",
        "total",
        "sent",
        "failed",
        "rate",
        "started_at",
        "updated_at",
    ]
    assert datetime.fromisoformat(content["started_at"]).utcoffset() is not None


def test_counts_are_written_at_most_once_a_second(
    reporter: Reporter, path: Path, clock: Clock
) -> None:
    reporter.state("sending", total=30)
    clock.now += 0.9
    reporter.counts(9, 0, 10.0)
    assert json.loads(path.read_text())["sent"] == 0
    clock.now += 0.1
    reporter.counts(10, 0, 10.0)
    assert json.loads(path.read_text())["sent"] == 10


def test_a_new_state_is_written_at_once_with_the_latest_counts(
    reporter: Reporter, path: Path
) -> None:
    reporter.state("sending", total=30)
    reporter.counts(30, 0, 10.0)
    reporter.state("finished")
    content = json.loads(path.read_text())
    assert (content["state"], content["sent"], content["total"]) == ("finished", 30, 30)


def test_everybody_may_read_it_and_nothing_else_is_left(reporter: Reporter, path: Path) -> None:
    reporter.state("finished")
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_later_is_told_once(
    reporter: Reporter, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(path.parent)
    caplog.set_level(logging.WARNING)
    reporter.state("sending")
    reporter.state("finished")
    assert [record.getMessage() for record in caplog.records] == [
        f"Cannot report the status: [Errno 2] No such file or directory: "
        f"'{path.parent}/.status.json.partial'"
    ]


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = "@" + address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1))
        listener.settimeout(5)
        yield address, listener


def test_systemd_gets_a_status_line(systemd: tuple[str, socket.socket], clock: Clock) -> None:
    address, listener = systemd
    reporter = Reporter(Status(basics="b", ratings="r"), None, address, clock)
    assert listener.recv(1024) == b"STATUS=preparing"
    reporter.state("sending", total=45210)
    listener.recv(1024)
    clock.now += 1
    reporter.counts(12500, 0, 10.0)
    assert listener.recv(1024) == b"STATUS=sending: sent 12,500 of 45,210 (27.6 %), 10.0/s"
