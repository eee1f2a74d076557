"""Records that a standby prepares ahead, so that it can send at once when it becomes the leader."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from imdb_producer import __version__
from imdb_producer.bar import Bar
from imdb_producer.config import Config
from imdb_producer.dataset import DataSet, fetch_data_set, read_messages
from imdb_producer.download import Beat
from imdb_producer.errors import StateError
from imdb_producer.files import replacing
from imdb_producer.lock import AT_WORK, RUN_LOCK, exclusive
from imdb_producer.outbox import Outbox, outbox_path, write_outbox
from imdb_producer.records import Message
from imdb_producer.redact import redacted
from imdb_producer.status import Reporter, Status
from imdb_producer.stop import Stop

log = logging.getLogger(__name__)

_ABOUT = "about.json"
#: Records between two signs of life.
_RECORDS_A_BEAT = 1000


def prepare_ahead(config: Config, stop: Stop) -> None:
    """Download, join and filter; keep the records for `run`.

    Neither Kafka nor the progress is touched. Without a new data set nothing is read again.

    Raises:
        BusyError: `run` or another preparation is at work in this folder.
        ProducerError: what else went wrong. What was prepared before stays.
    """
    status = Status(redacted(config.basics), redacted(config.ratings))
    reporter = Reporter(status, [Bar(sys.stderr)])
    with exclusive(config.cache_dir / RUN_LOCK, AT_WORK), stop.interruptible():
        data_set = fetch_data_set(config, reporter.activity)
        found = find_prepared(config, data_set)
        if found is not None:
            log.info("The %d records of this data set are prepared already", found.total)
            return
        outbox = _keep(_folder(config), data_set, read_messages(data_set, reporter.activity))
    log.info("Prepared %d records ahead", outbox.total)


def find_prepared(config: Config, data_set: DataSet) -> Outbox | None:
    """Give all records of a data set, if this version of the program has prepared them ahead."""
    folder = _folder(config)
    try:
        about = _About(**json.loads((folder / _ABOUT).read_bytes()))
        outbox = Outbox(outbox_path(folder, about.digest), about.total, about.digest)
        expected = _About.of(data_set, outbox)
    except (OSError, ValueError, TypeError):
        # Unknown is as good as absent: the dumps are read.
        return None
    return outbox if about == expected else None


def read_prepared(outbox: Outbox, beat: Beat) -> Iterator[Message]:
    """Give the records that were prepared ahead.

    Raises:
        StateError: the file is gone or damaged.
    """
    log.info("Taking the %d records that were prepared ahead", outbox.total)
    for number, message in enumerate(outbox.messages()):
        if number % _RECORDS_A_BEAT == 0:
            beat("taking records prepared ahead", number, outbox.total)
        yield message


@dataclass(frozen=True, slots=True)
class _About:
    """What the file of records is of; `size` is in bytes, `digest` and `total` are the outbox's."""

    data_set: str
    version: str
    digest: str
    total: int
    size: int

    @classmethod
    def of(cls, data_set: DataSet, outbox: Outbox) -> _About:
        """Describe the file as it is.

        Raises:
            OSError: it is not there.
        """
        size = outbox.path.stat().st_size
        return cls(data_set.fingerprint, __version__, outbox.digest, outbox.total, size)


def _folder(config: Config) -> Path:
    return config.cache_dir / "ahead"


def _keep(folder: Path, data_set: DataSet, messages: Iterator[Message]) -> Outbox:
    """Write the records, then what they are of, so that a crash leaves no file misnamed."""
    try:
        folder.mkdir(exist_ok=True)
        outbox = write_outbox(folder, messages)
        with replacing(folder / _ABOUT) as file:
            file.write(json.dumps(asdict(_About.of(data_set, outbox))).encode() + b"\n")
    except OSError as error:
        raise StateError(
            f"Cannot write to {folder}: {error.strerror or error}. Make it writable and give it "
            "room, or set CACHE_DIR to another folder."
        ) from error
    for path in folder.glob("outbox*"):
        if path != outbox.path:
            with suppress(OSError):
                path.unlink()
    return outbox
