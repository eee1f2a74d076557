"""How the job ends: when it is asked to, and when another start has taken over."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from imdb_streaming import terms
from imdb_streaming.config import Config
from imdb_streaming.files import OvertakenError

#: Stopping may take so long; then the batch is abandoned, which is always safe.
STOP_SECONDS = 25

log = logging.getLogger("imdb_streaming")


def listen_for_stop(stopping: threading.Event) -> None:
    """Let SIGTERM and SIGINT set an event, and do nothing else."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())


def end_late_stop(stopping: threading.Event) -> None:
    stopping.wait()
    log.info("Stopping.")
    end_in(STOP_SECONDS, 0)


@contextmanager
def ended_when_overtaken(config: Config) -> Iterator[None]:
    """End the process soon after another start has taken over, whatever it is at then."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            try:
                terms.check(config)
            except OvertakenError as error:
                log.error("%s", error)
                end_in(STOP_SECONDS, 1)
                return

    threading.Thread(target=watch, name="term", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def end_in(seconds: float, code: int) -> None:
    """End the process then, if it has not ended: Spark's calls can block for ever."""

    def end() -> None:
        log.warning("Stopping took more than %d s; the batch is abandoned.", seconds)
        logging.shutdown()
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
