"""What is made of Prometheus' answers, and said where there is none."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from imdb_dashboard.errors import SourceError
from imdb_dashboard.prometheus import Prometheus

ANSWERS: dict[str, Any] = {
    "/api/v1/query": {
        "result": [{"metric": {"__name__": "up", "job": "kafka"}, "value": [1.5, "1"]}]
    },
    "/api/v1/query_range": {"result": [{"metric": {}, "values": [[1, "2.5"], [61, "NaN"]]}]},
    "/api/v1/alerts": {
        "alerts": [
            {
                "labels": {"alertname": name, "severity": severity},
                "annotations": {"summary": "what"},
                "state": state,
                "activeAt": "2026-11-30T20:00:00Z",
            }
            for name, severity, state in (
                ("Pending", "critical", "pending"),
                ("Small", "info", "firing"),
                ("Large", "critical", "firing"),
            )
        ]
    },
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the server is told."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.server.asked.append((url.path, parse_qs(url.query)))  # type: ignore[attr-defined]
        body = b"no JSON" if url.path == "/bad/query" else self._answer(url.path)
        self.send_response(200 if body else 503)
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, path: str) -> bytes:
        return json.dumps({"data": ANSWERS[path]}).encode() if path in ANSWERS else b""

    def log_message(self, *said: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def at(server: http.server.ThreadingHTTPServer, path: str) -> Prometheus:
    return Prometheus(f"http://127.0.0.1:{server.server_port}{path}")


def test_answers_are_read(server: http.server.ThreadingHTTPServer) -> None:
    prometheus = at(server, "/api/v1/")
    (sample,) = prometheus.query('up{job="kafka"}')
    assert (sample.name, sample.labels, sample.value) == ("up", {"job": "kafka"}, 1.0)
    assert prometheus.query_range("rate(x[1m])", 1, 61, 60)[0] == (1.0, 2.5)
    assert [it.name for it in prometheus.alerts()] == ["Large", "Small", "Pending"]
    asked = server.asked  # type: ignore[attr-defined]
    assert asked[0] == ("/api/v1/query", {"query": ['up{job="kafka"}']})
    assert asked[1][1]["step"] == ["60"]


def test_an_environments_proxy_is_not_asked(
    server: http.server.ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert at(server, "/api/v1/").query("up")


@pytest.mark.parametrize(
    ("path", "says"), [("/other/", "answers with an error .503"), ("/bad/", "does not answer")]
)
def test_an_answer_of_no_use_is_a_sentence(
    server: http.server.ThreadingHTTPServer, path: str, says: str
) -> None:
    with pytest.raises(SourceError, match=says):
        at(server, path).query("up")


def test_no_answer_is_a_sentence() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        with pytest.raises(SourceError, match=r"does not answer .Connection refused"):
            Prometheus(url).query("up")


def test_a_certificate_that_is_missing_is_a_sentence(
    server: http.server.ThreadingHTTPServer,
) -> None:
    url = f"https://127.0.0.1:{server.server_port}/"
    with pytest.raises(SourceError, match="No such file"):
        Prometheus(url, "/nowhere/key.pem", "/nowhere/ca.pem").query("up")
