"""The parser against a slow and obvious one, on files that nobody would think of."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import sample_data
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imdb_producer.dumps import LONGEST_LINE, LONGEST_TEXT, Counts, Dumps
from imdb_producer.records import Record
from imdb_producer.sources import open_blocks

from . import reference

SEED = int(os.environ.get("TEST_SEED", random.randrange(2**32)))
UNKNOWN = rb"\N"

tconsts = st.sampled_from([b"tt0000001", b"tt0000002", b"tt0000003", b"tt1", b"nm0000001", b""])
#: Neither tabs nor line ends; all else may stand in a field.
texts = st.one_of(
    st.sampled_from([b"movie", b'"Open', b'"', b"", UNKNOWN, b"a\rb", b"\r", b"\xff", b"NaN"]),
    st.text(st.characters(blacklist_characters="\t\n", codec="utf-8"), max_size=12).map(str.encode),
    st.binary(max_size=6).map(lambda it: it.replace(b"\t", b" ").replace(b"\n", b" ")),
)
numbers = st.one_of(
    st.sampled_from([b"1994", UNKNOWN, b"0", b"2147483648", b"-1", b"1_0", b"", b"19x4", b" 1"]),
    st.integers(0, 10**11).map(lambda it: str(it).encode()),
)
kinds = st.sampled_from([b"movie", b"movie", b"movie", b"short", b"tvMovie", b"movie ", b"\rmovie"])
basics_rows = st.tuples(
    tconsts, kinds, texts, texts, numbers, numbers, numbers, numbers, texts
).map(list)
ratings_rows = st.tuples(
    tconsts,
    st.sampled_from([b"7.1", b"10.0", b"10.1", b"0.9", b"1", b"", b"nan", b"7.", b".7", b"7.12"]),
    st.one_of(numbers, st.sampled_from([b"1000", b"999", b"2000000"])),
).map(list)


def files(rows: st.SearchStrategy[list[bytes]], columns: list[str]) -> st.SearchStrategy[bytes]:
    """Give files of such rows, with columns in any order, and lines that are cut or grown."""

    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        order = draw(st.one_of(st.just(range(len(columns))), st.permutations(range(len(columns)))))
        end = draw(st.sampled_from([b"\n", b"\n", b"\r\n"]))
        lines = [b"\t".join(columns[it].encode() for it in order)]
        for row in draw(st.lists(rows, max_size=12)):
            fields = [row[it] for it in order]
            damage = draw(st.integers(0, 9))
            if damage == 0:
                fields = fields[: draw(st.integers(0, len(fields) - 1))]
            elif damage == 1:
                fields.insert(draw(st.integers(0, len(fields))), b"more")
            lines.append(b"\t".join(fields))
        return end.join(lines) + (end if draw(st.booleans()) else b"")

    return build()


def in_blocks(content: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Cut a file anywhere."""
    places = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        yield content[start:end]


def agree_on_movies(content: bytes, cuts: list[int], rated: dict[bytes, tuple[float, int]]) -> None:
    expected = reference.read_movies(content, rated)
    with Dumps() as dumps:
        dumps.read_ratings([as_ratings(rated)], 0)
        counts = dumps.read_movies(in_blocks(content, cuts))
        assert list(dumps.records()) == expected.kept
    agree_on_counts(counts, expected)


def as_ratings(rated: dict[bytes, tuple[float, int]]) -> bytes:
    """Give title.ratings with these ratings."""
    rows = [b"%s\t%.1f\t%d" % (tconst, *rating) for tconst, rating in rated.items()]
    return b"\n".join(["\t".join(reference.RATINGS).encode(), *rows])


def as_movies(tconsts: Iterable[bytes]) -> bytes:
    """Give title.basics in which these titles are movies."""
    rows = [it + b"\tmovie\tTide\tTide\t0\t1994\t\\N\t101\tDrama" for it in tconsts]
    return b"\n".join(["\t".join(reference.BASICS).encode(), *rows])


def agree_on_counts(counts: Counts, expected: reference.Outcome) -> None:
    assert counts.read == expected.read
    assert counts.kept == len(expected.kept)
    assert dict(counts.filtered) == expected.filtered
    assert counts.malformed == len(expected.malformed)
    shown = [int(it.partition(":")[0].removeprefix("line ")) for it in counts.examples]
    assert shown == sorted(expected.malformed)[:5]
    assert counts.read == counts.kept + counts.filtered.total() + counts.malformed


