"""What the tables must hold, computed from the two dumps alone.

Independent of the producer and of the streaming job on purpose: pandas, whole columns,
and none of their code.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import pandas as pd

#: Columns of silver that follow from the dumps; event_id and kafka_timestamp come after.
SILVER_COLUMNS = [
    "tconst",
    "primaryTitle",
    "startYear",
    "runtimeMinutes",
    "genres",
    "averageRating",
    "numVotes",
    "weighted_score",
]
GENRE_COLUMNS = ["genre", "movie_count"]


class Expected(NamedTuple):
    """The two tables."""

    silver: pd.DataFrame
    genre_counts: pd.DataFrame


def expected_tables(
    basics: Path,
    ratings: Path,
    *,
    c: float = 6.5,
    m: float = 3000,
    min_votes: int = 1000,
    limit: int | None = None,
) -> Expected:
    """Compute both tables.

    Args:
        basics: title.basics as TSV, gzip if the name ends in .gz.
        ratings: title.ratings, likewise.
        c: GLOBAL_MEAN_RATING.
        m: MIN_VOTES_PRIOR.
        min_votes: least number of votes of a movie.
        limit: PRODUCER_LIMIT; the first so many movies of the dump.
    """
    silver = expected_silver(basics, ratings, c=c, m=m, min_votes=min_votes, limit=limit)
    return Expected(silver, expected_genre_counts(silver))


def expected_silver(
    basics: Path,
    ratings: Path,
    *,
    c: float = 6.5,
    m: float = 3000,
    min_votes: int = 1000,
    limit: int | None = None,
) -> pd.DataFrame:
    """Compute silver's rows, ordered by tconst; arguments as in `expected_tables`.

    Returns:
        SILVER_COLUMNS; runtimeMinutes is Int64 with <NA>, genres holds lists.
    """
    rated = pd.concat(
        chunk[chunk["numVotes"].astype("int64") >= min_votes] for chunk in _read(ratings)
    )
    movies = pd.concat(
        chunk[(chunk["titleType"] == "movie") & (chunk["startYear"] != r"\N")]
        for chunk in _read(basics)
    )
    joined = movies.merge(rated, on="tconst", how="inner", validate="one_to_one")
    if limit is not None:
        joined = joined.head(limit)

    votes = joined["numVotes"].astype("float64")
    rating = joined["averageRating"].astype("float64")
    silver = pd.DataFrame(
        {
            "tconst": joined["tconst"],
            "primaryTitle": joined["primaryTitle"],
            "startYear": joined["startYear"].astype("int64"),
            "runtimeMinutes": joined["runtimeMinutes"].replace(r"\N", pd.NA).astype("Int64"),
            "genres": [_genres(text) for text in joined["genres"]],
            "averageRating": rating,
            "numVotes": joined["numVotes"].astype("int64"),
            "weighted_score": votes / (votes + m) * rating + m / (votes + m) * c,
        },
        columns=SILVER_COLUMNS,
    )
    return silver.sort_values("tconst").reset_index(drop=True)


def expected_genre_counts(silver: pd.DataFrame) -> pd.DataFrame:
    """Count the movies of each genre, most frequent first, then by name.

    Args:
        silver: as from `expected_silver`.

    Returns:
        GENRE_COLUMNS; movies without genre count as "(unknown)".
    """
    # An empty list explodes into one missing value.
    names = silver["genres"].explode().fillna("(unknown)")
    counts = names.value_counts().rename_axis("genre").reset_index(name="movie_count")
    ordered = counts.sort_values(["movie_count", "genre"], ascending=[False, True])
    return ordered[GENRE_COLUMNS].reset_index(drop=True)


def _read(path: Path) -> pd.io.parsers.TextFileReader:
    """Read every value as the text that it is: no quotes, no missing values, no numbers."""
    return pd.read_csv(
        path,
        sep="\t",
        quoting=csv.QUOTE_NONE,
        dtype=str,
        keep_default_na=False,
        na_filter=False,
        encoding="utf-8",
        lineterminator="\n",
        chunksize=500_000,
    )


def _genres(text: str) -> list[str]:
    if text == r"\N":
        return []
    return text.replace("|", ",").split(",")
