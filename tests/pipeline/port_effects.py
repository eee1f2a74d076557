"""What ZooKeeper holds, for a comparison; run in the place of a host that it is open to.

Usage: python -m tests.pipeline.port_effects <given.json

Reads `servers` and `certificate` and prints an object: of each node by its path a digest of its
content, empty for those whose content changes by itself.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

#: Below these come and go nodes, and content changes, without anybody's doing.
RESTLESS = ("/imdb-pipeline", "/isr_change_notification", "/log_dir_event_notification")


def walk(client: KazooClient, path: str = "/") -> Iterator[tuple[str, str]]:
    """Yield every node and what tells its content."""
    try:
        content, stat = client.get(path)
        below = client.get_children(path)
    except NoNodeError:  # it ended just now
        return
    # Which replicas are in sync follows from the load.
    volatile = stat.ephemeralOwner or path.endswith("/state")
    yield path, "" if volatile else hashlib.sha256(content or b"").hexdigest()
    for name in sorted(below):
        child = f"{path.rstrip('/')}/{name}"
        if child not in RESTLESS:
            yield from walk(client, child)


def main() -> None:
    """Print all of it."""
    given = json.load(sys.stdin)
    client = KazooClient(
        given["servers"],
        use_ssl=True,
        certfile=given["certificate"],
        keyfile=given["certificate"],
        ca=given["ca"],
        check_hostname=True,
    )
    client.start(timeout=20)
    try:
        nodes = dict(walk(client))
    finally:
        client.stop()
        client.close()
    json.dump(nodes, sys.stdout)


if __name__ == "__main__":
    main()
