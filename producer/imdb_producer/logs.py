"""Log lines, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time in UTC, level, logger, message, and a traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _BelowBar(logging.StreamHandler):  # type: ignore[type-arg]
    """Clears the terminal's line before a log line, for a progress bar may stand on it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to what is standard error now."""
        try:
            self.setStream(sys.stderr)
            if self.stream.isatty():
                self.stream.write("\r\x1b[K")
        except (OSError, ValueError):
            # A log line that cannot be written must not end a thread of the client's.
            self.handleError(record)
            return
        super().emit(record)


class _Seldom(logging.Filter):
    """Lets what a Kafka client says pass once a minute, for each place in its code.

    Where it is not let in it says so at each attempt, in several places.
    """

    _SECONDS = 60.0
    _CLIENTS = ("kafka.", "imdb_producer.confluent")

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record passes."""
        if not record.name.startswith(self._CLIENTS):
            return True
        place = record.pathname, record.lineno
        last = self._told.get(place)
        if last is not None and record.created - last < self._SECONDS:
            return False
        self._told[place] = record.created
        return True


def quieten_clients() -> None:
    """Let Kafka's clients repeat themselves less."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _BelowBar):
            handler.addFilter(_Seldom())


def set_up(log_format: str) -> None:
    """Log to standard error: what this program does, and what others warn of."""
    handler = _BelowBar(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if log_format == "json" else logging.Formatter("%(message)s")
    )
    root = logging.getLogger()
    for old in [it for it in root.handlers if isinstance(it, _BelowBar)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("imdb_producer").setLevel(logging.INFO)
    # It logs whole addresses of what it tries again.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
