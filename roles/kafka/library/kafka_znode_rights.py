#!/usr/bin/python
"""Ansible module: whose Kafka's nodes in ZooKeeper are, for those that are there already."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_znodes import CertificateError, receive, tls

DOCUMENTATION = r"""
module: kafka_znode_rights
short_description: Whose Kafka's nodes in ZooKeeper are
description:
  - Brokers give rights to the nodes that they make (C(zookeeper.set.acl)). This gives the same to
    those that are there already, for a cluster that goes to TLS or back.
  - Kafka's own tool for it, zookeeper-security-migration.sh, closes the root of ZooKeeper too, so
    that nobody else could make a node there any more, such as masters of Spark.
author: imdb-pipeline
options:
  connect:
    description: Servers of ZooKeeper and a path, as Kafka's zookeeper.connect.
    type: str
    required: true
  certificate:
    description: PEM file with private key and certificate, of the subject that brokers have.
    type: path
    required: true
  ca:
    description: PEM file with the CAs that are trusted.
    type: path
    required: true
  own:
    description:
      - Whether the nodes are for this subject to change, and those with passwords to read; else
        everybody may do everything.
    type: bool
    required: true
"""
EXAMPLES = r"""
- name: Give Kafka's nodes to brokers alone
  kafka_znode_rights:
    connect: 192.0.2.1:2281
    certificate: /etc/ssl/imdb-pipeline/kafka.pem
    ca: /etc/ssl/imdb-pipeline/ca.pem
    own: true
"""
RETURN = r"""
nodes:
  description: Paths of the nodes that were given other rights, or would be.
  type: list
  elements: str
  returned: always
"""

#: ZkData.SecureRootPaths of Kafka 3.9, which its own tool goes through too.
ROOTS = (
    "/admin",
    "/brokers",
    "/cluster",
    "/config",
    "/controller",
    "/controller_epoch",
    "/delegation_token",
    "/feature",
    "/isr_change_notification",
    "/kafka-acl",
    "/kafka-acl-changes",
    "/kafka-acl-extended",
    "/kafka-acl-extended-changes",
    "/latest_producer_id_block",
    "/log_dir_event_notification",
    "/migration",
)
#: ZkData.SensitiveRootPaths: nobody else may read what is there.
SENSITIVE = ("/config/users", "/config/brokers", "/delegation_token/tokens")
#: Requests of ZooKeeper's client protocol, and what it answers of a node that is gone.
GET_ACL, SET_ACL, GET_CHILDREN, CLOSE = 6, 7, 8, -11
NO_NODE = -101
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
        """Return what follows the header of an answer, None if there is no such node."""
        self._number += 1
        self._send(struct.pack(">ii", self._number, kind) + text(path) + more)
        answer: bytes = receive(self._connection)
        error = struct.unpack_from(">iqi", answer)[2]
        if error == NO_NODE:
            return None
        if error:
            raise OSError(f"{path}: {REASONS.get(error, f'error {error}')}")
        return answer[16:]

    def children(self, path: str) -> list[str]:
        """Return the paths of the nodes below one, none if it is gone."""
        answer = self._ask(GET_CHILDREN, path, b"\0")
        return [] if answer is None else [f"{path}/{name}" for name in texts(answer)]

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
        each = [struct.pack(">i", it.rights) + text(it.scheme) + text(it.who) for it in rights]
        any_version = struct.pack(">i", -1)
        self._ask(SET_ACL, path, struct.pack(">i", len(each)) + b"".join(each) + any_version)

    def close(self) -> None:
        """End it."""
        self._send(struct.pack(">ii", self._number + 1, CLOSE))


def text(value: str) -> bytes:
    """Return a text as the protocol has it: its length, then itself."""
    content = value.encode()
    return struct.pack(">i", len(content)) + content


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
    context = tls(certificate, ca)
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


def connect(server: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a connection to a server, by TLS."""
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    plain = socket.create_connection((host, int(port)), timeout=10)
    return context.wrap_socket(plain, server_hostname=host)


def wanted(path: str, own: bool) -> list[Right]:
    """Return the rights that Kafka gives to a node that it makes (ZkData.defaultAcls)."""
    if not own:
        return [ANYBODY]
    return [ASKER] if path.startswith(SENSITIVE) else [ASKER, READER]


def has(rights: set[Right], wished: list[Right]) -> bool:
    """Whether a node has rights already; one certificate's subject is like another here."""
    found = {ASKER if it.scheme == "x509" and it.rights == ALL else it for it in rights}
    return found == set(wished) and len(rights) == len(wished)


def bring(zookeeper: Session, root: str, own: bool, check_mode: bool) -> list[str]:
    """Give all nodes of Kafka's below a path their rights; return the paths of those changed."""
    changed = []
    left = [f"{root}{path}" for path in reversed(ROOTS)]
    while left:
        path = left.pop()
        rights = zookeeper.rights(path)
        if rights is None:
            continue
        wished = wanted(path.removeprefix(root), own)
        if not has(rights, wished):
            changed.append(path)
            if not check_mode:
                zookeeper.give(path, wished)
        left += reversed(zookeeper.children(path))
    return changed


def run(module: AnsibleModule) -> dict[str, Any]:
    """Bring the nodes to what is asked; return the module's result."""
    given = module.params
    servers, slash, root = given["connect"].partition("/")
    try:
        with session(servers, given["certificate"], given["ca"]) as zookeeper:
            changed = bring(zookeeper, (slash + root).rstrip("/"), given["own"], module.check_mode)
    except CertificateError as error:
        module.fail_json(msg=f"{error}. Was role certificates run on this host?")
    except OSError as error:
        module.fail_json(
            msg=f"ZooKeeper does not give Kafka's nodes other rights: {error}. Is it up at "
            f"{given['connect']}, and have all brokers certificates of one subject?"
        )
    return {"changed": bool(changed), "nodes": changed}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "connect": {"required": True},
            "certificate": {"type": "path", "required": True},
            "ca": {"type": "path", "required": True},
            "own": {"type": "bool", "required": True},
        },
        supports_check_mode=True,
    )
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
