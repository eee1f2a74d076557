#!/usr/bin/python
"""Ansible module: whose nodes in ZooKeeper are: Kafka's that are there already, and others'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_znode_session import (
    ALL,
    ANYBODY,
    ASKER,
    READER,
    Right,
    Session,
    session,
    wanted,
)
from ansible.module_utils.kafka_znodes import CertificateError

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
#: To read, write, make and delete below, but not to give rights; the same without content.
USE, SHARE = 15, 12
#: What rights a path is to have.
Wish = Callable[[str], list[Right]]


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
