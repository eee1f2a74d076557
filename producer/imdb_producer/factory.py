"""What a setting chooses: the Kafka client, and where progress is kept.

Each is loaded when it is chosen: not every host has the packages of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imdb_producer.client import Client
from imdb_producer.config import Config
from imdb_producer.errors import ConfigError
from imdb_producer.progress import ProgressFile, ProgressStore
from imdb_producer.security import PLAIN, Security

#: Where in ZooKeeper progress is, by topic.
SHARED_ROOT = "/imdb-pipeline/imdb-producer-progress"


def make_client(
    name: str, bootstrap_servers: Sequence[str], topic: str, security: Security = PLAIN
) -> Client:
    """Make the client that a setting names, connected.

    Raises:
        ConfigError: it is not installed, or a file of `security` cannot be used.
        TopicError: no broker answers.
    """
    if name == "confluent":
        try:
            from imdb_producer.confluent import ConfluentClient
        except ImportError as error:
            raise ConfigError(
                f"KAFKA_CLIENT={name!r}: {error}. It is of the extra `fast`: set producer_fast and "
                "deploy, or install confluent-kafka; or use kafka-python."
            ) from error
        return ConfluentClient(bootstrap_servers, topic, security)
    from imdb_producer.kafka_python import KafkaPythonClient

    return KafkaPythonClient(bootstrap_servers, topic, security)


def open_store(folder: Path, config: Config) -> ProgressStore:
    """Give where the progress of a topic is kept: in ZooKeeper if there are servers.

    Raises:
        ConfigError: a file for TLS with them cannot be used.
        StoreError: no server answers.
        AccessError: none that takes this host, and that this host trusts.
    """
    store = ProgressFile(folder / "progress.json")
    if not config.progress_servers:
        return store
    from imdb_producer.shared_progress import SharedProgress

    path = f"{SHARED_ROOT}/{config.topic}"
    return SharedProgress(",".join(config.progress_servers), path, store, config.progress_tls)
