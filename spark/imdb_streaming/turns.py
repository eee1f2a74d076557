"""The query's turns: since when a batch is under way, and where the query is to be begun anew."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pyspark.sql import DataFrame

from imdb_streaming.sinks import MovieSink


class GapPassedError(Exception):
    """All that was lost and accepted is behind; the query ends, to be begun anew."""


@dataclass
class Turns:
    """What foreachBatch calls: the sink, and a look before each batch.

    A query that may read on over lost messages does so over any, for as long as it runs. So when
    those are behind whose loss was accepted, the next batch ends the query before it is read: its
    plan is written, that of before is done, and another query that stops at lost messages begins
    with it. Between two batches nothing else may stop a query: the state in memory would be ahead.
    """

    sink: MovieSink
    #: Whether the messages are behind whose loss was accepted; None where none was.
    is_gap_passed: Callable[[], bool] | None = None
    #: Whether the query has ended for that.
    is_begun_anew: bool = field(default=False, init=False)
    _under_way: tuple[int, float] | None = field(default=None, init=False)

    def __call__(self, rows: DataFrame, batch_id: int) -> None:
        if self.is_gap_passed and self.is_gap_passed():
            self.is_gap_passed = None
            self.is_begun_anew = True
            raise GapPassedError("The messages are behind whose loss was accepted.")
        self._under_way = batch_id, time.monotonic()
        self.sink(rows, batch_id)

    def told(self, batch_id: int) -> None:
        """Note that the query has told of the end of a batch."""
        if self._under_way and self._under_way[0] <= batch_id:
            self._under_way = None

    def running_seconds(self) -> float:
        """How long the batch takes that is under way; 0 where none is."""
        under_way = self._under_way
        return time.monotonic() - under_way[1] if under_way else 0.0
