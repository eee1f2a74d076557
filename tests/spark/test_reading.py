"""docs/reading.md: each of its examples is executed against tables in the job's own layout."""

import csv
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas
import pyarrow.dataset
import pytest
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from imdb_streaming.files import local
from imdb_streaming.schema import DEAD_LETTERS_SCHEMA, GENRE_COUNTS_SCHEMA, SILVER_SCHEMA
from imdb_streaming.sinks import GenreCounts

from .frames import frame_of
from .local import LocalConfig as Config

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/reading.md"
ON_THE_HOSTS = "file:///opt/spark-output"
LONGEST = 5


@dataclass(frozen=True)
class Example:
    """A block of code in the document, under the heading `section`."""

    section: str
    tool: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.section}-{self.tool}-{self.language}".replace(" ", "_")


def examples() -> list[Example]:
    """The document's code in its order."""
    found = []
    section = tool = ""
    for part in re.finditer(
        r"^## (?P<section>[^\n]+)$"
        r"|^(?P<tool>pandas|DuckDB|Spark|Shell)\b[^\n]*:"
        r"|^```(?P<language>\w+)\n(?P<code>.*?)^```$",
        DOCUMENT.read_text(),
        re.M | re.S,
    ):
        section = part["section"] or section
        tool = "" if part["section"] else part["tool"] or tool
        if part["code"]:
            found.append(Example(section, tool, part["language"], part["code"]))
    return found


def example(name: str) -> Example:
    (found,) = (example for example in examples() if str(example) == name)
    return found


def at(second: int) -> datetime:
    return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)


