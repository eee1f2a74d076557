"""Numbers for Prometheus: the job's status, as it was last published, on a port."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)

from imdb_streaming import __version__
from imdb_streaming.config import ConfigError

#: Gauges of the last batch: metric, key of the status' `query`, divisor, what it is.
_BATCH = (
    ("batch_id", "batch_id", 1, "Number of the last finished batch"),
    ("batch_duration_seconds", "duration_ms", 1000, "Time that the last batch took"),
    ("batch_input_rows", "rows_in", 1, "Messages that the last batch read"),
    ("batch_written_rows", "rows_written", 1, "Rows that the last batch added to silver_movies"),
    ("batch_dead_letters", "dead_letters", 1, "Messages of the last batch that broke the contract"),
    ("batch_duplicates", "duplicates", 1, "Messages of the last batch that were seen before"),
    ("batch_stale", "stale", 1, "Messages of the last batch older than what their movie had"),
    ("input_rows_per_second", "input_rate", 1, "Messages that come in, each second"),
    ("processed_rows_per_second", "processed_rate", 1, "Messages each second of the last batch"),
    ("lag_messages", "lag", 1, "Messages in the topic that are not read yet"),
    ("lag_seconds", "lag_seconds", 1, "How long messages have waited to be read, 0 for none"),
    ("batch_running_seconds", "batch_running_seconds", 1, "Time of the batch under way, 0 of none"),
)

#: Counters that go on over restarts: metric, key of the status, what it is.
_OF_THE_RUN = (
    ("dead_letters", "dead_letters", "Messages that broke the contract, since the run began"),
    ("duplicates", "duplicates", "Messages that were sent again, since the run began"),
    ("stale", "stale", "Messages older than what their movie had, since the run began"),
    ("lost_messages", "lost_messages", "Messages that were gone before they were read"),
)

#: What the job keeps in memory: metric, key of the status' `index`, what it is.
_INDEX = (
    ("index_movies", "movies", "Movies whose last version is remembered"),
    ("index_bytes", "bytes", "Memory of the movies that are remembered"),
)


@dataclass(eq=False)
class StatusCollector:
    """The latest status as metrics, made when they are asked for.

    A status is the content of STATUS_FILE. What is null or missing in it is left out.
    """

    _status: Mapping[str, Any] = field(default_factory=dict, init=False)
    _input_rows: int = field(default=0, init=False)
    _written_rows: int = field(default=0, init=False)

    def publish(self, status: Mapping[str, Any]) -> None:
        """Take a status, of which nothing may be changed afterwards; once for each batch at least.

        What a batch read and wrote is added to counters, which begin with the process.
        """
        query, before = status["query"], self._status.get("query", {})
        if query["batch_id"] != before.get("batch_id"):
            self._input_rows += query["rows_in"]
            self._written_rows += query["rows_written"]
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Give the metrics; none before the first status."""
        status = self._status
        if not status:
            return
        query, index = status["query"], status["index"]
        yield InfoMetricFamily(
            "imdb_streaming",
            "The run and the program's version",
            value={"run_id": str(status["run_id"]), "version": __version__},
        )
        yield from _moment("start_time_seconds", "Start of the program", status["started_at"])
        yield from _moment("status_timestamp_seconds", "Last word of it", status["updated_at"])
        yield from _moment(
            "last_success_timestamp_seconds", "End of the last finished batch", query["at"]
        )
        yield from _gauge("silver_rows", "Rows of the table silver_movies", status["silver_rows"])
        for name, key, divisor, text in _BATCH:
            yield from _gauge(name, text, query.get(key), divisor)
        for name, key, text in _OF_THE_RUN:
            if status.get(key) is not None:
                yield _counter(name, text, status[key])
        for name, key, text in _INDEX:
            yield from _gauge(name, text, index.get(key))
        yield _counter("input_rows", "Messages read by this process", self._input_rows)
        yield _counter("written_rows", "Rows written by this process", self._written_rows)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"imdb_streaming_{name}", text, value=value)


def _gauge(name: str, text: str, value: float | None, divisor: float = 1) -> Iterable[Metric]:
    if value is not None:
        yield GaugeMetricFamily(f"imdb_streaming_{name}", text, value=value / divisor)


def _moment(name: str, text: str, iso: str | None) -> Iterable[Metric]:
    """A time in seconds since 1970; none while it is not known."""
    if iso:
        yield from _gauge(name, f"{text}, in seconds since 1970", _seconds(iso))


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


class MetricsServer:
    """Serves what was published last under http://ADDRESS:PORT/metrics, in a thread of its own."""

    def __init__(self, address: str, port: int) -> None:
        """Open the port; nothing is opened for port 0.

        Raises ConfigError if the port is taken, or the address is not this host's.
        """
        self.collector = StatusCollector()
        self._server: Any = None
        if port == 0:
            return
        registry = CollectorRegistry()
        registry.register(self.collector)
        try:
            self._server, self._thread = start_http_server(port, address, registry)
        except OSError as error:
            raise ConfigError(
                f"METRICS_PORT={port} cannot be opened on METRICS_ADDRESS={address!r}: "
                f"{error.strerror or error}. Free it (ss -tlnp 'sport = {port}' shows who has it), "
                "give another port or an address of this host, or 0 for no metrics."
            ) from error

    def publish(self, status: Mapping[str, Any]) -> None:
        """Take the content of STATUS_FILE; nothing of it may be changed afterwards."""
        self.collector.publish(status)

    def close(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None
