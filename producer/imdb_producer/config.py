"""The settings, read from the environment and checked before anything is done."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from imdb_producer.errors import ConfigError
from imdb_producer.redact import redacted

BASICS_URL = "https://datasets.imdbws.com/title.basics.tsv.gz"
RATINGS_URL = "https://datasets.imdbws.com/title.ratings.tsv.gz"

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]+):(?P<port>[0-9]{1,5})")
_MAX_INT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one run.

    `messages_per_second` of 0 means as fast as the broker takes them;
    `limit` is a cap on records, None for all of them;
    `min_votes` is the least number of votes of a movie that is sent;
    `status_file` of None means that no status file is written.
    """

    bootstrap_servers: tuple[str, ...]
    topic: str
    messages_per_second: float
    limit: int | None
    basics_url: str
    ratings_url: str
    cache_dir: Path
    status_file: Path | None
    min_votes: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Config:
        """Read and check every setting.

        Raises:
            ConfigError: names the variable, its value, the reason and what to do.
        """

        def read(name: str, default: str = "") -> str:
            return environment.get(name, "").strip() or default

        status_file = read("STATUS_FILE")
        return cls(
            bootstrap_servers=_addresses(
                "KAFKA_BOOTSTRAP_SERVERS", read("KAFKA_BOOTSTRAP_SERVERS")
            ),
            # An empty topic is a mistake in the inventory, not a wish for the default.
            topic=_topic("KAFKA_TOPIC", environment.get("KAFKA_TOPIC", "imdb-movies")),
            messages_per_second=_rate("MSGS_PER_SEC", read("MSGS_PER_SEC", "10")),
            limit=_limit("PRODUCER_LIMIT", read("PRODUCER_LIMIT")),
            basics_url=_url("BASICS_URL", read("BASICS_URL", BASICS_URL)),
            ratings_url=_url("RATINGS_URL", read("RATINGS_URL", RATINGS_URL)),
            cache_dir=Path(read("CACHE_DIR", "/var/lib/imdb-producer")),
            status_file=Path(status_file) if status_file else None,
            min_votes=_integer("MIN_VOTES", read("MIN_VOTES", "1000"), minimum=0),
        )


def _bad(name: str, value: str, reason: str, advice: str) -> ConfigError:
    return ConfigError(f"{name}={value!r}: {reason}. {advice}.")


def _addresses(name: str, value: str) -> tuple[str, ...]:
    advice = "Give host:port, several separated by commas, as in kafka-1:9092,kafka-2:9092"
    if not value:
        raise _bad(name, value, "no broker is named", advice)
    addresses = tuple(part.strip() for part in value.split(","))
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise _bad(name, value, f"{address!r} is not host:port", advice)
        if not 1 <= int(match["port"]) <= 65535:
            raise _bad(name, value, f"port {match['port']} is not within 1 to 65535", advice)
    return addresses


def _topic(name: str, value: str) -> str:
    if not _TOPIC.fullmatch(value) or value in {".", ".."}:
        raise _bad(
            name,
            value,
            "not a name that Kafka allows",
            "Use 1 to 249 letters, digits, '.', '_' or '-', as in imdb-movies",
        )
    return value


def _rate(name: str, value: str) -> float:
    advice = "Give messages a second, as in 10 or 0.5, or 0 for as fast as possible"
    try:
        rate = float(value)
    except ValueError:
        raise _bad(name, value, "not a number", advice) from None
    if not math.isfinite(rate):
        raise _bad(name, value, "not a finite number", advice)
    if rate < 0:
        raise _bad(name, value, "a rate cannot be negative", advice)
    return rate


def _limit(name: str, value: str) -> int | None:
    if not value:
        return None
    return _integer(name, value, minimum=1, advice="Leave it empty to send every record")


def _integer(name: str, value: str, *, minimum: int, advice: str | None = None) -> int:
    advice = advice or f"Give a whole number from {minimum} to {_MAX_INT}"
    if not re.fullmatch(r"[+-]?[0-9]+", value):
        raise _bad(name, value, "not a whole number", advice)
    number = int(value)
    if not minimum <= number <= _MAX_INT:
        raise _bad(name, value, f"not within {minimum} to {_MAX_INT}", advice)
    return number


def _url(name: str, value: str) -> str:
    advice = "Give https://host/path, or file:///path of a file on this host"
    shown = redacted(value)
    if re.search(r"\s", value):
        shown = redacted("".join(value.split()))
        raise _bad(name, shown, "a URL holds no blanks", advice)
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise _bad(name, shown, str(error), advice) from None
    if parts.scheme not in {"https", "http", "file"}:
        # Without the slashes it is the user's name that looks like a scheme.
        scheme = parts.scheme if "//" in value else ""
        raise _bad(name, shown, f"scheme {scheme!r} is not supported", advice)
    if parts.scheme == "file" and (parts.netloc not in {"", "localhost"} or not parts.path):
        raise _bad(name, shown, "a file URL must name a path on this host", advice)
    if parts.scheme != "file" and not parts.netloc:
        raise _bad(name, shown, "no host is named", advice)
    try:
        _ = parts.port
    except ValueError:
        # Its text would show what may be the beginning of a password.
        reason = "no port stands behind the host; in a password write / ? # as %2F %3F %23"
        raise _bad(name, shown, reason, advice) from None
    return value
