"""The command `check`: whether a run could work, without sending anything."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from imdb_producer.config import Config
from imdb_producer.errors import ProducerError, SourceError
from imdb_producer.factory import make_client, open_store
from imdb_producer.http import Trouble, ask
from imdb_producer.proxies import Proxies
from imdb_producer.redact import redacted
from imdb_producer.refused import RefusedFile
from imdb_producer.sources import check_start, local_source
from imdb_producer.topic import wait_for_topic

#: Seconds to wait for an answer.
_TIMEOUT = 10.0


def check(config: Config) -> bool:
    """Look at everything that a run needs; print a line for each.

    Returns:
        whether all is well.
    """
    looks: list[tuple[str, Callable[[], str]]] = [
        ("client", lambda: _client(config)),
        ("topic", lambda: _topic(config)),
        ("titles", lambda: _source(config.basics, config.proxies)),
        ("ratings", lambda: _source(config.ratings, config.proxies)),
        ("folder", lambda: _folder(config.cache_dir)),
        ("progress", lambda: _progress(config)),
    ]
    well = True
    for name, look in looks:
        try:
            said = f"ok      {name}: {look()}"
        except ProducerError as error:
            well = False
            said = f"FAILED  {name}: {error}"
        print(said, file=sys.stdout, flush=True)
    return well


def _client(config: Config) -> str:
    security = config.security
    security.check()
    if config.kafka_client != "kafka-python":
        make_client(config.kafka_client, config.bootstrap_servers, config.topic, security).close(
            0.1
        )
    if not security.enabled:
        return config.kafka_client
    return f"{config.kafka_client}, by {security.protocol} as {security.username}"


def _topic(config: Config) -> str:
    found = wait_for_topic(config.bootstrap_servers, config.topic, _TIMEOUT, config.security)
    return (
        f"{config.topic} at {','.join(config.bootstrap_servers)} has partitions "
        f"{list(found.partitions)}"
    )


def _source(url: str, proxies: Proxies) -> str:
    if urlsplit(url).scheme == "file":
        path = local_source(url).path
        return f"{url}, {path.stat().st_size:,} bytes"
    try:
        with ask(url, timeout=(_TIMEOUT, _TIMEOUT), proxies=proxies) as answer:
            start = next(answer.chunks(), b"")
    except Trouble as trouble:
        raise SourceError(
            f"{trouble}. Check the address and the network, or name a copy by a file:// URL."
        ) from None
    check_start(start[:64], redacted(url))
    size = "of unknown size" if answer.length is None else f"{answer.length:,} bytes"
    return f"{redacted(url)}{proxies.named(url)}, {size}"


def _folder(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        raise SourceError(
            f"Cannot write to {folder}: {error.strerror or error}. "
            f"Make it writable for {os.geteuid()}, or set CACHE_DIR to another folder."
        ) from error
    return f"{folder} can be written, {free:,} bytes are free"


def _progress(config: Config) -> str:
    folder = config.cache_dir / "state" / config.topic
    with closing(open_store(folder, config)) as store:
        last = store.load()
    if last is None:
        return "nothing was sent yet"
    refused = len(RefusedFile(folder / "refused.jsonl"))
    return (
        f"{last.position:,} of {last.total:,} records of data set {last.data_set[:12]} are sent"
        + (f"; {refused:,} were refused, see {folder}/refused.jsonl" if refused else "")
    )
