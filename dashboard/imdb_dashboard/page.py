"""The page, as Streamlit runs it: from the beginning for each viewer and each thing chosen."""

from __future__ import annotations

import logging

import streamlit as st

from imdb_dashboard import config, markup, movies_view, pipeline_view
from imdb_dashboard.watch import Watch

VIEWS = {"Movies": movies_view.show, "Pipeline": pipeline_view.show}

log = logging.getLogger("imdb_dashboard")


def _watch() -> Watch:
    return Watch(config.read())


#: The one that all viewers share.
the_watch = st.cache_resource(show_spinner=False)(_watch)


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="IMDb stream", page_icon="🎬", layout="wide")
    st.html(markup.STYLE)
    asked = st.query_params.get("view", "").capitalize()
    st.session_state.setdefault("view", asked if asked in VIEWS else "Movies")
    view = st.segmented_control(
        "View", list(VIEWS), key="view", label_visibility="collapsed", required=True
    )
    st.query_params["view"] = str(view).lower()
    try:
        VIEWS[str(view)](the_watch())
    except Exception:
        log.exception("the page")
        st.error("This part of the page failed. The journal of the unit imdb-dashboard says why.")


main()
