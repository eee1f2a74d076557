"""The configuration of a job whose tables are in local folders, for the type checker."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

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


def load_local_config(environ: Mapping[str, str]) -> LocalConfig:
    """The configuration of an environment that names local folders."""
    config = load_config(environ)
    assert not config.is_in_bucket
    return cast(LocalConfig, config)


def with_term(config: LocalConfig) -> LocalConfig:
    """The configuration of a new start, which overtakes those before."""
    return cast(LocalConfig, terms.take(config))
