"""Sources are asked for all viewers together, and while there are any."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from imdb_dashboard import watch
from imdb_dashboard.config import Config
from imdb_dashboard.errors import SourceError
from imdb_dashboard.watch import Source, Watch

from ..waiting import wait_for
from .written import Written, movie


@pytest.fixture
def stopped() -> Iterator[ExitStack]:
    """Ends what a test has begun."""
    with ExitStack() as stack:
        yield stack


def begun(stopped: ExitStack, ask: Callable[[], Any]) -> Source[Any]:
    source = Source("numbers", ask, 0.01)
    source.start()
    stopped.callback(source.stop)
    return source


def watching(stopped: ExitStack, folder: str) -> Watch:
    whole = Watch(Config(tables=folder, refresh_seconds=1, memory_mb=64))
    stopped.callback(whole.stop)
    return whole


def test_an_answer_is_kept_and_renewed(stopped: ExitStack) -> None:
    numbers = itertools.count()
    source = begun(stopped, lambda: next(numbers))
    assert source.answer(10).state is not None
    wait_for("a new one", lambda: source.answer().state or 0, lambda it: it > 3, 10)


@pytest.mark.parametrize(
    ("error", "says"), [(SourceError("It is away."), "It is away."), (KeyError("x"), "journal")]
)
def test_what_fails_is_said_and_the_last_state_stays(
    stopped: ExitStack, error: Exception, says: str
) -> None:
    fails = threading.Event()

    def ask() -> int:
        if fails.is_set():
            raise error
        return 7

    source = begun(stopped, ask)
    assert source.answer(10).state == 7
    fails.set()
    answer = wait_for("the sentence", source.answer, lambda it: it.problem is not None, 10)
    assert says in (answer.problem or "")
    assert answer.state == 7
    fails.clear()
    wait_for("it answers again", source.answer, lambda it: it.problem is None, 10)


def test_nobody_is_asked_for_nobody(stopped: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "IDLE_SECONDS", 0.05)
    asked: list[int] = []
    source = begun(stopped, lambda: asked.append(1))
    source.answer(0)
    wait_for("it is asked", lambda: len(asked), lambda it: it > 0, 10)
    # The thread waits from here on, or would go on for ever.
    wait_for("it waits", lambda: source.is_idle, bool, 10)
    count = len(asked)
    assert source.is_idle
    assert len(asked) == count
    source.answer(0)
    wait_for("it is asked again", lambda: len(asked), lambda it: it > count, 10)


def test_the_whole_of_it(stopped: ExitStack, written: Written) -> None:
    written.batch(movie(1), movie(2))
    whole = watching(stopped, str(written.folder))
    answer = whole.tables_now(30)
    assert answer.state is not None
    assert answer.state.rows == 2
    assert "No Prometheus is named" in (whole.pipeline_now().problem or "")


def test_tables_in_a_bucket_are_told_of(stopped: ExitStack) -> None:
    whole = watching(stopped, "s3a://bucket/parquet")
    assert "s3a://bucket/parquet" in (whole.tables_now().problem or "")


def test_a_folder_that_is_missing_is_told_of(stopped: ExitStack, tmp_path: Path) -> None:
    whole = watching(stopped, str(tmp_path / "none"))
    assert "is not there" in (whole.tables_now(30).problem or "")
