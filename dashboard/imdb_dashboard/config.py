"""What the page is told: a file of settings, in JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

#: Where the file is, unless the environment names another.
SETTINGS = "/etc/imdb-dashboard/settings.json"
VARIABLE = "DASHBOARD_SETTINGS"


class ConfigError(Exception):
    """A setting cannot be used; the text says which, and what would be right."""


@dataclass(frozen=True)
class Config:
    """The settings of the page. `units` are those of which it gives the command for their logs."""

    #: Folder of the tables, OUTPUT_PATH of the job; empty where they are not on this host.
    tables: str
    #: What stands before query, query_range and alerts, such as http://127.0.0.1:9406/api/v1/.
    prometheus_url: str = ""
    #: PEM files: what the page shows to Prometheus, and whom it trusts; empty without TLS.
    prometheus_certificate: str = ""
    prometheus_ca: str = ""
    topic: str = "imdb-movies"
    environment: str = "local"
    address: str = "127.0.0.1"
    port: int = 9408
    refresh_seconds: int = 2
    #: Of the database in memory; the rest of the program takes some 70 MiB.
    memory_mb: int = 120
    links: tuple[tuple[str, str], ...] = ()
    units: tuple[str, ...] = ()

    @property
    def tables_folder(self) -> Path | None:
        """The folder of the tables, if it is one on this host."""
        return Path(self.tables) if self.tables.startswith("/") else None


def read(path: str = "") -> Config:
    """Read the settings.

    Raises:
        ConfigError: The file cannot be read, or a setting is missing, unknown or of no use.
    """
    path = path or os.environ.get(VARIABLE, SETTINGS)
    try:
        given: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Run role dashboard.") from None
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}. Run role dashboard.") from None
    known = {field.name for field in fields(Config)}
    if unknown := sorted(set(given) - known):
        raise ConfigError(f"{path}: {', '.join(unknown)} is no setting. Known: {sorted(known)}.")
    if "tables" not in given:
        raise ConfigError(f"{path}: tables is missing. Give OUTPUT_PATH of the job.")
    given["links"] = tuple((str(title), str(url)) for title, url in given.get("links", ()))
    given["units"] = tuple(map(str, given.get("units", ())))
    for name in ("port", "refresh_seconds", "memory_mb"):
        if name in given and (not isinstance(given[name], int) or given[name] < 1):
            raise ConfigError(f"{path}: {name} is {given[name]!r}. Give a whole number from 1 up.")
    return Config(**given)
