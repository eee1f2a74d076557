"""A progress bar, where somebody looks."""

from __future__ import annotations

import shutil
from typing import TextIO

from imdb_producer.status import Status

_WIDTH = 24


class Bar:
    """Draws the status on a terminal's last line; elsewhere it keeps quiet."""

    def __init__(self, stream: TextIO) -> None:
        """Draw on `stream` if it is a terminal."""
        self._stream = stream
        self._drawn = False

    def publish(self, status: Status) -> None:
        """Draw how far it is."""
        if not self._stream.isatty():
            return
        done, total = status.step()
        bar = ""
        if total:
            filled = min(_WIDTH, _WIDTH * done // total)
            bar = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] "
        line = f"{bar}{status.line()}"[: shutil.get_terminal_size().columns - 1]
        ends = status.state in {"finished", "failed"}
        self._stream.write(f"\r\x1b[K{line}" + ("\n" if ends and self._drawn else ""))
        self._stream.flush()
        self._drawn = not ends
