"""Metrics: the status as Prometheus reads it, over a real port."""

import copy
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from imdb_streaming import __version__
from imdb_streaming.config import ConfigError
from imdb_streaming.metrics import MetricsServer

from ..direct import DIRECT

STATUS: dict[str, Any] = {
    "run_id": "main",
    "silver_rows": 700,
    "dead_letters": 7,
    "duplicates": 35,
    "stale": 3,
    "lost_messages": 2,
    "started_at": "2026-01-01T00:00:00+00:00",
    "updated_at": "2026-01-01T00:10:05+00:00",
    "query": {
        "batch_id": 12,
        "at": "2026-01-01T00:10:00+00:00",
        "rows_in": 105,
        "rows_written": 100,
        "dead_letters": 1,
        "duplicates": 4,
        "stale": 2,
        "input_rate": 10.5,
        "processed_rate": 52.5,
        "lag": 20,
        "lag_seconds": 1.5,
        "duration_ms": 2000,
        "batch_running_seconds": 4.5,
    },
    "index": {"movies": 650, "bytes": 65536},
}
MIDNIGHT = 1767225600.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int) -> Iterator[MetricsServer]:
    server = MetricsServer("127.0.0.1", port)
    yield server
    server.close()


def scrape(port: int) -> dict[str, float]:
    """What a scrape finds, by name; the labels of the run's facts with it."""
    with DIRECT.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        sample.name + (json.dumps(sample.labels, sort_keys=True) if sample.labels else ""): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def batch(batch_id: int, rows_in: int, rows_written: int) -> dict[str, Any]:
    status = copy.deepcopy(STATUS)
    status["query"] |= {"batch_id": batch_id, "rows_in": rows_in, "rows_written": rows_written}
    return status


def test_every_number_of_the_status_is_told(server: MetricsServer, port: int) -> None:
    server.publish(STATUS)

    facts = json.dumps({"run_id": "main", "version": __version__})
    assert scrape(port) == {
        f"imdb_streaming_info{facts}": 1,
        "imdb_streaming_start_time_seconds": MIDNIGHT,
        "imdb_streaming_status_timestamp_seconds": MIDNIGHT + 605,
        "imdb_streaming_last_success_timestamp_seconds": MIDNIGHT + 600,
        "imdb_streaming_silver_rows": 700,
        "imdb_streaming_batch_id": 12,
        "imdb_streaming_batch_duration_seconds": 2,
        "imdb_streaming_batch_input_rows": 105,
        "imdb_streaming_batch_written_rows": 100,
        "imdb_streaming_batch_dead_letters": 1,
        "imdb_streaming_batch_duplicates": 4,
        "imdb_streaming_batch_stale": 2,
        "imdb_streaming_input_rows_per_second": 10.5,
        "imdb_streaming_processed_rows_per_second": 52.5,
        "imdb_streaming_lag_messages": 20,
        "imdb_streaming_lag_seconds": 1.5,
        "imdb_streaming_batch_running_seconds": 4.5,
        "imdb_streaming_dead_letters_total": 7,
        "imdb_streaming_duplicates_total": 35,
        "imdb_streaming_stale_total": 3,
        "imdb_streaming_lost_messages_total": 2,
        "imdb_streaming_index_movies": 650,
        "imdb_streaming_index_bytes": 65536,
        "imdb_streaming_input_rows_total": 105,
        "imdb_streaming_written_rows_total": 100,
    }


def test_rows_of_each_batch_add_up_once(server: MetricsServer, port: int) -> None:
    # A new process says first what the checkpoint knows of the last batch, which is not its work.
    for status in (batch(3, 0, 0), batch(4, 100, 90), batch(4, 100, 90), batch(5, 10, 0)):
        server.publish(status)

    numbers = scrape(port)
    assert numbers["imdb_streaming_input_rows_total"] == 110
    assert numbers["imdb_streaming_written_rows_total"] == 90


def test_what_is_not_known_yet_is_left_out(server: MetricsServer, port: int) -> None:
    first = batch(0, 0, 0)
    first["query"] |= {"batch_id": None, "at": None, "lag": None, "lag_seconds": None}
    server.publish(first)

    numbers = scrape(port)
    assert numbers["imdb_streaming_written_rows_total"] == 0
    assert "imdb_streaming_batch_id" not in numbers
    assert "imdb_streaming_last_success_timestamp_seconds" not in numbers
    assert "imdb_streaming_lag_messages" not in numbers
    assert "imdb_streaming_lag_seconds" not in numbers


def test_before_the_first_status_there_are_none(server: MetricsServer, port: int) -> None:
    assert scrape(port) == {}


def test_a_taken_port_is_an_error_that_says_what_to_do(server: MetricsServer, port: int) -> None:
    with pytest.raises(ConfigError, match=rf"METRICS_PORT={port} .*in use.*another port"):
        MetricsServer("127.0.0.1", port)


def test_an_address_of_another_host_is_an_error(port: int) -> None:
    with pytest.raises(ConfigError, match=r"METRICS_ADDRESS='192\.0\.2\.1'.*address of"):
        MetricsServer("192.0.2.1", port)


def test_port_0_opens_nothing() -> None:
    server = MetricsServer("192.0.2.1", 0)
    server.publish(STATUS)
    server.close()
    assert list(server.collect())


def test_a_closed_port_can_be_opened_at_once(port: int) -> None:
    MetricsServer("127.0.0.1", port).close()
    server = MetricsServer("127.0.0.1", port)
    server.publish(STATUS)
    assert scrape(port)["imdb_streaming_silver_rows"] == 700
    server.close()
