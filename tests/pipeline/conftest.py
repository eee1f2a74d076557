"""What the tests of a running pipeline share; a failing one shows what the units say."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import vault
from hosts import ROOT, HostsError, Target, host_running, load, run

from ..variables import HostVariables, Variables
from ..waiting import wait_for
from .deployment import status_of, terraform, unit_states
from .expected import Expected, expected_tables
from .messages import Connection, Feeder, connection_of, read_topic

# Fixtures are found here by their names.
from .port_fixtures import away, bridge, held_secrets, means, places, store  # noqa: F401
from .survival_fixtures import active, outcomes, record, settled, traffic  # noqa: F401
from .tables import Tables, tables_of

JOURNAL_LINES = 15
FED_PER_SECOND = 100


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Write to the terminal, past what keeps the output of tests that pass."""
    manager = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert manager is not None

    def write(text: str) -> None:
        with manager.global_and_fixture_disabled():
            print(f"\n{text}", flush=True)

    return write


@pytest.fixture(scope="session")
def target() -> Target:
    """The running pipeline's hosts; without ZooKeeper none has a part in that."""
    try:
        found = load(os.environ["ENVIRONMENT"])
    except HostsError as error:
        pytest.fail(str(error), pytrace=False)
    inventories = os.environ["ANSIBLE_INVENTORY"].split(",")
    if Variables(inventories).of(next(iter(found.hosts)))["pipeline_zookeeper"]:
        return found
    return dataclasses.replace(found, groups=found.groups | {"zookeeper": []})


@pytest.fixture(scope="session")
def bare(target: Target) -> Generator[Target]:
    """A host of its own, as terraform makes it, of the same image; there are secrets for it."""
    name = f"{target.name[:15]}-bare"
    folder = ROOT / "inventories" / name
    terraform("apply", name)
    try:
        vault.ensure(folder)
        with pytest.MonkeyPatch.context() as patch:
            if vault.password_file(folder).exists():
                patch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(vault.password_file(folder)))
            yield load(name)
    finally:
        terraform("destroy", name)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def variables(target: Target) -> HostVariables:
    """The variables of the host of the streaming job; the pipeline's are the same on all."""
    inventories = os.environ["ANSIBLE_INVENTORY"].split(",")
    return Variables(inventories).of(target.host_of("imdb-streaming"))


@pytest.fixture(scope="session")
def patience(variables: HostVariables) -> float:
    """By how much every wait is longer: emulated hosts are slow."""
    return 6 if variables["host_emulated"] else 1


@pytest.fixture(scope="session")
def connection(target: Target, variables: HostVariables) -> Connection:
    """How tools on this machine connect to the brokers."""
    return connection_of(target, variables)


@pytest.fixture(scope="session")
def topic(variables: HostVariables) -> str:
    """The topic's name."""
    return str(variables["kafka_topic_name"])


@pytest.fixture(scope="session")
def tables(target: Target, variables: HostVariables) -> Tables:
    """The tables on this machine."""
    return tables_of(target, variables)


@pytest.fixture(scope="session")
def expected(
    target: Target, variables: HostVariables, tmp_path_factory: pytest.TempPathFactory
) -> Expected:
    """What the tables must hold, computed from the very files that the producer reads."""
    folder = tmp_path_factory.mktemp("dumps")
    host = host_running(target, "imdb-producer")
    settings = run(target, host, "sudo", "cat", "/etc/imdb-producer/producer.env")
    paths = {}
    for name, download in (("BASICS_URL", "title.basics"), ("RATINGS_URL", "title.ratings")):
        line = next(line for line in settings.splitlines() if line.startswith(f"{name}="))
        url = urlsplit(line.removeprefix(f"{name}=").strip('"'))
        # What is not a file on the host is one by now: the producer keeps its downloads.
        source = (
            url.path if url.scheme == "file" else f"{variables['producer_data_dir']}/{download}"
        )
        paths[name] = folder / Path(source).name
        with paths[name].open("wb") as file:
            subprocess.run(
                target.ssh(host, "sudo", "cat", source), stdout=file, timeout=300, check=True
            )
    limit = str(variables["producer_limit"])
    return expected_tables(
        paths["BASICS_URL"],
        paths["RATINGS_URL"],
        c=float(variables["streaming_global_mean_rating"]),
        m=float(variables["streaming_min_votes_prior"]),
        limit=int(limit) if limit else None,
    )


@pytest.fixture(scope="session")
def finished(
    target: Target, variables: HostVariables, expected: Expected, patience: float
) -> dict[str, Any]:
    """The producer's last word, once it has sent everything."""
    rate = float(variables["producer_msgs_per_sec"]) or 500
    return wait_for(
        "the producer has sent everything",
        lambda: status_of(target, "imdb-producer"),
        lambda status: bool(status["state"] == "finished"),
        (120 + 1.2 * len(expected.silver) / rate) * patience,
    )


@pytest.fixture
def steady_feeder(connection: Connection, topic: str, patience: float) -> Generator[Feeder]:
    """New movies at a steady rate, for tests of several hosts."""
    with Feeder(connection, topic, FED_PER_SECOND) as feeder:
        feeder.flows(120 * patience)
        yield feeder


@pytest.fixture
def nothing_is_lost(
    steady_feeder: Feeder, connection: Connection, topic: str, tables: Tables, patience: float
) -> Callable[[], None]:
    """To be called at the end: what was acknowledged is in the topic and in silver, each once."""

    def check() -> None:
        steady_feeder.close()
        sent = steady_feeder.sent()
        in_topic = [message.event_id for message in read_topic(connection, topic, 120 * patience)]
        fed = [event_id for event_id in in_topic if event_id in sent]
        assert len(fed) == len(set(fed)), "a message is in the topic twice"
        assert set(fed) == sent, f"{len(sent - set(fed))} acknowledged messages are lost"
        assert steady_feeder.failed() == []
        tables.hold_each_once(sent, 300 * patience)

    return check


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the units say to the report of a failed test of a running pipeline."""
    report = yield
    found = getattr(item, "funcargs", {}).get("target")
    if report.failed and isinstance(found, Target):
        report.sections += said_by_units(found)
    return report


def said_by_units(target: Target) -> list[tuple[str, str]]:
    """Return every unit's state, and the end of the journal of each."""
    sections = []
    try:
        for unit, state in unit_states(target).items():
            journal = run(
                target,
                host_running(target, unit),
                *("sudo", "journalctl", "--no-pager", f"--lines={JOURNAL_LINES}", f"--unit={unit}"),
            )
            sections.append((f"{unit}: {state.active} ({state.sub})", journal))
    except HostsError as error:
        sections.append(("units", str(error)))
    return sections
