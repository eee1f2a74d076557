"""What the flow shows of each part, by what Prometheus says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imdb_dashboard import pipeline
from imdb_dashboard.pipeline import BAD, OK, UNKNOWN, WARNING, Part, PipelineState
from imdb_dashboard.prometheus import Alert, Prometheus, Sample

CALM = (
    "up job=kafka instance=a 1",
    "up job=kafka instance=b 1",
    "up job=kafka instance=c 1",
    "up job=imdb-streaming instance=a 1",
    "up job=imdb-streaming instance=b 0",
    "up job=spark-worker instance=a 1",
    "kafka_controller_offline_partitions instance=a 0",
    "kafka_partitions_under_replicated instance=a 0",
    "imdb_streaming_lag_messages instance=a 1200",
    "imdb_streaming_lag_seconds instance=a 3",
    "imdb_streaming_batch_running_seconds instance=a 0",
    "imdb_producer_state state=sending 1",
    "imdb_producer_state state=failed 0",
    "imdb_producer_position instance=a 500",
    "imdb_producer_records instance=a 2000",
    "imdb_producer_data_set_age_seconds instance=a 7200",
    "metrics_master_aliveWorkers_Value instance=a 1",
    "metrics_executor_totalCores executor_id=driver 0",
    "metrics_executor_totalCores executor_id=0 2",
)


class Said(Prometheus):
    """A Prometheus with these numbers and alerts, of which no query of a rate has an answer."""

    def __init__(self, lines: tuple[str, ...], alerts: tuple[Alert, ...]) -> None:
        super().__init__("http://127.0.0.1/")
        self._lines = lines
        self._alerts = alerts

    def query(self, query: str) -> list[Sample]:
        if "__name__" not in query:
            return []
        split = [line.split() for line in self._lines]
        return [
            Sample(name, dict(it.split("=") for it in labels), float(value))
            for name, *labels, value in split
        ]

    def query_range(self, *asked: Any) -> list[tuple[float, float]]:
        return []

    def alerts(self) -> list[Alert]:
        return list(self._alerts)


def alert(name: str, severity: str = "critical", state: str = "firing") -> Alert:
    return Alert(name, severity, state, "2026-11-30T20:00:00Z", f"{name} summary", "a")


def asked(*lines: str, without: str = "", alerts: tuple[Alert, ...] = ()) -> PipelineState:
    """Return the state of a calm pipeline where these lines say otherwise."""
    keys = {line.rpartition(" ")[0] for line in lines}
    kept = (it for it in CALM if it.rpartition(" ")[0] not in keys)
    told = tuple(it for it in (*kept, *lines) if not without or without not in it)
    return pipeline.ask(Said(told, alerts), "imdb-movies")


def part(state: PipelineState, key: str) -> Part:
    (found,) = [it for it in state.parts if it.key == key]
    return found


def test_all_is_calm() -> None:
    state = asked(alerts=(alert("Watchdog", "info"),))
    assert [it.key for it in state.parts] == ["dump", "producer", "topic", "job"]
    assert {it.colour for it in state.parts} == {OK}
    assert (state.alerts, state.is_watched) == ((), True)
    assert dict(part(state, "job").facts) == {"lag": "1,200", "waits": "3.0 s"}
    assert dict(part(state, "producer").facts) == {"sent": "500", "of": "2,000"}
    assert dict(part(state, "dump").facts) == {"age": "2 h", "records": "2,000"}
    groups = {it.title: (it.up, it.wanted, it.note) for it in state.groups}
    assert groups["Kafka brokers"] == (3, 3, "all replicas in sync")
    assert groups["Executors"] == (1, 0, "2 cores")


@pytest.mark.parametrize(
    ("line", "key", "colour", "state"),
    [
        ("up job=kafka instance=b 0", "topic", WARNING, "broker down"),
        ("kafka_controller_offline_partitions instance=a 2", "topic", BAD, "partitions offline"),
        ("kafka_partitions_under_replicated instance=a 3", "topic", WARNING, "replicas lag"),
        ("up job=imdb-streaming instance=a 0", "job", BAD, "down"),
        ("imdb_producer_state state=failed 1", "producer", BAD, "failed"),
        ("imdb_streaming_batch_running_seconds instance=a 4", "job", OK, "batch under way"),
    ],
)
def test_a_fault_is_seen_on_its_part_and_on_no_other(
    line: str, key: str, colour: str, state: str
) -> None:
    found = asked(line)
    assert (part(found, key).colour, part(found, key).state) == (colour, state)
    assert {it.colour for it in found.parts if it.key != key} == {OK}


@pytest.mark.parametrize(
    ("without", "key"), [("kafka", "topic"), ("imdb_producer", "producer"), ("streaming", "job")]
)
def test_a_part_of_which_nothing_is_told_is_not_said_to_be_in_order(without: str, key: str) -> None:
    assert part(asked(without=without), key).colour == UNKNOWN


@pytest.mark.parametrize(
    ("name", "severity", "state", "key", "colour"),
    [
        ("KafkaBrokerDown", "critical", "firing", "topic", BAD),
        ("KafkaBrokerDown", "critical", "pending", "topic", WARNING),
        ("ZookeeperSlow", "warning", "firing", "topic", WARNING),
        ("SparkWorkersMissing", "warning", "firing", "job", WARNING),
        ("ImdbProducerFailed", "critical", "firing", "producer", BAD),
        ("ImdbStreamingNoNewRows", "info", "firing", "job", OK),
    ],
)
def test_an_alert_colours_its_part(
    name: str, severity: str, state: str, key: str, colour: str
) -> None:
    found = asked(alerts=(alert(name, severity, state),))
    assert part(found, key).colour == colour
    assert [it.name for it in found.alerts] == [name]
    assert not found.is_watched


@pytest.mark.parametrize(
    ("say", "value", "text"),
    [
        (pipeline.duration, 0.44, "0.4 s"),
        (pipeline.duration, 61, "61 s"),
        (pipeline.duration, 600, "10 min"),
        (pipeline.duration, 200_000, "2 d"),
        (pipeline.rate, 9.97, "10.0/s"),
        (pipeline.rate, 1234.5, "1,234/s"),
        (pipeline.whole, 1_000_000, "1,000,000"),
    ],
)
def test_numbers_are_said_for_people(say: Callable[[float], str], value: float, text: str) -> None:
    assert say(value) == text
