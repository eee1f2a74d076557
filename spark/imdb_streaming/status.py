"""The job's numbers: one log line a batch, and a file for `make status`."""

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imdb_streaming.bucket import Place
from imdb_streaming.checkpoint import last_batch
from imdb_streaming.files import modified, write_atomically
from imdb_streaming.sinks import BatchResult, MovieSink


@dataclass
class QueryStatus:
    """The query's last batch, as in STATUS_FILE.

    batch_id and at (UTC, ISO) are null before the run's first batch; after a restart they are the
    last finished batch's, and the other numbers are 0 until the next. Rates are rows a second.

    lag is messages in the topic that were not read yet when the query last told, over all
    partitions, and null until it has told. lag_seconds is for how long at most one of them has
    waited: since none did, or since the newest message that was read, whichever is later; 0 where
    none waits, null where neither is known. batch_running_seconds is how long the batch takes that
    is under way, 0 where none is.
    """

    batch_id: int | None = None
    at: str | None = None
    rows_in: int = 0
    rows_written: int = 0
    dead_letters: int = 0
    duplicates: int = 0
    stale: int = 0
    input_rate: float = 0.0
    processed_rate: float = 0.0
    lag: int | None = None
    lag_seconds: float | None = None
    duration_ms: int = 0
    batch_running_seconds: float = 0.0
    #: By the wall clock, as Kafka's stamps are; and by one that nobody sets.
    _newest: float | None = field(default=None, repr=False)
    _none_waited_at: float | None = field(default=None, repr=False)

    @classmethod
    def of_checkpoint(cls, checkpoint: Place) -> "QueryStatus":
        """The last batch that the checkpoint says is finished."""
        last = last_batch(checkpoint, "commits")
        if last is None:
            return cls()
        at = modified(checkpoint / "commits" / str(last))
        return cls(batch_id=last, at=at.isoformat(timespec="seconds"))

    def idle(self, progress: dict[str, Any]) -> None:
        """Take over what a progress without a batch says."""
        self.lag = lag_of(progress)
        if self.lag == 0:
            self._none_waited_at = time.monotonic()
        self.refresh()
        self.input_rate = _rate(progress, "inputRowsPerSecond")
        self.processed_rate = _rate(progress, "processedRowsPerSecond")

    def refresh(self, batch_running_seconds: float = 0.0) -> None:
        """Bring to now what grows by itself."""
        self.batch_running_seconds = round(batch_running_seconds, 1)
        if self.lag is None:
            return
        ages = [0.0] if self.lag == 0 else []
        if self._newest is not None:
            ages.append(max(0.0, time.time() - self._newest))
        if self._none_waited_at is not None:
            ages.append(time.monotonic() - self._none_waited_at)
        self.lag_seconds = round(min(ages), 1) if ages else None

    def finished(self, progress: dict[str, Any], result: BatchResult) -> None:
        """Take over a finished batch."""
        if result.newest:
            # A producer may stamp ahead of time; no message that comes after waits for less then.
            newest = min(result.newest, time.time())
            self._newest = max(self._newest or newest, newest)
        self.idle(progress)
        # Spark counts what is read once more, as of a batch with events that are not new.
        share = result.messages / max(progress["numInputRows"], result.messages, 1)
        self.input_rate = round(self.input_rate * share, 1)
        self.processed_rate = round(self.processed_rate * share, 1)
        self.batch_id = progress["batchId"]
        self.at = _now()
        self.rows_in = result.messages
        self.rows_written = result.rows_written
        self.dead_letters = result.dead_letters
        self.duplicates = result.duplicates
        self.stale = result.stale
        self.duration_ms = progress["batchDuration"]


@dataclass
class Status:
    """The content of STATUS_FILE.

    silver_rows counts the rows in the table's files; dead_letters the messages that were no movies,
    duplicates the events that were sent again, stale those that were older than what their movie
    had, and lost_messages those that the topic had lost before they were read, since the run began.
    """

    run_id: str
    lost_messages: int
    query: QueryStatus
    silver_rows: int = 0
    dead_letters: int = 0
    duplicates: int = 0
    stale: int = 0
    index: dict[str, int] = field(default_factory=dict)
    started_at: str = field(default_factory=lambda: _now(), init=False)
    updated_at: str = field(default="", init=False)

    def take(self, sink: MovieSink) -> None:
        """Take over the sums of all batches, and how much the job remembers."""
        totals, state = sink.totals, sink.state
        self.silver_rows = sink.table_rows
        self.dead_letters = totals.dead_letters
        self.duplicates = totals.duplicates
        self.stale = totals.stale
        self.index = {"movies": state.movies, "bytes": state.bytes}

    def write(self, path: Path) -> None:
        self.updated_at = _now()
        write_atomically(path, (json.dumps(self.content(), indent=2) + "\n").encode())

    def content(self) -> dict[str, Any]:
        """All of it as plain values."""
        content = asdict(self)
        query = content["query"]
        content["query"] = {name: query[name] for name in query if not name.startswith("_")}
        return content

    def line(self) -> str:
        """The status in a few words, for systemctl."""
        query = self.query
        if query.batch_id is None:
            return "waiting for the first messages"
        return (
            f"batch {query.batch_id}: {query.rows_in:,} in, {query.rows_written:,} written; "
            f"{self.silver_rows:,} rows in silver, {self.dead_letters:,} dead letters, "
            f"lag {'unknown' if query.lag is None else format(query.lag, ',')}"
        )


def batch_line(progress: dict[str, Any], result: BatchResult) -> str:
    """What a batch did, for the log."""
    return (
        f"batch {progress['batchId']}: {result.messages} rows in, "
        f"{result.rows_written} written, {result.duplicates} sent again, {result.stale} stale, "
        f"{result.dead_letters} malformed, lag {lag_of(progress)}, "
        f"{progress['batchDuration'] / 1000:.1f} s, "
        + (f"to {result.where}" if result.where else "nothing to write")
    )


def lag_of(progress: dict[str, Any]) -> int:
    """Messages behind the newest, summed over the partitions of all sources."""
    lag = 0
    for source in progress["sources"]:
        latest = source.get("latestOffset")
        # A source may have no such offsets.
        for topic, offsets in latest.items() if isinstance(latest, dict) else ():
            read = (source["endOffset"] or {}).get(topic, {})
            lag += sum(max(0, offsets[it] - read.get(it, 0)) for it in offsets)
    return lag


def _rate(progress: dict[str, Any], name: str) -> float:
    """A rate; Spark leaves it out where it would divide by zero."""
    return round(float(progress.get(name) or 0.0), 1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
