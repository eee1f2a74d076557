"""Looks at the sources for all viewers at once, for as long as somebody views the page."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from imdb_dashboard import pipeline
from imdb_dashboard.config import Config
from imdb_dashboard.errors import SourceError
from imdb_dashboard.pipeline import PipelineState
from imdb_dashboard.prometheus import Prometheus
from imdb_dashboard.tables import Tables, TablesState

#: After so many seconds without a viewer nothing is asked any more.
IDLE_SECONDS = 30
#: Prometheus has new numbers every 15 s; what fires is to be seen soon.
PROMETHEUS_SECONDS = 5
#: Who comes first waits so long for an answer.
PATIENCE_SECONDS = 3

State = TypeVar("State")
log = logging.getLogger("imdb_dashboard")


@dataclass(frozen=True)
class Answer(Generic[State]):
    """The last state of a source, and why there is none of now; both None before the first."""

    state: State | None = None
    problem: str | None = None
    at: float = 0.0


@dataclass
class Source(Generic[State]):
    """Asks one source again and again, in a thread of its own, while somebody wants to know."""

    name: str
    ask: Callable[[], State]
    seconds: float
    _answer: Answer[State] = field(default_factory=Answer, init=False)
    _wanted: float = field(default=0.0, init=False)
    _wake: threading.Condition = field(default_factory=threading.Condition, init=False)
    #: Whether nobody wants to know.
    is_idle: bool = field(default=False, init=False)
    _stops: bool = field(default=False, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, once what is asked now has been answered."""
        with self._wake:
            self._stops = True
            self._wake.notify_all()
        if self._thread:
            self._thread.join()

    def answer(self, patience: float = PATIENCE_SECONDS) -> Answer[State]:
        """Return the last answer; who comes after a pause waits for a new one, for so long."""
        with self._wake:
            self._wanted = time.monotonic()
            self._wake.notify_all()
            self._wake.wait_for(self._is_fresh, patience)
            return self._answer

    def _is_fresh(self) -> bool:
        is_there = self._answer.state is not None or self._answer.problem is not None
        return is_there and time.monotonic() - self._answer.at < 2 * self.seconds + PATIENCE_SECONDS

    def _is_wanted(self) -> bool:
        return self._stops or time.monotonic() - self._wanted < IDLE_SECONDS

    def _run(self) -> None:
        while True:
            with self._wake:
                self.is_idle = True
                self._wake.wait_for(self._is_wanted)
                self.is_idle = False
            if self._stops:
                return
            started = time.monotonic()
            self._look()
            with self._wake:
                left = self.seconds - (time.monotonic() - started)
                self._wake.wait_for(lambda: self._stops, max(0.0, left))

    def _look(self) -> None:
        before = self._answer
        try:
            now = Answer(self.ask(), None, time.monotonic())
        except SourceError as error:
            now = Answer(before.state, str(error), time.monotonic())
        except Exception:
            # The thread has to go on, or the page would stand still without a word.
            log.exception("%s", self.name)
            text = (
                f"The page failed at reading {self.name}; the journal of imdb-dashboard says why."
            )
            now = Answer(before.state, text, time.monotonic())
        if now.problem != before.problem:
            log.warning("%s: %s", self.name, now.problem or "answers again")
        with self._wake:
            self._answer = now
            self._wake.notify_all()


class Watch:
    """All that the page shows."""

    def __init__(self, config: Config) -> None:
        """Begin to look at the sources that there are."""
        self.config = config
        folder = config.tables_folder
        self.tables = Tables(folder, config.memory_mb) if folder else None
        self._tables: Source[TablesState] | None = None
        self._pipeline: Source[PipelineState] | None = None
        if self.tables:
            self._tables = Source("the tables", self.tables.refresh, config.refresh_seconds)
            self._tables.start()
        if config.prometheus_url:
            asked = Prometheus(
                config.prometheus_url, config.prometheus_certificate, config.prometheus_ca
            )
            self._pipeline = Source(
                "Prometheus", lambda: pipeline.ask(asked, config.topic), PROMETHEUS_SECONDS
            )
            self._pipeline.start()

    def stop(self) -> None:
        """End it."""
        for source in (self._tables, self._pipeline):
            if source:
                source.stop()
        if self.tables:
            self.tables.close()

    def tables_now(self, patience: float = PATIENCE_SECONDS) -> Answer[TablesState]:
        """Return how the tables are."""
        if not self._tables or not self.tables:
            return Answer(
                problem=f"The tables are in {self.config.tables or 'no folder'}, which this page "
                "does not read: it reads folders of its host. See docs/reading.md."
            )
        answer = self._tables.answer(patience)
        done, of = self.tables.progress
        if answer.state is None and answer.problem is None:
            return Answer(problem=f"The tables are being read: {done:,} of {of:,} files.")
        return answer

    def pipeline_now(self, patience: float = PATIENCE_SECONDS) -> Answer[PipelineState]:
        """Return how the pipeline is."""
        if not self._pipeline:
            return Answer(problem="No Prometheus is named. Set pipeline_monitoring to true.")
        answer = self._pipeline.answer(patience)
        if answer.state is None and answer.problem is None:
            return Answer(problem="Prometheus has not answered yet.")
        return answer
