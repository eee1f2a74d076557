"""The pipeline on one screen: hosts, units, topic, queries, tables, and where everything is.

Usage: python tools/status.py [--environment local] [--json] [--wait SECONDS]
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cluster_page import certificate_text, render_cluster, render_hosts
from hosts import PAGE, ROOT, UIS, HostsError, Target, load, run

GENRES_SHOWN = 8


def probe(target: Target, host: str) -> dict[str, Any]:
    """Return what a host says of its units, or why it does not."""
    script = (Path(__file__).parent / "probe.py").read_text(encoding="utf-8")
    try:
        answer = run(target, host, "sudo", "python3", "-", *target.units(host), stdin=script)
    except HostsError as error:
        return {"error": str(error)}
    found: dict[str, Any] = json.loads(answer)
    return found


def collect(target: Target) -> dict[str, Any]:
    """Ask every host at once; return the whole state, ready for JSON."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = dict(
            zip(target.hosts, pool.map(lambda host: probe(target, host), target.hosts), strict=True)
        )
    by_tls = any(answer.get("pages_by_tls") for answer in answers.values())
    state: dict[str, Any] = {
        "environment": target.name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "hosts": {
            host: {
                "address": target.hosts[host]["host_address"],
                "arch": target.hosts[host].get("host_arch", ""),
                "groups": [name for name, members in target.groups.items() if host in members],
                "error": answer.get("error"),
                "units": answer.get("units", {}),
                "ensemble": answer.get("ensemble"),
                "master": answer.get("master"),
                "roles": answer.get("roles", {}),
                "certificate": answer.get("certificate"),
            }
            for host, answer in answers.items()
        },
        "urls": {
            f"{title} ({host})": (
                # What make tunnel brings here.
                f"https://localhost:{port}"
                if by_tls
                else f"http://{target.hosts[host]['host_external_address']}:{port}"
            )
            for title, (group, port) in UIS.items()
            for host in target.groups[group]
            # A host that stands by for the job has no page of it.
            if answers[host].get("roles", {}).get("imdb-streaming") != "stands by"
            or group != "streaming"
        }
        | {
            f"{PAGE} ({host})": f"http://localhost:{port}"
            for host, answer in answers.items()
            if (port := answer.get("dashboard_port"))
        },
    }
    for part in ("brokers", "topic", "producer", "streaming", "genres", "tables"):
        said = [answer for answer in answers.values() if answer.get(part)]
        # Of hosts that stand by for each other the one that leads.
        leads = [it for it in said if it["roles"].get(f"imdb-{part}") == "leads"]
        state[part] = next((it[part] for it in [*leads, *said]), None)
    return state


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separated; a dash for none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def age(timestamp: str | None) -> str:
    """Return how long ago an ISO timestamp was; a dash for none."""
    if not timestamp:
        return "-"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()
    return f"{max(seconds, 0):.0f} s ago"


def render(state: dict[str, Any], target: Target) -> Iterator[str]:
    """Yield the lines of the page."""
    if len(state["hosts"]) == 1:
        yield from render_units(state)
    else:
        yield from render_hosts(state)
        yield ""
        yield from render_cluster(state)
    yield ""
    silent = [host for host, found in state["hosts"].items() if found["error"]]
    # Of hosts that nobody's Terraform made there is no such config.
    if silent and target.ssh_config.exists():
        yield f"make hosts{named(target.name)} brings back a host that died, with its data."
    if len(silent) < len(state["hosts"]):
        yield from render_topic(state["topic"])
        yield from render_producer(state["producer"])
        yield from render_streaming(state["streaming"])
        yield ""
        yield from render_genres(state["genres"])
    else:
        yield "Topic, producer, job and tables: unknown while no host answers."
    yield ""
    yield from render_places(state, target)


