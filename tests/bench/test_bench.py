"""The benchmark's own parts: what it sends, what it meters, what it says."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..waiting import wait_for
from . import report
from .latency import Latency, Reader
from .processes import Meter, Program
from .records import TITLES, _lines, encoded, movie
from .report import Drain, Report, Visible

BURN = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\n"


@pytest.mark.parametrize("number", [0, 5, 89, 90, TITLES - 1, TITLES, 1_234_567])
def test_fast_lines_are_the_records(number: int) -> None:
    header, key, value = b"".join(_lines(number, 1)).rstrip(b"\n").split(b"\t")
    assert value == encoded(number)
    assert key.decode() == movie(number)["tconst"]
    assert header.startswith(b"event_id:")


def test_lines_are_as_many_as_asked_for_and_all_different() -> None:
    lines = b"".join(_lines(TITLES - 700, 1500)).splitlines()
    assert len(set(lines)) == 1500


@pytest.fixture
def burning(tmp_path: Path) -> Iterator[Program]:
    """A program whose child uses half a second of CPU time, and ends before it."""
    child = f"subprocess.run([sys.executable, '-c', {BURN!r}], check=True)"
    program = Program(
        "burning",
        [sys.executable, "-c", f"import subprocess, sys, time\n{child}\ntime.sleep(60)"],
        tmp_path / "log",
    )
    yield program
    program.kill()


def test_meter_counts_descendants_that_have_ended(burning: Program) -> None:
    meter = Meter([burning.pid], every=0.02)
    wait_for(
        "the child has used its time",
        lambda: meter.cpu_between(0, time.time()),
        lambda seconds: seconds >= 0.4,
        60,
        every=0.1,
    )
    meter.stop()
    assert meter.cpu_between(0, time.time()) >= 0.4
    assert meter.cpu_between(0, meter.samples[0].at - 1) == 0
    assert meter.peak_rss > 1 << 20


def test_meter_leaves_out_what_is_not_to_be_counted(burning: Program) -> None:
    meter = Meter([burning.pid], but=[burning.pid], every=0.02)
    counted = {pid for pid, _ in meter._cpu}
    meter.stop()
    assert burning.pid not in counted


def test_program_that_ended_tells_its_last_words(tmp_path: Path) -> None:
    program = Program("dying", [sys.executable, "-c", "exit('last words')"], tmp_path / "log")
    wait_for("it has ended", lambda: program.exit_code, lambda code: code == 1, 60, every=0.05)
    assert program.stop() == 1
    with pytest.raises(RuntimeError, match="dying ended with 1:\nlast words"):
        program.alive()


def test_program_is_stopped_with_its_children(tmp_path: Path) -> None:
    child = "subprocess.Popen(['sleep', '61']); print('up', flush=True); time.sleep(61)"
    program = Program(
        "parent", [sys.executable, "-c", f"import subprocess, time; {child}"], tmp_path / "log"
    )
    wait_for("its child runs", program.tail, lambda said: "up" in said, 60, every=0.05)
    program.stop()
    wait_for(
        "all of it has ended",
        lambda: _members(program.pid),
        lambda members: not members,
        30,
        every=0.05,
    )


def _members(group: int) -> list[str]:
    """The processes of a group that are no zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(path.parent.name)
    return found


def test_reader_takes_a_file_when_it_is_whole_and_a_row_once(tmp_path: Path) -> None:
    silver = tmp_path / "silver_movies"
    silver.mkdir()
    table = pa.table({"kafka_timestamp": pa.array([time.time_ns() // 1000], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    (silver / "run-0000000000.parquet").write_bytes(content)
    reader = Reader(silver, tmp_path, every=0.01)
    part = silver / "part-1.parquet"
    part.write_bytes(content[:-8])
    (silver / "run-0000000000_0000000001.parquet").write_bytes(content)
    time.sleep(0.2)
    assert not reader.delays
    part.write_bytes(content)
    wait_for("it was read", lambda: len(reader.delays), bool, 30, every=0.02)
    reader.stop()
    assert len(reader.delays) == len(reader.files) == 1
    assert 0.2 <= reader.delays[0] < 60


def drain(subject: str, silver: str, seconds: float) -> Drain:
    return Drain(subject, silver, 1000, 10_000, seconds, seconds + 5, 2.0, 4.0, 3 << 20, 1.5)


def test_report_gives_medians_and_how_far_the_reach_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "version_of", lambda name: f"1.{len(name)}")
    found = Report(argparse.Namespace(batch=1000, prefill=7000, master="local[2]"))
    found.drains = [
        *(drain("ours", "empty", seconds) for seconds in (2.0, 1.0, 4.0)),
        drain("bare", "empty", 1.0),
        drain("ours", "prefilled", 2.5),
    ]
    latency = Latency(10, 5.0, 21.5, 22.0, 180.0, 900.0)
    found.visible = [Visible("ours", "empty", "20 seconds", 10, latency)]
    text = found.markdown()
    assert "| ours | empty | 1000 | 5,000 | 1,429 | 200.0 | 4.0 | 3 MB | 1.5 to 1.5 | 3 |" in text
    assert "drain: 50% of the bare job" in text
    assert "drain with 7,000 rows in silver: 80% of that with none" in text
    assert (
        "| ours | empty | 20 seconds | 10 | 10 | 5.00 s | 21.50 s | 22.00 s | 180 | 900 |" in text
    )
    assert "at most trigger + 1.5 s" in text
