"""What of a secured pipeline can be reached, from where, and that nobody is let in by mistake.

All ports of every host are scanned from a host that is in no group, and from every other host; then
clients without credentials, with wrong ones and with another service's try every port that is open
to them (port_cases.py). What they get is the table of docs/security-ports.md, which this writes
with --write-ports.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hosts import Target

from ..releases import home_of
from ..variables import HostVariables
from ..waiting import wait_for
from . import port_table
from .deployment import asked, unit_states
from .flow_table import ROWS, Flow, flow_of, groups_of, holds, listening
from .messages import Connection, read_topic
from .places import Place, program
from .port_attempts import NO_SECRET
from .port_cases import CASES, CLOSED_PORTS, SPARK, SUBMIT, Case, Means
from .port_fixtures import pem_of
from .port_scan import EVERY, Scan, as_text, command, let_in, read_scan, who_is
from .power import as_operator_root

pytestmark = pytest.mark.secured

#: A scan of all hosts from one place, and all attempts from one, on a machine with other work.
SCAN_SECONDS = 900
ATTEMPTS_SECONDS = 900
#: A driver tries a master that refuses it for a minute, once its JVM is up, and then ends.
SUBMIT_SECONDS = 300
#: What the driver says then; why, it does not always come to hear.
UNCONNECTED = "Failed to connect to master"
APPLICATION = """
from pyspark.sql import SparkSession
context = SparkSession.builder.appName("attempt").getOrCreate().sparkContext
print("computed", context.parallelize([1, 2], 2).sum())
"""


@dataclass(frozen=True)
class Door:
    """A port of a host, and the place that it is tried from."""

    name: str
    host: str
    address: str
    port: int
    place: Place


@dataclass(frozen=True)
class Tried:
    """An attempt, and what came of it."""

    case: Case
    door: Door
    outcome: str
    said: str

    def __str__(self) -> str:
        return (
            f"{self.case.label} of {self.door.host} from {self.door.place.name}: a client with "
            f"{self.case.client} that tries to {self.case.tries} gets {self.outcome!r} "
            f"({self.said[:300]})"
        )


@pytest.fixture(scope="module")
def flows(variables: HostVariables) -> dict[int, Flow]:
    """The rows of the table of flows that this deployment has, by their number in it."""
    assert variables["pipeline_security"], "this is for a pipeline that is secured"
    assert variables["pipeline_flows"] == ROWS
    return {
        number: flow_of(row, variables) for number, row in enumerate(ROWS) if holds(row, variables)
    }


@pytest.fixture(scope="module")
def sources(
    target: Target, variables: HostVariables, places: dict[str, Place], away: Place
) -> dict[str, tuple[Place, set[str]]]:
    """Every place, and what the table calls it."""
    others = {
        "operator": variables["pipeline_operator_addresses"],
        "monitoring": variables["pipeline_monitoring_addresses"],
    }
    return {
        place.name: (place, who_is(place.address, groups_of(target, place.name), others))
        for place in (away, *places.values())
    }


def scanned(
    target: Target,
    place: Place,
    hosts: Collection[str],
    kind: str = "S",
    ports: Collection[int] = EVERY,
) -> dict[str, Scan]:
    """Return what a scan of hosts finds from a place, by host."""
    addresses = {target.hosts[host]["host_address"]: host for host in hosts}
    scan = command(program("nmap"), kind, addresses, ports)
    done = place.run(*scan, seconds=SCAN_SECONDS)
    assert done.returncode == 0, done.stderr
    found = read_scan(done.stdout, ports)
    assert found.keys() == addresses.keys()
    return {addresses[address]: scan for address, scan in found.items()}


def test_a_scan_finds_what_the_table_of_flows_says(
    target: Target,
    flows: dict[int, Flow],
    sources: dict[str, tuple[Place, set[str]]],
    say: Callable[[str], None],
) -> None:
    listens = {host: {port for port, _ in listening(target, host)} for host in target.hosts}
    wrong, lines = [], []
    for name, (place, called) in sources.items():
        others = [host for host in target.hosts if host != name]
        every = scanned(target, place, others) if others else {}
        for host in others:
            allowed = let_in(flows.values(), called, {"hosts", *groups_of(target, host)})
            more = (every[host].open | every[host].closed) - allowed
            if more:
                wrong.append(f"{host} lets {name} reach {as_text(more)}")
            scan = scanned(target, place, [host], ports=allowed)[host]
            lines.append(f"| {name} | {host} | {as_text(scan.open)} | {len(scan.closed)} |")
            if scan.silent:
                wrong.append(f"{host} drops what {name} asks of {as_text(scan.silent)}")
            if scan.open != listens[host] & allowed:
                wrong.append(
                    f"{name} finds {as_text(scan.open)} open on {host}, which listens on "
                    f"{as_text(listens[host])}, of which {as_text(listens[host] & allowed)} are "
                    "for it"
                )
    say("\n".join(["| from | host | open | closed |", "|---|---|---|---|", *lines]))
    assert not wrong, "\n".join(wrong)
    assert len(lines) == len(target.hosts) ** 2


def test_no_port_of_udp_answers(target: Target, away: Place) -> None:
    answered = {
        host: as_text(scan.open | scan.closed)
        for host, scan in scanned(target, away, target.hosts, "U").items()
        if scan.open | scan.closed
    }
    assert not answered


def doors_of(
    target: Target, flows: dict[int, Flow], sources: dict[str, tuple[Place, set[str]]], away: Place
) -> Iterator[Door]:
    """Yield every open port that the table names, with a place that it is open to.

    Where that is no other host, it is the host itself.
    """
    listens = {host: {port for port, _ in listening(target, host)} for host in target.hosts}
    known = set()
    for number, flow in flows.items():
        name = ROWS[number]["port"]
        if flow.protocol != "tcp" or "outside" in flow.targets:
            continue
        for host in sorted(target.hosts):
            if not flow.targets & {"hosts", *groups_of(target, host)}:
                continue
            others = [it for it in sources if it != host and flow.sources & sources[it][1]]
            # The stranger, where it may: of all clients it has the least.
            place = sources[away.name if away.name in others else (others or [host])[0]][0]
            ports = set(flow.ports)
            for port in sorted(ports if name in CLOSED_PORTS else ports & listens[host]):
                if (host, port) not in known:
                    known.add((host, port))
                    yield Door(name, host, target.hosts[host]["host_address"], port, place)


def spark_environment(folder: Path) -> dict[str, str]:
    """Return the environment of Spark's programs, which read no settings of this machine's."""
    home = home_of("spark")
    folder.mkdir(exist_ok=True)
    (py4j,) = (home / "python/lib").glob("py4j-*-src.zip")
    return {
        "SPARK_HOME": str(home),
        "SPARK_CONF_DIR": str(folder),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_PIN_THREAD": "false",
        "PYTHONPATH": os.pathsep.join([*sys.path, str(home / "python"), str(py4j)]),
    }


class Submission:
    """An application that a client hands to a master of Spark's."""

    def __init__(self, door: Door, secret: str, environment: dict[str, str], log: Path) -> None:
        """Begin. `secret` is empty for a client that has none."""
        application = log.with_suffix(".py")
        application.write_text(APPLICATION, encoding="utf-8")
        settings = [f"{key}={value}" for key, value in environment.items()]
        given = {"spark.ui.enabled": "false"}
        if secret:
            given |= dict.fromkeys(["spark.authenticate", "spark.network.crypto.enabled"], "true")
            given["spark.authenticate.secret"] = secret
        options = [it for key, value in given.items() for it in ("--conf", f"{key}={value}")]
        self._log = log
        command = door.place.enter(
            *("timeout", str(SUBMIT_SECONDS), "env", f"SPARK_LOCAL_IP={door.place.address}"),
            *(*settings, f"{environment['SPARK_HOME']}/bin/spark-submit", *options),
            *("--master", f"spark://{door.address}:{door.port}", str(application)),
        )
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )

    def answer(self) -> dict[str, str]:
        """Return what comes of it, and end it."""
        try:
            said = wait_for(
                "an application is refused, or computes",
                lambda: self._log.read_text(encoding="utf-8", errors="replace"),
                lambda text: any(it in text for it in (UNCONNECTED, "computed")),
                SUBMIT_SECONDS,
            )
        finally:
            if self._process.poll() is None:
                as_operator_root("kill", "-TERM", str(self._process.pid))
            self._process.wait(60)
        if "computed" in said:
            return {"outcome": "computed", "said": said[-300:]}
        return {"outcome": NO_SECRET, "said": UNCONNECTED}


