"""Terms: whoever was overtaken publishes nothing more, at whatever step it was."""

import fcntl
import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imdb_streaming import cli, files, guards, locks, runs, terms
from imdb_streaming.files import OvertakenError
from imdb_streaming.guards import StartRefusedError

from ..waiting import wait_for
from .local import LocalConfig as Config
from .local import load_local_config as load_config
from .local import with_term


@pytest.fixture
def ready(config: Config) -> Config:
    """A configuration whose folders are there, before any start."""
    guards.prepare_folders(config)
    return config


def out_of(config: Config) -> Path:
    assert config.out_folder
    return config.out_folder


def staged(config: Config, content: str = "new") -> Path:
    """A finished file, where Spark would have written it."""
    path = config.staging_folder / "silver_movies-main-0000000000" / "part-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def number(config: Config) -> int:
    assert config.term
    return int(config.term.split("-")[1])


def test_each_start_has_a_higher_term_and_removes_those_below(ready: Config) -> None:
    starts = [with_term(ready) for _ in range(3)]
    assert [number(start) for start in starts] == [1, 2, 3]
    for root in (ready.staging_root, ready.staging_root_csv):
        assert [path.name for path in root.glob("term-*")] == [starts[-1].term]
    assert out_of(starts[-1]).is_dir()
    terms.check(starts[-1])
    for start in starts[:-1]:
        with pytest.raises(OvertakenError, match="has taken over"):
            terms.check(start)


def test_term_is_higher_than_those_of_either_place(ready: Config, environ: dict[str, str]) -> None:
    for _ in range(4):
        with_term(ready)
    other = load_config(environ | {"OUTPUT_PATH": environ["OUTPUT_PATH"] + "-2"})
    guards.prepare_folders(other)
    assert number(with_term(other)) == 5


def test_one_folder_for_both_places_has_one_term(environ: dict[str, str]) -> None:
    both = load_config(environ | {"OUTPUT_PATH_CSV": environ["OUTPUT_PATH"]})
    guards.prepare_folders(both)
    held = with_term(both)
    assert held.out_folder == held.out_folder_csv
    terms.check(held)


def test_what_earlier_starts_left_is_removed_and_nothing_else(ready: Config) -> None:
    first = with_term(ready)
    staged(first)
    (ready.staging_root / "silver_movies-main-0000000001").mkdir()
    (ready.staging_root / ".fenced-term-0000000000-00000000" / "out").mkdir(parents=True)
    table = ready.silver_folder / "main-0000000000.parquet"
    table.touch()
    with terms.hold(ready) as held:
        names = {path.name for path in ready.staging_root.iterdir()}
    assert names == {".lock", held.term}
    assert table.exists()


