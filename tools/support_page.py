"""The index page of a support bundle, one file of HTML: what looks wrong first, then the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

import cluster_page
import status
from support_findings import CRITICAL, NOTE, WARNING, Bundle, Finding

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; }
table { border-collapse: collapse; width: 100%; } tr { border-bottom: 1px solid #ddd; }
th, td { text-align: left; padding: .25em .8em .25em 0; vertical-align: top; }
pre { background: #f5f5f5; padding: 1em; overflow-x: auto; font-size: 13px; }
code { font-size: 13px; }
.critical { color: #a40000; font-weight: 600; } .warning { color: #8a5a00; font-weight: 600; }
.note { color: #555; } .host { white-space: nowrap; }
"""
WORDS = {CRITICAL: "wrong", WARNING: "look at this", NOTE: "note"}


def page(bundle: Bundle, found: list[Finding], files: dict[str, dict[str, int]]) -> str:
    """Return the page.

    Args:
        bundle: what was taken.
        found: what looks wrong, the worst first.
        files: by host the files of the bundle, with their bytes.
    """
    title = f"Support bundle of {bundle.environment}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>Made at {bundle.at.isoformat(timespec='seconds')}; journals since "
        f"{escape(bundle.since)}. Secrets, titles and ids of movies were taken out: in their place "
        "stands <code>***</code>. Files are named as they lie in the archive.</p>",
        "<h2>What looks wrong</h2>",
        *wrong(found),
        "<h2>Hosts</h2>",
        *hosts(bundle),
        "<h2>Units</h2>",
        *units(bundle),
        "<h2>Errors in journals</h2>",
        *errors(bundle),
        "<h2>Status page</h2>",
        *status_page(bundle),
        "<h2>What was cut, and what could not be taken</h2>",
        *left_out(bundle),
        "<h2>Files</h2>",
        *listing(files),
    ]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield a table; its cells are HTML already."""
    yield "<table><tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    yield "</table>"


def code(text: str) -> str:
    """Return a text as code; nothing for none."""
    return f"<code>{escape(text)}</code>" if text else ""


def named(host: str) -> str:
    """Return a host's name, which stays on one line."""
    return f'<span class="host">{escape(host)}</span>'


def file_of(finding: Finding) -> str:
    """Return where in the archive to read on."""
    if not finding.file:
        return ""
    return f"hosts/{finding.host}/{finding.file}" if finding.host else finding.file


def wrong(found: list[Finding]) -> Iterator[str]:
    """Yield what looks wrong; the rest of the page is for reading on."""
    bad = [it for it in found if it.level != NOTE]
    if not bad:
        yield "<p>Nothing that this page looks for.</p>"
    yield from table(
        ["", "host", "what", "read on in"],
        (
            [
                f'<span class="{it.level}">{WORDS[it.level]}</span>',
                named(it.host or "all"),
                escape(it.text),
                code(file_of(it)),
            ]
            for it in found
        ),
    )


def hosts(bundle: Bundle) -> Iterator[str]:
    """Yield a line for each host."""
    rows = []
    for host, why in bundle.silent.items():
        rows.append([named(host), f'<span class="critical">{escape(why)}</span>', "", "", "", ""])
    for host, said in bundle.hosts.items():
        memory = said.get("memory_kb", {})
        disks = [
            f"{it['mount']} {it['used_percent']} % of {it['bytes'] / 2**30:.0f} GiB"
            for it in said.get("filesystems", [])
        ]
        releases = [f"{name} {version}" for name, version in said.get("releases", {}).items()]
        load = said.get("load")
        rows.append(
            [
                named(host),
                f"up for {said.get('uptime_seconds', 0) / 3600:.1f} h",
                f"{load[1]:.1f} on {said['processors']}" if load else "",
                " of ".join(
                    f"{memory.get(it, 0) // 1024:,}" for it in ("MemAvailable", "MemTotal")
                ),
                "<br>".join(map(escape, disks)),
                "<br>".join(map(escape, releases)),
            ]
        )
    heads = ["host", "", "load (5 min) on processors", "MiB available", "disks", "releases"]
    yield from table(heads, rows)


def units(bundle: Bundle) -> Iterator[str]:
    """Yield a line for each unit of each host."""
    rows = []
    for host, said in bundle.hosts.items():
        for name, it in said.get("units", {}).items():
            state = f"{it.get('ActiveState', '')} ({it.get('SubState', '')})"
            memory = it.get("MemoryCurrent", "")
            rows.append(
                [
                    named(host),
                    escape(name),
                    escape(state),
                    escape(it.get("UnitFileState", "")),
                    escape(it.get("NRestarts", "")),
                    f"{int(memory) / 2**20:,.0f}" if memory.isdigit() and len(memory) < 16 else "",
                    escape(it.get("StateChangeTimestamp", "")),
                ]
            )
    yield from table(["host", "unit", "state", "at boot", "restarts", "MiB", "since"], rows)


def errors(bundle: Bundle) -> Iterator[str]:
    """Yield how often each journal tells of errors, and of which."""
    rows = []
    for host, said in bundle.hosts.items():
        for name, it in said.get("errors", {}).items():
            often = "<br>".join(f"{many} x {code(text)}" for many, text in it["examples"])
            rows.append(
                (it["count"], [named(host), escape(name), str(it["count"]), it["last"], often])
            )
    ordered = [row for _, row in sorted(rows, key=lambda it: -it[0])]
    yield from table(["host", "journal", "lines", "last", "the most frequent"], ordered)


def status_page(bundle: Bundle) -> Iterator[str]:
    """Yield what make status says, without the tables."""
    if not bundle.status:
        yield f"<p>None: {escape(bundle.without_status)}</p>"
        return
    state = bundle.status
    lines = [
        *(
            status.render_units(state)
            if len(state["hosts"]) == 1
            else cluster_page.render_hosts(state)
        ),
        "",
        *(() if len(state["hosts"]) == 1 else cluster_page.render_cluster(state)),
        *status.render_topic(state["topic"]),
        *status.render_producer(state["producer"]),
        *status.render_streaming(state["streaming"]),
    ]
    yield f"<pre>{escape(chr(10).join(lines))}</pre>"


def left_out(bundle: Bundle) -> Iterator[str]:
    """Yield what is not whole in the bundle, and how much there is of each host."""
    rows: list[list[str]] = []
    for host, said in bundle.hosts.items():
        sizes = f"{said.get('taken', 0):,} of at most {said.get('limit', 0):,} bytes"
        rows.append([named(host), "all", sizes, f"in {said.get('seconds', 0)} s"])
        for note in said.get("notes", []):
            cut = f"{note['cut']:,} bytes left out" if note["cut"] else ""
            rows.append([named(host), code(note["file"]), cut, escape(note["problem"])])
    yield "<p>Of journals and commands the earliest lines are left out, of files the last.</p>"
    yield from table(["host", "file", "size", ""], rows)


def listing(files: dict[str, dict[str, int]]) -> Iterator[str]:
    """Yield the files of each host."""
    for host, named in files.items():
        yield f"<h3>{escape(host)}</h3>"
        yield from table(
            ["file", "bytes"], ([code(name), f"{size:,}"] for name, size in sorted(named.items()))
        )


def summary(found: list[Finding]) -> Iterator[str]:
    """Yield what looks wrong, for a terminal."""
    bad: list[Any] = [it for it in found if it.level != NOTE]
    for it in bad:
        where = f"{it.host}: " if it.host else ""
        yield f"{WORDS[it.level]:<13} {where}{' '.join(it.text.split())}"
    if not bad:
        yield "Nothing looks wrong that the index looks for."
