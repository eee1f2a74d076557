"""Replicas that are moved to where they should be, on two real brokers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ..producer.broker import Brokers, wait_until
from .modules import load, load_utility

kafka_admin = load_utility("kafka_admin")
load_utility("kafka_plan")
placement = load("ansible/library/kafka_placement.py", "kafka_placement")


@pytest.fixture(scope="module", autouse=True)
def topic(brokers: Brokers) -> None:
    """A topic of one replica; those that other tests have left are gone."""
    admin = brokers.first.admin()
    try:
        admin.delete_topics(admin.list_topics())
        wait_until("they are gone", lambda: not admin.list_topics())
    finally:
        admin.close()
    brokers.first.make_topic("moved", partitions=2)


def run(asked: Brokers, factor: int, check_mode: bool = False, **other: Any) -> dict[str, Any]:
    params = {
        "bootstrap_servers": asked.servers,
        "brokers": [1, 2],
        "leaving": [],
        "replication_factor": factor,
        "bytes_per_second": 20_000_000,
        "security": {},
        "timeout": 60,
    }
    module = SimpleNamespace(params=params | other, check_mode=check_mode)
    result: dict[str, Any] = placement.run(module)
    return result


def replicas(brokers: Brokers) -> list[list[int]]:
    with kafka_admin.Cluster(brokers.servers) as cluster:
        topic = cluster.metadata(["moved"]).topics["moved"]
    return [sorted(row["replicas"]) for row in topic.values()]


def throttles(brokers: Brokers) -> dict[str, Any]:
    """The bounds that are left on the topic and a broker."""
    found: dict[str, Any] = {}
    with kafka_admin.Cluster(brokers.servers) as cluster, cluster.asking("reading") as admin:
        resource = kafka_admin.library().admin.ConfigResource
        asked = [resource("topic", "moved"), resource("broker", "2")]
        for named in admin.describe_configs(asked).values():
            for settings in named.values():
                found |= {key: it for key, it in settings.items() if "throttled" in key}
    return found


def test_partitions_get_a_second_replica_and_lose_it_with_a_broker_that_leaves(
    brokers: Brokers,
) -> None:
    before = replicas(brokers)
    assert sorted(map(len, before)) == [1, 1]
    assert run(brokers, 2, check_mode=True)["msg"] == "Would move 2 replicas of 2 partitions."
    assert replicas(brokers) == before
    assert run(brokers, 2)["moves"] == 2
    assert replicas(brokers) == [[1, 2], [1, 2]]
    assert throttles(brokers) == {}
    assert run(brokers, 2) == {
        "changed": False,
        "moves": 0,
        "msg": "Moved 0 replicas of 0 partitions.",
    }
    # What leaves must have somewhere to go.
    with pytest.raises(ValueError, match="brokers would stay"):
        run(brokers, 2, leaving=[2])
    run(brokers, 1, leaving=[2])
    assert 2 not in {broker for row in replicas(brokers) for broker in row}


def test_nothing_is_moved_while_a_broker_is_away(brokers: Brokers) -> None:
    with pytest.raises(kafka_admin.KafkaError, match=r"brokers \[3\] are not up"):
        run(brokers, 1, brokers=[1, 2, 3])


def test_a_bound_is_set_and_taken_away(brokers: Brokers) -> None:
    with placement.Placement(brokers.servers) as cluster:
        cluster.bound({"moved"}, 1000)
        assert "follower.replication.throttled.replicas" in throttles(brokers)
        cluster.bound({"moved"}, None)
    assert throttles(brokers) == {}


def test_a_move_that_is_refused_is_named(brokers: Brokers) -> None:
    with (
        placement.Placement(brokers.servers) as cluster,
        pytest.raises(kafka_admin.KafkaError, match=r"moving moved-0 was refused: .*\(error 39\)"),
    ):
        cluster.move({("moved", 0): [9]})