def test_start_that_was_paused_while_it_listed_gives_way(
    ready: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_terms = terms._terms
    others: list[Config] = []

    def list_and_be_overtaken(root: Path) -> list[str]:
        found = list_terms(root)
        if root == ready.staging_root_csv and not others:
            monkeypatch.setattr(terms, "_terms", list_terms)
            # Two of them: the lower one's name is taken and gone again.
            others.extend(with_term(ready) for _ in range(2))
        return found

    monkeypatch.setattr(terms, "_terms", list_and_be_overtaken)
    with pytest.raises(OvertakenError, match="was quicker"):
        terms.take(ready)
    terms.check(others[1])
    files.write_atomically(ready.silver_folder / "file", b"rows", others[1].out_folder)
    assert [path.name for path in ready.staging_root.glob("term-*")] == [others[1].term]


def test_start_that_was_paused_while_it_fenced_gives_way(
    ready: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = terms._fence_below

    def fence_and_be_overtaken(root: Path, name: str) -> None:
        fence(root, name)
        monkeypatch.setattr(terms, "_fence_below", fence)
        others.append(with_term(ready))

    others: list[Config] = []
    monkeypatch.setattr(terms, "_fence_below", fence_and_be_overtaken)
    with pytest.raises(OvertakenError, match="while this one took"):
        terms.take(ready)
    terms.check(others[0])


def test_of_many_starts_at_once_the_highest_goes_on(ready: Config) -> None:
    def start(_: int) -> Config | None:
        try:
            return with_term(ready)
        except OvertakenError:
            return None

    with ThreadPoolExecutor(8) as pool:
        started = [held for held in pool.map(start, range(40)) if held]

    def goes_on(config: Config) -> bool:
        try:
            terms.check(config)
        except OvertakenError:
            return False
        return True

    assert [held for held in started if goes_on(held)] == [
        max(started, key=lambda held: str(held.term))
    ]


def overtaken_before(
    monkeypatch: pytest.MonkeyPatch, step: str, count: int, by: Callable[[], Any]
) -> None:
    """Let another start take over just before a method of Path is called for the n-th time."""
    done = getattr(Path, step)
    calls = 0

    def do(path: Path, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            monkeypatch.setattr(Path, step, done)
            by()
        return done(path, *arguments, **options)

    monkeypatch.setattr(Path, step, do)


@pytest.mark.parametrize(
    ("step", "count"), [("stat", 1), ("replace", 1), ("replace", 2)], ids=lambda value: str(value)
)
def test_file_of_an_overtaken_job_is_not_put_in_place(
    ready: Config, monkeypatch: pytest.MonkeyPatch, step: str, count: int
) -> None:
    old = with_term(ready)
    table = ready.silver_folder / "main-0000000000.parquet"
    source = staged(old, "of the overtaken job")
    overtaken_before(monkeypatch, step, count, lambda: with_term(ready))
    with pytest.raises(OvertakenError, match="published nothing since"):
        files.put_in_place(source, table, old.out_folder)
    assert not table.exists()


@pytest.mark.parametrize(
    ("step", "count"), [("open", 1), ("stat", 1), ("replace", 1)], ids=lambda value: str(value)
)
def test_content_of_an_overtaken_job_is_not_written(
    ready: Config, monkeypatch: pytest.MonkeyPatch, step: str, count: int
) -> None:
    old = with_term(ready)
    path = ready.state_folder / "_totals.json"
    path.write_text("before")
    overtaken_before(monkeypatch, step, count, lambda: with_term(ready))
    with pytest.raises(OvertakenError):
        files.write_atomically(path, b"of the overtaken job", old.out_folder)
    assert path.read_text() == "before"


def test_folders_that_a_writer_makes_anew_are_no_way_back(ready: Config) -> None:
    old = with_term(ready)
    new = with_term(ready)
    source = staged(old)
    with pytest.raises(OvertakenError):
        files.put_in_place(source, ready.silver_folder / "file", old.out_folder)
    third = with_term(ready)
    assert not old.staging_folder.exists()
    assert number(third) == number(new) + 1


def test_folder_that_is_gone_as_a_whole_is_told(ready: Config) -> None:
    held = with_term(ready)
    ready.output_path.rename(ready.output_path.with_name("moved"))
    with pytest.raises(OvertakenError, match="was it moved, or its file system unmounted"):
        terms.check(held)


def test_error_that_has_another_cause_stays_what_it_is(ready: Config) -> None:
    held = with_term(ready)
    with pytest.raises(FileNotFoundError):
        files.write_atomically(ready.silver_folder / "none" / "file", b"", held.out_folder)


def test_overtaken_job_ends_with_that_reason_whatever_went_wrong(ready: Config) -> None:
    def job() -> None:
        with terms.hold(ready):
            with_term(ready)
            raise StartRefusedError("The tables are not what they were.")

    with pytest.raises(OvertakenError):
        job()


def test_overtaken_command_exits_1(
    prepared: Config,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    set_aside = runs.set_aside

    def overtaken(config: Config) -> list[Path]:
        with_term(prepared)
        return set_aside(config)

    (prepared.silver_folder / "main-0000000000.parquet").touch()
    monkeypatch.setattr(runs, "set_aside", overtaken)
    assert cli.main(["reset", "--yes"], environ) == cli.FAILED
    assert "Another start of the job has taken over" in caplog.text
    assert (prepared.silver_folder / "main-0000000000.parquet").exists()


def test_run_that_was_overtaken_exchanges_no_folders(
    prepared: Config, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = load_config(environ | {"RUN_ID": "second"})
    beside = second.output_path / "_runs" / "second"
    for place in guards.tables(prepared):
        table = beside / files.local(place).name
        table.mkdir(parents=True, exist_ok=True)
        (table / guards.RUN_FILE).write_text(json.dumps({"run_id": "second", "id": "other"}))
    (beside / runs.READY_FILE).touch()
    exchange = files.exchange

    def overtaken(one: Path, other: Path) -> None:
        with_term(prepared)
        exchange(one, other)

    monkeypatch.setattr(runs, "exchange", overtaken)
    with pytest.raises(OvertakenError):
        runs.switch_if_ready(with_term(second))
    assert runs.run_in_service(prepared) == "main"


def test_second_job_on_the_same_output_is_refused(ready: Config) -> None:
    with (
        terms.exclusive(ready),
        pytest.raises(StartRefusedError, match="Another job is writing"),
        terms.exclusive(ready),
    ):
        pass
    with terms.exclusive(ready):
        pass


def test_job_that_takes_over_gets_the_lock_when_the_other_lets_go(
    ready: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with terms.hold(ready) as first:
        taker = terms.hold(ready, take_over=True)
        second = taker.__enter__()
        assert "This one takes over from it" in caplog.text
        with pytest.raises(OvertakenError):
            terms.check(first)
        with pytest.raises(StartRefusedError), terms.hold(ready):
            pass
    wait_for("the lock", lambda: caplog.text, lambda text: "has let go of" in text, 30, every=0.05)
    with pytest.raises(StartRefusedError), terms.hold(ready):
        pass
    terms.check(second)
    taker.__exit__(None, None, None)


def test_bucket_is_not_taken_over(environ: dict[str, str]) -> None:
    config = load_bucket(environ)
    with (
        terms.exclusive(config),
        pytest.raises(StartRefusedError, match="Another job is writing"),
        terms.exclusive(config, take_over=True),
    ):
        pass
    assert terms.take(config) == config


def load_bucket(environ: dict[str, str]) -> Any:
    from imdb_streaming.config import load_config as load

    place = {"OUTPUT_PATH": "s3a://bucket/parquet", "OUTPUT_PATH_CSV": "s3a://bucket/csv"}
    return load(environ | place)


@contextmanager
def held_by_another(config: Config) -> Iterator[None]:
    """The tables' lock, in the hands of a process that is paused."""
    with (config.staging_root / ".tables.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_lock_of_a_paused_job_is_replaced(
    ready: Config,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(locks, "PATIENCE_SECONDS", 0.2)
    taker = load_config(environ | {"TAKE_OVER": "yes"})
    path = ready.staging_root / ".tables.lock"
    half_made = ready.output_path / locks.COMPACT_FOLDER / "1234" / "silver_movies"
    half_made.mkdir(parents=True)
    with held_by_another(ready):
        before = path.stat().st_ino
        with locks.tables_locked(taker):
            assert path.stat().st_ino != before
            assert "the lock is replaced" in caplog.text
            assert not half_made.exists()
            with path.open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The new one is free again, and the old one counts no more.
        with locks.tables_locked(taker):
            pass
    assert [found.name for found in ready.output_path.iterdir() if "compact" in found.name] == []


def test_who_waits_for_a_lock_that_is_replaced_waits_for_the_new_one(
    ready: Config, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE_SECONDS", 0.2)
    taker = load_config(environ | {"TAKE_OVER": "yes"})
    order: list[str] = []

    def wait() -> None:
        with locks.tables_locked(ready):
            order.append("waited")

    with ThreadPoolExecutor(1) as pool:
        with held_by_another(ready):
            waiting = pool.submit(wait)
            with locks.tables_locked(taker):
                os.sched_yield()
                order.append("took over")
        waiting.result(30)
    assert order == ["took over", "waited"]


def test_writers_and_starts_at_random_leave_each_file_of_the_last_start(ready: Config) -> None:
    """Writers of many terms at once: what the last start wrote is never written over."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    table = ready.silver_folder

    def write(held: Config, pauses: list[float]) -> None:
        for name, pause in enumerate(pauses):
            time.sleep(pause)
            try:
                files.write_atomically(table / f"{name}", str(held.term).encode(), held.out_folder)
            except OvertakenError:
                return

    with ThreadPoolExecutor(8) as pool:
        for _ in range(12):
            time.sleep(chance.uniform(0, 0.03))
            last = with_term(ready)
            # Whoever went before can change nothing from here on.
            before = {path.name: path.read_text() for path in table.iterdir()}
            writing = pool.submit(write, last, [chance.uniform(0, 0.01) for _ in range(20)])
            time.sleep(chance.uniform(0, 0.05))
            for name, content in before.items():
                assert (table / name).read_text() in {content, last.term}
        writing.result(30)
    assert {path.read_text() for path in table.iterdir()} == {last.term}
