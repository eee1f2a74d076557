"""The status file and systemd's status line."""

from __future__ import annotations

import json
import logging
import shutil
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from imdb_producer.notify import Systemd
from imdb_producer.status import Reporter, Status, StatusFile


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
    return Reporter(status, [StatusFile(path)], clock=clock)


def test_the_file_is_there_from_the_start(reporter: Reporter, path: Path) -> None:
    content = json.loads(path.read_text())
    assert content["state"] == reporter.status.state == "preparing"
    assert {"basics", "ratings", "state", "total", "sent", "failed", "rate"} <= set(content)
    assert datetime.fromisoformat(content["started_at"]).utcoffset() is not None


def test_counts_are_written_at_most_once_a_second(
    reporter: Reporter, path: Path, clock: Clock
) -> None:
    reporter.status.total = 30
    reporter.state("sending")
    clock.now += 0.9
    reporter.counts(9, 0, 10.0)
    assert json.loads(path.read_text())["sent"] == 0
    clock.now += 0.1
    reporter.counts(10, 0, 10.0)
    assert json.loads(path.read_text())["sent"] == 10


def test_what_is_refused_is_counted_on_from_what_is_kept_aside(
    reporter: Reporter, path: Path
) -> None:
    reporter.status.total, reporter.status.refused = 30, 2
    reporter.counts(10, 0, 10.0, 11, 0, 1)
    reporter.counts(18, 0, 10.0, 20, 0, 2)
    reporter.state("sending")
    content = json.loads(path.read_text())
    assert (content["refused"], content["refused_now"], content["eta_seconds"]) == (4, 2, 1)


def test_a_new_state_is_written_at_once_with_the_latest_counts(
    reporter: Reporter, path: Path
) -> None:
    reporter.status.total = 30
    reporter.state("sending")
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
    reporter = Reporter(Status(basics="b", ratings="r"), [Systemd(address)], clock)
    assert listener.recv(1024) == b"STATUS=preparing\nWATCHDOG=1"
    reporter.status.total = 45210
    reporter.state("sending")
    listener.recv(1024)
    clock.now += 1
    reporter.counts(12500, 0, 10.0)
    line = "sent 12,500 of 45,210 (27.6 %), 10.0/s, ETA 0:54:31"
    assert listener.recv(1024).decode() == f"STATUS={line}\nWATCHDOG=1"


def test_systemd_is_told_when_it_is_ready(systemd: tuple[str, socket.socket]) -> None:
    address, listener = systemd
    Systemd(address).ready()
    assert listener.recv(1024) == b"READY=1"


def test_without_systemd_nobody_is_told() -> None:
    systemd = Systemd.of({})
    systemd.ready()
    systemd.publish(Status(basics="b", ratings="r"))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"state": "preparing"}, "preparing"),
        (
            {"activity": "downloading title.basics", "activity_done": 5, "activity_total": 1000},
            "preparing: downloading title.basics, 5 of 1,000",
        ),
        ({"state": "sending", "total": 10}, "sent 0 of 10 (0.0 %), 0.0/s, ETA unknown"),
        (
            {"state": "finished", "total": 10, "sent": 10, "rate": 9.96},
            "finished: sent 10 of 10 (100.0 %), 10.0/s",
        ),
        ({"state": "finished"}, "finished: sent 0 of 0 (100.0 %), 0.0/s"),
        (
            {"state": "failed", "total": 10, "sent": 4, "failed": 2},
            "failed: sent 4 of 10 (40.0 %), 0.0/s, 2 failed",
        ),
        (
            {"state": "finished", "total": 1000, "sent": 999, "refused": 1},
            "finished: sent 999 of 1,000 (99.9 %), 0.0/s, 1 refused",
        ),
    ],
)
def test_the_line_says_it_in_a_few_words(changes: dict[str, Any], line: str) -> None:
    assert Status(basics="b", ratings="r", **changes).line() == line
