"""Checks of single settings: a value that can be used, or an error that says what to do."""

from __future__ import annotations

import math
import re
from urllib.parse import urlsplit

from imdb_producer.errors import ConfigError
from imdb_producer.redact import redacted

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]+):(?P<port>[0-9]{1,5})")
_MAX_INT = 2**31 - 1
_YES = {"1", "yes", "true", "on"}
_NO = {"0", "no", "false", "off"}


def bad(name: str, value: str, reason: str, advice: str) -> ConfigError:
    """Make the error of a setting."""
    return ConfigError(f"{name}={value!r}: {reason}. {advice}.")


def addresses(name: str, value: str) -> tuple[str, ...]:
    """Read host:port, several separated by commas."""
    advice = "Give host:port, several separated by commas, as in kafka-1:9092,kafka-2:9092"
    if not value:
        raise bad(name, value, "no broker is named", advice)
    addresses = tuple(part.strip() for part in value.split(","))
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise bad(name, value, f"{address!r} is not host:port", advice)
        if not 1 <= int(match["port"]) <= 65535:
            raise bad(name, value, f"port {match['port']} is not within 1 to 65535", advice)
    return addresses


def servers(name: str, value: str) -> str:
    """Read servers of ZooKeeper, host:port[,host:port...], or none."""
    return ",".join(addresses(name, value)) if value else ""


def topic(name: str, value: str) -> str:
    """Read the name of a topic."""
    if not _TOPIC.fullmatch(value) or value in {".", ".."}:
        raise bad(
            name,
            value,
            "not a name that Kafka allows",
            "Use 1 to 249 letters, digits, '.', '_' or '-', as in imdb-movies",
        )
    return value


def rate(name: str, value: str) -> float:
    """Read a number a second; 0 is as fast as possible."""
    advice = "Give messages a second, as in 10 or 0.5, or 0 for as fast as possible"
    try:
        rate = float(value)
    except ValueError:
        raise bad(name, value, "not a number", advice) from None
    if not math.isfinite(rate):
        raise bad(name, value, "not a finite number", advice)
    if rate < 0:
        raise bad(name, value, "a rate cannot be negative", advice)
    return rate


def limit(name: str, value: str) -> int | None:
    """Read a cap; empty is none."""
    if not value:
        return None
    return integer(name, value, minimum=1, advice="Leave it empty to send every record")


def integer(
    name: str, value: str, *, minimum: int, maximum: int = _MAX_INT, advice: str | None = None
) -> int:
    """Read a whole number."""
    advice = advice or f"Give a whole number from {minimum} to {maximum}"
    if not re.fullmatch(r"[+-]?[0-9]+", value):
        raise bad(name, value, "not a whole number", advice)
    number = int(value)
    if not minimum <= number <= maximum:
        raise bad(name, value, f"not within {minimum} to {maximum}", advice)
    return number


def url(name: str, value: str) -> str:
    """Read the address of a dump."""
    advice = "Give https://host/path, or file:///path of a file on this host"
    shown = redacted(value)
    if re.search(r"\s", value):
        shown = redacted("".join(value.split()))
        raise bad(name, shown, "a URL holds no blanks", advice)
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise bad(name, shown, str(error), advice) from None
    if parts.scheme not in {"https", "http", "file"}:
        # Without the slashes it is the user's name that looks like a scheme.
        scheme = parts.scheme if "//" in value else ""
        raise bad(name, shown, f"scheme {scheme!r} is not supported", advice)
    if parts.scheme == "file" and (parts.netloc not in {"", "localhost"} or not parts.path):
        raise bad(name, shown, "a file URL must name a path on this host", advice)
    if parts.scheme != "file" and not parts.netloc:
        raise bad(name, shown, "no host is named", advice)
    try:
        _ = parts.port
    except ValueError:
        # Its text would show what may be the beginning of a password.
        reason = "no port stands behind the host; in a password write / ? # as %2F %3F %23"
        raise bad(name, shown, reason, advice) from None
    return value


def proxy(name: str, value: str) -> str:
    """Read the address of a proxy; empty is none. What has no scheme is meant as http."""
    if not value:
        return ""
    advice = "Give http://host:port, with user:password@ before the host if it asks for them"
    given = value if "://" in value else f"http://{value}"
    shown = redacted(value)
    if re.search(r"\s", value):
        raise bad(name, redacted("".join(value.split())), "a URL holds no blanks", advice)
    try:
        parts = urlsplit(given)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        # Its text would show what may be the beginning of a password.
        reason = "no port stands behind the host; in a password write / ? # as %2F %3F %23"
        raise bad(name, shown, reason, advice) from None
    if parts.scheme not in {"http", "https"}:
        raise bad(name, shown, f"scheme {parts.scheme!r} is not supported", advice)
    if not whole:
        raise bad(name, shown, "no host is named", advice)
    return given


def flag(name: str, value: str) -> bool:
    """Read yes or no."""
    if value.lower() in _YES | _NO:
        return value.lower() in _YES
    raise bad(name, value, "neither yes nor no", "Give yes or no")


def choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Read one of some words."""
    if value in choices:
        return value
    raise bad(name, value, "not a choice", f"Give {' or '.join(choices)}")


def needed(name: str, value: str, by: str) -> str:
    """Read what may not be empty, for something else is set."""
    if not value:
        raise bad(name, value, f"{by} needs it", "Name a file")
    return value


def user(name: str, value: str, by: str) -> str:
    """Read the name of a user of Kafka's."""
    if not re.fullmatch(r"[^\s,=\"]+", value):
        reason = "not a user's name" if value else f"{by} needs it"
        raise bad(name, value, reason, "Give the name of a user of Kafka's, without blanks , = \"")
    return value
