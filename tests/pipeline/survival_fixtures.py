"""What test_survival.py runs on: its traffic, a settled cluster, and the table of what was seen."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import pytest
from hosts import Target
from status import collect

from ..variables import HostVariables
from ..waiting import wait_for
from .cluster import active_units, unsettled
from .messages import Connection, Feeder
from .readers_apart import ReadersApart
from .silver_watch import SilverWatch
from .survival import HEAD, Outcome, Traffic
from .tables import Tables

SEED = int(os.environ.get("TEST_SEED", random.randrange(2**32)))
PER_SECOND = 500
#: Those of chaos_readers.py that read: the rows become many.
READERS = (
    "silver, pandas, folder",
    "silver, DuckDB, glob",
    "counts, pandas, file",
    "counts, DuckDB, glob",
    "CSV, plain",
)
READ_SECONDS = 10.0

Record = Callable[[Outcome], None]


@pytest.fixture(scope="module")
def outcomes(say: Callable[[str], None]) -> Generator[list[Outcome]]:
    """What was seen of every fault, printed at the end, and as it comes."""
    found: list[Outcome] = []
    say(f"TEST_SEED={SEED}")
    yield found
    say("\n".join([f"TEST_SEED={SEED}", HEAD, *map(str, found)]))


@pytest.fixture
def record(
    outcomes: list[Outcome],
    say: Callable[[str], None],
    record_property: Callable[[str, object], None],
) -> Callable[[Outcome], None]:
    """To be called with what was seen of a fault."""

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        for key, value in vars(outcome).items():
            record_property(key, value)
        say(str(outcome))

    return note


@pytest.fixture(scope="module")
def traffic(
    target: Target,
    variables: HostVariables,
    finished: dict[str, Any],
    connection: Connection,
    topic: str,
    tables: Tables,
    patience: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Traffic]:
    """Movies that flow, and readers that read, from the first test of this file to the last."""
    assert finished["sent"] > 0
    with ExitStack() as stack:
        feeder = stack.enter_context(Feeder(connection, topic, PER_SECOND))
        feeder.flows(120 * patience)
        watch = SilverWatch(tables)
        stack.callback(watch.stop)
        log = tmp_path_factory.mktemp("readers") / "log"
        readers = ReadersApart(tables, log, READERS, READ_SECONDS)
        stack.callback(readers.close)
        yield Traffic(feeder, watch, readers, int(variables["kafka_topic_partitions"]))


@pytest.fixture(scope="module")
def active(target: Target, traffic: Traffic) -> set[tuple[str, str]]:
    """The hosts and units that were active at the beginning."""
    return active_units(collect(target))


@pytest.fixture
def settled(target: Target, active: set[tuple[str, str]], patience: float) -> Generator[None]:
    """Everything is as it must be, before the test and after."""

    def settle() -> None:
        wait_for(
            f"TEST_SEED={SEED}: all is well",
            lambda: unsettled(target, active),
            lambda wrong: not wrong,
            300 * patience,
        )

    settle()
    yield
    settle()
