"""The part of the status page that is about many hosts."""

from __future__ import annotations

from typing import Any

from cluster_page import render_cluster, render_hosts


def unit(active: str = "active", sub: str = "running", **others: str) -> dict[str, str]:
    return {"LoadState": "loaded", "ActiveState": active, "SubState": sub, **others}


def host(address: str, groups: list[str], units: dict[str, Any], **others: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"error": None, "ensemble": None, "master": None, "roles": {}}
    return nothing | {"address": address, "groups": groups, "units": units} | others


def state(**changes: Any) -> dict[str, Any]:
    """Three core hosts, two masters, a worker and a standby, all well unless changed."""
    core = ["zookeeper", "kafka"]
    hosts = {
        f"core-{n}": host(
            f"10.0.0.{n}",
            core,
            {"zookeeper": unit(), "kafka": unit()},
            ensemble={"role": "leader" if n == 2 else "follower", "synced_followers": 2},
        )
        for n in (1, 2, 3)
    }
    for n, role in ((1, "standby"), (2, "alive")):
        said = {"role": role, "workers": ["10.0.2.1"] if role == "alive" else []}
        hosts[f"spark-{n}"] = host(
            f"10.0.1.{n}", ["spark_master"], {"spark-master": unit()}, master=said
        )
    hosts["worker-1"] = host("10.0.2.1", ["spark_worker"], {"spark-worker": unit()})
    hosts["edge-2"] = host(
        "10.0.3.2",
        ["streaming"],
        {"imdb-streaming": unit()},
        roles={"imdb-streaming": "stands by"},
    )
    brokers = {
        "up": ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
        "controller": "10.0.0.3",
        "partitions": 3,
        "replicas": 9,
        "in_sync": 9,
        "under_replicated": 0,
        "offline": 0,
    }
    return {"hosts": hosts, "brokers": brokers} | changes


def test_each_host_is_a_line_that_says_who_leads() -> None:
    lines = {line.split()[0]: line for line in render_hosts(state())}
    assert len(lines) == 1 + 7
    assert "zookeeper leader, kafka up" in lines["core-2"]
    assert "zookeeper follower, kafka controller" in lines["core-3"]
    assert "spark-master standby" in lines["spark-1"]
    assert "spark-master alive" in lines["spark-2"]
    assert "imdb-streaming stands by" in lines["edge-2"]


def test_the_first_end_of_a_certificate_is_told_and_is_loud_if_it_is_soon() -> None:
    shown = state()
    late = {"name": "kafka", "end": "2027-12-31T10:00:00+00:00", "soon": False}
    soon = {"name": "ca", "end": "2026-12-24T10:00:00+00:00", "soon": True}
    shown["hosts"]["core-1"]["certificate"] = late
    shown["hosts"]["core-2"]["certificate"] = soon
    lines = {line.split()[0]: line for line in render_hosts(shown)}
    assert lines["core-1"].endswith(", kafka up, certificates until 2027-12-31")
    assert lines["core-2"].endswith(", kafka up, CERTIFICATE ca ENDS 2026-12-24")
    assert "ertificate" not in lines["spark-1"]


def test_what_is_well_is_three_lines() -> None:
    assert list(render_cluster(state())) == [
        "ZooKeeper  core-2 leads, 2 of 2 followers in sync",
        "Kafka      3 of 3 brokers, core-3 controls; 3 partitions, 9 of 9 replicas in sync",
        "Spark      spark-2 leads, 1 of 1 workers registered",
    ]


def test_what_is_not_well_stands_out() -> None:
    broken = state()
    broken["hosts"]["core-2"] |= {"error": "no route", "ensemble": None, "units": {}}
    broken["hosts"]["core-1"]["units"]["kafka"] = unit("failed", "failed", NRestarts="3")
    broken["hosts"]["spark-2"]["master"] = {"error": "refused"}
    broken["brokers"] |= {"up": ["10.0.0.3"], "in_sync": 3, "under_replicated": 3, "offline": 1}
    lines = "\n".join([*render_hosts(broken), *render_cluster(broken)])
    assert "DOES NOT ANSWER: no route" in lines
    assert "kafka FAILED (failed), restarted 3x" in lines
    assert "0 LEADERS of 3 servers" in lines
    assert "1 of 3 brokers" in lines
    assert "1 OFFLINE" in lines
    assert "3 LAGGING" in lines
    assert "0 MASTERS LEAD" in lines


def test_brokers_that_nobody_could_ask_are_told() -> None:
    assert "nobody to ask" in "\n".join(render_cluster(state(brokers=None)))
    assert "timed out" in "\n".join(render_cluster(state(brokers={"error": "timed out"})))
