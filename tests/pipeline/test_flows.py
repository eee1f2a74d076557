"""What really connects is what the table of flows says (flows.yml), neither more nor less.

The record begins before the hosts are made (tools/test-cluster) and is read here, at the end. Of a
host with several groups any of them may be the one that asks; hosts of `cluster` have few.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hosts import Target, host_running, run

from ..variables import HostVariables
from ..waiting import wait_for
from .flow_record import NoRecordError, Seen, read
from .flow_table import ROWS, Flow, flow_of, groups_of, holds, listening
from .messages import Connection, Feeder
from .test_failover import leading_masters

pytestmark = pytest.mark.cluster

#: What lies beyond the pipeline differs from machine to machine: mirrors, proxies, name servers.
WITHIN = [row for row in ROWS if "outside" not in row["to"]]
#: A driver fetches from an executor, by a connection of its own, what is too large for an answer.
LARGE_RESULTS = ("spark_worker", "streaming_block_manager_port", "streaming")
#: A master that takes over tells workers and drivers so.
TAKEN_OVER = (
    ("spark_worker", "spark_worker_port", "spark_master"),
    ("streaming", "streaming_driver_port", "spark_master"),
)
#: Some ten thousand messages a task: their results are more than 1 MiB.
FLOOD_PER_SECOND = 5000


@dataclass(frozen=True)
class Record:
    """All that was seen between hosts, and who they are."""

    who: dict[str, set[str]]
    seen: list[Seen]

    def of_hosts(self) -> Iterator[Seen]:
        """What hosts asked of others of the pipeline, or of the operator's machine."""
        for seen in self.seen:
            if "hosts" in self.who[seen.source]:
                yield seen


def the_flow(target: str, port: str, source: str, variables: HostVariables) -> Flow:
    """Return the one flow of the table from a group to a port of another."""
    (row,) = (
        it for it in ROWS if target in it["to"] and it["port"] == port and source in it["from"]
    )
    return flow_of(row | {"from": [source], "to": [target]}, variables)


@contextmanager
def master_restarted(target: Target, patience: float) -> Iterator[None]:
    """Restart the master that leads, so that another takes over."""
    leading = wait_for("a master leads", lambda: leading_masters(target), bool, 120 * patience)
    for host in leading:
        run(target, host, "sudo", "systemctl", "restart", "spark-master", timeout=120 * patience)
    yield


@pytest.fixture(scope="module")
def flows(variables: HostVariables) -> list[Flow]:
    """The table, by way of Ansible."""
    assert variables["pipeline_flows"] == ROWS
    return [flow_of(row, variables) for row in ROWS if holds(row, variables)]


def operators_address(address: str) -> str:
    """Return the address by which a host knows this machine."""
    said = subprocess.run(
        ["ip", "-j", "route", "get", address], capture_output=True, check=True, timeout=30
    ).stdout
    return str(json.loads(said)[0]["prefsrc"])


