"""From the broker's timestamp to the row that a reader sees: a sender and a looking reader."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.lib
import pyarrow.parquet as pq
from kafka import KafkaProducer

from .records import encoded

#: Files of several batches, which a compaction made of rows that were seen before.
_COMPACTED = re.compile(r"-\d+_\d+\.parquet$")


@dataclass(frozen=True)
class Latency:
    """Seconds from the broker's timestamp to visible, of all rows, and files in the meantime."""

    sent: int
    p50: float
    p99: float
    longest: float
    silver_files_per_hour: float
    all_files_per_hour: float


class Reader:
    """Looks into a folder of silver again and again and reads each new file as soon as it can."""

    def __init__(self, silver: Path, output: Path, every: float = 0.05) -> None:
        """Begin; what is there already is not counted."""
        self.delays: list[float] = []
        #: When each new file of silver was read.
        self.files: list[float] = []
        #: When each new or changed file of the output was seen, about once a second.
        self.all_files: list[float] = []
        self._silver, self._output, self._every = silver, output, every
        self._seen = self._names()
        self._seen_all = self._everything()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopping.set()
        self._thread.join(60)

    def _names(self) -> set[str]:
        if not self._silver.exists():
            return set()
        return {
            path.name
            for path in self._silver.iterdir()
            if path.suffix == ".parquet" and path.name[0] not in "._"
        }

    def _everything(self) -> set[tuple[str, int]]:
        found = set()
        # It passes over folders that are gone in the midst of it: Spark makes some anew.
        for folder, _, names in os.walk(self._output):
            for name in names:
                path = Path(folder) / name
                with contextlib.suppress(FileNotFoundError):  # it was a temporary one
                    found.add((str(path), path.stat().st_mtime_ns))
        return found

    def _run(self) -> None:
        looked_at_all = 0.0
        while not self._stopping.wait(self._every):
            for name in sorted(self._names() - self._seen):
                if _COMPACTED.search(name):
                    self._seen.add(name)
                    continue
                try:
                    table = pq.read_table(self._silver / name, columns=["kafka_timestamp"])
                except (pyarrow.lib.ArrowInvalid, OSError):
                    # A file that Spark's sink is still writing; it is visible when it is whole.
                    continue
                visible = time.time()
                self._seen.add(name)
                self.files.append(visible)
                times = table.column(0).cast("timestamp[us]").cast("int64").to_numpy()
                self.delays += [float(delay) for delay in visible - times / 1e6]
            if time.monotonic() - looked_at_all > 1:
                new = self._everything() - self._seen_all
                self._seen_all |= new
                self.all_files += [time.time()] * len(new)
                looked_at_all = time.monotonic()


@dataclass
class Numbers:
    """Hands out the numbers of movies that nobody has sent yet."""

    next: int = 1_000_000_000

    def take(self, count: int = 1) -> int:
        """Return the first of so many more."""
        self.next += count
        return self.next - count


def send(client: dict[str, str], topic: str, rate: float, seconds: float, numbers: Numbers) -> int:
    """Send at a steady rate (messages a second) for so long; return how many."""
    producer = KafkaProducer(**client, acks="all", linger_ms=0)
    count = int(rate * seconds)
    begun = time.monotonic()
    try:
        for index in range(count):
            wait = begun + index / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            value = encoded(numbers.take())
            digest = hashlib.sha256(value).hexdigest().encode()
            producer.send(topic, key=digest[:9], value=value, headers=[("event_id", digest)])
        producer.flush(timeout=60)
    finally:
        producer.close(timeout=10)
    return count


def measure(
    client: dict[str, str],
    topic: str,
    silver: Path,
    output: Path,
    *,
    rate: float,
    seconds: float,
    patience: float,
    numbers: Numbers,
) -> Latency:
    """Send and read.

    Args:
        client: how kafka-python comes to the broker.
        topic: where to send to; a job reads it, and is caught up.
        silver: the job's folder of silver_movies.
        output: the job's whole output.
        rate: messages a second.
        seconds: how long to send.
        patience: seconds to wait for the last row.
        numbers: where the movies' numbers come from.

    Raises:
        RuntimeError: Not every message came to silver.
    """
    reader = Reader(silver, output)
    start = time.time()
    try:
        sent = send(client, topic, rate, seconds, numbers)
        end = time.time()
        limit = time.monotonic() + patience
        while len(reader.delays) < sent and time.monotonic() < limit:
            time.sleep(0.1)
    finally:
        reader.stop()
    if len(reader.delays) != sent:
        raise RuntimeError(f"{len(reader.delays)} of {sent} messages came to {silver}")
    delays = sorted(reader.delays)
    hours = (end - start) / 3600
    return Latency(
        sent,
        delays[len(delays) // 2],
        delays[min(len(delays) - 1, int(len(delays) * 0.99))],
        delays[-1],
        sum(start <= at <= end for at in reader.files) / hours,
        sum(start <= at <= end for at in reader.all_files) / hours,
    )
