"""The producer beside the original's method and a bare client loop, in one run.

    make bench-producer
    python -m tests.bench.bench_producer [--part prepare|pacing|rate|secured] [--titles N]

Prepares IMDb's dumps at their real size (generated once, into the cache), paces against a real
broker of its own, and replays as fast as it goes; prints the tables of docs/producer.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sample_data

from tests.bench import brokers
from tests.producer.broker import Broker

ROOT = Path(__file__).parents[2]
KEPT_SHARE = 0.004
RATES = (1, 10, 100, 1000, 5000)
PACING_SECONDS = 20
WORKER = "tests.bench.bench_producer_worker"
WAYS = {
    "(b) bare loop, kafka-python": "bare",
    "`imdb-producer`, kafka-python": "ours-kafka-python",
    "`imdb-producer`, extra `fast`": "ours-confluent",
}


@dataclass(frozen=True)
class Result:
    """What a worker said, and what it took: seconds, seconds of CPU, MiB at its peak."""

    said: list[str]
    seconds: float
    cpu: float
    peak: float


def run(*arguments: str, **settings: str) -> Result:
    """Run a program to its end, measured from outside; its own peak, not that of this process."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | settings,
            stdout=output,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed with {process.returncode}; see above")
        output.seek(0)
        said = output.read().splitlines()
    return Result(said, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def dumps(titles: int) -> Path:
    """Give the folder of dumps of that size, generated once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "imdb-pipeline" / "bench" / f"titles-{titles}"
    if not (folder / sample_data.RATINGS_FILE).exists():
        print(f"Generating {titles:,} titles into {folder}", file=sys.stderr)
        sample_data.generate(folder, titles, seed=1, kept_share=KEPT_SHARE)
    return folder


def sources(folder: Path) -> dict[str, str]:
    """Give the settings that name the dumps."""
    return {
        "BASICS_URL": (folder / sample_data.BASICS_FILE).as_uri(),
        "RATINGS_URL": (folder / sample_data.RATINGS_FILE).as_uri(),
    }


def prepare(folder: Path, scratch: Path) -> Path:
    """Time the reading; give the prepared records."""
    pandas = run(WORKER, "pandas", str(folder))
    records = scratch / "records.jsonl"
    settings = sources(folder) | {"CACHE_DIR": str(scratch)}
    ours = run("imdb_producer", "prepare", str(records), **settings)
    plain = run(WORKER, "without-isal", str(scratch / "plain.jsonl"), **settings)
    kept = sum(1 for _ in records.open("rb"))
    rows = pandas.said[0].split()
    print("\n| preparing | rows read | records | s | CPU s | peak MiB | times as fast as (a) |")
    print("|---|---|---|---|---|---|---|")
    for name, result in (
        ("(a) whole files by pandas, reading right", pandas),
        ("`imdb-producer prepare`, with the extra `fast`", ours),
        ("`imdb-producer prepare`, without it", plain),
    ):
        read, made = (rows[0], rows[1]) if result is pandas else (rows[0], str(kept))
        print(
            f"| {name} | {int(read):,} | {int(made):,} | {result.seconds:.1f} | {result.cpu:.1f} "
            f"| {result.peak:.0f} | {pandas.seconds / result.seconds:.1f} |"
        )
    return records


def pacing(broker: Broker, records: Path) -> None:
    """Send at each rate for a while; compare what was asked with what the broker got."""
    print("\n| messages/s asked | sent | seconds | measured (n-1)/(last-first) | error |")
    print("|---|---|---|---|---|")
    for rate in RATES:
        topic = f"pacing-{rate}"
        broker.make_topic(topic)
        count = max(PACING_SECONDS * rate + 1, 21)
        result = run(WORKER, "pace", broker.address, topic, str(records), str(rate), str(count))
        measured, seconds = map(float, result.said[-1].split())
        error = 100 * abs(measured - rate) / rate
        print(f"| {rate:,} | {count:,} | {seconds:.2f} | {measured:,.3f} | {error:.3f} % |")


def rate(broker: Broker, records: Path, count: int, rounds: int) -> None:
    """Send as fast as it goes, in turns, and take the median of each."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for turn in range(rounds):
        for name, way in WAYS.items():
            topic = f"rate-{way}-{turn}"
            broker.make_topic(topic)
            result = run(WORKER, way, broker.address, topic, str(records), str(count))
            seconds, cpu = map(float, result.said[-1].split())
            found[name].append((count / seconds, 1e6 * cpu / count))
            broker.delete_topic(topic)
    medians = {name: median_of(results) for name, results in found.items()}
    bare = medians["(b) bare loop, kafka-python"][0]
    print(f"\n{count:,} messages, median of {rounds} rounds in turns\n")
    print("| unthrottled | messages/s | CPU us a message | share of (b) |")
    print("|---|---|---|---|")
    for name, (speed, cpu) in medians.items():
        print(f"| {name} | {speed:,.0f} | {cpu:.1f} | {100 * speed / bare:.0f} % |")


def secured(scratch: Path, records: Path, count: int, rounds: int) -> None:
    """Send as fast as it goes by the plain port and by SASL_SSL, in turns; the median of each."""
    folder = scratch / "secured"
    folder.mkdir()
    rows: list[tuple[str, tuple[float, float], tuple[float, float]]] = []
    with brokers.Broker(folder, secured=True) as broker:
        plain, login = (broker.settings(secured=secured) for secured in (False, True))
        for name, way in WAYS.items():
            found: dict[str, list[tuple[float, float]]] = {"plain": [], "secured": []}
            for turn in range(rounds):
                for kind, settings in (("plain", plain), ("secured", login)):
                    topic = f"{kind}-{way}-{turn}"
                    broker.create_topic(topic)
                    address = settings["KAFKA_BOOTSTRAP_SERVERS"]
                    result = run(WORKER, way, address, topic, str(records), str(count), **settings)
                    seconds, cpu = map(float, result.said[-1].split())
                    found[kind].append((count / seconds, 1e6 * cpu / count))
            rows.append((name, median_of(found["plain"]), median_of(found["secured"])))
    print(f"\n{count:,} messages, median of {rounds} rounds in turns\n")
    print("| unthrottled | messages/s | secured | share | CPU us a message | secured |")
    print("|---|---|---|---|---|---|")
    for row, (speed, cpu), (secured_speed, secured_cpu) in rows:
        print(
            f"| {row} | {speed:,.0f} | {secured_speed:,.0f} | {100 * secured_speed / speed:.0f} % "
            f"| {cpu:.1f} | {secured_cpu:.1f} |"
        )


def median_of(values: list[tuple[float, float]]) -> tuple[float, float]:
    """Give the median of each of the two."""
    first, second = (sorted(column)[len(column) // 2] for column in zip(*values, strict=True))
    return first, second


def machine() -> str:
    """Say what this was measured on, and how busy it was."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        os.uname().machine,
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{now}; {os.cpu_count()} cores, {model}; Python {sys.version.split()[0]}; load {load}"


@contextmanager
def running_broker() -> Iterator[Broker]:
    """A broker of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        broker = Broker(Path(folder))
        try:
            broker.start()
            yield broker
        finally:
            broker.close()


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--part",
        choices=["prepare", "pacing", "rate", "secured"],
        help="only this (all, but what security costs)",
    )
    parser.add_argument("--titles", type=int, default=11_600_000, help="rows (11600000)")
    parser.add_argument("--messages", type=int, default=400_000, help="for the rate (400000)")
    parser.add_argument("--rounds", type=int, default=3, help="for the rate (3)")
    options = parser.parse_args()
    folder = dumps(options.titles)
    print(f"`python -m tests.bench.bench_producer {' '.join(sys.argv[1:])}`".replace(" `", "`"))
    print(f"\nBefore: {machine()}")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        if options.part in {None, "prepare"}:
            records = prepare(folder, Path(scratch))
        else:
            records = Path(scratch) / "records.jsonl"
            run("imdb_producer", "prepare", str(records), **sources(folder), CACHE_DIR=scratch)
        if options.part == "secured":
            secured(Path(scratch), records, options.messages, options.rounds)
        elif options.part != "prepare":
            with running_broker() as broker:
                if options.part in {None, "rate"}:
                    rate(broker, records, options.messages, options.rounds)
                if options.part in {None, "pacing"}:
                    pacing(broker, records)
    print(f"\nAfter: {machine()}")


if __name__ == "__main__":
    main()
