"""Everything is killed at random while movies flow and readers read: nothing is lost or doubled.

    ENVIRONMENT=dev pytest tests/pipeline/test_chaos.py --chaos-kills 7 --chaos-records 10000

The seed is printed and can be given again: `--chaos-seed`. The same seed sends the same messages,
under other movies' ids, and kills the same in the same order after the same pauses; what the
machine makes of it differs. The movies stay in the tables: not for hosts whose tables are wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
from hosts import Target

from ..variables import HostVariables
from ..waiting import wait_for
from .chaos_expected import ExpectedTables, Position, Stored, differences, expected_tables
from .chaos_kills import Kill, kill, kill_plan
from .chaos_messages import Planned, plan
from .chaos_run import Chaos, everything_consumed, journals
from .chaos_sender import Sender, read_back
from .deployment import run_playbook, status_of
from .messages import FED_DIGITS, Connection
from .readers_apart import ReadersApart
from .tables import Tables

pytestmark = [pytest.mark.faults, pytest.mark.slow]

#: So short, that kills hit a batch rather than the wait for the next one.
TRIGGER = "1 second"
#: Messages a second, as long as more are allowed.
RATE = 500


@pytest.fixture(scope="module")
def chaos(pytestconfig: pytest.Config) -> Chaos:
    """What was asked for."""
    given = pytestconfig.getoption("chaos_seed")
    seed = time.time_ns() // 1_000_000 % 1_000_000_000 if given is None else given
    return Chaos(
        seed, pytestconfig.getoption("chaos_kills"), pytestconfig.getoption("chaos_records")
    )


@pytest.fixture(scope="module")
def quick_batches(target: Target) -> Generator[None]:
    """The pipeline with a short trigger."""
    deployed = run_playbook("-e", f"streaming_trigger_interval='{TRIGGER}'")
    assert deployed.exit_code == 0, deployed.end
    yield
    back = run_playbook()
    assert back.exit_code == 0, back.end


@dataclass(frozen=True)
class Survived:
    """What was sent, what readers saw, what the topic holds, and what follows from that."""

    sender: Sender
    #: How often each reader has read, without any problem.
    reads: dict[str, int]
    #: All of the topic; other tests' and the producer's messages too.
    stored: list[Stored]
    wanted: ExpectedTables


@pytest.fixture(scope="module")
def survived(
    target: Target,
    chaos: Chaos,
    quick_batches: None,
    finished: dict[str, Any],
    connection: Connection,
    topic: str,
    tables: Tables,
    patience: float,
    variables: HostVariables,
    say: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Survived]:
    """The pipeline after all of it, everything consumed."""
    assert finished["sent"] > 0
    say(str(chaos))
    begin = time.time_ns() // 1_000_000
    first = begin * 100 % 10**FED_DIGITS
    messages = plan(chaos.seed, chaos.records, first, begin - 2 * chaos.records)
    sender = Sender(connection, topic, messages, RATE)
    readers = None
    try:
        sender.allow(1 / (chaos.kills + 2))
        wait_for(
            "every table has a file with the first messages",
            lambda: (sender.state, len(list((tables.parquet / "dead_letters").glob("*.parquet")))),
            lambda seen: seen[1] > 0,
            120 * patience,
        )
        readers = ReadersApart(tables, tmp_path_factory.mktemp("readers") / "log")
        chaos.begin()
        for number, (pause, victim) in enumerate(kill_plan(chaos.seed, chaos.kills), start=1):
            time.sleep(pause)
            sender.allow((number + 1) / (chaos.kills + 2))
            pids = kill(target, victim, patience)
            chaos.done.append(Kill(number, victim, pids, chaos.seconds))
            say(str(chaos.done[-1]))
            readers.lives()
            assert not sender.problems, "\n".join(sender.problems)
        sender.allow(1)
        wait_for(
            "the broker has acknowledged every message",
            lambda: sender.state,
            lambda _: sender.done,
            (300 + chaos.records / RATE) * patience,
        )
        stored = read_back(connection, topic)
        wanted = expected_tables(
            stored,
            c=float(variables["streaming_global_mean_rating"]),
            m=float(variables["streaming_min_votes_prior"]),
        )
        everything_consumed(target, wanted, tables, patience)
        # Once more each, on what is final.
        time.sleep(5)
        yield Survived(sender, readers.ask(), stored, wanted)
    except BaseException:
        say(f"{chaos}\n{sender.state}\n{journals(target)}")
        raise
    finally:
        sender.close()
        if readers:
            readers.close()


@pytest.fixture(scope="module")
def wanted(survived: Survived) -> ExpectedTables:
    """What the tables must hold."""
    return survived.wanted


def test_readers_never_failed_nor_saw_a_row_doubled_or_gone(
    survived: Survived, chaos: Chaos, say: Callable[[str], None]
) -> None:
    assert all(reads > chaos.kills // 2 for reads in survived.reads.values()), survived.reads
    say(f"{chaos}\nreads: {survived.reads}")


def test_every_kill_hit(survived: Survived, chaos: Chaos) -> None:
    assert len(chaos.done) == chaos.kills
    assert len({kill.victim for kill in chaos.done}) == min(7, chaos.kills)


def test_topic_holds_what_was_sent(survived: Survived, chaos: Chaos) -> None:
    def plain(message: Planned | Stored) -> tuple[object, ...]:
        return message.key, message.value, message.headers, message.at

    there = {(message.partition, message.offset): message for message in survived.stored}
    lost: list[Position] = [
        place
        for place, message in survived.sender.acknowledged.items()
        if place not in there or plain(there[place]) != plain(message)
    ]
    assert not lost, f"{chaos}\n{len(lost)} acknowledged messages are not there: {lost[:5]}"


def test_silver_is_what_follows_from_the_topic(
    tables: Tables, wanted: ExpectedTables, chaos: Chaos
) -> None:
    frame = tables.read_silver()
    frame["kafka_timestamp"] = frame["kafka_timestamp"].astype("datetime64[ms, UTC]").astype(int)
    frame["runtimeMinutes"] = frame["runtimeMinutes"].astype("Int64")
    rows = frame.to_dict("records")
    actual = {
        (row.pop("event_id"), row["kafka_timestamp"]): row
        | {
            "genres": list(row["genres"]),
            "runtimeMinutes": None if pd.isna(row["runtimeMinutes"]) else row["runtimeMinutes"],
        }
        for row in rows
    }
    assert len(actual) == len(rows), f"{chaos}\nan event stands twice"
    assert not differences(actual, wanted.silver), f"{chaos}\n{differences(actual, wanted.silver)}"


def test_dead_letters_are_what_follows_from_the_topic(
    tables: Tables, topic: str, wanted: ExpectedTables, chaos: Chaos
) -> None:
    frame = pd.read_parquet(tables.parquet / "dead_letters")
    times = frame["kafka_timestamp"].astype("datetime64[ms, UTC]").astype(int)
    actual = {
        (row.partition, row.offset): (row.reason, row.key, row.value, at)
        for row, at in zip(frame.itertuples(), times, strict=True)
    }
    assert len(actual) == len(frame), f"{chaos}\na message stands twice"
    assert set(frame["topic"]) == {topic}
    assert not differences(actual, wanted.dead_letters), (
        f"{chaos}\n{differences(actual, wanted.dead_letters)}"
    )


def test_genre_counts_are_what_follows_from_the_topic(
    tables: Tables, wanted: ExpectedTables, chaos: Chaos
) -> None:
    parquet = list(tables.read_genre_counts().itertuples(index=False, name=None))
    frame = pd.read_csv(tables.genre_counts_csv, keep_default_na=False)
    assert parquet == wanted.genre_counts, str(chaos)
    assert list(frame.itertuples(index=False, name=None)) == wanted.genre_counts, str(chaos)


def test_status_counts_what_follows_from_the_topic(
    target: Target, wanted: ExpectedTables, chaos: Chaos
) -> None:
    status = status_of(target, "imdb-streaming")
    names = ("silver_rows", "dead_letters", "duplicates", "stale")
    counted = {name: status[name] for name in names}
    assert counted == {
        "silver_rows": len(wanted.silver),
        "dead_letters": len(wanted.dead_letters),
        "duplicates": wanted.duplicates,
        "stale": wanted.stale,
    }, str(chaos)