def render_units(state: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each unit of the host."""
    yield f"{'HOST':<16}{'ADDRESS':<17}{'UNIT':<16}{'STATE':<20}{'RESTARTS':<10}SINCE"
    for host, found in state["hosts"].items():
        if found["error"]:
            yield f"{host:<16}{found['address']:<17}does not answer: {found['error']}"
        for unit, it in found["units"].items():
            what = f"{it['ActiveState']} ({it['SubState']})"
            if it["LoadState"] != "loaded":
                what = it["LoadState"]
            yield (
                f"{host:<16}{found['address']:<17}{unit:<16}{what:<19} "
                f"{it.get('NRestarts', '-'):<10}{it.get('StateChangeTimestamp', '')}"
            )
        if certificate := certificate_text(found):
            yield f"{host:<16}{found['address']:<17}{certificate}"


def render_topic(topic: dict[str, Any] | None) -> Iterator[str]:
    """Yield the topic's line."""
    if not topic:
        yield "Topic      not there yet"
    elif "error" in topic:
        yield f"Topic      {topic['name']}: {topic['error']}"
    else:
        ends = topic["end_offsets"]
        each = ", ".join(f"{partition}: {number(end)}" for partition, end in ends.items())
        yield (
            f"Topic      {topic['name']}: {len(ends)} partitions, end offsets {each}; "
            f"{number(sum(ends.values()))} in all"
        )


def render_producer(producer: dict[str, Any] | None) -> Iterator[str]:
    """Yield the producer's line."""
    if not producer:
        yield "Producer   has said nothing yet"
        return
    sent, total = producer["sent"], producer["total"]
    share = f" ({100 * sent / total:.1f} %)" if total else ""
    yield (
        f"Producer   {producer['state']}: sent {number(sent)} of {number(total)}{share}, "
        f"{number(producer['rate'], 1)}/s{left(producer)}, failed {number(producer['failed'])}"
    )


def left(producer: dict[str, Any]) -> str:
    """Return how long the producer has still to send; nothing where that is not known."""
    seconds = producer.get("eta_seconds")
    if producer["state"] != "sending" or seconds is None:
        return ""
    return f", ETA {timedelta(seconds=seconds)}"


def render_streaming(streaming: dict[str, Any] | None) -> Iterator[str]:
    """Yield the job's lines: the tables' rows, then the last batch."""
    if not streaming:
        yield "Streaming  has said nothing yet"
        return
    yield (
        f"Streaming  run {streaming['run_id']}: {number(streaming['silver_rows'])} rows in silver, "
        f"{number(streaming['dead_letters'])} dead letters, "
        f"{number(streaming['duplicates'])} sent again, {number(streaming['stale'])} stale"
    )
    query = streaming["query"]
    lag = "unknown" if query["lag"] is None else number(query["lag"])
    yield (
        f"           batch {number(query['batch_id'])}, {age(query['at'])}: "
        f"{number(query['rows_in'])} in, {number(query['rows_written'])} written, "
        f"input {number(query['input_rate'], 1)}/s, lag {lag}"
    )


def render_genres(genres: list[dict[str, str]] | None) -> Iterator[str]:
    """Yield the head of the genre table."""
    if not genres:
        yield "Genres     no table yet"
        return
    yield f"{'GENRE':<16}MOVIES"
    for row in genres[:GENRES_SHOWN]:
        yield f"{row['genre']:<16}{number(int(row['movie_count']))}"
    if len(genres) > GENRES_SHOWN:
        yield f"... and {len(genres) - GENRES_SHOWN} more"


def render_places(state: dict[str, Any], target: Target) -> Iterator[str]:
    """Yield where the tables, web UIs and logs are."""
    if state["tables"]:
        yield f"Tables     {state['tables']['OUTPUT_PATH']}, {state['tables']['OUTPUT_PATH_CSV']}"
        if target.output_link.is_symlink():
            yield f"           here: {target.output_link.relative_to(ROOT)}/{{parquet,csv}}"
    # Of many hosts, one of each kind.
    shown: set[str] = set()
    for title, url in state["urls"].items():
        kind = title.partition(" (")[0]
        if kind not in shown:
            by_tunnel = f", by make tunnel{named(target.name)}" if "//localhost" in url else ""
            yield f"Web UI     {title}: {url}{by_tunnel}"
        shown.add(kind)
    journal = target.ssh(target.host_of("kafka"), "journalctl", "-u", "kafka")
    yield f"Logs       {shlex.join(part.removeprefix(f'{ROOT}/') for part in journal)}"
    yield f"           or: {make_logs(target.name, 'imdb-streaming')}"


def make_logs(environment: str, unit: str) -> str:
    """Return the command that follows a unit's journal."""
    return f"make logs{named(environment)} UNIT={unit}"


def named(environment: str) -> str:
    """Return what a command of make's is given to find an environment."""
    return "" if environment == "local" else f" NAME={environment}"


def has_output(state: dict[str, Any]) -> bool:
    """Return whether rows have arrived in both tables."""
    return bool(state["genres"] and (state["streaming"] or {}).get("silver_rows"))


def show(page: str) -> None:
    """Print a page, of which a reader such as `head` may take a part."""
    try:
        print(page, flush=True)
    except BrokenPipeError:
        # What is left in the buffer would fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    """Print the page; with --wait, first wait for rows in both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--environment", default="local", help="its name (default: local)")
    parser.add_argument("--json", action="store_true", help="print the state as JSON")
    parser.add_argument(
        "--wait",
        type=float,
        default=0,
        metavar="SECONDS",
        help="for first rows; emulated hosts are given six times as long",
    )
    arguments = parser.parse_args()

    try:
        target = load(arguments.environment)
    except HostsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if any(host.get("host_emulated") for host in target.hosts.values()):
        arguments.wait *= 6
    deadline = time.monotonic() + arguments.wait
    state = collect(target)
    while arguments.wait and not has_output(state) and time.monotonic() < deadline:
        time.sleep(0.5)
        state = collect(target)

    show(json.dumps(state, indent=2) if arguments.json else "\n".join(render(state, target)))
    if arguments.wait and not has_output(state):
        print(
            f"Error: no rows in both tables within {arguments.wait:g} s. "
            f"See: {make_logs(target.name, 'imdb-streaming')} and UNIT=imdb-producer",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
