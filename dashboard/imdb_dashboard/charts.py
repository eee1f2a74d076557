"""Charts, as Vega-Lite: what Altair would write, without the 40 MiB that it takes to write it.

The data lies within a layer: what stands above, Streamlit would turn into a frame of pandas first,
which the page does without.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from imdb_dashboard.store import Found
from imdb_dashboard.tables import Minute

Spec = dict[str, Any]

HEIGHT = 220
_TIME = {"field": "at", "type": "temporal", "title": None, "axis": {"format": "%H:%M"}}


def rows_a_minute(minutes: Iterable[Minute]) -> Spec:
    """Bars: rows that came in each minute."""
    values = [{"at": 1000 * it.at, "rows": it.rows} for it in minutes]
    encoding = {
        "x": {**_TIME, "timeUnit": "yearmonthdatehoursminutes"},
        "y": {"field": "rows", "type": "quantitative", "title": "rows a minute"},
        "tooltip": [
            {**_TIME, "title": "minute", "format": "%H:%M"},
            {"field": "rows", "type": "quantitative"},
        ],
    }
    return _chart(
        values, {"type": "bar"}, encoding, "Rows that came in each of the last 60 minutes"
    )


def latency(minutes: Iterable[Minute]) -> Spec:
    """Lines: the median and the 99th percentile of the latency, by the minute."""
    values = [
        {"at": 1000 * it.at, "share": name, "seconds": round(value, 2)}
        for it in minutes
        for name, value in (("p50", it.p50), ("p99", it.p99))
        if value is not None
    ]
    encoding = {
        "x": _TIME,
        "y": {"field": "seconds", "type": "quantitative", "title": "seconds"},
        "color": {
            "field": "share",
            "type": "nominal",
            "title": None,
            "legend": {"orient": "top", "symbolType": "stroke"},
        },
    }
    mark = {"type": "line", "point": True, "tooltip": True}
    return _chart(
        values, mark, encoding, "Seconds from a message's own time until its row is there"
    )


def over_time(values: Sequence[tuple[float, float]], title: str, text: str) -> Spec:
    """A line: a number over an hour."""
    points = [{"at": 1000 * at, "value": value} for at, value in values if math.isfinite(value)]
    encoding = {
        "x": _TIME,
        "y": {"field": "value", "type": "quantitative", "title": title, "axis": {"format": "~s"}},
    }
    mark = {"type": "area", "line": True, "point": True, "opacity": 0.4, "tooltip": True}
    return _chart(points, mark, encoding, text)


def genres(counts: Iterable[tuple[str, int]]) -> Spec:
    """Bars: movies by genre."""
    values = [{"genre": genre, "movies": count} for genre, count in counts]
    encoding = {
        "y": {
            "field": "genre",
            "type": "nominal",
            "title": None,
            "sort": None,
            "axis": {"labelOverlap": False},
        },
        "x": {"field": "movies", "type": "quantitative", "title": "movies"},
    }
    mark = {"type": "bar", "tooltip": True}
    return _chart(values, mark, encoding, "Movies by genre", 20 * len(values) + 20)


def score_and_votes(found: Found) -> Spec:
    """Cells: how many movies have a score and a number of votes."""
    values = [
        {
            "votes": 10**votes,
            "votes2": 10 ** (votes + 0.1),
            "score": score,
            "score2": score + 0.2,
            "movies": count,
        }
        for votes, score, count in found.cells
    ]
    encoding = {
        "x": {
            "field": "votes",
            "type": "quantitative",
            "scale": {"type": "log", "nice": False},
            "title": "votes",
            "axis": {"format": "~s"},
        },
        "x2": {"field": "votes2"},
        "y": {
            "field": "score",
            "type": "quantitative",
            "scale": {"zero": False},
            "title": "weighted score",
        },
        "y2": {"field": "score2"},
        "color": {
            "field": "movies",
            "type": "quantitative",
            "scale": {"type": "log"},
            "title": "movies",
        },
        "tooltip": [
            {"field": "votes", "type": "quantitative", "format": ",.0f", "title": "votes from"},
            {"field": "score", "type": "quantitative", "format": ".1f", "title": "score from"},
            {"field": "movies", "type": "quantitative", "format": ","},
        ],
    }
    return _chart(values, {"type": "rect"}, encoding, "Weighted score against votes")


def _chart(
    values: list[dict[str, Any]],
    mark: dict[str, Any],
    encoding: dict[str, Any],
    text: str,
    height: int = HEIGHT,
) -> Spec:
    # Marks that are not there yet have no name that could be read out.
    said = {**mark, "aria": bool(values)}
    return {
        "description": text,
        "height": height,
        "layer": [{"data": {"values": values}, "mark": said, "encoding": encoding}],
    }
