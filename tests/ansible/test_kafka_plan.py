"""Where replicas go: few moves, brokers and racks used alike, nothing on brokers that leave."""

from __future__ import annotations

from collections import Counter

import pytest

from .modules import load_utility

kafka_plan = load_utility("kafka_plan")
NO_RACKS: dict[int, str | None] = {1: None, 2: None, 3: None}
Placed = dict[tuple[str, int], list[int]]


def spread(count: int, brokers: list[int], factor: int) -> Placed:
    """Partitions of a topic as Kafka places them at first."""
    return {
        ("t", index): [brokers[(index + at) % len(brokers)] for at in range(factor)]
        for index in range(count)
    }


def after(before: Placed, changes: Placed) -> Placed:
    return before | changes


def loads(placed: Placed) -> Counter[int]:
    return Counter(broker for replicas in placed.values() for broker in replicas)


def test_what_is_well_placed_is_left_alone() -> None:
    assert kafka_plan.plan(spread(6, [1, 2, 3], 3), NO_RACKS, replication_factor=3) == {}


def test_a_new_broker_gets_its_share_by_few_moves() -> None:
    before = spread(12, [1, 2, 3], 3)
    changes = kafka_plan.plan(before, NO_RACKS | {4: None}, replication_factor=3)
    assert loads(after(before, changes)) == {1: 9, 2: 9, 3: 9, 4: 9}
    assert kafka_plan.moved(before, changes) == 9


def test_a_broker_that_leaves_keeps_nothing() -> None:
    before = spread(12, [1, 2, 3, 4], 3)
    racks = NO_RACKS | {4: None}
    placed = after(before, kafka_plan.plan(before, racks, leaving=[2], replication_factor=3))
    assert loads(placed) == {1: 12, 3: 12, 4: 12}


def test_partitions_get_the_replicas_that_they_lack() -> None:
    before = spread(3, [1], 1)
    placed = after(before, kafka_plan.plan(before, NO_RACKS, replication_factor=3))
    assert all(sorted(replicas) == [1, 2, 3] for replicas in placed.values())


def test_more_replicas_than_asked_for_are_kept() -> None:
    assert kafka_plan.plan(spread(3, [1, 2, 3], 3), NO_RACKS, replication_factor=1) == {}


def test_replicas_that_share_a_rack_are_spread_when_another_is_free() -> None:
    racks = {1: "a", 2: "b", 4: "a", 5: "c"}
    before = spread(3, [1, 2, 4], 3)
    placed = after(before, kafka_plan.plan(before, racks, replication_factor=3))
    assert [sorted(racks[it] for it in replicas) for replicas in placed.values()] == [
        ["a", "b", "c"]
    ] * 3


def test_racks_that_must_be_shared_are_left_alone() -> None:
    racks = {1: "a", 2: "b", 3: "a", 4: "b"}
    assert kafka_plan.plan(spread(4, [1, 2, 3, 4], 3), racks, replication_factor=3) == {}


def test_each_broker_leads_about_as_many() -> None:
    before = {("t", index): [1, 2, 3] for index in range(9)}
    placed = after(before, kafka_plan.plan(before, NO_RACKS, replication_factor=3))
    leads = Counter(replicas[0] for replicas in placed.values())
    assert max(leads.values()) - min(leads.values()) <= 1
    assert loads(placed) == {1: 9, 2: 9, 3: 9}


def test_replicas_are_in_different_racks() -> None:
    racks: dict[int, str | None] = {1: "a", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c"}
    before = spread(18, [1, 2], 2)
    placed = after(before, kafka_plan.plan(before, racks, replication_factor=3))
    for replicas in placed.values():
        assert len(set(replicas)) == 3
        assert {"b", "c"} <= {racks[broker] for broker in replicas}


def test_leveling_takes_no_rack_twice() -> None:
    racks: dict[int, str | None] = {1: "a", 2: "b", 3: "c", 4: "a"}
    before = spread(12, [1, 2, 3], 3)
    placed = after(before, kafka_plan.plan(before, racks, replication_factor=3))
    assert all({racks[it] for it in replicas} == {"a", "b", "c"} for replicas in placed.values())
    assert loads(placed) == {1: 6, 2: 12, 3: 12, 4: 6}


@pytest.mark.parametrize(("leaving", "factor"), [([1, 2, 3], 1), ([3], 3)])
def test_too_few_brokers_would_stay(leaving: list[int], factor: int) -> None:
    with pytest.raises(ValueError, match="brokers would stay"):
        kafka_plan.plan(spread(3, [1, 2, 3], 3), NO_RACKS, leaving, factor)
