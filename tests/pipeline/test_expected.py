"""The independent computation, on files small enough to check by eye."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import sample_data

from imdb_producer.dumps import Dumps
from imdb_producer.sources import open_blocks

from .expected import Expected, expected_genre_counts, expected_tables

HEADER = (
    "tconst titleType primaryTitle originalTitle isAdult startYear endYear runtimeMinutes genres"
)
BASICS = r"""tt0000003	movie	"Salt	"Salt	0	1999	\N	\N	Drama,Action
tt0000001	movie	NaN	NaN	0	1950	\N	90	\N
tt0000002	movie	No "year"	No "year"	0	\N	\N	90	Drama
tt0000004	tvMovie	Small Screen	Small Screen	0	1999	\N	90	Drama
tt0000005	movie	Nearly Known	Nearly Known	0	1999	\N	90	Drama
tt0000006	movie	Unrated	Unrated	0	1999	\N	90	Drama
tt0000007	movie	"Pepper"	Pepper	1	2001	\N	120	Drama|Comedy
"""
RATINGS = """tconst	averageRating	numVotes
tt0000001	8.0	3000
tt0000002	9.0	5000
tt0000003	5.0	1000
tt0000004	9.0	5000
tt0000005	9.0	999
tt0000007	10.0	7000
tt0000099	9.0	5000
"""


@pytest.fixture
def expected(tmp_path: Path) -> Expected:
    return compute(tmp_path)


def compute(folder: Path, limit: int | None = None) -> Expected:
    basics, ratings = folder / "basics.tsv", folder / "ratings.tsv"
    basics.write_text("\t".join(HEADER.split()) + "\n" + BASICS, encoding="utf-8")
    ratings.write_text(RATINGS, encoding="utf-8")
    return expected_tables(basics, ratings, c=6.5, m=3000, limit=limit)


def test_silver_holds_rated_movies_with_year_ordered_by_tconst(expected: Expected) -> None:
    assert expected.silver["tconst"].tolist() == ["tt0000001", "tt0000003", "tt0000007"]


def test_text_is_taken_as_it_stands(expected: Expected) -> None:
    assert expected.silver["primaryTitle"].tolist() == ["NaN", '"Salt', '"Pepper"']


def test_genres_are_lists_and_unknown_is_empty(expected: Expected) -> None:
    assert expected.silver["genres"].tolist() == [[], ["Drama", "Action"], ["Drama", "Comedy"]]


def test_unknown_runtime_is_missing(expected: Expected) -> None:
    runtimes = expected.silver["runtimeMinutes"]
    assert runtimes.isna().tolist() == [False, True, False]
    assert runtimes.dropna().tolist() == [90, 120]


def test_weighted_score_is_the_weighted_mean(expected: Expected) -> None:
    # 3000/6000*8 + 3000/6000*6.5, 1000/4000*5 + 3000/4000*6.5, 7000/10000*10 + 3000/10000*6.5
    assert expected.silver["weighted_score"].tolist() == pytest.approx([7.25, 6.125, 8.95])


def test_genres_are_counted_by_frequency_then_name(expected: Expected) -> None:
    expected_df = pd.DataFrame(
        {
            "genre": ["Drama", "(unknown)", "Action", "Comedy"],
            "movie_count": [2, 1, 1, 1],
        }
    )
    pd.testing.assert_frame_equal(expected.genre_counts, expected_df, check_dtype=False)


def test_limit_takes_the_first_of_the_dump(tmp_path: Path) -> None:
    expected = compute(tmp_path, limit=1)
    assert expected.silver["tconst"].tolist() == ["tt0000003"]
    assert expected_genre_counts(expected.silver)["movie_count"].tolist() == [1, 1]


def test_it_agrees_with_the_producer_on_the_sample_row_by_row(tmp_path: Path) -> None:
    sample_data.generate(tmp_path, titles=5000, seed=2)
    basics, ratings = tmp_path / sample_data.BASICS_FILE, tmp_path / sample_data.RATINGS_FILE
    with Dumps() as dumps:
        with open_blocks(ratings) as blocks:
            dumps.read_ratings(blocks, 1000)
        with open_blocks(basics) as blocks:
            dumps.read_movies(blocks)
        actual_df = pd.DataFrame(map(asdict, dumps.records()))
    actual_df["runtimeMinutes"] = actual_df["runtimeMinutes"].astype("Int64")

    expected_df = expected_tables(basics, ratings).silver.drop(columns="weighted_score")
    actual_df = actual_df.sort_values("tconst", ignore_index=True)
    pd.testing.assert_frame_equal(actual_df, expected_df, check_exact=True)
