"""Numbers for Prometheus: the job's status, as it was last published, on a port."""

from collections.abc import Iterable, Mapping
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

#: Gauges, by the section of the status: metric, its key there, what it is.
_GAUGES = {
    "": (
        ("start_time_seconds", "started_at", "Start of the program, in seconds since 1970"),
        ("status_timestamp_seconds", "updated_at", "Last word of it, in seconds since 1970"),
        ("silver_rows", "silver_rows", "Rows of the table silver_movies"),
    ),
    "query": (
        ("last_success_timestamp_seconds", "at", "End of the last batch, in seconds since 1970"),
        ("batch_id", "batch_id", "Number of the last finished batch"),
        ("batch_duration_seconds", "duration_ms", "Time that the last batch took"),
        ("batch_input_rows", "rows_in", "Messages that the last batch read"),
        ("batch_written_rows", "rows_written", "Rows that the last batch added to silver_movies"),
        (
            "batch_dead_letters",
            "dead_letters",
            "Malformed messages of the last batch",
        ),
        ("batch_duplicates", "duplicates", "Messages of the last batch that were seen before"),
        ("batch_stale", "stale", "Messages of the last batch older than what their movie had"),
        ("input_rows_per_second", "input_rate", "Messages that come in, each second"),
        ("processed_rows_per_second", "processed_rate", "Messages each second of the last batch"),
        ("lag_messages", "lag", "Messages in the topic that are not read yet"),
        ("lag_seconds", "lag_seconds", "How long messages have waited to be read, 0 for none"),
        ("batch_running_seconds", "batch_running_seconds", "Time of the batch in flight, or 0"),
    ),
    "index": (
        ("index_movies", "movies", "Movies whose last version is remembered"),
        ("index_bytes", "bytes", "Memory of the movies that are remembered"),
    ),
}

#: Counters that go on over restarts, by their names in the status.
_COUNTERS = {
    "dead_letters": "Messages that broke the contract, since the run began",
    "duplicates": "Messages that were sent again, since the run began",
    "stale": "Messages older than what their movie had, since the run began",
    "lost_messages": "Messages that were gone before they were read",
}


class MetricsServer:
    """Serves what was published last under http://ADDRESS:PORT/metrics, in a thread of its own."""

    def __init__(self, address: str, port: int) -> None:
        """Open the port; nothing is opened for port 0.

        Raises ConfigError if the port is taken, or the address is not this host's.
        """
        self._status: Mapping[str, Any] = {}
        self._input_rows = self._written_rows = 0
        self._server: Any = None
        if port == 0:
            return
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, address, registry)
        except OSError as error:
            raise ConfigError(
                f"METRICS_PORT={port} cannot be opened on METRICS_ADDRESS={address!r}: "
                f"{error.strerror or error}. Free it (ss -tlnp 'sport = {port}' shows who has it), "
                "give another port or an address of this host, or 0 for no metrics."
            ) from error

    def publish(self, status: Mapping[str, Any]) -> None:
        """Take the content of STATUS_FILE, of which nothing may be changed afterwards.

        To be called once for each batch at least: what a batch read and wrote is added to counters,
        which begin with the process.
        """
        query, before = status["query"], self._status.get("query", {})
        if query["batch_id"] != before.get("batch_id"):
            self._input_rows += query["rows_in"]
            self._written_rows += query["rows_written"]
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Give the metrics that are asked for; none before the first status, none for a null."""
        status = self._status
        if not status:
            return
        facts = {"run_id": str(status["run_id"]), "version": __version__}
        yield InfoMetricFamily("imdb_streaming", "The run and the program's version", value=facts)
        for section, gauges in _GAUGES.items():
            values = status[section] if section else status
            for name, key, text in gauges:
                value = values.get(key)
                if isinstance(value, str):
                    value = datetime.fromisoformat(value).timestamp()
                if value is not None:
                    value = value / 1000 if key.endswith("_ms") else value
                    yield GaugeMetricFamily(f"imdb_streaming_{name}", text, value=value)
        counters = {name: (status[name], text) for name, text in _COUNTERS.items()} | {
            "input_rows": (self._input_rows, "Messages read by this process"),
            "written_rows": (self._written_rows, "Rows written by this process"),
        }
        for name, (value, text) in counters.items():
            yield CounterMetricFamily(f"imdb_streaming_{name}", text, value=value)

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None
