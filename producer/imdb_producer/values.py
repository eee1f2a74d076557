"""The values of settings: each is read from its text, or is Unusable with what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from imdb_producer.redact import redacted

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]+):(?P<port>[0-9]{1,5})")
_NO_PORT = "no port stands behind the host; in a password write / ? # as %2F %3F %23"


class Unusable(Exception):  # noqa: N818 - becomes a ConfigError once the setting is known
    """A text that is no value of its setting; `shown` is the text without its secrets."""

    def __init__(self, reason: str, advice: str, shown: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.advice, self.shown = reason, advice, shown


def addresses(value: str) -> tuple[str, ...]:
    """Read host:port, several separated by commas, or none."""
    advice = "Give host:port, several separated by commas, as in kafka-1:9092,kafka-2:9092"
    addresses = tuple(part.strip() for part in value.split(",")) if value else ()
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise Unusable(f"{address!r} is not host:port", advice)
        if not 1 <= int(match["port"]) <= 65535:
            raise Unusable(f"port {match['port']} is not within 1 to 65535", advice)
    return addresses


def topic(value: str) -> str:
    """Read the name of a topic."""
    if not _TOPIC.fullmatch(value) or value in {".", ".."}:
        advice = "Use 1 to 249 letters, digits, '.', '_' or '-', as in imdb-movies"
        raise Unusable("not a name that Kafka allows", advice)
    return value


def rate(value: str) -> float:
    """Read a number a second; 0 is as fast as possible."""
    advice = "Give messages a second, as in 10 or 0.5, or 0 for as fast as possible"
    try:
        rate = float(value)
    except ValueError:
        raise Unusable("not a number", advice) from None
    if not math.isfinite(rate):
        raise Unusable("not a finite number", advice)
    if rate < 0:
        raise Unusable("a rate cannot be negative", advice)
    return rate


def integer(minimum: int, maximum: int = 2**31 - 1) -> Callable[[str], int]:
    """Give a reader of whole numbers within these bounds."""
    advice = f"Give a whole number from {minimum} to {maximum}"

    def number(value: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]+", value):
            raise Unusable("not a whole number", advice)
        if not minimum <= int(value) <= maximum:
            raise Unusable(f"not within {minimum} to {maximum}", advice)
        return int(value)

    return number


def user(value: str) -> str:
    """Read the name of a user of Kafka's, or none."""
    if not re.fullmatch(r"[^\s,=\"]*", value):
        advice = "Give the name of a user of Kafka's, without blanks , = \""
        raise Unusable("not a user's name", advice)
    return value


def url(value: str) -> str:
    """Read the address of a dump."""
    advice = "Give https://host/path, or file:///path of a file on this host"
    shown = _without_blanks(value, advice)
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise Unusable(str(error), advice, shown) from None
    if parts.scheme not in {"https", "http", "file"}:
        # Without the slashes it is the user's name that looks like a scheme.
        scheme = parts.scheme if "//" in value else ""
        raise Unusable(f"scheme {scheme!r} is not supported", advice, shown)
    if parts.scheme == "file" and (parts.netloc not in {"", "localhost"} or not parts.path):
        raise Unusable("a file URL must name a path on this host", advice, shown)
    if parts.scheme != "file" and not parts.netloc:
        raise Unusable("no host is named", advice, shown)
    try:
        _ = parts.port
    except ValueError:
        # Its text would show what may be the beginning of a password.
        raise Unusable(_NO_PORT, advice, shown) from None
    return value


def proxy(value: str) -> str:
    """Read the address of a proxy; empty is none. What has no scheme is meant as http."""
    if not value:
        return ""
    advice = "Give http://host:port, with user:password@ before the host if it asks for them"
    shown = _without_blanks(value, advice)
    given = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(given)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        # Its text would show what may be the beginning of a password.
        raise Unusable(_NO_PORT, advice, shown) from None
    if parts.scheme not in {"http", "https"}:
        raise Unusable(f"scheme {parts.scheme!r} is not supported", advice, shown)
    if not has_host:
        raise Unusable("no host is named", advice, shown)
    return given


def _without_blanks(value: str, advice: str) -> str:
    """Give a URL as it may be shown, if it holds no blanks."""
    if re.search(r"\s", value):
        raise Unusable("a URL holds no blanks", advice, redacted("".join(value.split())))
    return redacted(value)