cuts = st.lists(st.integers(0, 10**6), max_size=8)
fully = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@fully
@given(files(basics_rows, reference.BASICS), cuts)
@example("\t".join(reference.BASICS).encode() + b"\n\n\n", [])
def test_titles_are_read_as_the_slow_parser_does(content: bytes, cuts: list[int]) -> None:
    agree_on_movies(content, cuts, {b"tt0000001": (7.1, 1000), b"tt0000002": (5.0, 2000)})


@fully
@given(files(ratings_rows, reference.RATINGS), cuts, st.sampled_from([0, 1000]))
def test_ratings_are_read_as_the_slow_parser_does(
    content: bytes, cuts: list[int], min_votes: int
) -> None:
    expected_ratings, expected = reference.read_ratings(content, min_votes)
    with Dumps() as dumps:
        counts = dumps.read_ratings(in_blocks(content, cuts), min_votes)
        dumps.read_movies([as_movies(expected_ratings)])
        assert ratings_of(dumps.records()) == expected_ratings
    agree_on_counts(counts, expected)


def ratings_of(records: Iterable[Record]) -> dict[bytes, tuple[float, int]]:
    return {it.tconst.encode(): (it.averageRating, it.numVotes) for it in records}


@pytest.mark.parametrize("length", [LONGEST_TEXT, LONGEST_TEXT + 1, LONGEST_LINE, 5 * LONGEST_LINE])
def test_a_line_without_end_is_reported_and_held_in_bounds(length: int) -> None:
    row = b"tt0000001\tmovie\tTide\tTide\t0\t1994\t\\N\t101\tDrama\n"
    endless = row.replace(b"Drama", b"D" * length)
    content = "\t".join(reference.BASICS).encode() + b"\n" + endless + row
    agree_on_movies(content, list(range(0, len(content), 1000)), {b"tt0000001": (7.1, 1000)})


def mutated(line: bytes, generator: random.Random) -> bytes:
    """Damage a line as transfers, disks and exports do, and as they do not."""
    damage = generator.randrange(9)
    place = generator.randrange(len(line) + 1)
    if damage == 0:
        return line[:place]
    if damage == 1:
        return line[:place] + bytes([generator.randrange(256)]) + line[place:]
    if damage == 2:
        return line[:place] + bytes([generator.randrange(256)]) + line[place + 1 :]
    if damage == 3:
        return line[:place] + b"\t" + line[place:]
    if damage == 4:
        return line.replace(b"\t", b"", 1)
    if damage == 5:
        return line[:place] + b"\n" + line[place:]
    if damage == 6:
        return line + line
    fields = line.split(b"\t")
    column = generator.randrange(len(fields))
    fields[column] = generator.choice([b"", UNKNOWN, b"movie", b"\xff\xfe", b"9" * 12, b"\r"])
    return b"\t".join(fields)


def dump_lines(folder: Path, name: str) -> tuple[bytes, list[bytes]]:
    with open_blocks(folder / name) as blocks:
        header, *lines = b"".join(blocks).rstrip(b"\n").split(b"\n")
    return header, lines


def test_of_100000_mutated_lines_none_is_dropped_unsaid(tmp_path: Path) -> None:
    print(f"TEST_SEED={SEED}")
    generator = random.Random(SEED)
    sample_data.generate(tmp_path, titles=60_000, seed=SEED % 1000, kept_share=0.5)
    contents = []
    for name in (sample_data.RATINGS_FILE, sample_data.BASICS_FILE):
        header, lines = dump_lines(tmp_path, name)
        few = (lines * 3)[: 45_000 if name == sample_data.RATINGS_FILE else 60_000]
        contents.append(b"\n".join([header, *(mutated(line, generator) for line in few)]))
    ratings_content, basics_content = contents

    rated, expected = reference.read_ratings(ratings_content, 1000)
    cuts = [generator.randrange(len(ratings_content)) for _ in range(50)]
    with Dumps() as dumps:
        counts = dumps.read_ratings(in_blocks(ratings_content, cuts), 1000)
        dumps.read_movies([as_movies(rated)])
        assert ratings_of(dumps.records()) == rated
    agree_on_counts(counts, expected)

    some_rated = {b"tt%07d" % number: (7.1, 1000) for number in range(1, 70_000, 2)}
    cuts = [generator.randrange(len(basics_content)) for _ in range(50)]
    agree_on_movies(basics_content, cuts, some_rated)
    assert ratings_content.count(b"\n") + basics_content.count(b"\n") >= 100_000
