"""The job's query over a real checkpoint, with files in the place of Kafka."""

import csv
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from imdb_streaming import job, sinks
from imdb_streaming.executors import ExecutorWatch
from imdb_streaming.files import OvertakenError
from imdb_streaming.job import Load, QueryDiedError
from imdb_streaming.jvm import JobState
from imdb_streaming.sinks import BatchResult
from imdb_streaming.status import QueryStatus, Status, lag_of

from .batches import Send, run_to_end, silver
from .local import LocalConfig as Config
from .local import with_term

pytestmark = pytest.mark.usefixtures("executors_without_python")


def counts(config: Config) -> list[tuple[str, str]]:
    with (config.genre_counts_csv_folder / "genre_counts.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["genre", "movie_count"]
    return [(genre, count) for genre, count in rows]


def test_restart_does_not_duplicate_rows(
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
) -> None:
    first, second = movie, movie | {"tconst": "tt2", "genres": []}
    send(first, second, first, "not json")
    run_job()
    send(first, second)
    changed = first | {"numVotes": 9000, "genres": ["Drama"]}
    send(changed, "")
    load = run_job()

    rows = silver(prepared)
    assert [(row["tconst"], row["numVotes"]) for row in rows] == [
        ("tt0111161", 3000),
        ("tt0111161", 9000),
        ("tt2", 3000),
    ]
    assert rows[1]["weighted_score"] == 9000 / 12000 * 9.3 + 3000 / 12000 * 6.5
    assert counts(prepared) == [("(unknown)", "1"), ("Drama", "1")]
    assert load.sink.table_rows == 3
    assert (load.sink.totals.dead_letters, load.sink.totals.duplicates) == (2, 3)


def test_batches_start_no_programs(
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
    programs_started: Path,
) -> None:
    programs_started.unlink(missing_ok=True)
    send(movie)
    run_job()
    assert list(prepared.checkpoint_folder.glob("commits/0"))
    assert not programs_started.exists(), programs_started.read_text()


def test_crash_between_file_and_checkpoint_does_not_duplicate_rows(
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
) -> None:
    send(movie, movie | {"tconst": "tt2"}, "malformed")
    run_job()
    # As after a crash when the batch's file was in place and its commit was not.
    commits = prepared.checkpoint_folder / "commits"
    (commits / "0").unlink()
    (commits / ".0.crc").unlink(missing_ok=True)
    load = run_job()
    assert [row["tconst"] for row in silver(prepared)] == ["tt0111161", "tt2"]
    assert load.sink.table_rows == 2
    assert load.sink.totals.dead_letters == 1


def test_status_and_log_tell_each_batch(
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    send(movie, movie, "malformed")
    with caplog.at_level(logging.INFO):
        load = run_job()
        # The query has ended by itself, which the job takes for its death.
        with pytest.raises(QueryDiedError, match="Query movies died"):
            load.watch(threading.Event(), ExecutorWatch(lambda: 1, 60, lambda: None))
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    file = prepared.silver_folder / "main-0000000000.parquet"
    (line,) = [line for line in lines if line.startswith("batch 0: ")]
    assert line.startswith(
        "batch 0: 3 rows in, 1 written, 1 sent again, 0 stale, 1 malformed, lag 0, "
    )
    assert line.endswith(f" s, to {file}")

    load.status.write(prepared.status_file)
    status = json.loads(prepared.status_file.read_text())
    numbers = status.pop("query")
    assert set(status) == {
        "run_id",
        "silver_rows",
        "dead_letters",
        "duplicates",
        "stale",
        "lost_messages",
        "index",
        "started_at",
        "updated_at",
    }
    assert (status["run_id"], status["silver_rows"], status["dead_letters"]) == ("main", 1, 1)
    assert status["index"]["movies"] == 1
    assert status["index"]["bytes"] > 0
    assert (numbers["batch_id"], numbers["rows_in"], numbers["rows_written"]) == (0, 3, 1)
    assert (numbers["dead_letters"], numbers["duplicates"]) == (1, 1)
    assert set(numbers) == {
        "batch_id",
        "at",
        "rows_in",
        "rows_written",
        "dead_letters",
        "duplicates",
        "stale",
        "input_rate",
        "processed_rate",
        "lag",
        "lag_seconds",
        "duration_ms",
        "batch_running_seconds",
    }
    assert load.status.line() == (
        "batch 0: 3 in, 1 written; 1 rows in silver, 1 dead letters, lag 0"
    )

    restarted = run_job().status.query
    assert restarted.batch_id == 0
    assert restarted.at is not None


def test_death_of_a_query_names_it_and_the_cause(
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(source: Path, target: Path, out: Path) -> None:
        if "silver" in str(target):
            raise OSError("No space left on device")

    monkeypatch.setattr(sinks, "put_in_place", fail)
    send(movie)
    with pytest.raises(Exception, match="No space left on device"):
        run_job()


@pytest.mark.parametrize("is_saved", [False, True], ids=["before its state", "after it"])
def test_batch_of_an_overtaken_job_is_not_committed(
    spark: SparkSession,
    prepared: Config,
    topic: Path,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    is_saved: bool,
) -> None:
    save = JobState.save

    def save_and_be_overtaken(state: JobState, batch_id: int) -> None:
        if is_saved:
            save(state, batch_id)
        taken.append(with_term(prepared))
        if not is_saved:
            save(state, batch_id)

    taken: list[Config] = []
    send(movie, "malformed")
    with monkeypatch.context() as patch:
        patch.setattr(JobState, "save", save_and_be_overtaken)
        with pytest.raises(Exception, match="Another start of the job has taken over"):
            run_job()
    assert (prepared.state_folder / "delta-0000000000").exists() == is_saved
    assert not (prepared.checkpoint_folder / "commits" / "0").exists()

    load = run_to_end(spark, taken[0], topic)
    assert [row["tconst"] for row in silver(prepared)] == [movie["tconst"]]
    assert load.sink.totals.dead_letters == 1
    assert (prepared.checkpoint_folder / "commits" / "0").exists()


def test_batch_of_an_overtaken_job_is_not_planned(
    spark: SparkSession,
    prepared: Config,
    topic: Path,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
) -> None:
    send(movie)
    new = with_term(prepared)
    with pytest.raises(Exception, match="Another start of the job has taken over"):
        run_job()
    assert not list(prepared.checkpoint_folder.glob("offsets/[0-9]*"))
    run_to_end(spark, new, topic)
    assert len(silver(prepared)) == 1


def test_watch_notices_that_another_start_has_taken_over(
    prepared: Config, run_job: Callable[[], Load], send: Send, movie: dict[str, Any]
) -> None:
    send(movie)
    load = run_job()
    with_term(prepared)
    with pytest.raises(OvertakenError, match=f"has removed .*{prepared.term}"):
        load.watch(threading.Event(), ExecutorWatch(lambda: 1, 60, lambda: None))


def test_stop_ends_the_watch(
    run_job: Callable[[], Load], send: Send, movie: dict[str, Any]
) -> None:
    send(movie)
    load = run_job()
    stopping = threading.Event()
    stopping.set()
    load.watch(stopping, ExecutorWatch(lambda: 1, 60, lambda: None))


def test_lag_is_the_sum_over_partitions() -> None:
    progress = {
        "sources": [
            {"endOffset": {"t": {"0": 5, "1": 9}}, "latestOffset": {"t": {"0": 8, "1": 9, "2": 4}}}
        ]
    }
    assert lag_of(progress) == 7
    assert lag_of({"sources": [{"endOffset": None, "latestOffset": None}]}) == 0


BEHIND = {"sources": [{"endOffset": {"t": {"0": 5}}, "latestOffset": {"t": {"0": 8}}}]}
CAUGHT_UP: dict[str, Any] = {"sources": []}


def read(query: QueryStatus, progress: dict[str, Any], newest: float) -> None:
    """Let the query end a batch."""
    rates = {"batchId": 0, "numInputRows": 5, "batchDuration": 100}
    query.finished(progress | rates, BatchResult(5, 0, 0, 0, newest, None))


def test_lag_is_not_known_before_the_query_has_told() -> None:
    query = QueryStatus()
    query.refresh()
    assert (query.lag, query.lag_seconds) == (None, None)
    query.idle(BEHIND)
    assert (query.lag, query.lag_seconds) == (3, None)
    status = Status("main", 0, QueryStatus(batch_id=4))
    assert status.line().endswith(" lag unknown")


def test_lag_in_seconds_is_the_age_of_what_was_read_last() -> None:
    query = QueryStatus()
    read(query, BEHIND, time.time() - 100)
    assert query.lag == 3
    assert query.lag_seconds == pytest.approx(100, abs=1)
    query.idle(CAUGHT_UP)
    assert (query.lag, query.lag_seconds) == (0, 0)


def test_lag_in_seconds_counts_from_when_none_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    query = QueryStatus()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    # Idle since its start.
    query.idle(CAUGHT_UP)
    now += 1
    query.idle(BEHIND)
    assert query.lag_seconds == 1
    # Three quiet hours.
    read(query, CAUGHT_UP, time.time() - 3 * 3600)
    now += 2
    query.idle(BEHIND)
    assert query.lag_seconds == 2
    # It grows without a word of the query's.
    now += 30
    query.refresh()
    assert query.lag_seconds == 32


def test_lag_in_seconds_bears_stamps_of_a_time_to_come() -> None:
    query = QueryStatus()
    read(query, BEHIND, time.time() + 3000)
    query._newest = (query._newest or 0) - 50
    query.refresh()
    assert query.lag_seconds == pytest.approx(50, abs=1)


def reporting(*reports: dict[str, Any]) -> StreamingQuery:
    """A query that has made these reports."""
    made = [SimpleNamespace(json=json.dumps(report)) for report in reports]
    return cast(StreamingQuery, SimpleNamespace(recentProgress=made, lastProgress=made[-1]))


def test_reports_are_taken_over_though_the_clock_is_set_back(
    run_job: Callable[[], Load], send: Send, movie: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    send(movie)
    load = run_job()
    ended = {"sources": [], "numInputRows": 5, "batchDuration": 100, "durationMs": {"addBatch": 1}}
    first = ended | {"batchId": 7, "timestamp": "2026-01-01T02:00:00.000Z"}
    second = ended | {"batchId": 8, "timestamp": "2026-01-01T01:00:00.000Z"}
    load.sink.results = {number: BatchResult(5, 0, 0, 0, 1.0, None) for number in (7, 8)}
    with caplog.at_level(logging.INFO):
        load.query = reporting(first)
        assert load._report()
        assert not load._report()
        load.query = reporting(first, second)
        assert load._report()
    told = [text for text in caplog.messages if text.startswith("batch ")]
    assert [text.partition(":")[0] for text in told] == ["batch 7", "batch 8"]
    assert load.status.query.batch_id == 8


def test_batch_under_way_is_timed_until_the_query_tells_of_its_end(
    run_job: Callable[[], Load], send: Send, movie: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(movie)
    load = run_job()
    load._report()
    assert load.running_seconds() == 0
    monkeypatch.setattr(sinks.MovieSink, "__call__", lambda self, rows, batch_id: None)
    load.take_batch(cast(DataFrame, None), 1)
    time.sleep(0.01)
    assert load.running_seconds() > 0
    ended = {"sources": [], "numInputRows": 0, "batchDuration": 1, "durationMs": {"addBatch": 1}}
    load.query = reporting(ended | {"batchId": 1})
    assert load._report()
    assert load.running_seconds() == 0


def test_start_is_given_time_for_each_step(
    prepared: Config,
    topic: Path,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(3):
        send(movie | {"tconst": f"tt{number}"})
        run_job()
    said: list[str] = []
    monkeypatch.setattr(job, "notify", said.append)
    monkeypatch.setattr(sinks, "FILES_A_STEP", 2)
    load = run_job()
    assert load.sink.table_rows == 3
    # The state, two files, one file.
    assert said == ["EXTEND_TIMEOUT_USEC=120000000"] * 3
