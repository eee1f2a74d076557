"""The pieces that the page is made of: settings, markup and charts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imdb_dashboard import charts, cli, config, markup
from imdb_dashboard.config import Config, ConfigError
from imdb_dashboard.pipeline import Group, Part
from imdb_dashboard.prometheus import Alert
from imdb_dashboard.store import Found, Letter, Movie
from imdb_dashboard.tables import Minute

NASTY = "<script>alert(1)</script>&\"'"
SAFE = "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;"


def given(tmp_path: Path, text: str) -> str:
    path = tmp_path / "settings.json"
    path.write_text(text)
    return str(path)


def test_settings_are_read(tmp_path: Path) -> None:
    text = json.dumps({"tables": "/t", "port": 7, "links": [["a", "b"]], "units": ["kafka"]})
    found = config.read(given(tmp_path, text))
    assert (found.tables_folder, found.port) == (Path("/t"), 7)
    assert (found.links, found.units) == ((("a", "b"),), ("kafka",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("{}", "tables is missing"),
        ('{"tables": "/t", "colour": 1}', "colour is no setting"),
        ('{"tables": "/t", "port": "x"}', "port is 'x'"),
        ('{"tables": "/t", "memory_mb": 0}', "memory_mb is 0"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config.read(given(tmp_path, text))


def test_a_wrong_setting_ends_the_program_with_a_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(config.VARIABLE, str(tmp_path / "none.json"))
    assert cli.main(["run"]) == cli.WRONG
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_streamlit_tells_and_asks_nobody() -> None:
    options = cli.options(Config(tables="/t", port=7))
    assert {
        "--server.address=127.0.0.1",
        "--server.port=7",
        "--server.enableXsrfProtection=true",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
    } <= set(options)


@pytest.mark.parametrize(
    "html",
    [
        markup.movies([Movie(NASTY, 2000, NASTY, 1.0, 2, 3.0)]),
        markup.letters([Letter(0.0, NASTY, NASTY, NASTY)]),
        markup.alerts([Alert(NASTY, NASTY, NASTY, NASTY, NASTY, NASTY)]),
        markup.groups([Group(NASTY, 1, 2, (NASTY,), NASTY)]),
        markup.flow([Part("key", NASTY, "ok", NASTY, ((NASTY, NASTY),))]),
        markup.cards([(NASTY, NASTY, "key")]),
    ],
    ids=["movies", "letters", "alerts", "groups", "flow", "cards"],
)
def test_what_comes_from_outside_is_text(html: str) -> None:
    assert "<script>" not in html
    assert SAFE in html


def test_states_are_words_and_not_colours_alone() -> None:
    html = markup.flow([Part("topic", "Topic", "bad", "no broker", (("brokers", "0 of 3"),))])
    assert '<li class="bad" id="part-topic">' in html
    assert '<div class="state">no broker</div>' in html


MINUTES = [Minute(60.0, 3, 1.0, 2.0), Minute(120.0, 0, None, None)]


@pytest.mark.parametrize(
    ("chart", "number"),
    [
        (charts.rows_a_minute(MINUTES), 2),
        (charts.latency(MINUTES), 2),
        (charts.over_time([(0.0, 1.0), (60.0, float("nan"))], "y", "text"), 1),
        (charts.genres([("Drama", 3)]), 1),
        (charts.score_and_votes(Found(3, (), ((3.1, 6.4, 3),))), 1),
    ],
    ids=["rows", "latency", "over time", "genres", "score"],
)
def test_a_chart_holds_its_data_and_says_what_it_shows(chart: dict[str, Any], number: int) -> None:
    assert chart["description"]
    # At the top Streamlit would make frames of pandas of it.
    assert "data" not in chart
    assert len(chart["layer"][0]["data"]["values"]) == number
    json.dumps(chart, allow_nan=False)
