"""Take out of text what must not leave the pipeline: secrets, and what a movie is known by.

Also run on hosts, by the module support_host: nothing but the standard library of Python 3.11.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any

#: What stands in place of what was taken out.
MARK = "***"
#: A shorter value is no secret that could be found: it would be found everywhere.
SHORTEST = 6

#: Words by which a setting's name tells that its value is a secret.
WORDS = (
    r"passwo?r?d|passphrase|secret|token|credential|jaas"
    r"|(?:private|access|session|account|api)[._-]?key"
)
#: Settings with such a name that say where a secret lies, or how it is used.
NO_SECRET = re.compile(
    r"(?:file|path|location|type|provider|class|length|alias|port|enabled)$", re.I
)

_NAME = rf"(?P<name>(?:{WORDS})[\w.-]*)"
_VALUE = r'(?P<value>\\*"(?:[^"\\\n]|\\[^"\n])*\\*"|\'[^\'\n]*\'|[^\s,;}}"\']+)'
#: name=value and "name": "value", anywhere.
ASSIGNED = re.compile(rf"{_NAME}(?P<between>\\*[\"']?\s*[=:]\s*){_VALUE}", re.IGNORECASE)
#: In a file of settings: the name, then the rest of the line; after a blank only as its first word.
SETTINGS = (
    re.compile(
        rf"^[ \t]*[\"']?[\w.-]*?{_NAME}(?P<between>[\"']?[ \t]+)(?P<value>[^\s=:][^\n]*)$",
        re.IGNORECASE | re.MULTILINE,
    ),
    re.compile(
        rf"{_NAME}(?P<between>[\"']?[ \t]*[=:][ \t]*)(?P<value>\S[^\n]*)$",
        re.IGNORECASE | re.MULTILINE,
    ),
)
USER = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]{1,20}://)(?P<value>[^\s/@\"'<>]+)@", re.IGNORECASE
)
QUERY = re.compile(r"(?P<url>\bhttps?://[^\s?\"'<>]+)\?(?P<value>[^\s\"'<>]+)", re.IGNORECASE)
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
#: A line of a key or a certificate, whose first line may have been cut off; not a digest.
PEM_LINE = re.compile(r"(?<![\w+/=])(?![0-9a-fA-F]{64}\b)[A-Za-z0-9+/]{64}(?![\w+/=])")
#: What tools/vault.py makes: also those that went before the secrets of now.
MADE = re.compile(
    r"(?<![\w/+-])(?=[\w-]*\d)(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[A-Za-z0-9_-]{43}(?![\w/+-])"
)
#: A record, however it is written, from the first that tells of a movie to the end of the line.
RECORD = re.compile(r"\b(?:primary|original)Title\\*[\"']?\s*[=:][^\n]*")
ROW = re.compile(r"\btt\d{7,}[\t,][^\n]*")
MOVIE = re.compile(r"\btt\d{7,}\b")


def forms_of(value: str) -> set[str]:
    """Return how a value may be written: as it is, in JSON, in a URL, in base64."""
    return {
        value,
        json.dumps(value)[1:-1],
        urllib.parse.quote(value, safe=""),
        base64.b64encode(value.encode()).decode(),
    }


class Redactor:
    """Takes known values out of texts, and what looks like a secret or tells of a movie."""

    def __init__(self, values: Iterable[str]) -> None:
        """Know some secrets; those that are too short to be looked for are left out."""
        forms = {
            form
            for value in values
            for line in value.split("\n")
            if len(line.strip()) >= SHORTEST
            for form in forms_of(line.strip())
        }
        # The longest first: one may begin with another.
        ordered = sorted(forms, key=lambda it: (-len(it), it))
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str, settings: bool = False) -> str:
        """Return a text without secrets and movies.

        Args:
            text: any text.
            settings: whether it is a file of settings, in which a value goes on to the end of its
                line and may follow its name after a blank.
        """
        text = PRIVATE_KEY.sub(MARK, text)
        if self._known:
            text = self._known.sub(MARK, text)
        if "://" in text:
            text = USER.sub(rf"\g<scheme>{MARK}@", text)
            text = QUERY.sub(rf"\g<url>?{MARK}", text)
        for setting in SETTINGS if settings else ():
            text = setting.sub(_without_value, text)
        text = ASSIGNED.sub(_without_value, text)
        text = MADE.sub(MARK, text)
        text = PEM_LINE.sub(MARK, text)
        text = RECORD.sub(MARK, text)
        text = ROW.sub(f"tt{MARK}", text)
        return MOVIE.sub(f"tt{MARK}", text)

    def data(self, value: Any) -> Any:
        """Return what JSON can hold with its texts redacted, names of fields too."""
        if isinstance(value, dict):
            return {self.text(str(name)): self.data(it) for name, it in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(it) for it in value]
        return self.text(value) if isinstance(value, str) else value


def _without_value(match: re.Match[str]) -> str:
    """Return a setting without its value, or as it is where the value is no secret."""
    if NO_SECRET.search(match["name"]):
        return match[0]
    return match[0][: match.start("value") - match.start()] + MARK


def secrets_in(text: str) -> Iterator[str]:
    """Yield what a file of settings holds of secrets, by the names of its settings."""
    for expression in (*SETTINGS, ASSIGNED):
        for match in expression.finditer(text):
            if not NO_SECRET.search(match["name"]):
                yield from _bare(match["value"])
    yield from url_secrets(text)


def url_secrets(text: str) -> Iterator[str]:
    """Yield users, passwords and queries of the addresses in a text, also as they are decoded."""
    for match in USER.finditer(text):
        for part in (match["value"], *match["value"].split(":", 1)[1:]):
            yield from {part, urllib.parse.unquote(part)}
    for match in QUERY.finditer(text):
        yield match["value"]
        for _, value in urllib.parse.parse_qsl(match["value"]):
            yield value


def _bare(value: str) -> Iterator[str]:
    """Yield a value as it stands in a file, without its quotes; not one that another file holds."""
    bare = value.strip().rstrip(";,").strip("\\\"'")
    if bare and not bare.startswith("${"):
        yield bare
