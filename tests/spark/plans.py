"""A checkpoint as Spark writes it, where no query does."""

from datetime import UTC, datetime
from pathlib import Path


def plan(checkpoint: Path, batch_id: int) -> Path:
    """Write the plan of a batch, which reads up to offset 5 of partition 0."""
    path = checkpoint / "offsets" / str(batch_id)
    path.parent.mkdir(exist_ok=True)
    settings = '{"batchWatermarkMs":0,"batchTimestampMs":1767225600000,"conf":{}}'
    path.write_text(f'v1\n{settings}\n{{"imdb-movies":{{"0":5}}}}')
    return path


def end(checkpoint: Path, batch_id: int) -> Path:
    """Write that a batch is done."""
    path = checkpoint / "commits" / str(batch_id)
    path.parent.mkdir(exist_ok=True)
    path.write_text('v1\n{"nextBatchWatermarkMs":0}')
    return path


def milliseconds(at: datetime) -> int:
    """A time of UTC as Spark's plans have it."""
    return int(at.replace(tzinfo=UTC).timestamp() * 1000)
