"""The proxies that downloads go by."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from requests.utils import should_bypass_proxies

from imdb_producer.redact import redacted


@dataclass(frozen=True, slots=True)
class Proxies:
    """A proxy for each scheme, empty for none, and the hosts that are asked without one.

    `no` is a list of hosts, domains, addresses and networks, separated by commas.
    """

    http: str = ""
    https: str = ""
    no: str = ""

    def of(self, url: str) -> str:
        """Give the proxy that a URL is asked by; empty for none."""
        proxy = self.https if urlsplit(url).scheme == "https" else self.http
        return "" if not proxy or should_bypass_proxies(url, self.no) else proxy

    def for_requests(self, url: str) -> dict[str, str | None]:
        """Give what requests takes: nothing that it finds in the environment is left to it."""
        direct = not self.of(url)
        return {
            "http": None if direct else self.http or None,
            "https": None if direct else self.https or None,
        }

    def named(self, url: str) -> str:
        """Say by which proxy a URL is asked, for messages; empty for none."""
        proxy = self.of(url)
        return f" (by the proxy {redacted(proxy)})" if proxy else ""


NO_PROXIES = Proxies()
