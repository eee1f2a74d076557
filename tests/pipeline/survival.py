"""Movies that flow through a fault, and how long the fault held them up."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from ..waiting import wait_for
from .messages import Acknowledged, Feeder
from .readers_apart import ReadersApart
from .silver_watch import SilverWatch

#: A movie that waits longer than so many seconds for its acknowledgement is held up.
LATE_SECONDS = 3.0

HEAD = (
    "| what was done | for s | acknowledged again after s | longest wait s | longest stall s"
    " | in silver again after s | longest wait for silver s | movies a second | sent again |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass
class Outcome:
    """What a fault did to the movies that were sent while it lasted, until all had arrived.

    Seconds, from the fault on or of waiting:
        lasted: until what was broken was mended.
        acknowledged_again: until the last movie that was held up was acknowledged; 0 if none was.
        longest_wait: the most that one movie waited for its acknowledgement.
        longest_stall: the most that passed from one acknowledgement to the next.
        in_silver_again: until of each partition a movie that was sent after the fault was there.
        silver_wait: the most that one movie waited until it was in silver.
        rate: movies acknowledged a second.
        sent_again: sends that the client gave up on.
    """

    name: str
    lasted: float = 0.0
    acknowledged_again: float = 0.0
    longest_wait: float = 0.0
    longest_stall: float = 0.0
    in_silver_again: float = 0.0
    silver_wait: float = 0.0
    rate: float = 0.0
    sent_again: int = 0

    def __str__(self) -> str:
        held_up = f"{self.acknowledged_again:.1f}" if self.acknowledged_again else "none late"
        return (
            f"| {self.name} | {self.lasted:.0f} | {held_up} | {self.longest_wait:.1f}"
            f" | {self.longest_stall:.1f} | {self.in_silver_again:.1f} | {self.silver_wait:.1f}"
            f" | {self.rate:.0f} | {self.sent_again} |"
        )


@dataclass
class Fault:
    """A fault that is going on."""

    outcome: Outcome
    began: float = field(default_factory=time.monotonic)

    def begins(self) -> None:
        """Count from now: what came before was its preparation."""
        self.began = time.monotonic()

    def ends(self) -> None:
        """Note that what was broken is mended, or about to be; it goes on until all is well."""
        self.outcome.lasted = time.monotonic() - self.began


class Traffic:
    """A feeder, the readers, and what was seen of every fault."""

    def __init__(
        self, feeder: Feeder, watch: SilverWatch, readers: ReadersApart, partitions: int
    ) -> None:
        """Take over what runs."""
        self.feeder, self.watch, self.readers = feeder, watch, readers
        self._partitions = partitions
        #: How many movies are known to be in silver, in the order of acknowledgement.
        self._arrived = 0

    def flows_again(self, since: float) -> bool:
        """Return whether nothing is held up, and new movies of all partitions are in silver."""
        rows = self.feeder.acknowledged(self._arrived)
        there = in_silver(rows, since, self.watch.seen)
        return self.feeder.longest_waiting() < 1 and len(there) == self._partitions

    @contextmanager
    def through(
        self, name: str, patience: float, record: Callable[[Outcome], None]
    ) -> Generator[Fault]:
        """Measure a fault, which the block makes and mends; all sent by its end must arrive.

        Raises:
            AssertionError: Something was lost, doubled, or could not be read.
        """
        first, failed = self._arrived, len(self.feeder.failed())
        fault = Fault(Outcome(name))
        yield fault
        fault.outcome.lasted = fault.outcome.lasted or time.monotonic() - fault.began
        wait_for(
            f"{name}: movies flow again",
            lambda: (self.feeder.longest_waiting(), self.flows_again(fault.began)),
            lambda seen: seen[1],
            300 * patience,
        )
        rows = self.feeder.acknowledged(first)
        self._all_arrive(name, rows, 300 * patience)
        measure(fault, rows, self.watch.seen)
        fault.outcome.sent_again = len(self.feeder.failed()) - failed
        record(fault.outcome)
        assert not self.watch.problems, self.watch.problems[:5]
        self.readers.lives()

    def _all_arrive(self, name: str, rows: list[Acknowledged], seconds: float) -> None:
        missing = [row.event_id for row in rows]

        def look() -> int:
            missing[:] = [it for it in missing if self.watch.seen(it) is None]
            return len(missing)

        wait_for(
            f"{name}: all {len(rows)} acknowledged movies are in silver",
            look,
            lambda count: count == 0,
            seconds,
        )
        self._arrived += len(rows)


def in_silver(
    rows: list[Acknowledged], since: float, seen: Callable[[str], float | None]
) -> dict[int, float]:
    """Return when each partition first had a movie in silver that was sent since then."""
    found: dict[int, float] = {}
    for row in rows:
        moment = seen(row.event_id)
        if row.begun >= since and moment is not None:
            found[row.partition] = min(moment, found.get(row.partition, moment))
    return found


def measure(fault: Fault, rows: list[Acknowledged], seen: Callable[[str], float | None]) -> None:
    """Write into a fault's outcome what it did to these movies, which are all in silver."""
    outcome, began = fault.outcome, fault.began
    after = [row for row in rows if row.at >= began]
    late = [row.at for row in after if row.at - row.begun > LATE_SECONDS]
    outcome.acknowledged_again = max(late) - began if late else 0.0
    outcome.longest_wait = max(row.at - row.begun for row in after)
    outcome.longest_stall = max((b.at - a.at for a, b in pairwise(after)), default=0.0)
    outcome.in_silver_again = max(in_silver(after, began, seen).values()) - began
    outcome.silver_wait = max((seen(row.event_id) or 0) - row.begun for row in after)
    outcome.rate = len(after) / max(after[-1].at - began, 1e-3)
