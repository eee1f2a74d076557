"""Starts over what a version of the job has left that knew events by their ids alone."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from imdb_streaming import job
from imdb_streaming.job import Load

from .batches import Send, silver
from .local import LocalConfig as Config

pytestmark = pytest.mark.usefixtures("executors_without_python")


def outdated(config: Config) -> dict[Path, bytes]:
    """Put files of the older format in the place of the state's."""
    written = {}
    for path in config.state_folder.glob("[ds]*-*"):
        content = b"IMDBIDX1" + int(path.name[-10:]).to_bytes(8, "big") + bytes(8)
        path.write_bytes(content + zlib.crc32(content).to_bytes(8, "big"))
        written[path] = path.read_bytes()
    assert written
    return written


def csv(config: Config) -> str:
    return (config.genre_counts_csv_folder / "genre_counts.csv").read_text()


def versions(config: Config) -> list[tuple[str, int]]:
    return [(row["tconst"], row["numVotes"]) for row in silver(config)]


def test_state_is_made_of_what_silver_has(
    spark: SparkSession,
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
) -> None:
    first = movie | {"tconst": "tt1", "genres": ["First"]}
    last = first | {"numVotes": 4000, "genres": ["Last"]}
    other = movie | {"tconst": "tt2", "genres": ["Other", "Last"]}
    send(first, other, "no movie")
    run_job()
    send(last)
    run_job()
    before = outdated(prepared)
    job.check_state(prepared, spark)
    assert {path: path.read_bytes() for path in before} == before

    send(last, other)
    load = run_job()
    assert load.sink.totals.duplicates == 2
    assert versions(prepared) == [("tt1", 3000), ("tt1", 4000), ("tt2", 3000)]
    # It changes back.
    send(first)
    load = run_job()
    assert load.sink.state.is_made is False
    assert len(versions(prepared)) == 4
    assert csv(prepared) == "genre,movie_count\nFirst,1\nLast,1\nOther,1\n"
    assert load.sink.state.movies == 2


def test_batch_that_was_cut_off_keeps_what_readers_have_seen(
    prepared: Config,
    send: Send,
    run_job: Callable[[], Load],
    movie: dict[str, Any],
) -> None:
    send(movie)
    run_job()
    send(movie | {"numVotes": 5000}, movie | {"tconst": "tt2"}, "no movie")
    run_job()
    outdated(prepared)
    # As of a job that was killed when the batch's files were in place.
    (prepared.checkpoint_folder / "commits" / "1").unlink()
    letter = prepared.dead_letters_folder / "main-0000000001.parquet"
    files = {
        path: path.read_bytes()
        for path in (prepared.silver_folder / "main-0000000001.parquet", letter)
    }
    load = run_job()
    assert {path: path.read_bytes() for path in files} == files
    assert versions(prepared) == [("tt0111161", 3000), ("tt0111161", 5000), ("tt2", 3000)]
    assert load.sink.table_rows == load.sink.totals.silver_rows == 3
    assert load.sink.totals.dead_letters == 1


def test_run_without_a_movie_has_none_to_know(
    prepared: Config, send: Send, run_job: Callable[[], Load], movie: dict[str, Any]
) -> None:
    send("no movie")
    run_job()
    outdated(prepared)
    assert run_job().sink.state.movies == 0
    send(movie)
    assert run_job().sink.state.movies == 1
