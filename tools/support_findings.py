"""What looks wrong in a support bundle, the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

CRITICAL, WARNING, NOTE = "critical", "warning", "note"
LEVELS = (CRITICAL, WARNING, NOTE)

#: Percent of a file system, or of its inodes.
DISK_FULL, DISK_FILLING = 95, 85
#: Percent of the memory that is available.
MEMORY_LOW = 5
#: Seconds that a host's clock may be off beyond what asking it took.
CLOCK_OFF = 2.0
#: One that is younger than this has restarted while somebody waits for it.
YOUNG_SECONDS = 900


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong."""

    level: str
    #: The host that it is about; empty for the whole pipeline.
    host: str
    text: str
    #: The file of the bundle to read on in; empty for none.
    file: str = ""


@dataclass
class Bundle:
    """What was taken, by host."""

    environment: str
    at: datetime
    since: str
    #: What each host says of itself (host.json).
    hosts: dict[str, dict[str, Any]]
    #: When each was asked for its time and had answered, here, and what it gave; 0 is none.
    asked: dict[str, tuple[float, float, float]]
    #: Why nothing was taken from a host.
    silent: dict[str, str]
    #: The units that each host of the inventory should run.
    expected: dict[str, list[str]]
    #: What the health checks found, and why they could not be made.
    problems: list[dict[str, str]] = field(default_factory=list)
    unchecked: str = ""
    #: The status page as data, and why there is none.
    status: dict[str, Any] = field(default_factory=dict)
    without_status: str = ""


def findings(bundle: Bundle) -> list[Finding]:
    """Return what looks wrong, the worst first, and in the order of hosts."""
    found = [*of_the_whole(bundle)]
    for host, why in bundle.silent.items():
        found.append(Finding(CRITICAL, host, f"nothing was taken from it: {why}"))
    for host, said in bundle.hosts.items():
        found += of_units(host, said, bundle.expected.get(host, []))
        found += of_the_kernel(host, said)
        found += of_disks(host, said)
        found += of_the_clock(host, said, bundle.asked.get(host))
        found += of_memory(host, said)
        found += of_journals(host, said)
        found += of_alerts(host, said)
        found += of_what_is_missing(host, said)
    return sorted(found, key=lambda it: LEVELS.index(it.level))


def of_the_whole(bundle: Bundle) -> Iterator[Finding]:
    """Yield what the health checks say, and what differs between hosts."""
    for problem in bundle.problems:
        unit = problem.get("unit", "")
        file = f"journal/{unit}.log" if unit else ""
        yield Finding(CRITICAL, problem.get("host", ""), f"health check: {problem['text']}", file)
    if bundle.unchecked:
        yield Finding(WARNING, "", f"the health checks could not be made: {bundle.unchecked}")
    if bundle.without_status:
        yield Finding(NOTE, "", f"there is no status page: {bundle.without_status}")
    versions: dict[str, dict[str, list[str]]] = {}
    for host, said in bundle.hosts.items():
        for name, version in said.get("releases", {}).items():
            versions.setdefault(name, {}).setdefault(version, []).append(host)
    for name, by_version in versions.items():
        if len(by_version) > 1:
            each = "; ".join(f"{it} on {', '.join(hosts)}" for it, hosts in by_version.items())
            yield Finding(WARNING, "", f"hosts have several releases of {name}: {each}")
    for host, found in bundle.status.get("hosts", {}).items():
        certificate = found.get("certificate")
        if certificate and certificate["soon"]:
            text = f"its certificate {certificate['name']} ends at {certificate['end']}"
            yield Finding(WARNING, host, text)


def of_units(host: str, said: dict[str, Any], expected: list[str]) -> Iterator[Finding]:
    """Yield units that failed, do not run, or have restarted."""
    units = said.get("units", {})
    for name in said.get("failed", []):
        state = units.get(name, {})
        why = f" ({state['Result']}, exit status {state['ExecMainStatus']})" if state else ""
        yield Finding(CRITICAL, host, f"unit {name} failed{why}", journal_of(name))
    for name in expected:
        if f"{name}.service" not in units:
            yield Finding(CRITICAL, host, f"unit {name}.service is not there")
    for name, state in units.items():
        unit = name.removesuffix(".service")
        active = state.get("ActiveState", "")
        wanted = unit in expected or state.get("UnitFileState") == "enabled"
        if active in ("inactive", "deactivating") and wanted:
            enabled = "" if state.get("UnitFileState") == "enabled" else ", and is not enabled"
            level = CRITICAL if unit in expected else WARNING
            since = state.get("StateChangeTimestamp", "")
            yield Finding(
                level, host, f"unit {name} does not run since {since}{enabled}", journal_of(name)
            )
        elif active == "activating" and state.get("Type") != "oneshot":
            yield Finding(
                WARNING, host, f"unit {name} is starting ({state['SubState']})", journal_of(name)
            )
        restarts = int(state.get("NRestarts") or 0)
        if restarts:
            yield Finding(
                WARNING, host, f"unit {name} was restarted, times: {restarts}", journal_of(name)
            )
        if state.get("Result") == "oom-kill":
            yield Finding(
                CRITICAL, host, f"unit {name} was killed for want of memory", "journal/kernel.log"
            )