@pytest.fixture(scope="module")
def record(
    target: Target, variables: HostVariables, connection: Connection, topic: str, patience: float
) -> Record:
    """What was seen, after what may not have come up until now."""
    who = {
        host["host_address"]: {"hosts", *groups_of(target, name)}
        for name, host in target.hosts.items()
    }
    who[operators_address(next(iter(who)))] = {"operator", "monitoring"}

    def look() -> Record:
        # Other sets of hosts, and hosts that were there for a while, are not known; nor is the
        # outside.
        seen = [it for it in sorted(read()) if it.source in who and it.target in who]
        return Record(who, [it for it in seen if it.source != it.target])

    try:
        look()
    except NoRecordError as error:
        pytest.fail(str(error), pytrace=False)
    use_all_of_the_operators(target, variables)

    def come_up(
        wanted: tuple[str, str, str], by: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        flow = the_flow(*wanted, variables)

        def seen() -> bool:
            return any(flow.has(who, it) for it in look().seen)

        if not seen():
            with by():
                wait_for(f"{wanted} comes up", seen, bool, 300 * patience, every=3)

    come_up(LARGE_RESULTS, lambda: Feeder(connection, topic, FLOOD_PER_SECOND))
    for wanted in TAKEN_OVER:
        come_up(wanted, lambda: master_restarted(target, patience))
    return look()


def use_all_of_the_operators(target: Target, variables: HostVariables) -> None:
    """Do what an operator does: Kafka's other listener, web UIs, metrics, `make tunnel`."""
    job = host_running(target, "imdb-streaming")
    kafka = target.hosts[target.groups["kafka"][0]]["host_address"]
    with socket.create_connection((kafka, int(variables["kafka_external_port"])), timeout=10):
        pass
    if variables["pipeline_security"]:
        # Web UIs are for ssh alone; metrics are asked for in vain where nobody is named who may.
        assert not variables["pipeline_monitoring_addresses"]
        metrics = (target.hosts[job]["host_address"], int(variables["streaming_metrics_port"]))
        with pytest.raises(TimeoutError):
            socket.create_connection(metrics, timeout=3)
        return
    for host, name in (
        (target.groups["spark_master"][0], "spark_master_webui_port"),
        (target.groups["spark_worker"][0], "spark_worker_webui_port"),
        (job, "streaming_webui_port"),
        (job, "streaming_metrics_port"),
    ):
        connection = http.client.HTTPConnection(
            target.hosts[host]["host_address"], int(variables[name]), timeout=30
        )
        connection.request("GET", "/metrics" if name == "streaming_metrics_port" else "/")
        assert connection.getresponse().status in {200, 302}, name
        connection.close()
    # From a master that is on another host than the job.
    through = next(it for it in target.groups["spark_master"] if it != job)
    page = f"{target.hosts[job]['host_address']}:{variables['streaming_webui_port']}"
    said = subprocess.run(
        [*target.ssh(through)[:-1], "-W", page, through],
        input="GET / HTTP/1.0\r\n\r\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert said.startswith("HTTP/1."), said[:200]


def test_hosts_ask_for_nothing_that_the_table_lacks(record: Record, flows: list[Flow]) -> None:
    # What the operator's machine asks are the tests themselves, among others.
    lacking = [
        f"{'+'.join(sorted(record.who[seen.source]))} asks "
        f"{'+'.join(sorted(record.who[seen.target]))} for {seen.protocol} {seen.port}"
        for seen in record.of_hosts()
        if not any(flow.has(record.who, seen) for flow in flows)
    ]
    assert not lacking, "\n".join(sorted(set(lacking)))
    assert any(record.of_hosts())


@pytest.mark.parametrize(
    ("row", "source"),
    [(row, source) for row in WITHIN for source in row["from"]],
    ids=lambda it: f"{'+'.join(it['to'])} {it['port']}" if isinstance(it, dict) else f"from {it}",
)
def test_a_flow_of_the_table_is_used(
    record: Record, variables: HostVariables, row: dict[str, Any], source: str
) -> None:
    if not holds(row, variables):
        pytest.skip(f"pipeline_security is {variables['pipeline_security']}")
    flow = flow_of(row | {"from": [source]}, variables)
    assert any(flow.has(record.who, seen) for seen in record.seen), (
        f"nothing of {source} has asked {row['to']} for {row['port']}; seen were "
        f"{sorted({(it.protocol, it.port) for it in record.seen if it.port < 32768})}"
    )


def test_hosts_listen_on_ports_of_the_table_alone(target: Target, flows: list[Flow]) -> None:
    unknown: list[str] = []
    for host in target.hosts:
        groups = {"hosts", *groups_of(target, host)}
        unknown += [
            f"{host}: {line}"
            for port, line in listening(target, host)
            if not any(port in flow.ports and flow.targets & groups for flow in flows)
        ]
    assert not unknown, "\n".join(unknown)


def test_any_free_port_is_one_of_the_kernels(target: Target, variables: HostVariables) -> None:
    for host in target.groups["streaming"]:
        said = run(target, host, "cat", "/proc/sys/net/ipv4/ip_local_port_range")
        assert [int(it) for it in said.split()] == variables["pipeline_any_port"]
