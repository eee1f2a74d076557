"""The view of the movies: rows as they come, the best of them, and what is no movie."""

from __future__ import annotations

import time

import streamlit as st

from imdb_dashboard import charts, markup
from imdb_dashboard.pipeline import duration, whole
from imdb_dashboard.store import Filter
from imdb_dashboard.tables import BEST, TablesState
from imdb_dashboard.watch import Watch

#: Charts and tables are drawn anew less often than numbers, as many refreshes apart.
SLOWER = 5
ALL_GENRES = "all genres"
#: Whether there were no genres yet when the filters were drawn.
NOTHING_TO_CHOOSE = "nothing to choose"


def show(watch: Watch) -> None:
    """Draw it."""
    seconds = watch.config.refresh_seconds
    st.fragment(lambda: _numbers(watch), run_every=seconds)()
    wanted = _filters(watch.tables_now().state)
    st.fragment(lambda: _tables(watch, wanted), run_every=SLOWER * seconds)()


def _numbers(watch: Watch) -> None:
    answer = watch.tables_now()
    if answer.problem:
        st.warning(answer.problem)
    state = answer.state
    if not state:
        return
    now = time.time()
    last_minute = state.minutes[-2].rows if len(state.minutes) > 1 else 0
    st.html(
        markup.cards(
            (
                ("Rows so far", whole(state.rows), "rows"),
                ("Rows in the last full minute", whole(last_minute), "rows-a-minute"),
                ("Movies", whole(state.movies), "movie-count"),
                (
                    "Last row",
                    "none yet"
                    if state.newest is None
                    else f"{duration(max(0.0, now - state.newest))} ago",
                    "freshness",
                ),
                ("Dead letters", whole(state.letters), "letter-count"),
            )
        )
    )
    if not state.rows:
        st.info("No row has come yet. `make status` shows how far producer and job are.")


def _filters(state: TablesState | None) -> Filter:
    """Ask which movies are looked for."""
    genres = [genre for genre, _ in state.genres if genre != "(unknown)"] if state else []
    st.session_state[NOTHING_TO_CHOOSE] = not genres
    first, last = (state and state.years) or (1900, 2030)
    st.subheader("Movies", anchor=False)
    title, genre, years, votes = st.columns([3, 2, 3, 2])
    found = title.text_input("Title contains", key="title", max_chars=100)
    chosen = genre.selectbox("Genre", [ALL_GENRES, *sorted(genres)], key="genre")
    last = max(last, first + 1)
    # Where older or newer movies came it is another slider, of all years: none is left out unseen.
    low, high = years.slider("Years", first, last, (first, last), key=f"years-{first}-{last}")
    least = votes.number_input("Votes, at least", 0, step=1000, key="votes")
    return Filter(
        title=found.strip(),
        genre="" if chosen == ALL_GENRES else str(chosen),
        # New movies may be older or newer than all before.
        first_year=None if low == first else low,
        last_year=None if high == last else high,
        least_votes=int(least),
    )


def _tables(watch: Watch, wanted: Filter) -> None:
    state = watch.tables_now().state
    if not state or not watch.tables:
        return
    if state.genres and st.session_state.get(NOTHING_TO_CHOOSE):
        st.rerun()
    found = watch.tables.find(wanted)
    shown = f"The {BEST} best of {whole(found.count)}" if found.count > BEST else whole(found.count)
    st.caption(f"{shown} movies, by weighted score")
    st.html(markup.movies(found.best))
    left, right = st.columns(2)
    with left:
        st.subheader("Rows a minute", anchor=False)
        st.vega_lite_chart(charts.rows_a_minute(state.minutes), key="rows-chart")
        st.subheader("Score against votes", anchor=False)
        st.vega_lite_chart(charts.score_and_votes(found), key="score-chart")
    with right:
        st.subheader("Movies by genre", anchor=False)
        st.vega_lite_chart(charts.genres(state.genres), key="genres-chart")
    st.subheader("Dead letters", anchor=False)
    if not state.letters:
        st.caption("No message broke the contract.")
        return
    reasons = ", ".join(f"{reason} ({whole(count)})" for reason, count in state.reasons)
    st.text(f"{whole(state.letters)} messages: {reasons}")
    st.html(markup.letters(state.latest_letters))
