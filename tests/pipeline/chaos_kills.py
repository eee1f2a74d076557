"""Which processes are killed when, drawn from a seed, and the kills themselves."""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from hosts import Target

from ..waiting import wait_for
from .deployment import as_root

#: Seconds between two kills: some hit what has not recovered from the last.
SHORTEST, LONGEST = 1.0, 15.0
#: What was killed must be there again within so many seconds to be killed again.
PATIENCE = 240

#: The unit of each victim, and a command that prints the ids of its processes. The class is in
#: brackets, so that the pattern does not find the searching shell.
VICTIMS = {
    "driver (Python)": ("imdb-streaming", "systemctl show -P MainPID imdb-streaming"),
    "driver (JVM)": (
        "imdb-streaming",
        "pgrep -P $(systemctl show -P MainPID imdb-streaming) java",
    ),
    "executor": ("spark-worker", "pgrep -f '[C]oarseGrainedExecutorBackend'"),
    "worker": ("spark-worker", "systemctl show -P MainPID spark-worker"),
    "master": ("spark-master", "systemctl show -P MainPID spark-master"),
    "broker": ("kafka", "systemctl show -P MainPID kafka"),
    "ZooKeeper": ("zookeeper", "systemctl show -P MainPID zookeeper"),
}


@dataclass(frozen=True)
class Kill:
    """A process that was killed, `seconds` after the start."""

    number: int
    victim: str
    pids: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.number:3d}. at {self.seconds:6.1f} s: {self.victim} ({self.pids})"


def kill_plan(seed: int, count: int) -> Iterator[tuple[float, str]]:
    """Give the kills: seconds to wait before, and the victim. Each is hit about as often."""
    draw = random.Random(seed)
    names = list(VICTIMS)
    victims = [name for _ in range(count // len(names) + 1) for name in draw.sample(names, 7)][
        :count
    ]
    # Shuffled as a whole: the same victim twice running is a case too.
    draw.shuffle(victims)
    for victim in victims:
        yield draw.uniform(SHORTEST, LONGEST), victim


def kill(target: Target, victim: str, patience: float) -> str:
    """Kill a victim's processes, as soon as there are any; return their ids.

    Raises:
        TimeLimitError: There were none in time: it did not come back from the kill before.
    """
    unit, command = VICTIMS[victim]
    script = f"pids=$({command} | grep -vx 0) && kill -KILL $pids 2>/dev/null && echo $pids || true"
    return wait_for(
        f"{victim} is there to be killed",
        lambda: as_root(target, unit, f"sh -c {shlex.quote(script)}").strip(),
        bool,
        PATIENCE * patience,
        every=0.5,
    )
