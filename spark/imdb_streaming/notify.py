"""Telling systemd how the job is: sd_notify(3)."""

import logging
import os
import socket

log = logging.getLogger(__name__)


def notify(**values: str) -> None:
    """Send NAME=VALUE lines to the service manager; nothing where there is none.

    READY=1: the job is up. STATUS: a line for `systemctl status`. WATCHDOG=1: it gets on.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    message = "\n".join(f"{name}={value}" for name, value in values.items()).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(message, address)
        except OSError as error:
            log.warning("Could not tell systemd %s: %s", ", ".join(values), error)
