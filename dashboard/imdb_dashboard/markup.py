"""Pieces of the page as HTML. Every text that comes from outside goes through `escape`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from imdb_dashboard.pipeline import Group, Part
from imdb_dashboard.prometheus import Alert
from imdb_dashboard.store import Letter, Movie

#: It holds on a white and on a black page; each state is said in words too.
STYLE = f"<style>{Path(__file__).with_name('style.css').read_text(encoding='utf-8')}</style>"


def cards(values: Iterable[tuple[str, str, str]]) -> str:
    """Return numbers with their names; the third of each is the name by which tests find it."""
    items = "".join(
        f'<li><div class="name">{escape(name)}</div>'
        f'<div class="value" id="{escape(key)}">{escape(value)}</div></li>'
        for name, value, key in values
    )
    return f'<ul class="cards">{items}</ul>'


def flow(parts: Sequence[Part]) -> str:
    """Return the parts of the pipeline in the order of the data."""
    arrow = '<li class="arrow" aria-hidden="true">→</li>'
    return f'<ul class="flow" aria-label="The flow">{arrow.join(map(_part, parts))}</ul>'


def _part(part: Part) -> str:
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in part.facts
    )
    return (
        f'<li class="{escape(part.colour)}" id="part-{escape(part.key)}">'
        f'<div class="title">{escape(part.title)}</div>'
        f'<div class="state">{escape(part.state)}</div><dl>{facts}</dl></li>'
    )


def movies(found: Sequence[Movie]) -> str:
    """Return the table of movies."""
    rows = [
        (
            (str(place), "number wide"),
            (it.title, ""),
            (str(it.year), "number"),
            (it.genres.replace(",", ", "), "wide"),
            (f"{it.rating:.1f}", "number"),
            (f"{it.votes:,}", "number"),
            (f"{it.score:.3f}", "number"),
        )
        for place, it in enumerate(found, 1)
    ]
    head = (
        ("#", "number wide"),
        ("Title", ""),
        ("Year", "number"),
        ("Genres", "wide"),
        ("Rating", "number"),
        ("Votes", "number"),
        ("Score", "number"),
    )
    return _table(head, rows, "movie-table")


def letters(found: Sequence[Letter]) -> str:
    """Return the table of dead letters."""
    rows = [
        (
            (_moment(it.at), "wide moment"),
            (it.place, ""),
            (it.reason, ""),
            (it.value, "code"),
        )
        for it in found
    ]
    head = (("Sent (UTC)", "wide"), ("Topic/partition/offset", ""), ("Reason", ""), ("Value", ""))
    return _table(head, rows, "letter-table")


def alerts(found: Sequence[Alert]) -> str:
    """Return the table of alerts."""
    rows = [
        (
            (it.state, f"state {'bad' if it.severity == 'critical' else 'warning'}"),
            (it.severity, "wide"),
            (it.name, ""),
            (it.summary, ""),
            (it.since[:19].replace("T", " "), "wide moment"),
        )
        for it in found
    ]
    head = (
        ("State", ""),
        ("Severity", "wide"),
        ("Alert", ""),
        ("What", ""),
        ("Since (UTC)", "wide"),
    )
    return _table(head, rows, "alert-table")


def groups(found: Sequence[Group]) -> str:
    """Return the table of hosts that do the same."""
    rows = []
    for it in found:
        text = f"{it.up} of {it.wanted}" if it.wanted else f"{it.up}"
        text += f"; not {', '.join(it.missing)}" if it.missing else ""
        colour = "ok" if it.up >= max(it.wanted, 1) else "bad"
        rows.append(((it.title, ""), (text, f"state {colour}"), (it.note, "")))
    return _table((("Part", ""), ("Answers", ""), ("Note", "")), rows, "group-table")


Cell = tuple[str, str]


def _table(head: Sequence[Cell], rows: Iterable[Sequence[Cell]], key: str) -> str:
    top = "".join(f'<th scope="col" class="{css}">{escape(text)}</th>' for text, css in head)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    # With the keyboard what is wider than the page is reached too.
    return (
        f'<div class="scroll" id="{key}" tabindex="0"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    text, css = cell
    if css == "code":
        return f"<td><code>{escape(text)}</code></td>"
    if css.startswith("state"):
        return f'<td><span class="{css}">{escape(text)}</span></td>'
    return f'<td class="{css}">{escape(text)}</td>'


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
