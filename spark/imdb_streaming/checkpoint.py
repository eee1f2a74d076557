"""What Spark's checkpoint says: which batches were planned and done, up to where, and when."""

import json
from typing import Any

from imdb_streaming.bucket import Place
from imdb_streaming.refusals import ADVICE, StartRefusedError

#: In the checkpoint's folder: up to where messages may be missing, as accept-loss said.
LOSS_FILE = "_accepted_loss.json"

#: By partition.
Offsets = dict[int, int]


def last_batch(checkpoint: Place, log: str) -> int | None:
    """The last batch in a log of Spark's, `offsets` (planned) or `commits` (done); None if none."""
    numbers = [int(path.name) for path in checkpoint.glob(f"{log}/*") if path.name.isdigit()]
    return max(numbers, default=None)


def check(checkpoint: Place) -> None:
    """Refuse files of which Spark would die, at each start again, and say no more than that."""
    # In this order: a job that runs plans a batch before it ends it, and may do so now.
    done = last_batch(checkpoint, "commits")
    planned = last_batch(checkpoint, "offsets")
    for batch in (planned, None if planned is None else planned - 1):
        if batch is not None and (checkpoint / "offsets" / str(batch)).exists():
            _line(checkpoint / "offsets" / str(batch), 1, "a batch's plan")
            _line(checkpoint / "offsets" / str(batch), 2, "offsets")
    if done is not None:
        path = checkpoint / "commits" / str(done)
        if planned is None or planned < done:
            raise _damaged(path, "a batch that was never planned", "offsets/ ends before it")
        _line(path, 1, "a finished batch")
    path = checkpoint / "metadata"
    if path.exists():
        _line(path, 0, "the query's id")


def planned_offsets(checkpoint: Place) -> Offsets | None:
    """Where the last batch ends that was begun; None before the first one."""
    batch = last_batch(checkpoint, "offsets")
    return None if batch is None else offsets_of(checkpoint, batch)


def read_offsets(checkpoint: Place) -> Offsets | None:
    """Where the batch begins that comes next, or is run again; None before the first start.

    Before the first batch is done that is where Spark has found the topic's beginning.
    """
    batch = last_batch(checkpoint, "commits")
    if batch is not None:
        return offsets_of(checkpoint, batch)
    return _beginning(checkpoint) if (checkpoint / "sources" / "0" / "0").exists() else None


def _beginning(checkpoint: Place) -> Offsets:
    """Where the topic began for Spark before the first batch."""
    path = checkpoint / "sources" / "0" / "0"
    return _offsets(path, _line(path, 1, "offsets"))


def offsets_of(checkpoint: Place, batch: int) -> Offsets:
    """Where a batch ends; Spark writes a line of settings, and one for each source."""
    path = checkpoint / "offsets" / str(batch)
    return _offsets(path, _line(path, 2, "offsets"))


def messages_of(checkpoint: Place, batch: int) -> int:
    """How many messages a batch has at most, by the offsets that were planned for it."""
    ends = offsets_of(checkpoint, batch)
    begins = offsets_of(checkpoint, batch - 1) if batch else _beginning(checkpoint)
    return sum(end - begins.get(partition, 0) for partition, end in ends.items())


def has_accepted_loss(checkpoint: Place) -> bool:
    """Whether the run went on without messages, so that a batch may come again without them."""
    return (checkpoint / LOSS_FILE).exists()


def by_partition(offsets: dict[str, Any]) -> Offsets:
    """Offsets of JSON, whose keys are text."""
    return {int(partition): int(offset) for partition, offset in offsets.items()}


def _offsets(path: Place, line: dict[str, Any]) -> Offsets:
    try:
        (offsets,) = line.values()
        return by_partition(offsets)
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(path, "offsets", error) from error


def _line(path: Place, number: int, what: str) -> dict[str, Any]:
    """A line of a file of Spark's, which is an object of JSON."""
    try:
        found = json.loads(path.read_text().split("\n")[number])
    except (OSError, ValueError, IndexError) as error:
        raise _damaged(path, what, error) from error
    if not isinstance(found, dict):
        raise _damaged(path, what, "it is no object")
    return found


def _damaged(path: Place, what: str, reason: object) -> StartRefusedError:
    return StartRefusedError(
        f"{path} cannot be read as {what} ({reason}): the checkpoint is damaged. {ADVICE}"
    )
