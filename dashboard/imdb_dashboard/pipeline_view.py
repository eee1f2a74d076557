"""The view of the pipeline: the flow as a picture, with what each part does now."""

from __future__ import annotations

import time
from collections.abc import Iterable

import streamlit as st

from imdb_dashboard import charts, markup
from imdb_dashboard.config import Config
from imdb_dashboard.pipeline import OK, UNKNOWN, WARNING, Part, PipelineState, duration, rate, whole
from imdb_dashboard.tables import TablesState
from imdb_dashboard.watch import Watch

SLOWER = 5
#: What the flow shows where Prometheus does not answer.
_NOT_KNOWN = tuple(
    Part(key, title, UNKNOWN, "not known")
    for key, title in (
        ("dump", "Dump"),
        ("producer", "Producer"),
        ("topic", "Topic"),
        ("job", "Streaming job"),
    )
)


def show(watch: Watch) -> None:
    """Draw it."""
    seconds = watch.config.refresh_seconds
    st.fragment(lambda: _flow(watch), run_every=seconds)()
    st.fragment(lambda: _over_time(watch), run_every=SLOWER * seconds)()
    _places(watch.config)


def _flow(watch: Watch) -> None:
    tables, said = watch.tables_now(), watch.pipeline_now()
    state = None if said.problem else said.state
    for problem in (tables.problem, said.problem):
        if problem:
            st.warning(problem)
    parts = state.parts if state else _NOT_KNOWN
    st.html(markup.flow([*parts, _tables_part(None if tables.problem else tables.state)]))
    if state:
        _alerts(state)
        st.subheader("Hosts and services", anchor=False)
        st.html(markup.groups(state.groups))


def _tables_part(state: TablesState | None) -> Part:
    if not state:
        return Part("tables", "Tables", UNKNOWN, "not known")
    facts = [("rows", whole(state.rows))]
    now = time.time()
    facts.append(("rate", rate(state.rows_since(300, now) / 300)))
    if state.newest is not None:
        facts.append(("last row", f"{duration(max(0.0, now - state.newest))} ago"))
    if state.p50 is not None and state.p99 is not None:
        facts += [("p50", duration(state.p50)), ("p99", duration(state.p99))]
    if not state.rows:
        return Part("tables", "Tables", WARNING, "empty", tuple(facts))
    return Part("tables", "Tables", OK, "readable", tuple(facts))


def _alerts(state: PipelineState) -> None:
    st.subheader("Alerts", anchor=False)
    if not state.is_watched:
        st.warning("The alert that always fires, Watchdog, does not: the rules are not evaluated.")
    if state.alerts:
        st.html(markup.alerts(state.alerts))
    else:
        st.caption("Nothing fires.")


def _over_time(watch: Watch) -> None:
    tables, said = watch.tables_now().state, watch.pipeline_now()
    left, right = st.columns(2)
    with left:
        st.subheader("From message to row", anchor=False)
        if tables and any(it.rows for it in tables.minutes):
            st.vega_lite_chart(charts.latency(tables.minutes), key="latency-chart")
        else:
            st.caption("No row came within an hour.")
    if said.problem or not said.state:
        return
    with right:
        st.subheader("Lag", anchor=False)
        _line(said.state.lag, "messages", "Messages that the job has not read yet", "lag-chart")
    with left:
        st.subheader("Into the topic", anchor=False)
        _line(said.state.topic_rate, "messages a second", "Messages a second", "topic-chart")


def _line(values: Iterable[tuple[float, float]], title: str, text: str, key: str) -> None:
    points = list(values)
    if points:
        st.vega_lite_chart(charts.over_time(points, title, text), key=key)
    else:
        st.caption("Prometheus has no number of it yet.")


def _places(config: Config) -> None:
    """Say where to look further."""
    st.subheader("Further", anchor=False)
    for title, url in config.links:
        st.markdown(f"- [{title}]({url})")
    name = "" if config.environment == "local" else f" NAME={config.environment}"
    st.caption("A unit's log, on the operator's machine:")
    st.code("\n".join(f"make logs{name} UNIT={unit}" for unit in config.units), language=None)
