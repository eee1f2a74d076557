"""Messages that flow while a pipeline is changed: how long they wait, and what becomes of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import pytest
from hosts import HostsError, Target, run

from ..variables import HostVariables
from .deployment import run_playbook
from .expected import Expected
from .messages import connection_of, read_topic
from .tables import Tables


class Progress:
    """Asks the producers all the time how much the brokers have acknowledged."""

    def __init__(self, target: Target) -> None:
        """Begin to ask."""
        self._target = target
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="progress", daemon=True)
        self.sent, self.failed, self.state = 0, 0, ""
        #: When it was seen that more had been acknowledged.
        self._moments: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(60)
        self._moments.append(time.monotonic())

    def longest_stall(self) -> float:
        """Return the most seconds without anything new; it is seen once a second."""
        return max(b - a for a, b in pairwise(self._moments))

    def _ask(self) -> None:
        while not self._stopping.wait(0.2):
            for host in self._target.groups["producer"]:
                try:
                    status = json.loads(
                        run(self._target, host, "cat", "/run/imdb-producer/status.json")
                    )
                except (HostsError, ValueError):
                    # The one that stands by has none; it may be written just now.
                    continue
                self.failed = max(self.failed, status["failed"])
                if status["sent"] > self.sent:
                    self.sent, self.state = status["sent"], status["state"]
                    self._moments.append(time.monotonic())


def longest_pause(target: Target, since: float) -> float:
    """Return the most seconds between the ends of two batches of the job."""
    command = (
        f"sudo journalctl --quiet --output=short-unix --unit=imdb-streaming --since=@{since:.0f}"
        " | awk '/ batch [0-9]+: /{ print $1 }'"
    )
    ends = sorted(
        float(line)
        for host in target.groups["streaming"]
        for line in run(target, host, command).splitlines()
    )
    return max(b - a for a, b in pairwise(ends))


def report(
    what: str,
    target: Target,
    progress: Progress,
    began: float,
    since: float,
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    """Say how long it took and what waited for it; no send has failed."""
    assert progress.state == "sending", "it has sent everything: give it more to send"
    assert progress.failed == 0
    seconds, stall, pause = (
        time.monotonic() - began,
        progress.longest_stall(),
        longest_pause(target, since),
    )
    figures: dict[str, Any] = {"seconds": seconds, "longest_stall": stall, "longest_pause": pause}
    for name, value in figures.items():
        record_property(f"{what.replace(' ', '_')}_{name}", round(value, 1))
    say(
        f"{what} in {seconds:.0f} s; longest time without a message sent {stall:.1f} s, between two"
        f" batches of the job {pause:.0f} s; {progress.sent} sent"
    )


def arrive_once(
    target: Target, variables: HostVariables, tables: Tables, request: pytest.FixtureRequest
) -> None:
    """Let the producer send the rest: all that it has sent is in the topic and in silver, once."""
    quick = run_playbook("-e", "producer_msgs_per_sec=0")
    assert quick.exit_code == 0, quick.end
    finished: dict[str, Any] = request.getfixturevalue("finished")
    expected: Expected = request.getfixturevalue("expected")
    assert (finished["sent"], finished["failed"]) == (len(expected.silver), 0)
    connection, topic = connection_of(target, variables), str(variables["kafka_topic_name"])
    event_ids = [message.event_id for message in read_topic(connection, topic, 300)]
    assert len(event_ids) == len(set(event_ids)) == len(expected.silver)
    tables.hold_each_once(set(event_ids), 300)
    silver = tables.read_silver(["tconst"])
    assert sorted(silver["tconst"]) == sorted(expected.silver["tconst"])