@pytest.fixture(scope="module")
def effects(
    target: Target,
    variables: HostVariables,
    connection: Connection,
    topic: str,
    places: dict[str, Place],
    means: Means,
) -> Callable[[], dict[str, Any]]:
    """Give all that an attempt could have changed."""

    def look() -> dict[str, Any]:
        found: dict[str, Any] = {}
        masters, workers = (target.groups[f"spark_{it}"] for it in ("master", "worker"))
        for host in masters:
            state = asked(target, host, "spark-master")
            for kind in ("activeapps", "completedapps", "activedrivers", "completeddrivers"):
                found[f"{kind} of {host}"] = sorted(it["id"] for it in state[kind])
            found[f"workers of {host}"] = sorted((it["id"], it["state"]) for it in state["workers"])
        for host in workers:
            state = asked(target, host, "spark-worker")
            for kind in ("executors", "finishedexecutors"):
                found[f"{kind} of {host}"] = sorted((it["appid"], it["id"]) for it in state[kind])
        asker = target.groups["kafka"][0]
        given = {
            "servers": variables["kafka_zookeeper_connect"],
            "certificate": str(means.certificates["kafka"]),
            "ca": means.ca,
        }
        nodes = places[asker].module("tests.pipeline.port_effects", given, 120)
        found |= {f"znode {path}": content for path, content in nodes.items()}
        messages = read_topic(connection, topic, 300)
        found["messages"] = sum(b"attempt" in (it.key, it.value) for it in messages)
        found |= {f"unit {name}": state for name, state in unit_states(target).items()}
        return found

    return look


