"""Keep what a URL may hold of secrets out of everything that is shown."""

from __future__ import annotations

import re

#: User and password. Up to the last @, as a password may hold any character, wrongly written; and
#: where the scheme was forgotten.
_USERINFO = re.compile(r"(?<=//)\S*@|^(?!\S*//)\S*@")
#: The query: the signature of an address that is open to its bearer.
_QUERY = re.compile(r"\?[^\s'\"]+")


def redacted(text: str) -> str:
    """Give a URL, or a text that names one, without user, password and query."""
    return _QUERY.sub("?***", _USERINFO.sub("***@", text))
