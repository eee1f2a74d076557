"""A connection in the clear, which a capture must show; run in the places of its two ends.

Usage: python -m tests.pipeline.in_the_clear <given.json

Reads an object. With `listen`, an address: prints the port that it listens on, and answers each
piece with a byte, until the other end leaves. With `address` and `port`: sends `lines`, each as a
piece of its own.
"""

from __future__ import annotations

import json
import socket
import sys

#: Nobody came, or nothing, for so long.
SECONDS = 60.0


def listen(address: str) -> None:
    """Answer one client."""
    with socket.create_server((address, 0)) as server:
        server.settimeout(SECONDS)
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(SECONDS)
            while connection.recv(65536):
                connection.sendall(b".")


def send(address: str, port: int, lines: list[str]) -> None:
    """Send lines, each once the one before has been answered."""
    with socket.create_connection((address, port), timeout=SECONDS) as connection:
        for line in lines:
            connection.sendall(line.encode())
            assert connection.recv(1) == b"."


def main() -> None:
    """Be one of the two."""
    given = json.loads(sys.stdin.readline())
    if "listen" in given:
        listen(given["listen"])
    else:
        send(**given)
        json.dump(len(given["lines"]), sys.stdout)


if __name__ == "__main__":
    main()
