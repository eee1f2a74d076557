"""A run of the chaos test: what is done to the pipeline, and when the pipeline has digested it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pandas as pd
from hosts import Target

from ..waiting import wait_for
from .chaos_expected import ExpectedTables
from .chaos_kills import Kill
from .deployment import as_root, status_of
from .tables import Tables

JOURNAL_LINES = 150


@dataclass
class Chaos:
    """What is done to the pipeline, and what has been done so far."""

    seed: int
    kills: int
    records: int
    done: list[Kill] = field(default_factory=list)
    _begun: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Count the time from now on."""
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self._begun

    def __str__(self) -> str:
        said = "\n".join(str(kill) for kill in self.done)
        return (
            f"--chaos-seed {self.seed} --chaos-kills {self.kills} --chaos-records {self.records}"
            f"; kills so far:\n{said or 'none'}"
        )


def everything_consumed(
    target: Target, wanted: ExpectedTables, tables: Tables, patience: float
) -> None:
    """Wait until the job says that nothing waits, and the tables have every row that is wanted."""

    def look() -> dict[str, int]:
        events = set(tables.event_ids())
        letters = pd.read_parquet(tables.parquet / "dead_letters", columns=["partition", "offset"])
        return {
            "lag": status_of(target, "imdb-streaming")["query"]["lag"],
            "movies missing": sum(event not in events for event, _ in wanted.silver),
            "dead letters missing": len(
                wanted.dead_letters.keys() - set(letters.itertuples(index=False, name=None))
            ),
        }

    wait_for(
        "every message is consumed",
        look,
        lambda state: not any(state.values()),
        600 * patience,
        every=3,
    )


def journals(target: Target) -> str:
    """What the job and its services said lately."""
    return "\n".join(
        f"--- {unit}\n"
        + as_root(
            target,
            unit,
            *("journalctl", "--no-pager", "--output=short-precise", f"--unit={unit}"),
            f"--lines={JOURNAL_LINES}",
        )
        for unit in ("imdb-streaming", "spark-master", "spark-worker", "kafka", "zookeeper")
    )
