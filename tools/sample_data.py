#!/usr/bin/env python3
"""Make sample dumps in the exact format of IMDb's title.basics and title.ratings.

    python3 tools/sample_data.py --titles 20000 --seed 1 --out data/sample

The same arguments give the same bytes. Every title is invented. The first rows are hard
cases, one of each; more of them are strewn over the rest. With --titles 11600000
--kept-share 0.004 the files are like the real ones in size and in the number of movies
that a reader keeps.

The format (https://developer.imdb.com/non-commercial-datasets/): gzip, one header line,
tabs, `\\N` for unknown, no quoting.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

BASICS_FILE = "title.basics.tsv.gz"
RATINGS_FILE = "title.ratings.tsv.gz"
BASICS_COLUMNS = (
    "tconst",
    "titleType",
    "primaryTitle",
    "originalTitle",
    "isAdult",
    "startYear",
    "endYear",
    "runtimeMinutes",
    "genres",
)
RATINGS_COLUMNS = ("tconst", "averageRating", "numVotes")
UNKNOWN = r"\N"

#: What a reader keeps: movies with a known year and at least so many votes.
MIN_VOTES = 1000

GENRES = (
    "Action",
    "Adventure",
    "Animation",
    "Biography",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Family",
    "Fantasy",
    "History",
    "Horror",
    "Music",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Sport",
    "Thriller",
    "War",
    "Western",
)
#: Title types, as often as in the real dump (in hundredths).
TYPES = (
    *("tvEpisode",) * 75,
    *("short",) * 9,
    *("movie",) * 6,
    *("video",) * 3,
    *("tvSeries",) * 2,
    "tvMovie",
    "tvMiniSeries",
    "tvSpecial",
    "videoGame",
    "tvShort",
)
ADJECTIVES = (
    "Amber", "Bitter", "Borrowed", "Broken", "Brief", "Burning", "Careful", "Clockwork",
    "Copper", "Crooked", "Distant", "Drowsy", "Electric", "Empty", "Faded", "Final", "Frozen",
    "Gentle", "Gilded", "Hidden", "Hollow", "Idle", "Ivory", "Jagged", "Last", "Lonely", "Loud",
    "Marble", "Midnight", "Narrow", "Paper", "Patient", "Quiet", "Restless", "Rusty", "Salted",
    "Second", "Silver", "Slow", "Stolen", "Sudden", "Tender", "Velvet", "Wandering", "Wooden",
)  # fmt: skip
NOUNS = (
    "Acrobat", "Almanac", "Anchor", "Archive", "Baker", "Balcony", "Barometer", "Beekeeper",
    "Canal", "Cartographer", "Chimney", "Compass", "Cousin", "Dentist", "Detour", "Echo",
    "Engine", "Ferry", "Garden", "Glacier", "Harbour", "Harvest", "Island", "Juggler", "Kettle",
    "Lantern", "Ledger", "Locksmith", "Meadow", "Mirror", "Orchard", "Parade", "Pilot", "Puzzle",
    "Quarry", "Raven", "Referee", "Signal", "Staircase", "Summer", "Tailor", "Tide", "Umbrella",
    "Violin", "Weather", "Window", "Winter", "Workshop",
)  # fmt: skip
#: Titles' beginnings and ends that readers stumble over; `{}` is an ordinary title.
ODD_TITLES = (
    '"{}',
    '{}"',
    '"{}" and After',
    'The 6" {}',
    "'{}",
    "{}, Part \\ Two",
    "{} | Director's Cut",
    "{}; or, #1",
    "L'été de {}",
    "Žluťoučký {}",
    "Straße nach {}",
    "Ιστορία: {}",
    "Зимний {}",
    "夏の{}",
    "{} 的夜晚",
    "여름 {}",
    "ריח {}",
    "قصة {}",
    "{} 🎬",
    "{} 👩‍🚀✨",
)
_MAX_VOTES = 2_400_000


class Title(NamedTuple):
    """A row of title.basics and, where votes is not None, its row of title.ratings.

    `rating` is in tenths; `end_year` is known for series alone.
    """

    kind: str
    title: str
    year: int | None
    runtime: int | None
    genres: str
    rating: int
    votes: int | None
    is_adult: int = 0
    end_year: int | None = None
    original: str | None = None

    @property
    def is_kept(self) -> bool:
        """Whether a reader that follows SPEC keeps it."""
        return (
            self.kind == "movie"
            and self.year is not None
            and self.votes is not None
            and self.votes >= MIN_VOTES
        )


@dataclass(slots=True)
class Summary:
    """How many rows each file has, and how many movies a reader keeps."""

    titles: int = 0
    ratings: int = 0
    kept: int = 0

    def __str__(self) -> str:
        return (
            f"{self.titles:,} titles, {self.ratings:,} ratings; {self.kept:,} movies will be kept "
            f"(startYear known, at least {MIN_VOTES:,} votes)"
        )


def _movie(title: str, **changes: object) -> Title:
    row = Title("movie", title, 1994, 101, "Drama", 71, 12_345)
    return row._replace(**changes)  # type: ignore[arg-type]


def hard_cases() -> list[Title]:
    """Give one row of everything that readers are known to get wrong."""
    kinds = (
        "short", "tvSeries", "tvEpisode", "tvMovie", "tvMiniSeries", "tvSpecial", "video",
        "videoGame", "tvShort", "tvPilot",
    )  # fmt: skip
    return [
        # quotes: each swallows rows if the reader believes in quoting
        _movie('"The Unclosed Umbrella'),
        _movie('"'),
        _movie('The Closing Umbrella"'),
        _movie('"Quoted" from the Start'),
        _movie('A 12" Record', original='Une galette de 12"'),
        _movie('""Twice""'),
        _movie("'Tis the Tide"),
        # the same titles as rows that are not kept, in between
        _movie('"An Open Short', kind="short"),
        # words and signs that readers take for something else
        _movie("NaN"),
        _movie("NA"),
        _movie("null"),
        _movie("None"),
        _movie("007"),
        _movie("1e5"),
        _movie("true"),
        _movie("movie"),
        _movie("A movie in an Episode", kind="tvEpisode"),
        _movie("#Hashtag Harbour"),
        _movie("=1+1"),
        _movie(" A Space on Either Side "),
        _movie("Back\\slash \\t \\n \\\\ Meadow"),
        _movie("\\Nightfall"),
        _movie("Ends with a Backslash\\"),
        _movie("Comma, Comma, and Comma"),
        _movie("Pipe | Dream | Pipe"),
        _movie("{Brace} [Bracket] <b>&amp;</b> ${VAR} %s"),
        _movie("Long " + "and Longer " * 150 + "Winter"),
        # unicode
        _movie("Crème brûlée à Ørsted"),
        _movie("Cafe\u0301 Decomposed"),
        _movie("東京の静かな庭"),
        _movie("안개 낀 부두"),
        _movie("שעון החול השבור"),
        _movie("حديقة المرآة"),
        _movie("🎭 Masks 👨‍👩‍👧‍👦 and 🏴‍☠️"),
        _movie("Beyond the Basic Plane: 𠮷 𐐷"),
        _movie("Line\u2028Separator\u0085Next\u00a0Line"),
        # missing values
        _movie("No Year", year=None),
        _movie("No Runtime", runtime=None),
        _movie("No Genre", genres=UNKNOWN),
        _movie("Nothing but a Name and a Year", runtime=None, genres=UNKNOWN),
        _movie("Nothing but a Name", year=None, runtime=None, genres=UNKNOWN),
        _movie("Never Rated", votes=None),
        # genres
        _movie("One Genre", genres="Western"),
        _movie("Two Genres", genres="Comedy,Crime"),
        _movie("Three Genres", genres="Action,Drama,Sci-Fi"),
        _movie("Genres of an Older Copy", genres="Horror|Mystery"),
        # votes around the threshold, and the ends of every scale
        _movie("Five Votes", votes=5),
        _movie("One Vote Short", votes=MIN_VOTES - 1),
        _movie("Just Enough Votes", votes=MIN_VOTES),
        _movie("One Vote to Spare", votes=MIN_VOTES + 1),
        _movie("Everybody Voted", votes=_MAX_VOTES),
        _movie("The Worst", rating=10),
        _movie("The Best", rating=100),
        _movie("The First Film", year=1894, runtime=1),
        _movie("A Film of the Future", year=2031),
        _movie("A Very Long Film", runtime=51_420),
        _movie("For Adults", is_adult=1, genres="Adult,Romance"),
        # every other type, with votes enough
        *(_movie(f"Not Kept: {kind}", kind=kind) for kind in kinds),
        _movie("Finished Series", kind="tvSeries", end_year=1999),
    ]


def random_titles(generator: random.Random, kept_share: float) -> Iterator[Title]:
    """Give titles without end; a share of them, on average, is kept by a reader."""
    bits = generator.getrandbits
    chance = generator.random
    plain = [f"{adjective} {noun}" for adjective in ADJECTIVES for noun in NOUNS]
    while True:
        # One draw a row serves all small choices; each takes its own bits of it.
        draw = bits(96)
        title = plain[(draw & 0xFFFF) % len(plain)]
        form = (draw >> 16) & 0xFF
        if form < 6:
            title = ODD_TITLES[(draw >> 24 & 0xFF) % len(ODD_TITLES)].format(title)
        elif form < 90:
            title = f"The {title}"
        elif form < 150:
            title = f"{title} of the {NOUNS[(draw >> 24 & 0xFF) % len(NOUNS)]}"
        year: int | None = 2026 - int(((draw >> 32 & 0xFFF) / 0x1000) ** 2 * 130)
        runtime: int | None = 40 + (draw >> 44 & 0x7F)
        first = draw >> 52 & 0xFF
        genres = GENRES[first % len(GENRES)]
        # The steps differ (8 to 18, then 1 or 2), so that no genre comes twice.
        more = draw >> 60 & 0x0F
        if more >= 5:
            genres += "," + GENRES[(first + 3 + more) % len(GENRES)]
        if more >= 11:
            genres += "," + GENRES[(first + 1 + (more & 1)) % len(GENRES)]
        rating = 10 + ((draw >> 64 & 0x3F) + (draw >> 70 & 0x1F)) * 90 // 94
        luck = draw >> 75 & 0x3FF
        is_adult = int(luck % 100 == 7)
        end_year: int | None = None
        votes: int | None

        if chance() < kept_share:
            kind = "movie"
            # Many have few votes and few have many.
            votes = MIN_VOTES + int((chance() ** 8) * (_MAX_VOTES - MIN_VOTES))
            if luck < 20:
                runtime = None
            if 20 <= luck < 40:
                genres = UNKNOWN
        else:
            kind = TYPES[(draw >> 85 & 0x7FF) % len(TYPES)]
            votes = None
            if chance() < 0.13:
                # Few votes, but for types and years that are not kept anyway.
                votes = 5 + int(chance() ** 4 * (MIN_VOTES - 5))
                if luck < 100:
                    if kind == "movie":
                        year = None
                    votes += MIN_VOTES
            if luck % 3 == 0:
                runtime = None
            if luck % 20 == 1:
                genres = UNKNOWN
            if luck % 10 == 2:
                year = None
            if kind in ("tvSeries", "tvMiniSeries") and year is not None and luck & 1:
                end_year = year + (luck >> 7)
        yield Title(kind, title, year, runtime, genres, rating, votes, is_adult, end_year)


def generate(out: Path, titles: int, seed: int, kept_share: float = 0.15) -> Summary:
    """Write both files into the folder `out`, which is made if it is missing.

    Args:
        out: the folder.
        titles: rows of title.basics.
        seed: another seed gives other rows.
        kept_share: share of the rows that a reader keeps, 0 to 1.

    Raises:
        OSError: the files cannot be written; none of them is left half-made.
    """
    out.mkdir(parents=True, exist_ok=True)
    summary = Summary()
    with ExitStack() as files:
        ratings = files.enter_context(_gzip_writer(out / RATINGS_FILE))
        basics = files.enter_context(_gzip_writer(out / BASICS_FILE))
        basics.write("\t".join(BASICS_COLUMNS) + "\n")
        ratings.write("\t".join(RATINGS_COLUMNS) + "\n")
        number = 0
        for row in _rows(titles, seed, kept_share):
            number += 1
            # Now and then a number is skipped; some of the skipped have a rating.
            if number % 97 == 0:
                if number % 2 == 0:
                    ratings.write(f"tt{number:07d}\t6.5\t{number % 5000 + 5}\n")
                    summary.ratings += 1
                number += 1
            tconst = f"tt{number:07d}"
            kind, title, year, runtime, genres, rating, votes, is_adult, end_year, original = row
            basics.write(
                f"{tconst}\t{kind}\t{title}\t{original or title}\t{is_adult}\t{year or UNKNOWN}\t"
                f"{end_year or UNKNOWN}\t{runtime or UNKNOWN}\t{genres}\n"
            )
            if votes is not None:
                ratings.write(f"{tconst}\t{rating // 10}.{rating % 10}\t{votes}\n")
                summary.ratings += 1
            summary.titles += 1
            summary.kept += row.is_kept
    return summary


def _rows(titles: int, seed: int, kept_share: float) -> Iterator[Title]:
    cases = hard_cases()[:titles]
    yield from cases
    # The integer, not its hash: the same on every machine and version of Python.
    rows = random_titles(random.Random(seed), kept_share)
    for _ in range(titles - len(cases)):
        yield next(rows)


@contextmanager
def _gzip_writer(path: Path) -> Iterator[TextIO]:
    """Write a gzip file without a date or name in it, put in place when it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            io.BufferedWriter(packed, 1 << 20) as buffered,
            io.TextIOWrapper(buffered, encoding="utf-8", newline="\n") as text,
        ):
            yield text
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the files and say what is in them."""
    parser = argparse.ArgumentParser(
        description="Make sample dumps in the format of IMDb's title.basics and title.ratings."
    )
    parser.add_argument("--titles", type=int, default=20_000, help="rows of title.basics (20000)")
    parser.add_argument("--seed", type=int, default=1, help="another gives other rows (1)")
    parser.add_argument(
        "--kept-share",
        type=float,
        default=0.15,
        help="share of rows that the producer keeps (0.15; IMDb's own is about 0.004)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    options = parser.parse_args(arguments)
    if options.titles < 1:
        parser.error(f"--titles {options.titles}: give at least 1")
    if not 0 <= options.kept_share <= 1:
        parser.error(f"--kept-share {options.kept_share}: give a share from 0 to 1")
    try:
        summary = generate(options.out, options.titles, options.seed, options.kept_share)
    except OSError as error:
        print(f"Cannot write to {options.out}: {error}. Name another --out.", file=sys.stderr)
        return 1
    print(f"{options.out}: {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
