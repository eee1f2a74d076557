"""What the tests of the job share that have all in local folders and local processes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast
from unittest.mock import patch

from imdb_streaming import terms
from imdb_streaming.config import Config, load_config


class LocalConfig(Config):
    """A Config that has a Path wherever it could name a bucket."""

    if TYPE_CHECKING:
        output_path: Path
        output_path_csv: Path

        @property
        def tables_path(self) -> Path: ...
        @property
        def silver_folder(self) -> Path: ...
        @property
        def dead_letters_folder(self) -> Path: ...
        @property
        def genre_counts_folder(self) -> Path: ...
        @property
        def genre_counts_csv_folder(self) -> Path: ...
        @property
        def staging_root(self) -> Path: ...
        @property
        def staging_root_csv(self) -> Path: ...
        @property
        def staging_folder(self) -> Path: ...
        @property
        def checkpoint_folder(self) -> Path: ...
        @property
        def state_folder(self) -> Path: ...


def environment(folder: Path) -> dict[str, str]:
    """A complete environment whose folders lie in one."""
    connector = folder / "connector"
    connector.mkdir()
    (connector / "spark-sql-kafka-0-10_2.13-4.1.1.jar").touch()
    return {
        "KAFKA_BOOTSTRAP_SERVERS": "broker:9092",
        "OUTPUT_PATH": str(folder / "parquet"),
        "OUTPUT_PATH_CSV": str(folder / "csv"),
        "STATUS_FILE": str(folder / "status.json"),
        "SPARK_MASTER": "local[2]",
        "SPARK_CONNECTOR_PATH": f"{connector}/*",
    }


def load_local_config(environ: Mapping[str, str]) -> LocalConfig:
    """The configuration of an environment that names local folders."""
    config = load_config(environ)
    assert not config.is_in_bucket
    return cast(LocalConfig, config)


def with_term(config: LocalConfig) -> LocalConfig:
    """The configuration of a new start, which overtakes those before."""
    return cast(LocalConfig, terms.take(config))


@contextmanager
def short_lived_jvms(*options: str) -> Iterator[None]:
    """Let JVMs that are started meanwhile compile fast, as they end before more would pay.

    Args:
        options: what they are given besides.
    """
    given = " ".join(["-XX:TieredStopAtLevel=1", *options])
    with patch.dict(os.environ, JDK_JAVA_OPTIONS=given):
        yield
