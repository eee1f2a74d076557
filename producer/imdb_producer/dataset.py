"""A data set: both dumps on this host, and the messages that are made of them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imdb_producer.config import Config
from imdb_producer.download import Beat, Patience, fetch, no_beat
from imdb_producer.errors import DataError
from imdb_producer.records import FORMAT, Message, to_message
from imdb_producer.sources import Source, open_blocks

if TYPE_CHECKING:
    from imdb_producer.dumps import Counts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DataSet:
    """Two dumps, and what is taken of them."""

    basics: Source
    ratings: Source
    min_votes: int
    limit: int | None
    scratch: Path | None = None

    @property
    def fingerprint(self) -> str:
        """A name that every other content of the dumps or choice from them has not."""
        parts = [FORMAT, self.basics.sha256, self.ratings.sha256, self.min_votes, self.limit]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def modified(self) -> float:
        """Unix time of the last change of titles at their origin; 0 if it is not known."""
        return self.basics.modified


def fetch_data_set(config: Config, beat: Beat = no_beat) -> DataSet:
    """Bring both dumps to this host.

    Raises:
        SourceError, BusyError: see download.
    """
    patience = Patience(attempts=config.download_attempts)
    ratings, basics = (
        fetch(
            url,
            config.cache_dir,
            name,
            allow_cached=config.allow_cached,
            patience=patience,
            beat=beat,
            proxies=config.proxies,
        )
        for url, name in (
            (config.ratings, "title.ratings"),
            (config.basics, "title.basics"),
        )
    )
    scratch = config.cache_dir if config.cache_dir.is_dir() else None
    return DataSet(basics, ratings, config.min_votes, config.limit, scratch)


def read_messages(data_set: DataSet, beat: Beat = no_beat) -> Iterator[Message]:
    """Make the messages, in the order of title.basics; log what became of each row.

    Raises:
        SourceError, DataError: see sources and dumps; before the first message is given.
    """
    # DuckDB takes its time to load: who has nothing to read does without.
    from imdb_producer.dumps import Dumps

    with Dumps(data_set.scratch) as dumps:
        with open_blocks(data_set.ratings.path) as blocks:
            told = _told(blocks, "reading title.ratings, bytes", beat)
            _log_loaded("title.ratings", dumps.read_ratings(told, data_set.min_votes))
        with open_blocks(data_set.basics.path) as blocks:
            counts = dumps.read_movies(_told(blocks, "reading title.basics, bytes", beat))
            _log_loaded("title.basics", counts)
        if not counts.kept:
            raise DataError(
                f"No movie is left to send: {counts}. Check that BASICS_URL and RATINGS_URL "
                f"are of the same data set, and MIN_VOTES ({data_set.min_votes})."
            )
        yield from map(to_message, dumps.records(data_set.limit))


def _told(blocks: Iterator[bytes], what: str, beat: Beat) -> Iterator[bytes]:
    read = 0
    for block in blocks:
        read += len(block)
        beat(what, read, None)
        yield block


def _log_loaded(dump: str, counts: Counts) -> None:
    log.info("Loaded %d rows of %s: %s", counts.read, dump, counts)
    for example in counts.examples:
        log.warning("Malformed row of %s passed over: %s", dump, example)
    if counts.malformed > len(counts.examples):
        log.warning(
            "%d more malformed rows of %s passed over",
            counts.malformed - len(counts.examples),
            dump,
        )
