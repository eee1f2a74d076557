"""Whether the job has an executor to run on."""

import time
from collections.abc import Callable


class ExecutorsLostError(Exception):
    """The job had executors, lost them, and was given no other for too long."""


class ExecutorWatch:
    """Notices an application that gets no executors any more.

    A standalone master that is started again while a worker asks to be registered may start an
    executor twice, and then counts the cores of both as taken: the application waits for good,
    and only a new one is given cores. An application that never had an executor waits for a worker
    to come, which a new one would do too.
    """

    def __init__(
        self,
        count: Callable[[], int],
        limit_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch `count`, the number of executors now, and give up after so many seconds of none."""
        self._count = count
        self._limit = limit_seconds
        self._clock = clock
        self._last_seen: float | None = None

    def check(self) -> None:
        """Look; raise ExecutorsLostError if there has been none for too long."""
        now = self._clock()
        if self._count() > 0:
            self._last_seen = now
        elif self._last_seen is not None and now - self._last_seen > self._limit:
            raise ExecutorsLostError(
                f"The job has had no executor for {self._limit:g} s, and starts anew as another "
                "application. Is a worker up (systemctl status spark-worker), with cores free?"
            )