@dataclass(frozen=True)
class Trial:
    """All attempts, and what there was before and after."""

    tried: list[Tried]
    before: dict[str, Any]
    after: dict[str, Any]


#: What is made at a door, and what the module that makes it is given.
Attempt = tuple[Case, Door, dict[str, Any]]


@pytest.fixture(scope="module")
def trial(
    target: Target,
    flows: dict[int, Flow],
    sources: dict[str, tuple[Place, set[str]]],
    away: Place,
    means: Means,
    store: Path,
    effects: Callable[[], dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Trial:
    """Make every attempt at every door."""
    folder = tmp_path_factory.mktemp("attempts")
    environment = spark_environment(folder / "conf")
    before = effects()
    attempts: dict[tuple[Place, str], list[Attempt]] = defaultdict(list)
    for door in doors_of(target, flows, sources, away):
        has = replace(means, peer=peers(target, store, door.place, folder))
        for case in CASES:
            if case.port != door.name or (case.several and len(target.hosts) == 1):
                continue
            request = case.request(has)
            kind = request.pop("kind") if request["kind"] in (SPARK, SUBMIT) else "other"
            attempts[door.place, kind].append((case, door, request))
    submitted = [
        (case, door, Submission(door, request["secret"], environment, folder / f"{number}.log"))
        for number, (case, door, request) in enumerate(
            it for (_, kind), made in attempts.items() if kind == SUBMIT for it in made
        )
    ]
    tried: list[Tried] = []
    for (place, kind), made in attempts.items():
        if kind == SUBMIT:
            continue
        requests = [
            request | {"address": door.address, "port": door.port} for _, door, request in made
        ]
        if kind == SPARK:
            given = {"own_address": place.address, "attempts": requests}
            module = "tests.pipeline.spark_attempts"
            answers = place.module(module, given, ATTEMPTS_SECONDS, **environment)
        else:
            answers = place.module("tests.pipeline.port_attempts", requests, ATTEMPTS_SECONDS)
        tried += [
            Tried(case, door, **answer)
            for (case, door, _), answer in zip(made, answers, strict=True)
        ]
    tried += [Tried(case, door, **it.answer()) for case, door, it in submitted]
    return Trial(tried, before, effects())


def peers(target: Target, store: Path, place: Place, folder: Path) -> dict[str, Path]:
    """Return the certificates of the host that a place is, by service; a stranger has none."""
    return {
        service: pem_of(store, place.name, service, folder)
        for service in ("kafka", "zookeeper")
        if place.name in target.groups[service]
    }


def test_every_open_port_is_tried(
    trial: Trial,
    target: Target,
    flows: dict[int, Flow],
    sources: dict[str, tuple[Place, set[str]]],
    away: Place,
) -> None:
    tried = {(it.door.host, it.door.port) for it in trial.tried}
    left = [
        f"{door.host} {door.port} ({door.name})"
        for door in doors_of(target, flows, sources, away)
        if (door.host, door.port) not in tried
    ]
    assert not left, "\n".join(left)


def test_who_has_no_right_credentials_gets_an_error(trial: Trial) -> None:
    wrong = [str(it) for it in trial.tried if it.outcome != it.case.gets]
    assert not wrong, "\n".join(wrong)


def test_attempts_leave_no_effect(trial: Trial) -> None:
    changed = {
        name: (trial.before.get(name), trial.after.get(name))
        for name in trial.before.keys() | trial.after.keys()
        if trial.before.get(name) != trial.after.get(name)
    }
    assert not changed
    assert trial.after["messages"] == 0


def test_the_table_in_the_docs_is_what_was_seen(trial: Trial, pytestconfig: pytest.Config) -> None:
    order = [port_table.Row(it.label, it.client, it.tries, "").key for it in CASES]
    seen = {
        port_table.Row(it.case.label, it.case.client, it.case.tries, it.case.words(it.outcome))
        for it in trial.tried
    }
    page = port_table.PAGE.read_text(encoding="utf-8")
    current = port_table.with_rows(page, port_table.merged(port_table.read_rows(page), seen, order))
    if pytestconfig.getoption("--write-ports"):
        port_table.PAGE.write_text(current, encoding="utf-8")
        page = current
    assert page == current, "write it by --write-ports, and look at what has changed"
