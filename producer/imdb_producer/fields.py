"""The fields of a row: each checked and read, or Malformed with the reason."""

from __future__ import annotations

import re

UNKNOWN = b"\\N"

#: Bytes of a title. IMDb's longest have some hundred; a broker takes no message of a million.
LONGEST_TEXT = 64 * 1024
_TCONST = re.compile(rb"tt[0-9]+")
_YEAR = re.compile(rb"[0-9]{4}")
_RATING = re.compile(rb"[0-9]{1,2}(\.[0-9]+)?")
_COUNT = re.compile(rb"[0-9]{1,10}")
_MAX_INT = 2**31 - 1


class Malformed(ValueError):  # noqa: N818 - a finding about one line, counted and passed over
    """A line that does not follow the format; the message says how."""


def check_width(found: int, expected: int) -> None:
    if found != expected:
        raise wrong_width(found, expected)


def wrong_width(found: int, expected: int) -> Malformed:
    return Malformed(f"{found} columns instead of {expected}")


def tconst(value: bytes) -> str:
    if not _TCONST.fullmatch(value):
        raise Malformed(f"tconst is {show(value)}")
    return value.decode("ascii")


def title(value: bytes) -> str:
    if value in (UNKNOWN, b""):
        raise Malformed("primaryTitle is missing")
    return text("primaryTitle", value)


def year(value: bytes) -> int:
    if not _YEAR.fullmatch(value):
        raise Malformed(f"startYear is {show(value)}")
    return int(value)


def runtime(value: bytes) -> int | None:
    return None if value == UNKNOWN else integer("runtimeMinutes", value)


def genres(value: bytes) -> list[str]:
    """Split by comma, as IMDb does, or by `|`, as older copies do; each genre once."""
    if value == UNKNOWN:
        return []
    names = text("genres", value).replace("|", ",").split(",")
    return list(dict.fromkeys(name for name in map(str.strip, names) if name))


def rating(value: bytes) -> float:
    if not _RATING.fullmatch(value) or not 1 <= (rating := float(value)) <= 10:
        raise Malformed(f"averageRating is {show(value)}")
    return rating


def integer(name: str, value: bytes) -> int:
    if not _COUNT.fullmatch(value) or (number := int(value)) > _MAX_INT:
        raise Malformed(f"{name} is {show(value)}")
    return number


def text(name: str, value: bytes) -> str:
    if len(value) > LONGEST_TEXT:
        raise Malformed(f"{name} has {len(value)} bytes")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"{name} is not UTF-8: {show(value)}") from None


def show(value: bytes) -> str:
    return repr(shorten(value.decode("utf-8", "backslashreplace")))


def shorten(text: str, length: int = 120) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
