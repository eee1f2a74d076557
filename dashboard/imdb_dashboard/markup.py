"""Pieces of the page as HTML. Every text that comes from outside goes through `escape`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from imdb_dashboard.pipeline import Group, Part
from imdb_dashboard.prometheus import Alert
from imdb_dashboard.store import Letter, Movie

#: Colours that can be told from a white and from a black page; each state is said in words too.
STYLE = """<style>
.stMainBlockContainer { padding: 3.75rem 1rem 2rem; max-width: 80rem; }
ul.cards, ul.flow { display: flex; flex-wrap: wrap; gap: .6rem; padding: 0 !important; margin: 0 !important; list-style: none; }
.cards > li { flex: 1 1 8rem; margin: 0; padding: .5rem .8rem; border: 1px solid #8886; border-radius: .5rem; }
.cards .name { font-size: .85rem; opacity: .8; }
.cards .value { font-size: 1.5rem; font-variant-numeric: tabular-nums; line-height: 1.3; overflow-wrap: anywhere; }
.flow { align-items: stretch; }
.flow > li { flex: 1 1 8.5rem; margin: 0; padding: .5rem .8rem; border: 2px solid #888; border-radius: .5rem; }
.flow > li.arrow { flex: 0 0 auto; border: 0; padding: 0; align-self: center; font-size: 1.4rem; opacity: .7; }
.flow .title { font-weight: 600; overflow-wrap: anywhere; }
.flow dl { margin: .3rem 0 0 !important; padding: 0; font-size: .85rem; display: grid; grid-template-columns: auto 1fr; gap: 0 .6rem; }
.flow dt { margin: 0 !important; padding: 0; opacity: .8; } .flow dd { margin: 0 !important; padding: 0; text-align: right; font-variant-numeric: tabular-nums; }
.ok { border-color: #2e9e5b !important; } .warning { border-color: #c98a00 !important; }
.bad { border-color: #d93636 !important; } .unknown { border-style: dashed !important; }
.state::before { content: "●"; margin-right: .35rem; color: #888; }
.ok .state::before, .state.ok::before { color: #2e9e5b; } .warning .state::before, .state.warning::before { color: #c98a00; content: "▲"; }
.bad .state::before, .state.bad::before { color: #d93636; content: "■"; }
.scroll { overflow-x: auto; } .scroll table { width: 100%; border-collapse: collapse; font-size: .9rem; }
.scroll th, .scroll td { text-align: left; padding: .25rem .5rem; border-bottom: 1px solid #8884; vertical-align: top; }
.scroll .number { text-align: right; font-variant-numeric: tabular-nums; }
.scroll .moment { white-space: nowrap; } .scroll code { white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  .stMainBlockContainer { padding: 3.75rem .6rem 1rem; }
  .flow { flex-direction: column; } .flow > li { flex: none; } .flow > li.arrow { transform: rotate(90deg); line-height: 1; }
  .wide { display: none; }
}
</style>"""


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
        ("", "number wide"),
        ("Title", ""),
        ("Year", "number"),
        ("Genres", "wide"),
        ("Rating", "number"),
        ("Votes", "number"),
        ("Score", "number"),
    )
    return _table(head, rows, "movies")


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
    return _table(head, rows, "letters")


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
    head = (("State", ""), ("Severity", "wide"), ("Alert", ""), ("What", ""), ("Since (UTC)", "wide"))
    return _table(head, rows, "alerts")


def groups(found: Sequence[Group]) -> str:
    """Return the table of hosts that do the same."""
    rows = []
    for it in found:
        whole = it.up == it.wanted
        text = f"{it.up} of {it.wanted}" + (f"; not {', '.join(it.missing)}" if it.missing else "")
        rows.append(((it.title, ""), (text, f"state {'ok' if whole else 'bad'}"), (it.note, "")))
    return _table((("", ""), ("Answer", ""), ("", "")), rows, "groups")


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
