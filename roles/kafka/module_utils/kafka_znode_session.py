"""A session with ZooKeeper that makes nodes and says who may do what with them.

Modules kafka_users and kafka_znode_rights import this.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ansible.module_utils.kafka_znodes import receive, tls

#: ZkData.SensitiveRootPaths: nobody else may read what is there.
SENSITIVE = ("/config/users", "/config/brokers", "/delegation_token/tokens")
#: Requests of ZooKeeper's client protocol, and what it answers of a node that is gone.
CREATE, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, CLOSE = 1, 5, 6, 7, 8, -11
SEQUENTIAL = 2
NO_NODE, NODE_EXISTS = -101, -110
REASONS = {-102: "the certificate's subject has no right to it"}
ALL, READ = 31, 1


class Right(NamedTuple):
    """What somebody may do with a node: the sum of the rights, a scheme, and who in that scheme."""

    rights: int
    scheme: str
    who: str


ANYBODY = Right(ALL, "world", "anyone")
READER = Right(READ, "world", "anyone")
#: Whoever asks; ZooKeeper puts the subject of the certificate in its place.
ASKER = Right(ALL, "auth", "")


class Session:
    """A session with ZooKeeper over a connection that is there."""

    def __init__(self, connection: socket.socket) -> None:
        """Begin it."""
        self._connection = connection
        self._number = 0
        self._send(struct.pack(">iqiqi16s?", 0, 0, 30000, 0, 16, b"", False))
        receive(connection)

    def _send(self, content: bytes) -> None:
        self._connection.sendall(struct.pack(">i", len(content)) + content)

    def _ask(self, kind: int, path: str, more: bytes = b"") -> bytes | None:
        """Return what follows the header of an answer, None if nothing was to be done there."""
        self._number += 1
        self._send(struct.pack(">ii", self._number, kind) + text(path) + more)
        answer: bytes = receive(self._connection)
        error = struct.unpack_from(">iqi", answer)[2]
        if error in (NO_NODE, NODE_EXISTS):
            return None
        if error:
            raise OSError(f"{path}: {REASONS.get(error, f'error {error}')}")
        return answer[16:]

    def children(self, path: str) -> list[str]:
        """Return the paths of the nodes below one, none if it is gone."""
        answer = self._ask(GET_CHILDREN, path, b"\0")
        return [] if answer is None else [f"{path}/{name}" for name in texts(answer)]

    def make(
        self, path: str, rights: list[Right], content: str = "", sequential: bool = False
    ) -> bool:
        """Make a node with these rights, numbered if it is one of a sequence.

        Returns:
            Whether it was made: nothing is done if it is there.
        """
        kind = struct.pack(">i", SEQUENTIAL if sequential else 0)
        return self._ask(CREATE, path, text(content) + packed(rights) + kind) is not None

    def write(self, path: str, content: str) -> None:
        """Give a node another content; nothing if it is gone."""
        self._ask(SET_DATA, path, text(content) + struct.pack(">i", -1))

    def rights(self, path: str) -> set[Right] | None:
        """Return who may do what with a node; None if it is gone."""
        answer = self._ask(GET_ACL, path)
        if answer is None:
            return None
        found, at = set(), 4
        for _ in range(struct.unpack_from(">i", answer)[0]):
            (rights,) = struct.unpack_from(">i", answer, at)
            scheme, at = text_at(answer, at + 4)
            who, at = text_at(answer, at)
            found.add(Right(rights, scheme, who))
        return found

    def give(self, path: str, rights: list[Right]) -> None:
        """Give a node these rights, in place of those that it has; nothing if it is gone."""
        any_version = struct.pack(">i", -1)
        self._ask(SET_ACL, path, packed(rights) + any_version)

    def close(self) -> None:
        """End it."""
        self._send(struct.pack(">ii", self._number + 1, CLOSE))


def text(value: str) -> bytes:
    """Return a text as the protocol has it: its length, then itself."""
    content = value.encode()
    return struct.pack(">i", len(content)) + content


def packed(rights: list[Right]) -> bytes:
    """Return rights as the protocol has them."""
    each = [struct.pack(">i", it.rights) + text(it.scheme) + text(it.who) for it in rights]
    return struct.pack(">i", len(each)) + b"".join(each)


def text_at(answer: bytes, at: int) -> tuple[str, int]:
    """Return the text that begins there, and where the next begins."""
    (length,) = struct.unpack_from(">i", answer, at)
    end = at + 4 + length
    return answer[at + 4 : end].decode(), end


def texts(answer: bytes) -> list[str]:
    """Return a list of texts."""
    found, at = [], 4
    for _ in range(struct.unpack_from(">i", answer)[0]):
        value, at = text_at(answer, at)
        found.append(value)
    return found


@contextmanager
def session(servers: str, certificate: str, ca: str) -> Iterator[Session]:
    """Give a session with the first server that answers; OSError with all reasons if none does."""
    context = tls(certificate, ca) if certificate else None
    reasons = []
    for server in servers.split(","):
        try:
            connection = connect(server.strip(), context)
        except OSError as error:
            reasons.append(f"{server}: {error}")
            continue
        with connection:
            begun = Session(connection)
            yield begun
            begun.close()
            return
    raise OSError("; ".join(reasons))


def connect(server: str, context: ssl.SSLContext | None) -> socket.socket:
    """Return a connection to a server, by TLS if there is a context."""
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    plain = socket.create_connection((host, int(port)), timeout=10)
    return context.wrap_socket(plain, server_hostname=host) if context else plain


def wanted(path: str, own: bool) -> list[Right]:
    """Return the rights that Kafka gives to a node that it makes (ZkData.defaultAcls)."""
    if not own:
        return [ANYBODY]
    return [ASKER] if path.startswith(SENSITIVE) else [ASKER, READER]
