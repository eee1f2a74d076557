"""What the benchmark has found, as tables in Markdown."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..releases import ROOT, version_of
from .latency import Latency
from .subjects import ORIGINAL, OURS, SECURED, SUBJECTS

#: The issue's reach.
LEAST_SHARE_OF_BARE = 0.7
MOST_SECONDS_AFTER_TRIGGER = 3


@dataclass(frozen=True)
class Drain:
    """One job that read a topic to its end.

    `seconds` from the first batch's start to the last batch's end; CPU seconds in that time and
    before it; memory in bytes; `load` is the machine's load average before.
    """

    subject: str
    silver: str
    batch: int
    records: int
    seconds: float
    seconds_with_start: float
    cpu_seconds: float
    cpu_seconds_of_start: float
    peak_rss: int
    load: float


@dataclass(frozen=True)
class Visible:
    """How long one job's rows took to be seen, at one trigger (Spark's interval) and rate (1/s)."""

    subject: str
    silver: str
    trigger: str
    rate: int
    latency: Latency


class Report:
    """Everything that was measured."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Begin, at the machine's present load."""
        self.drains: list[Drain] = []
        self.visible: list[Visible] = []
        self._options = options
        self._begun = datetime.datetime.now(datetime.UTC)
        self._load = os.getloadavg()[0]

    def markdown(self) -> str:
        """Return the tables with what is needed to read them."""
        parts = [self._head(), self._drain_table(), self._latency_table(), self._verdicts()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _head(self) -> str:
        options = self._options
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        cores = len(os.sched_getaffinity(0))
        minutes = (datetime.datetime.now(datetime.UTC) - self._begun).total_seconds() / 60
        commit = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        ).stdout.strip()
        return "\n".join(
            [
                f"    {_command()}",
                "",
                f"- {self._begun:%Y-%m-%d %H:%M} UTC, {minutes:.0f} min, "
                f"commit {commit or 'unknown'}",
                f"- {cores} cores ({_cpu()}), {memory:.0f} GB; load average {self._load:.1f} at "
                f"the start, {os.getloadavg()[0]:.1f} at the end",
                f"- Spark {version_of('spark')} ({options.master}), Kafka {version_of('kafka')}, "
                f"ZooKeeper {version_of('zookeeper')}, Python {platform.python_version()}",
                f"- maxOffsetsPerTrigger {options.batch} for all where nothing else is said; a "
                f"topic of 3 partitions, messages of about 180 bytes before compression",
                *(f"- {subject.name}: {subject.what}" for subject in SUBJECTS),
            ]
        )

    def _drain_table(self) -> str:
        rows = [
            "| job | silver before | batch | records/s | with the start | CPU s per million |"
            " CPU s of the start | peak memory | load | runs |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for subject, silver, batch in dict.fromkeys(
            (drain.subject, drain.silver, drain.batch) for drain in self.drains
        ):
            runs = self._of(subject, silver, batch)

            def median(of: Callable[[Drain], float], runs: list[Drain] = runs) -> float:
                return statistics.median(map(of, runs))

            loads = [run.load for run in runs]
            rows.append(
                f"| {subject} | {silver} | {batch} "
                f"| {median(lambda run: run.records / run.seconds):,.0f} "
                f"| {median(lambda run: run.records / run.seconds_with_start):,.0f} "
                f"| {median(lambda run: run.cpu_seconds / run.records * 1e6):.1f} "
                f"| {median(lambda run: run.cpu_seconds_of_start):.1f} "
                f"| {median(lambda run: run.peak_rss) / 2**20:,.0f} MB "
                f"| {min(loads):.1f} to {max(loads):.1f} | {len(runs)} |"
            )
        return "\n".join(rows) if self.drains else ""

    def _latency_table(self) -> str:
        rows = [
            "| job | silver before | trigger | messages/s | sent | p50 | p99 | longest |"
            " files of silver an hour | all files written an hour |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for seen in self.visible:
            found = seen.latency
            rows.append(
                f"| {seen.subject} | {seen.silver} | {seen.trigger} | {seen.rate} | {found.sent} "
                f"| {found.p50:.2f} s | {found.p99:.2f} s | {found.longest:.2f} s "
                f"| {found.silver_files_per_hour:,.0f} | {found.all_files_per_hour:,.0f} |"
            )
        return "\n".join(rows) if self.visible else ""

    def _verdicts(self) -> str:
        lines = []
        batch = self._options.batch
        ours, bare = self._rate("ours", "empty", batch), self._rate("bare", "empty", batch)
        if ours and bare:
            lines.append(
                f"- drain: {ours / bare:.0%} of the bare job (reach: {LEAST_SHARE_OF_BARE:.0%})"
            )
        prefilled = self._rate("ours", "prefilled", batch)
        if ours and prefilled:
            lines.append(
                f"- drain with {self._options.prefill:,} rows in silver: {prefilled / ours:.0%} of "
                "that with none (reach: no measurable slowing)"
            )
        late = [
            seen.latency.p99 - float(seen.trigger.split()[0])
            for seen in self.visible
            if seen.subject == OURS.name
        ]
        if late:
            lines.append(
                f"- p99 visible: at most trigger + {max(late):.1f} s in every case of ours "
                f"(reach: trigger + {MOST_SECONDS_AFTER_TRIGGER} s)"
            )
        original = self._rate(ORIGINAL.name, "empty", batch)
        if ours and original:
            lines.append(f"- drain: {ours / original:.1f} times the original's shape")
        secured = self._rate(SECURED.name, "empty", batch)
        if ours and secured:
            lines.append(f"- drain: secured {secured / ours:.0%} of not secured")
        return "\n".join(lines)

    def _of(self, subject: str, silver: str, batch: int) -> list[Drain]:
        return [
            drain
            for drain in self.drains
            if (drain.subject, drain.silver, drain.batch) == (subject, silver, batch)
        ]

    def _rate(self, subject: str, silver: str, batch: int) -> float | None:
        runs = self._of(subject, silver, batch)
        return statistics.median(run.records / run.seconds for run in runs) if runs else None


def _command() -> str:
    """The command that runs this again."""
    return f'make bench-streaming BENCH="{" ".join(sys.argv[1:])}"'


def _cpu() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
