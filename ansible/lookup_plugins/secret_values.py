"""Ansible lookup: the values of a host's variables that are secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import EncryptedString
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: secret_values
short_description: The values of all variables that are secrets, each once
description:
  - By their names, and by the names of what lies in them. What is encrypted where it stands counts
    too, and addresses with a password or a query.
  - A variable that cannot be made out, as it is made of another that is not there, has no value.
author: imdb-pipeline
options: {}
"""
EXAMPLES = r"""
- name: Count them
  ansible.builtin.debug:
    msg: "{{ query('secret_values') | length }}"
"""
RETURN = r"""
_raw:
  description: The values, as texts.
  type: list
  elements: str
"""

#: Names that tell of a secret.
NAME = re.compile(
    r"secret|password|passwd|passphrase|token|credential|webhook|(?:private|access|session|account|api)[._-]?key",
    re.IGNORECASE,
)
#: They tell where one lies, or are no secret themselves.
NO_SECRET = re.compile(r"(?:_users_suffix|file|path|location|type|names?)$", re.IGNORECASE)
#: Addresses that may hold one.
ADDRESS = re.compile(r"://[^\s/]*@|https?://\S*\?")


def is_named(name: Any) -> bool:
    """Return whether a name tells of a secret."""
    return bool(NAME.search(str(name))) and not NO_SECRET.search(str(name))


def wanted(value: Any) -> bool:
    """Return whether something in a value, as it is written, may be a secret."""
    if isinstance(value, Mapping):
        return any(is_named(name) or wanted(it) for name, it in value.items())
    if isinstance(value, list):
        return any(wanted(it) for it in value)
    if isinstance(value, EncryptedString):
        return True
    return isinstance(value, str) and bool(ADDRESS.search(value))


def encrypted(value: Any) -> Iterator[str]:
    """Yield what is encrypted in a value as it is written; made out it is like any other text."""
    if isinstance(value, Mapping):
        for it in value.values():
            yield from encrypted(it)
    elif isinstance(value, list):
        for it in value:
            yield from encrypted(it)
    elif isinstance(value, EncryptedString):
        yield str(value)


def texts(value: Any, all_of_it: bool) -> Iterator[str]:
    """Yield the texts in a value: all of it, or what is a secret by its name or an address."""
    if isinstance(value, Mapping):
        for name, it in value.items():
            yield from texts(it, all_of_it or is_named(name))
    elif isinstance(value, list | tuple):
        for it in value:
            yield from texts(it, all_of_it)
    elif isinstance(value, str):
        if all_of_it or ADDRESS.search(value):
            yield str(value)
    elif all_of_it and isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup `secret_values`."""

    def run(self, terms: list[Any], variables: dict[str, Any], **_: Any) -> list[str]:
        """Return the values, in order."""
        found: set[str] = set()
        for name in sorted(variables):
            if name in ("hostvars", "vars", "groups", "environment"):
                continue
            named = is_named(name)
            if not named and not wanted(variables[name]):
                continue
            try:
                found.update(encrypted(variables[name]))
                found.update(texts(self._templar.template(variables[name]), named))
            except AnsibleError:  # made of what is not there, or encrypted by another password
                continue
        return sorted(found)
