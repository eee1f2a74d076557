"""Numbers for Prometheus, on a port or in a file."""

from __future__ import annotations

import time
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from imdb_producer.errors import ConfigError
from imdb_producer.files import replace_for_all
from imdb_producer.status import Status

_STATES = ("preparing", "sending", "finished", "failed", "stopped")


class StatusCollector:
    """The latest status as metrics, made when they are asked for."""

    def __init__(self) -> None:
        """Begin without a status: no metrics."""
        self.status: Status | None = None

    def collect(self) -> list[Metric]:
        """Give the metrics."""
        status = self.status
        if status is None:
            return []
        return [
            _counter(
                "sent", "Records handed to the Kafka client by this process", status.handed_over
            ),
            _counter(
                "acknowledged",
                "Records that the broker acknowledged to this process",
                status.sent - status.resumed_at,
            ),
            _counter("failed", "Records that were given up", status.failed),
            _counter("retries", "Records that were sent once more", status.retries),
            _counter("refused", "Records that the broker refused", status.refused_now),
            _gauge("kept_aside", "Records of the data set that the broker refused", status.refused),
            _gauge("rate", "Records a second so far", status.rate),
            _gauge(
                "queue",
                "Records handed over whose result is not known",
                status.handed_over
                + status.resumed_at
                - status.sent
                - status.failed
                - status.refused_now,
            ),
            _gauge("position", "Records of the data set that are delivered", status.sent),
            _gauge("records", "Records of the data set to be delivered", status.total),
            *_data_set(status),
            *_states(status),
        ]


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"imdb_producer_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"imdb_producer_{name}", text, value=value)


def _data_set(status: Status) -> list[Metric]:
    if not status.data_modified:
        return []
    age = max(0.0, time.time() - status.data_modified)
    return [_gauge("data_set_age_seconds", "Age of the dumps at their origin", age)]


def _states(status: Status) -> list[Metric]:
    state = GaugeMetricFamily("imdb_producer_state", "1 for the present state", labels=["state"])
    for name in _STATES:
        state.add_metric([name], float(name == status.state))
    error = GaugeMetricFamily("imdb_producer_last_error", "1 for the last error", labels=["error"])
    if status.last_error:
        error.add_metric([status.last_error], 1.0)
    return [state, error]


class Metrics:
    """Serves the metrics on a port, and writes them to a file."""

    def __init__(self, port: int, address: str, path: Path | None) -> None:
        """Open the port, unless it is 0; write to `path`, unless it is None.

        Raises:
            ConfigError: the port cannot be opened.
        """
        self._collector = StatusCollector()
        self._registry = CollectorRegistry()
        self._registry.register(self._collector)
        self._path = path
        if port:
            try:
                self._server, self._thread = start_http_server(port, address, self._registry)
            except OSError as error:
                raise ConfigError(
                    f"METRICS_PORT={str(port)!r}: cannot be opened on METRICS_ADDRESS={address!r}: "
                    f"{error.strerror or error}. Give another port or address, or 0 for none."
                ) from error

    def publish(self, status: Status) -> None:
        """Take the status; write the file.

        Raises:
            OSError: it cannot be written.
        """
        self._collector.status = status
        if self._path is not None:
            replace_for_all(self._path, generate_latest(self._registry))
