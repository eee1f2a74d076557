"""What systemd is told, see sd_notify(3); without systemd, nobody."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from imdb_producer.status import Status


class Systemd:
    """The service's end of the line to systemd."""

    def __init__(self, address: str) -> None:
        """Speak to the socket `address`; to nobody if it is empty."""
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Systemd:
        """Speak to the systemd that started this process, if one did."""
        return cls(environment.get("NOTIFY_SOCKET", ""))

    def publish(self, status: Status) -> None:
        """Show the status in `systemctl status`; it is a sign of life too.

        Raises:
            OSError: systemd does not listen.
        """
        self._tell(f"STATUS={status.line()}\nWATCHDOG=1")

    def ready(self) -> None:
        """Say that the service is up.

        Raises:
            OSError: systemd does not listen.
        """
        self._tell("READY=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), self._address)
