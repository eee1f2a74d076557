"""Asks Prometheus."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from imdb_dashboard.errors import SourceError

#: Seconds for an answer; one that takes longer is none.
TIMEOUT = 4


@dataclass(frozen=True)
class Sample:
    """A number with its labels; `name` is empty where it was calculated."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Alert:
    """An alert that fires, or is about to."""

    name: str
    severity: str
    state: str
    since: str
    summary: str
    instance: str


class Prometheus:
    """A Prometheus, by the addresses of its API."""

    def __init__(self, url: str, certificate: str = "", ca: str = "") -> None:
        """Take what stands before query, query_range and alerts; with TLS, the PEM files."""
        self._url = url
        self._certificate = certificate
        self._ca = ca

    def query(self, query: str) -> list[Sample]:
        """Return the numbers of now.

        Raises:
            SourceError: It does not answer.
        """
        return [
            Sample(it["metric"].pop("__name__", ""), it["metric"], float(it["value"][1]))
            for it in self._ask("query", query=query)["result"]
        ]

    def query_range(
        self, query: str, start: float, end: float, step: float
    ) -> list[tuple[float, float]]:
        """Return the first series of the numbers over a time, as moments and values.

        Raises:
            SourceError: It does not answer.
        """
        times = {"start": f"{start:.0f}", "end": f"{end:.0f}", "step": f"{step:.0f}"}
        found = self._ask("query_range", query=query, **times)["result"]
        return [(float(at), float(value)) for at, value in found[0]["values"]] if found else []

    def alerts(self) -> list[Alert]:
        """Return the alerts, the worst first.

        Raises:
            SourceError: It does not answer.
        """
        found = [
            Alert(
                it["labels"]["alertname"],
                it["labels"].get("severity", ""),
                it["state"],
                it["activeAt"],
                it["annotations"].get("summary", ""),
                it["labels"].get("instance", ""),
            )
            for it in self._ask("alerts")["alerts"]
        ]
        order = {"critical": 0, "warning": 1}
        return sorted(
            found, key=lambda it: (it.state != "firing", order.get(it.severity, 2), it.name)
        )

    def _ask(self, path: str, **arguments: str) -> Any:
        url = f"{self._url}{path}?{urllib.parse.urlencode(arguments)}"
        # Neither a proxy of the environment nor one of the system leads there.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        try:
            if self._ca:
                # Read anew: a certificate that is renewed needs no restart.
                context = ssl.create_default_context(cafile=self._ca)
                context.load_cert_chain(self._certificate)
                handlers.append(urllib.request.HTTPSHandler(context=context))
            with urllib.request.build_opener(*handlers).open(url, timeout=TIMEOUT) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise SourceError(
                f"Prometheus answers with an error ({error.code} {error.reason}). See the journal "
                "of the unit imdb-prometheus on its host."
            ) from None
        except (OSError, ValueError, KeyError) as error:
            reason = getattr(error, "reason", error)
            raise SourceError(
                f"Prometheus does not answer ({getattr(reason, 'strerror', None) or reason}). Is "
                "the unit imdb-prometheus up on its host?"
            ) from None
