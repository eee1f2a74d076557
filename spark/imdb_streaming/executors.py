"""Whether the job has an executor to run on."""

import time
from collections.abc import Callable

#: How long the master is asked for others after an executor has gone, and how often, in seconds.
ASKING_SECONDS = 30.0
ASKING_EVERY_SECONDS = 3.0


class ExecutorsLostError(Exception):
    """The job had executors, lost them, and was given no other for too long."""


class ExecutorWatch:
    """Notices an application that gets no executors any more.

    A standalone master that is started again while a worker asks to be registered may start an
    executor twice, and then counts the cores of both as taken: the application waits for good,
    and only a new one is given cores. An application that never had an executor waits for a worker
    to come, which a new one would do too.

    A master that keeps its state in ZooKeeper fails when a drained worker leaves it, before it
    looks for room elsewhere: it wants to forget the worker a second time, and Spark 4.1 raises on
    that. It looks again when it is asked for executors.
    """

    def __init__(
        self,
        count: Callable[[], int],
        limit_seconds: float,
        ask: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch the number of executors by `count`, and give up after `limit_seconds` of none.

        `ask` has the master look for room for as many as the job may have, and must not wait.
        """
        self._count = count
        self._limit = limit_seconds
        self._ask = ask
        self._clock = clock
        self._last_seen: float | None = None
        self._last_count = 0
        self._asking: float | None = None
        self._asked = 0.0

    def check(self) -> None:
        """Look; raise ExecutorsLostError if there has been none for too long."""
        now, count = self._clock(), self._count()
        if count != self._last_count:
            self._asking = now if count < self._last_count else None
            self._last_count = count
        asks = self._asking is not None and now - self._asking <= ASKING_SECONDS
        if asks and now - self._asked >= ASKING_EVERY_SECONDS:
            self._asked = now
            self._ask()
        if count > 0:
            self._last_seen = now
        elif self._last_seen is not None and now - self._last_seen > self._limit:
            raise ExecutorsLostError(
                f"The job has had no executor for {self._limit:g} s, and starts anew as another "
                "application. Is a worker up (systemctl status spark-worker), with cores free?"
            )
