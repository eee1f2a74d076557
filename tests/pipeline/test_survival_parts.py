"""How a fault is measured, and how a host is cut off: what test_survival.py relies on."""

from __future__ import annotations

import pytest

from .messages import Acknowledged
from .network_cut import rules
from .survival import Fault, Outcome, in_silver, measure

#: Seconds at which the movies of the tests were sent, acknowledged and seen in silver.
MOVIES = [
    ("before", 0, 9.0, 9.1, 12.0),
    ("held up", 0, 9.9, 15.0, 30.0),
    ("not held up", 1, 11.0, 11.2, 18.0),
    ("held up too", 0, 12.0, 15.5, 31.0),
    ("later", 0, 20.0, 20.1, 40.0),
]
ROWS = sorted(
    (Acknowledged(name, partition, sent, at) for name, partition, sent, at, _ in MOVIES),
    key=lambda row: row.at,
)
SEEN = {name: seen for name, *_, seen in MOVIES}


def measured() -> Outcome:
    fault = Fault(Outcome("fault"), began=10.0)
    measure(fault, ROWS, SEEN.get)
    return fault.outcome


def test_movies_flow_again_when_the_last_that_was_held_up_is_acknowledged() -> None:
    assert measured().acknowledged_again == pytest.approx(5.5)


def test_a_movie_that_was_sent_before_the_fault_may_wait_the_longest() -> None:
    assert measured().longest_wait == pytest.approx(5.1)


def test_a_stall_is_between_two_acknowledgements() -> None:
    assert measured().longest_stall == pytest.approx(4.6)


def test_silver_has_rows_again_when_every_partition_has_a_new_one() -> None:
    assert in_silver(ROWS, 10.0, SEEN.get) == {0: 31.0, 1: 18.0}
    assert measured().in_silver_again == pytest.approx(21.0)
    assert measured().silver_wait == pytest.approx(20.1)


def test_nothing_late_is_said_as_such() -> None:
    fault = Fault(Outcome("nothing"), began=10.0)
    measure(fault, [ROWS[1], ROWS[-1]], SEEN.get)
    assert fault.outcome.acknowledged_again == 0
    assert "| none late |" in str(fault.outcome)


@pytest.mark.parametrize(
    ("way", "dropped"), [("in", {"daddr"}), ("out", {"saddr"}), ("both", {"daddr", "saddr"})]
)
def test_a_cut_drops_one_way_or_both_and_ends_by_itself(way: str, dropped: set[str]) -> None:
    text = rules("cut", "10.0.0.9", way, 30)
    assert {word for word in ("saddr", "daddr") if f"ip {word} @away drop" in text} == dropped
    assert "10.0.0.9 timeout 30s" in text
