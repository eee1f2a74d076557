"""The command `prepare`: the records as JSON lines, without a broker."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from imdb_producer.bar import Bar
from imdb_producer.config import Config
from imdb_producer.dataset import fetch_data_set, read_messages
from imdb_producer.errors import StateError
from imdb_producer.files import replacing
from imdb_producer.redact import redacted
from imdb_producer.status import Reporter, Status
from imdb_producer.stop import Stop

log = logging.getLogger(__name__)

STANDARD_OUTPUT = "-"


def prepare(config: Config, stop: Stop, target: str) -> None:
    """Download, join and filter; write a line of JSON for each record.

    Args:
        config: where from, and which records.
        stop: leaves the target as it was.
        target: a file, which is replaced as a whole, or `-` for standard output.

    Raises:
        ProducerError: what went wrong.
    """
    status = Status(redacted(config.basics), redacted(config.ratings))
    reporter = Reporter(status, [Bar(sys.stderr)])
    with stop.interruptible():
        data_set = fetch_data_set(config, reporter.activity)
        lines = (message.value + b"\n" for message in read_messages(data_set, reporter.activity))
        try:
            records = _write(lines, target)
        except BrokenPipeError:
            # Whoever read the output has had enough.
            sys.stdout = None
            return
        except OSError as error:
            raise StateError(
                f"Cannot write {target}: {error.strerror or error}. "
                "Name a file in a folder that can be written and has room."
            ) from error
    log.info("Prepared %d records", records)


def _write(lines: Iterator[bytes], target: str) -> int:
    records = 0
    if target == STANDARD_OUTPUT:
        for line in lines:
            sys.stdout.buffer.write(line)
            records += 1
        sys.stdout.buffer.flush()
        return records
    with replacing(Path(target)) as file:
        for line in lines:
            file.write(line)
            records += 1
    return records
