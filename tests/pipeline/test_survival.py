"""A cluster under load: each host lost, cut off, full or with a wrong clock; no row is lost.

500 new movies a second are sent through all of it, while readers loop over silver and genre_counts
(see survival.py). After each fault all that was acknowledged must be in silver, once, and no read
may have failed. A table at the end says how long each fault held the movies up; docs/cluster.md
has one.

TEST_SEED draws the order of hosts and which of them is chosen; it is printed and can be given. The
movies stay in the tables: not for hosts whose tables are wanted.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import pytest
from hosts import HostsError, Target, load, run

from ..variables import HostVariables
from ..waiting import wait_for
from .cluster import unsettled
from .deployment import run_playbook
from .expected import Expected, expected_genre_counts
from .messages import Connection, stream_topic
from .network_cut import WAYS, network_cut
from .power import apply, cut_power, hosts_of, state_folder
from .survival import Traffic
from .survival_fixtures import SEED, Record
from .tables import Tables
from .wrong_host import (
    fill,
    free,
    install_clock,
    remove_clock,
    right_clock,
    set_clock,
    small_disk,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

#: Seconds that nothing is done, for comparison.
CALM_SECONDS = 60
#: A host stays without power, and a disk full, until others have noticed, and longer if rows do not
#: flow then.
LEAST_AWAY_SECONDS, AWAY_SECONDS = 30, 90
CUT_SECONDS = 30
#: How long the wrong clock goes on.
CLOCK_SECONDS = 60


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Draw the order of the hosts from the seed."""
    draw = random.Random(SEED)
    try:
        target = load(os.environ["ENVIRONMENT"])
    except HostsError:
        hosts, cores = ["none"], ["none"]  # the fixture `target` says why
    else:
        hosts, cores = list(target.hosts), list(target.groups["kafka"])
    draw.shuffle(hosts)
    cuts = [(host, way) for host in cores for way in WAYS]
    draw.shuffle(cuts)
    if "lost" in metafunc.fixturenames:
        metafunc.parametrize("lost", hosts)
    if "way" in metafunc.fixturenames:
        metafunc.parametrize(("cut_off", "way"), cuts)
    if "chosen" in metafunc.fixturenames:
        metafunc.parametrize("chosen", [draw.choice(cores)])


def test_calm_traffic_is_measured_for_comparison(
    settled: None, traffic: Traffic, record: Record, patience: float
) -> None:
    with traffic.through("nothing", patience, record):
        time.sleep(CALM_SECONDS)


def test_power_of_a_host_is_cut(
    settled: None,
    target: Target,
    tables: Tables,
    traffic: Traffic,
    record: Record,
    patience: float,
    lost: str,
) -> None:
    with traffic.through(f"power of {lost} cut", patience, record) as fault:
        cut_power(state_folder(target, tables, lost), 30 * patience)
        try:
            flows_or_not(traffic, fault.began)
        finally:
            fault.ends()
            apply(target, hosts_of(target))


def flows_or_not(traffic: Traffic, since: float) -> None:
    """Wait until movies flow again; not for ever, as some faults hold them up until mended."""
    time.sleep(max(0.0, since + LEAST_AWAY_SECONDS - time.monotonic()))
    while not traffic.flows_again(since) and time.monotonic() < since + AWAY_SECONDS:
        time.sleep(1)


def test_network_of_a_host_is_cut(
    settled: None,
    target: Target,
    traffic: Traffic,
    record: Record,
    patience: float,
    cut_off: str,
    way: str,
) -> None:
    with traffic.through(f"network of {cut_off} cut, {way}", patience, record) as fault:
        with network_cut(target, cut_off, way, CUT_SECONDS):
            pass
        fault.ends()


def test_everything_is_restarted_rolling(
    settled: None, traffic: Traffic, record: Record, patience: float
) -> None:
    with traffic.through("everything restarted, rolling", patience, record) as fault:
        roll = run_playbook(playbook="roll.yml", seconds=1200 * patience)
        assert roll.exit_code == 0, roll.end
        fault.ends()


def test_disk_of_a_broker_is_full(
    settled: None,
    target: Target,
    variables: HostVariables,
    active: set[tuple[str, str]],
    traffic: Traffic,
    record: Record,
    patience: float,
    chosen: str,
) -> None:
    data = str(variables["kafka_data_dir"])
    with small_disk(target, chosen, data, patience):
        wait_for(
            "the broker is in sync on its small disk",
            lambda: unsettled(target, active),
            lambda wrong: not wrong,
            300 * patience,
        )
        with traffic.through(f"disk of the broker on {chosen} full", patience, record) as fault:
            fill(target, chosen, data)
            fault.begins()
            try:
                flows_or_not(traffic, fault.began)
                state = run(target, chosen, "systemctl show -P NRestarts kafka").strip()
                assert int(state) > 0, "the broker did not notice that its disk is full"
            finally:
                fault.ends()
                free(target, chosen, data)


@pytest.mark.parametrize("unit", ["kafka", "zookeeper"])
def test_clock_of_a_service_is_wrong(
    settled: None,
    target: Target,
    traffic: Traffic,
    record: Record,
    patience: float,
    chosen: str,
    unit: str,
) -> None:
    install_clock(target, chosen)
    try:
        with traffic.through(f"{unit} on {chosen}: clock 5 min ahead", patience, record) as fault:
            try:
                set_clock(target, chosen, unit, patience)
                time.sleep(CLOCK_SECONDS)
            finally:
                fault.ends()
                right_clock(target, chosen, unit, patience)
    finally:
        remove_clock(target, chosen)


def test_in_the_end_every_row_is_there_once(
    settled: None,
    traffic: Traffic,
    tables: Tables,
    expected: Expected,
    connection: Connection,
    topic: str,
    patience: float,
) -> None:
    traffic.feeder.close()
    sent = traffic.feeder.sent()
    tables.hold_each_once(sent, 300 * patience)
    # Once more each, on what is final.
    time.sleep(15)
    reads = traffic.readers.ask()
    assert all(reads.values()), reads

    topic_has = Counter(it.event_id for it in stream_topic(connection, topic, 900 * patience))
    lost = [event_id for event_id in sent if event_id not in topic_has]
    assert not lost, f"TEST_SEED={SEED}: {len(lost)} acknowledged messages are not in the topic"
    if not traffic.feeder.failed():
        twice = [event_id for event_id in sent if topic_has[event_id] > 1]
        assert not twice, f"TEST_SEED={SEED}: {len(twice)} messages are in the topic twice"

    silver = tables.read_silver()
    of_dumps = silver[silver["tconst"].isin(expected.silver["tconst"])]
    assert len(of_dumps) == len(expected.silver), "movies of the dumps are lost or doubled"
    counts = expected_genre_counts(silver.drop_duplicates("tconst", keep="last"))
    wait_for(
        "genre_counts counts every movie of silver",
        tables.read_genre_counts,
        lambda actual: bool(actual.astype(object).equals(counts.astype(object))),
        120 * patience,
    )
