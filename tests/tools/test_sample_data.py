"""The sample dumps: the same each time, in IMDb's format, with the hard cases."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sample_data

from imdb_producer.dumps import Dumps

TYPES = {
    "movie",
    "short",
    "tvSeries",
    "tvEpisode",
    "tvMovie",
    "tvMiniSeries",
    "tvSpecial",
    "video",
    "videoGame",
    "tvShort",
    "tvPilot",
}


@dataclass
class Sample:
    summary: sample_data.Summary
    basics: list[dict[str, str]]
    ratings: list[dict[str, str]]


def lines(path: Path) -> list[str]:
    with gzip.open(path) as file:
        text = file.read().decode("utf-8")
    assert text.endswith("\n")
    return text[:-1].split("\n")


def rows(path: Path) -> Iterator[dict[str, str]]:
    header, *rest = (line.split("\t") for line in lines(path))
    for fields in rest:
        yield dict(zip(header, fields, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sample")


@pytest.fixture(scope="module")
def sample(folder: Path) -> Sample:
    summary = sample_data.generate(folder, titles=20_000, seed=1)
    return Sample(
        summary,
        list(rows(folder / sample_data.BASICS_FILE)),
        list(rows(folder / sample_data.RATINGS_FILE)),
    )


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        sample_data.generate(tmp_path / name, titles=2000, seed=3)
    for file in (sample_data.BASICS_FILE, sample_data.RATINGS_FILE):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_another_seed_gives_other_rows(tmp_path: Path) -> None:
    for seed in (1, 2):
        sample_data.generate(tmp_path / str(seed), titles=2000, seed=seed)
    file = sample_data.BASICS_FILE
    assert lines(tmp_path / "1" / file) != lines(tmp_path / "2" / file)


def test_the_headers_are_those_of_imdb(folder: Path, sample: Sample) -> None:
    assert lines(folder / sample_data.BASICS_FILE)[0] == (
        "tconst\ttitleType\tprimaryTitle\toriginalTitle\tisAdult\tstartYear\tendYear"
        "\truntimeMinutes\tgenres"
    )
    assert lines(folder / sample_data.RATINGS_FILE)[0] == "tconst\taverageRating\tnumVotes"
    assert len(sample.basics) == 20_000


def test_the_summary_says_what_the_files_hold(sample: Sample) -> None:
    votes = {row["tconst"]: int(row["numVotes"]) for row in sample.ratings}
    kept = [
        row
        for row in sample.basics
        if row["titleType"] == "movie"
        and row["startYear"] != r"\N"
        and votes.get(row["tconst"], 0) >= 1000
    ]
    assert sample.summary == sample_data.Summary(20_000, len(sample.ratings), len(kept))
    assert 2_800 <= len(kept) <= 3_400


def test_the_producer_keeps_as_many_as_the_summary_says(folder: Path, sample: Sample) -> None:
    with Dumps() as dumps:
        with gzip.open(folder / sample_data.RATINGS_FILE) as file:
            ratings_counts = dumps.read_ratings(file, 1000)
        with gzip.open(folder / sample_data.BASICS_FILE) as file:
            movies_counts = dumps.read_movies(file)
        records = list(dumps.records())
    assert len(records) == movies_counts.kept == sample.summary.kept
    assert ratings_counts.malformed == movies_counts.malformed == 0


def test_every_title_type_is_there(sample: Sample) -> None:
    assert {row["titleType"] for row in sample.basics} == TYPES


@pytest.mark.parametrize("column", ["startYear", "endYear", "runtimeMinutes", "genres"])
def test_every_optional_column_is_both_known_and_unknown(sample: Sample, column: str) -> None:
    unknown = [row[column] == r"\N" for row in sample.basics if row["titleType"] == "tvSeries"]
    assert any(unknown)
    assert not all(unknown)


@pytest.mark.parametrize("column", ["runtimeMinutes", "genres"])
def test_kept_movies_lack_values_too(sample: Sample, column: str) -> None:
    rated = {row["tconst"] for row in sample.ratings if int(row["numVotes"]) >= 1000}
    assert any(
        row[column] == r"\N"
        for row in sample.basics
        if row["tconst"] in rated and row["titleType"] == "movie" and row["startYear"] != r"\N"
    )


@pytest.mark.parametrize("votes", ["999", "1000", "1001"])
def test_votes_around_the_threshold_are_there(sample: Sample, votes: str) -> None:
    assert votes in {row["numVotes"] for row in sample.ratings}


def test_some_titles_lack_a_rating_and_some_ratings_a_title(sample: Sample) -> None:
    titles = {row["tconst"] for row in sample.basics}
    rated = {row["tconst"] for row in sample.ratings}
    assert titles - rated
    assert rated - titles


def test_no_tconst_comes_twice(sample: Sample) -> None:
    for table in (sample.basics, sample.ratings):
        assert len({row["tconst"] for row in table}) == len(table)


@pytest.mark.parametrize("genres", [1, 2, 3])
def test_genres_come_in_ones_twos_and_threes(sample: Sample, genres: int) -> None:
    assert any(len(row["genres"].split(",")) == genres for row in sample.basics)


def test_no_title_has_a_genre_twice(sample: Sample) -> None:
    for row in sample.basics:
        genres = row["genres"].split(",")
        assert len(set(genres)) == len(genres)


@pytest.mark.parametrize(
    "part",
    ['"', "\\", "|", ",", "é", "東", "안", "ש", "ح", "🎭", "\u2028", "\u0301", "'"],
)
def test_titles_hold_what_readers_stumble_over(sample: Sample, part: str) -> None:
    assert any(part in row["primaryTitle"] for row in sample.basics)


def test_many_titles_begin_with_a_stray_quote(sample: Sample) -> None:
    stray = [
        row
        for row in sample.basics
        if row["primaryTitle"].startswith('"') and row["primaryTitle"].count('"') == 1
    ]
    assert len(stray) > 20_000 / 1000


def test_adult_and_very_long_titles_are_there(sample: Sample) -> None:
    assert {row["isAdult"] for row in sample.basics} == {"0", "1"}
    assert max(len(row["primaryTitle"]) for row in sample.basics) > 1000


@pytest.mark.parametrize("titles", [1, 10])
def test_a_tiny_size_is_made_exactly(tmp_path: Path, titles: int) -> None:
    summary = sample_data.generate(tmp_path, titles=titles, seed=1)
    assert summary.titles == len(list(rows(tmp_path / sample_data.BASICS_FILE))) == titles


def test_the_kept_share_can_be_chosen(tmp_path: Path) -> None:
    summary = sample_data.generate(tmp_path, titles=5000, seed=1, kept_share=0.0)
    assert summary.kept == sum(title.is_kept for title in sample_data.hard_cases())


def test_the_command_prints_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample_data.main(["--titles", "100", "--out", str(tmp_path)]) == 0
    assert "100 titles" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        sample_data.BASICS_FILE,
        sample_data.RATINGS_FILE,
    }


def test_a_folder_that_cannot_be_made_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert sample_data.main(["--out", str(tmp_path / "file" / "x")]) == 1
    assert "Cannot write to" in capsys.readouterr().err