def journal_of(unit: str) -> str:
    """Return the file of a unit's journal; empty for units of which none is taken."""
    name, _, kind = unit.rpartition(".")
    return f"journal/{name}.log" if kind == "service" else ""


def of_the_kernel(host: str, said: dict[str, Any]) -> Iterator[Finding]:
    """Yield processes that were killed for want of memory, and restarts of the host."""
    killed = said.get("killed", [])
    if killed:
        text = f"the kernel killed processes for want of memory: {killed[-1]}"
        yield Finding(CRITICAL, host, text, "journal/kernel.log")
    uptime = said.get("uptime_seconds")
    if uptime is not None and uptime < YOUNG_SECONDS:
        yield Finding(NOTE, host, f"it has been up for {uptime:.0f} s")
    if said.get("reboot_required"):
        yield Finding(NOTE, host, "its packages ask for a reboot")


def of_disks(host: str, said: dict[str, Any]) -> Iterator[Finding]:
    """Yield file systems that are full, or nearly so."""
    for disk in said.get("filesystems", []):
        for what, percent in (
            ("", disk["used_percent"]),
            (" of its inodes", disk["inodes_percent"]),
        ):
            if percent >= DISK_FILLING:
                level = CRITICAL if percent >= DISK_FULL else WARNING
                free = f", {disk['free'] / 2**30:.1f} GiB are free" if not what else ""
                text = f"the file system {disk['mount']} uses {percent} %{what}{free}"
                yield Finding(level, host, text, "system/disks.txt")


def of_the_clock(
    host: str, said: dict[str, Any], asked: tuple[float, float, float] | None
) -> Iterator[Finding]:
    """Yield a clock that is off, or that nothing sets."""
    if asked and asked[2]:
        begun, ended, there = asked
        off = max(there - ended, 0) or min(there - begun, 0)
        if abs(off) > CLOCK_OFF:
            way = "ahead of" if off > 0 else "behind"
            text = f"its clock is {abs(off):.0f} s {way} the operator's machine"
            yield Finding(CRITICAL, host, text, "system/clock.txt")
    if said.get("clock_synchronized") is False:
        text = "its clock is not synchronized, as far as it knows"
        yield Finding(WARNING, host, text, "system/clock.txt")


def of_memory(host: str, said: dict[str, Any]) -> Iterator[Finding]:
    """Yield a host that has hardly any memory left, or more to do than processors."""
    memory = said.get("memory_kb", {})
    if memory.get("MemTotal") and "MemAvailable" in memory:
        percent = 100 * memory["MemAvailable"] / memory["MemTotal"]
        if percent < MEMORY_LOW:
            text = f"{percent:.0f} % of its memory is available"
            yield Finding(WARNING, host, text, "system/memory.txt")
    load, processors = said.get("load"), said.get("processors")
    if load and processors and load[1] > 2 * processors:
        text = f"its load is {load[1]:.1f} on {processors} processors"
        yield Finding(NOTE, host, text, "system/processes.txt")


def of_journals(host: str, said: dict[str, Any]) -> Iterator[Finding]:
    """Yield the errors in each journal, by their number."""
    errors = said.get("errors", {})
    for name, it in sorted(errors.items(), key=lambda pair: -pair[1]["count"]):
        often = f'; {it["examples"][0][0]} like "{it["examples"][0][1]}"' if it["examples"] else ""
        text = f"errors in the journal of {name}: {it['count']}, the last at {it['last']}{often}"
        yield Finding(NOTE, host, text, f"journal/{name}.log")


def of_alerts(host: str, said: dict[str, Any]) -> Iterator[Finding]:
    """Yield the alerts that fire."""
    for alert in said.get("alerts", []):
        labels = alert["labels"]
        if alert["state"] == "firing":
            level = CRITICAL if labels.get("severity") == "critical" else WARNING
            summary = alert.get("annotations", {}).get("summary", "")
            text = f"alert {labels['alertname']}: {summary}"
            yield Finding(level, labels.get("instance", host), text, "metrics/alerts.json")


def of_what_is_missing(host: str, said: dict[str, Any]) -> Iterator[Finding]:
    """Yield what could not be taken."""
    missing = [it for it in said.get("notes", []) if it["problem"]]
    for it in missing:
        yield Finding(NOTE, host, f"{it['file']} is not complete: {it['problem']}", it["file"])


def moment(seconds: float) -> str:
    """Return a time in seconds since 1970 as text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
