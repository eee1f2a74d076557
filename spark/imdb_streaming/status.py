"""The job's numbers: one log line a batch, and a file for `make status`."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imdb_streaming.files import write_atomically
from imdb_streaming.sinks import BatchResult


@dataclass
class QueryStatus:
    """A query's last batch, as in STATUS_FILE.

    batch_id and at (UTC, ISO) are null before the checkpoint's first batch; after a restart they
    are the last finished batch's, and the other numbers are 0 until the next. Rates are rows a
    second, lag is messages in the topic that are not yet read, over all partitions.
    """

    batch_id: int | None = None
    at: str | None = None
    rows_in: int = 0
    rows_written: int = 0
    input_rate: float = 0.0
    processed_rate: float = 0.0
    lag: int = 0
    duration_ms: int = 0

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> "QueryStatus":
        """The last batch that the checkpoint says is finished."""
        commits = [path for path in checkpoint.glob("commits/*") if path.name.isdigit()]
        if not commits:
            return cls()
        last = max(commits, key=lambda path: int(path.name))
        at = datetime.fromtimestamp(last.stat().st_mtime, UTC)
        return cls(batch_id=int(last.name), at=at.isoformat(timespec="seconds"))

    def idle(self, progress: dict[str, Any]) -> None:
        """Take over what a progress without a batch says."""
        self.lag = lag_of(progress)
        self.input_rate = _rate(progress, "inputRowsPerSecond")
        self.processed_rate = _rate(progress, "processedRowsPerSecond")

    def finished(self, progress: dict[str, Any], result: BatchResult) -> None:
        """Take over a finished batch."""
        self.idle(progress)
        self.batch_id = progress["batchId"]
        self.at = _now()
        self.rows_in = progress["numInputRows"]
        self.rows_written = result.rows_written
        self.duration_ms = progress["batchDuration"]


@dataclass
class Status:
    """The content of STATUS_FILE.

    silver_rows counts the rows in the table's files; malformed_rows counts the malformed
    messages since the checkpoint began.
    """

    run_id: str
    silver_rows: int
    malformed_rows: int
    queries: dict[str, QueryStatus]
    updated_at: str = field(default="", init=False)

    def write(self, path: Path) -> None:
        self.updated_at = _now()
        write_atomically(path, (json.dumps(asdict(self), indent=2) + "\n").encode())


def batch_line(query: str, progress: dict[str, Any], result: BatchResult) -> str:
    """What a batch did, for the log."""
    return (
        f"{query} batch {progress['batchId']}: {progress['numInputRows']} rows in, "
        f"{result.rows_written} written, {result.malformed} malformed, lag {lag_of(progress)}, "
        f"{progress['batchDuration'] / 1000:.1f} s, "
        + (f"to {result.where}" if result.where else "nothing to write")
    )


def lag_of(progress: dict[str, Any]) -> int:
    """Messages behind the newest, summed over the partitions of all sources."""
    return sum(
        max(0, latest - _offsets(source.get("endOffset")).get(partition, 0))
        for source in progress["sources"]
        for partition, latest in _offsets(source.get("latestOffset")).items()
    )


def _offsets(by_topic: Any) -> dict[tuple[str, str], int]:
    """{"topic": {"0": 5}} as {("topic", "0"): 5}; nothing where a source has no such offsets."""
    if not isinstance(by_topic, dict):
        return {}
    return {
        (topic, partition): offset
        for topic, partitions in by_topic.items()
        if isinstance(partitions, dict)
        for partition, offset in partitions.items()
    }


def _rate(progress: dict[str, Any], name: str) -> float:
    """A rate; Spark leaves it out where it would divide by zero."""
    return round(float(progress.get(name) or 0.0), 1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
