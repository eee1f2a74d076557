"""The streaming job beside a bare one and beside the original's shape, on this machine.

    make bench-streaming
    make bench-streaming BENCH="--records 100000 --prefill 0 --repeats 1"   # a trial
    make bench-streaming BENCH="--jobs ours secured"                        # what security costs

Starts ZooKeeper, a broker and (by default) a Spark master and worker on loopback, all in a
temporary folder, and ends them. Prints a table in Markdown; docs/streaming.md holds
one and says what it means.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .brokers import Broker
from .latency import Numbers, measure
from .records import fill
from .report import Drain, Report, Visible
from .subjects import OURS, SUBJECTS, Cluster, Job, Subject, Task

#: For draining: a batch follows the one before at once.
AT_ONCE = "1 milliseconds"

#: Messages before a latency is measured.
WARM_UP = 20_000

TRIGGERS = ("20 seconds", "1 second")
RATES = (10, 1000)


class Bench:
    """One run of the benchmark: its broker, its cluster, what it has found."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        """Start the broker and the cluster."""
        self.options = options
        self.folder = folder
        self.report = Report(options)
        self.numbers = Numbers()
        (folder / "broker").mkdir()
        kinds = sorted({subject.secured for subject in [OURS, *options.subjects]})
        self.broker = Broker(folder / "broker", secured=True in kinds)
        #: By whether it has a secret.
        self.clusters: dict[bool, Cluster] = {}
        try:
            for secured in kinds:
                of_it = folder / f"cluster-{'secured' if secured else 'plain'}"
                of_it.mkdir()
                self.clusters[secured] = Cluster(of_it, options.master, secured=secured)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all of it."""
        for cluster in self.clusters.values():
            cluster.stop()
        self.broker.stop()

    def job(self, subject: Subject, task: Task) -> Job:
        """Start a job on the cluster that it is for."""
        return Job(subject, task, self.broker, self.clusters[subject.secured])

    def run(self) -> None:
        """Measure everything."""
        options = self.options
        with step(f"fill a topic with {options.records} records"):
            self.broker.create_topic("drain")
            fill(self.broker, "drain", self.folder, 0, options.records)
        for repeat in range(options.repeats):
            # In turns, so that a slow minute of the machine does not hit one alone.
            for subject in options.subjects:
                folder = self.folder / f"drain-{subject.name}-{repeat}"
                task = Task("drain", folder, AT_ONCE, options.batch)
                self.report.drains.append(self.drain(subject, task, "empty", 0, options.records))
                shutil.rmtree(folder)
        for batch in options.batch_sizes:
            folder = self.folder / f"drain-{batch}"
            self.report.drains.append(
                self.drain(OURS, Task("drain", folder, AT_ONCE, batch), "empty", 0, options.records)
            )
            shutil.rmtree(folder)
        if options.seconds:
            for subject in options.subjects:
                for trigger in TRIGGERS:
                    self.latencies(subject, trigger, None)
        if options.prefill:
            self.prefilled()

    def drain(self, subject: Subject, task: Task, silver: str, before: int, records: int) -> Drain:
        """Let a job read so many new records of a topic; `before` of it are read already."""
        task.folder.mkdir(exist_ok=True)
        load = os.getloadavg()[0]
        with step(f"{subject.name} drains {records} records, silver {silver}"):
            job = self.job(subject, task)
            try:
                last = job.last_batch()
                end = job.until_drained(before + records, self.limit(records))
                start = job.first_batch_after(last)
            finally:
                job.stop()
        return Drain(
            subject.name,
            silver,
            task.batch,
            records,
            seconds=end - start,
            seconds_with_start=end - job.program.started_at,
            cpu_seconds=job.meter.cpu_between(start, end),
            cpu_seconds_of_start=job.meter.cpu_between(0, start),
            peak_rss=job.meter.peak_rss,
            load=load,
        )

    def latencies(self, subject: Subject, trigger: str, prefilled: Task | None) -> None:
        """Measure a job's latency at every rate; on what it has done before if that is given."""
        topic = prefilled.topic if prefilled else f"{subject.name}-{trigger.split()[0]}"
        folder = prefilled.folder if prefilled else self.folder / topic
        if not prefilled:
            self.broker.create_topic(topic)
            folder.mkdir()
        task = Task(topic, folder, trigger, self.options.batch)
        period = float(trigger.split()[0])
        # A long trigger wants some batches to look at.
        seconds = max(self.options.seconds, 3 * period)
        job = self.job(subject, task)
        try:
            # Not measured: what a JVM does for the first time takes longer.
            fill(self.broker, topic, self.folder, self.numbers.take(WARM_UP), WARM_UP)
            job.until_drained(sum(self.broker.end_offsets(topic).values()), 300)
            for rate in RATES:
                with step(f"{subject.name}, trigger {trigger}, {rate} messages/s"):
                    found = measure(
                        self.broker.client(secured=subject.secured),
                        topic,
                        task.silver,
                        task.folder,
                        rate=rate,
                        seconds=seconds,
                        patience=period + 90,
                        numbers=self.numbers,
                    )
                silver = "prefilled" if prefilled else "empty"
                self.report.visible.append(Visible(subject.name, silver, trigger, rate, found))
        finally:
            job.stop()
        if not prefilled:
            shutil.rmtree(folder)

    def prefilled(self) -> None:
        """The same for ours on a silver that it has filled itself before."""
        options = self.options
        self.broker.create_topic("full")
        task = Task("full", self.folder / "full", AT_ONCE, options.batch)
        with step(f"fill another topic with {options.prefill} records"):
            # Other events than those that follow.
            fill(self.broker, "full", self.folder, 100_000_000, options.prefill)
        self.report.drains.append(self.drain(OURS, task, "being filled", 0, options.prefill))
        read = options.prefill
        for repeat in range(options.repeats):
            first = 10_000_000 * (repeat + 1)
            fill(self.broker, "full", self.folder, first, options.records)
            self.report.drains.append(self.drain(OURS, task, "prefilled", read, options.records))
            read += options.records
        if options.seconds:
            for trigger in TRIGGERS:
                self.latencies(OURS, trigger, task)

    def limit(self, records: int) -> float:
        """The most seconds that a drain may take: at 2,000 records a second, and the start."""
        return 180 + records / 2000


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Say on standard error what is done, and how long it took."""
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:7.1f} s  {what}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    options = _options(arguments)
    # As Ctrl-C: all that was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="bench-streaming-", dir=options.folder) as folder:
        bench = Bench(options, Path(folder))
        exit_code = 0
        try:
            bench.run()
        except KeyboardInterrupt:
            return 130
        except RuntimeError as error:
            # What was measured before is not lost.
            print(f"bench-streaming: {error}", file=sys.stderr)
            exit_code = 1
        finally:
            bench.stop()
    text = bench.report.markdown()
    print(text)
    if options.out:
        options.out.write_text(text)
    return exit_code


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure the streaming job beside a bare one and the original's shape.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--records", type=int, default=1_000_000, help="records to drain")
    parser.add_argument("--prefill", type=int, default=0, help="rows in silver before, at the end")
    parser.add_argument("--repeats", type=int, default=2, help="drains of each job")
    parser.add_argument("--batch", type=int, default=200_000, help="maxOffsetsPerTrigger")
    parser.add_argument(
        "--batch-sizes", type=int, nargs="*", default=[], help="more of them, for ours alone"
    )
    parser.add_argument(
        "--seconds", type=int, default=30, help="how long each latency is measured; 0: not at all"
    )
    parser.add_argument(
        "--master", choices=("standalone", "local[2]"), default="standalone", help="Spark's"
    )
    names = [subject.name for subject in SUBJECTS]
    usual = [subject.name for subject in SUBJECTS if not subject.secured]
    parser.add_argument("--jobs", nargs="+", choices=names, default=usual, help="which")
    parser.add_argument("--folder", type=Path, help="where temporary files go (about 5 GB)")
    parser.add_argument("--out", type=Path, help="a file for the table")
    options = parser.parse_args(arguments)
    options.subjects = [subject for subject in SUBJECTS if subject.name in options.jobs]
    return options


if __name__ == "__main__":
    sys.exit(main())