@pytest.fixture(scope="module")
def output(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `data/output` is: two batches, one compacted file, a dead letter."""
    root = tmp_path_factory.mktemp("reading")
    parquet = root / "data/output/parquet"
    files = {
        "main-0000000000_0000000003": [("tt1", "First", 5.0, at(0)), ("tt2", "Second", 9.0, at(1))],
        "main-0000000004": [("tt1", "First again", 6.5, at(40))],
        "main-0000000005": [("tt3", "Third", 7.25, at(41))],
    }
    for name, movies in files.items():
        rows = [
            (tconst, title, 1999, None, ["Drama"], score, 10, score, f"{name}-{tconst}", sent)
            for tconst, title, score, sent in movies
        ]
        put(frame_of(spark, rows, SILVER_SCHEMA), parquet / f"silver_movies/{name}.parquet")
    counts = [("Drama", 3), ("Film-Noir", 2), ("(unknown)", 1)]
    put(
        frame_of(spark, counts, GENRE_COUNTS_SCHEMA),
        parquet / "genre_counts/genre_counts.parquet",
    )
    text = root / "data/output/csv/genre_counts/genre_counts.csv"
    text.parent.mkdir(parents=True)
    text.write_text("genre,movie_count\nDrama,3\nFilm-Noir,2\n(unknown),1\n")
    letters = [
        ("imdb-movies", 1, 7, at(2), "the message is not UTF-8", b"tt1", b"\xff\x00{"),
        ("imdb-movies", 2, 8, at(3), "the message is empty", None, None),
    ]
    put(
        frame_of(spark, letters, DEAD_LETTERS_SCHEMA),
        parquet / "dead_letters/main-0000000004.parquet",
    )
    # What else lies there, which no reader may take for rows.
    for table in ("silver_movies", "genre_counts", "dead_letters"):
        (parquet / table / "_run.json").write_text("{}")
        (parquet / table / ".main-0000000006.parquet.tmp").write_bytes(b"PAR1")
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/python").symlink_to(sys.executable)
    (root / "report.py").write_text("print('reported')\n")
    return root


def put(rows: DataFrame, target: Path) -> None:
    """Write rows as one Parquet file, as Spark does."""
    staging = target.with_name("staging")
    rows.coalesce(1).write.parquet(f"file://{staging}")
    (part,) = staging.glob("part-*.parquet")
    part.rename(target)
    for path in staging.iterdir():
        path.unlink()
    staging.rmdir()


def run(example: Example, output: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Execute an example in the folder and return what it prints."""
    if example.language == "sh":
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", example.code],
            cwd=output,
            # The interpreter is a link there, and would not find its packages.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout
    exec(example.code.replace(ON_THE_HOSTS, f"file://{output}/data/output"), {})
    return capfd.readouterr().out


#: What the examples print, by section and, where a tool's differ, tool.
PRINTED = {
    "silver_movies": r"Second.*\n.*Third.*\n.*First again",
    "silver_movies-Spark": r"tt2.*9\.0.*\n.*tt3.*7\.25.*\n.*tt1.*6\.5",
    "silver_movies-Shell": r"\b4\b.*\b3\b.*2026-01-01",
    "genre_counts": r"Drama\W+3\b.*\n.*Film-Noir\W+2\b.*\n.*\(unknown\)\W+1\b",
    "dead_letters": r"the message is not UTF-8\W+1\b",
    "dead_letters-Shell": r"^$",
    "At_any_moment--sh": r"^reported$",
    "At_any_moment--python": r"^$",
}


@pytest.mark.parametrize("example", examples(), ids=str)
def test_example_runs_as_it_stands(
    example: Example,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(output)
    assert len([line for line in example.code.splitlines() if line]) <= LONGEST
    patterns = [pattern for name, pattern in PRINTED.items() if str(example).startswith(name)]
    # The last is the most particular.
    assert re.search(patterns[-1], run(example, output, capfd))


def test_each_table_has_an_example_for_each_tool() -> None:
    names = {str(example) for example in examples()}
    assert {
        f"{table}-{tool}"
        for table in ("silver_movies", "genre_counts", "dead_letters")
        for tool in ("pandas-python", "DuckDB-python", "Spark-python", "Shell-sh")
    } <= names


def test_a_message_is_got_back_byte_for_byte(
    output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(example("dead_letters-Shell-sh"), output, capfd)
    assert (output / "message.bin").read_bytes() == b"\xff\x00{"


def test_rows_are_the_same_for_every_reader(spark: SparkSession, output: Path) -> None:
    folder = output / "data/output/parquet/silver_movies"
    ids = sorted(pandas.read_parquet(folder)["event_id"])
    by_duckdb = duckdb.execute(f"SELECT event_id FROM '{folder}/*.parquet' ORDER BY 1").fetchall()
    by_spark = spark.read.parquet(f"file://{folder}").select("event_id").collect()
    assert len(ids) == 4
    assert [row[0] for row in by_duckdb] == ids
    assert sorted(row[0] for row in by_spark) == ids


def test_counts_are_the_same_for_every_reader(spark: SparkSession, prepared: Config) -> None:
    lines = ["Dra\rma", "Dra\nma", "Dra\r\nma", "Dra\0ma", "\u2028\x85\x0b"]
    genres = ["Drama", 'a "b"', "c,d", " e ", "😀", *lines]
    expected = [(genre, 10 - place) for place, genre in enumerate(genres)]
    table = GenreCounts(prepared, spark)
    table.publish(dict(expected))
    parquet, text = str(table.parquet_file), local(table.csv_file)
    by_pandas = [pandas.read_parquet(parquet), pandas.read_csv(text)]
    assert [list(rows.itertuples(index=False, name=None)) for rows in by_pandas] == [expected] * 2
    assert duckdb.read_parquet(parquet).fetchall() == expected
    assert duckdb.read_csv(str(text)).fetchall() == expected
    by_spark = spark.read.options(header=True, multiLine=True, escape='"').csv(text.as_uri())
    assert [(row["genre"], int(row["movie_count"])) for row in by_spark.collect()] == expected
    with text.open(newline="") as file:
        assert list(csv.reader(file))[1:] == [[genre, str(count)] for genre, count in expected]


class TestStraddlingACompaction:
    """A reader that has listed the folder before a file goes gets the error of the document."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("a", "b"):
            pandas.DataFrame({"event_id": [name]}).to_parquet(tmp_path / f"{name}.parquet")
        return tmp_path

    def test_pandas(self, folder: Path) -> None:
        listed = pyarrow.dataset.dataset(folder)  # what pandas.read_parquet does first
        (folder / "b.parquet").unlink()
        with pytest.raises(FileNotFoundError):
            listed.to_table()
        assert len(pandas.read_parquet(folder)) == 1

    def test_duckdb(self, folder: Path) -> None:
        listed = [str(path) for path in sorted(folder.glob("*.parquet"))]
        (folder / "b.parquet").unlink()
        with pytest.raises(duckdb.IOException):
            duckdb.read_parquet(listed).fetchall()
        assert len(duckdb.execute(f"FROM '{folder}/*.parquet'").fetchall()) == 1

    def test_spark(self, spark: SparkSession, folder: Path) -> None:
        listed = spark.read.parquet(f"file://{folder}")
        (folder / "b.parquet").unlink()
        with pytest.raises((Py4JError, PySparkException), match="FILE_NOT_EXIST"):
            listed.collect()
        assert spark.read.parquet(f"file://{folder}").count() == 1


def test_the_retry_within_a_program_reads_again(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(output)
    reads: list[str] = []
    really_read = pandas.read_parquet

    def vanish_once(path: str) -> pandas.DataFrame:
        reads.append(path)
        if len(reads) == 1:
            raise FileNotFoundError(path)
        return really_read(path)

    monkeypatch.setattr(pandas, "read_parquet", vanish_once)
    names: dict[str, Any] = {}
    exec(example("At_any_moment--python").code, names)
    assert len(names["movies"]) == 4
    assert len(reads) == 2
