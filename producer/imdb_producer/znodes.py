"""Nodes of ZooKeeper with the rights of the node above them, and for this host to use.

The operator says who may change what, and gives the nodes above their rights when the pipeline is
deployed (kafka_zookeeper_others of role kafka). Where these let everybody do everything, as without
TLS, so do the nodes that are made here. imdb-standby has this module too, by a link.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import InvalidACLError, NoAuthError, NodeExistsError, NoNodeError
from kazoo.security import ACL, ANYONE_ID_UNSAFE, Id

EVERYBODY = ACL(31, ANYONE_ID_UNSAFE)
#: Everything but to give rights, for the subject of the certificate that is shown.
OWN = ACL(15, Id("auth", ""))
#: What ZooKeeper says to a certificate that has no right, and to who has none; and what to do.
REFUSED = (NoAuthError, InvalidACLError)
NO_RIGHT = (
    "refuses this host at {path}: it, or the node above it, is for certificates of other subjects. "
    "Deploy the pipeline, which gives the rights (ansible/site.yml)"
)


def make_node(
    ask: Callable[..., Any], client: KazooClient, path: str, content: bytes, ephemeral: bool = False
) -> None:
    """Make a node, and those above it that are missing; by `ask`, which calls and waits.

    Raises:
        NodeExistsError: it is there.
        REFUSED: this certificate may not make it, or there is none.
    """
    above = path.rpartition("/")[0] or "/"
    try:
        rights, _ = ask(client.get_acls_async, above)
    except NoNodeError:
        with suppress(NodeExistsError):
            make_node(ask, client, above, b"")
        rights, _ = ask(client.get_acls_async, above)
    if EVERYBODY not in rights:
        rights = [*rights, OWN]
    ask(client.create_async, path, content, acl=rights, ephemeral=ephemeral)
