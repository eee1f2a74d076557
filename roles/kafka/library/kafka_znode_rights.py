#!/usr/bin/python
"""Ansible module: whose nodes in ZooKeeper are: Kafka's that are there already, and others'."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_znodes import CertificateError, receive, tls

DOCUMENTATION = r"""
module: kafka_znode_rights
short_description: Whose nodes in ZooKeeper are, Kafka's and others'
description:
  - Brokers give rights to the nodes that they make (C(zookeeper.set.acl)). This gives the same to
    those that are there already, for a cluster that goes to TLS or back.
  - Whoever may change a node may delete those below it that are empty, whose-ever they are. So the
    root is closed too where I(others) says which nodes others need below it; these are made.
    Kafka's own tool, zookeeper-security-migration.sh, closes the root without making any.
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
      - Whether the nodes are for this subject to change, and those with passwords to read, and
        others' for their owners; else everybody may do everything.
    type: bool
    required: true
  others:
    description:
      - Nodes of others in the same ensemble, each with an absolute C(path) and C(owners), subjects
        of certificates; without owners it is for everybody.
      - With C(shared) owners may make and delete nodes there, everybody may read, and nobody may
        change content; with C(below) all that is below it, but for paths of this list and what is
        below them, gets the same rights.
      - Empty leaves the root as it is.
    type: list
    elements: dict
    default: []
  optional:
    description: Whether a ZooKeeper that cannot be asked is passed over, as it is made later.
    type: bool
    default: false
"""
EXAMPLES = r"""
- name: Give Kafka's nodes to brokers alone
  kafka_znode_rights:
    connect: 192.0.2.1:2281
    certificate: /etc/ssl/imdb-pipeline/kafka.pem
    ca: /etc/ssl/imdb-pipeline/ca.pem
    own: true
    others:
      - {path: /spark, owners: [CN=spark]}
"""
RETURN = r"""
nodes:
  description: Paths of the nodes that were made or given other rights, or would be.
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
CREATE, GET_ACL, SET_ACL, GET_CHILDREN, CLOSE = 1, 6, 7, 8, -11
NO_NODE, NODE_EXISTS = -101, -110
REASONS = {-102: "the certificate's subject has no right to it"}
ALL, READ = 31, 1
#: To read, write, make and delete below, but not to give rights; the same without content.
USE, SHARE = 15, 12


class Right(NamedTuple):
    """What somebody may do with a node: the sum of the rights, a scheme, and who in that scheme."""

    rights: int
    scheme: str
    who: str


#: What rights a path is to have.
Wish = Callable[[str], list[Right]]
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

    def make(self, path: str, rights: list[Right]) -> None:
        """Make an empty node with these rights; nothing if it is there."""
        self._ask(CREATE, path, text("") + packed(rights) + struct.pack(">i", 0))

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


class Nodes:
    """Brings nodes to their rights, and keeps which it has changed, or would."""

    def __init__(self, zookeeper: Session, own: bool, check_mode: bool) -> None:
        """Begin."""
        self.changed: list[str] = []
        self._zookeeper, self._own, self._check_mode = zookeeper, own, check_mode

    def bring(self, path: str, wished: list[Right]) -> bool:
        """Give a node these rights; return whether there is one."""
        rights = self._zookeeper.rights(path)
        if rights is None:
            return False
        if not has(rights, wished):
            self.changed.append(path)
            if not self._check_mode:
                self._zookeeper.give(path, wished)
        return True

    def all_below(self, path: str, wished: Wish, but: frozenset[str] = frozenset()) -> None:
        """Give a node and all that is below it the rights that are wished for each path."""
        left = [path]
        while left:
            path = left.pop()
            if self.bring(path, wished(path)):
                left += [it for it in reversed(self._zookeeper.children(path)) if it not in but]

    def kafkas(self, root: str) -> None:
        """Give all nodes of Kafka's below a path their rights."""
        for path in ROOTS:
            self.all_below(f"{root}{path}", lambda it: wanted(it.removeprefix(root), self._own))

    def others(self, others: list[dict[str, Any]]) -> None:
        """Make the nodes of others and give them to their owners, and then the root to brokers."""
        by_path = {str(other["path"]): other for other in others}
        for path, other in sorted(by_path.items()):
            wished = rights_of(other)
            self._make(path, wished)
            if other.get("below"):
                self.all_below(path, lambda _, its=wished: its, frozenset(by_path))  # type: ignore[misc]
            else:
                self.bring(path, wished)
        if others:
            self.bring("/", [ASKER, READER])

    def open_others(self, others: list[dict[str, Any]]) -> None:
        """Give the nodes of others, and the root, to everybody."""
        for top in sorted({str(other["path"]).split("/")[1] for other in others}):
            self.all_below(f"/{top}", lambda _: [ANYBODY])
        if others:
            self.bring("/", [ANYBODY])

    def _make(self, path: str, rights: list[Right]) -> None:
        """Make a node if there is none; what is above it too, for Kafka to change alone."""
        parts = path.strip("/").split("/")
        above = ["/" + "/".join(parts[:count]) for count in range(1, len(parts))]
        for each, its in [*((it, [ASKER, READER]) for it in above), (path, rights)]:
            if self._zookeeper.rights(each) is None:
                self.changed.append(each)
                if not self._check_mode:
                    self._zookeeper.make(each, its)


def rights_of(other: dict[str, Any]) -> list[Right]:
    """Return the rights to a node of somebody else: its owners', and those of who gives them."""
    shared = bool(other.get("shared"))
    rights = SHARE if shared else USE
    owners = [Right(rights, "x509", str(owner)) for owner in other.get("owners") or []]
    if not owners:
        return [ANYBODY]
    return [ASKER, *owners, *([READER] if shared else [])]


def run(module: AnsibleModule) -> dict[str, Any]:
    """Bring the nodes to what is asked; return the module's result."""
    given = module.params
    servers, slash, root = given["connect"].partition("/")
    try:
        with session(servers, given["certificate"], given["ca"]) as zookeeper:
            nodes = Nodes(zookeeper, given["own"], module.check_mode)
            nodes.kafkas((slash + root).rstrip("/"))
            (nodes.others if given["own"] else nodes.open_others)(given["others"])
    except OSError as error:
        if given["optional"]:
            return {"changed": True, "nodes": []}
        if not isinstance(error, CertificateError):
            module.fail_json(
                msg=f"ZooKeeper does not give nodes other rights: {error}. Is it up at "
                f"{given['connect']}, and have all brokers certificates of one subject?"
            )
        module.fail_json(msg=f"{error}. Was role certificates run on this host?")
    return {"changed": bool(nodes.changed), "nodes": nodes.changed}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "connect": {"required": True},
            "certificate": {"type": "path", "required": True},
            "ca": {"type": "path", "required": True},
            "own": {"type": "bool", "required": True},
            "optional": {"type": "bool", "default": False},
            "others": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
