"""Where batches end: writers for foreachBatch.

A plain reader of a table never meets half a file or a batch twice: Spark writes one file into
OUTPUT_PATH/_staging, and a rename puts it in place under a name that follows from the batch, so
that a batch which is run again after a crash replaces what it wrote.
"""

import csv
import io
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import ArrayType

from imdb_streaming.config import Config
from imdb_streaming.files import put_in_place, write_atomically
from imdb_streaming.schema import GENRE_COUNTS_SCHEMA, SILVER_SCHEMA
from imdb_streaming.transformations import genre_counts, is_valid, silver_movies

SILVER = "silver_movies"
GENRE_COUNTS = "genre_counts"

#: As many malformed messages of a batch are logged one by one.
MALFORMED_LOGGED = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchResult:
    """What a batch did. `where` is the file that it wrote, None if it wrote none."""

    rows_written: int
    malformed: int
    where: Path | None


@dataclass(frozen=True)
class Totals:
    """Sums since the checkpoint began, up to and with the batch `batch_id` (-1: none yet)."""

    batch_id: int = -1
    silver_rows: int = 0
    malformed_rows: int = 0

    def with_batch(self, batch_id: int, silver_rows: int, malformed_rows: int) -> "Totals":
        """Add a batch, or nothing if it was added before the crash that made it run again."""
        if batch_id <= self.batch_id:
            return self
        return Totals(
            batch_id, self.silver_rows + silver_rows, self.malformed_rows + malformed_rows
        )


def read_totals(config: Config) -> Totals:
    """The totals kept in the checkpoint of silver_movies; zeros where there are none."""
    path = _totals_file(config)
    return Totals(**json.loads(path.read_bytes())) if path.exists() else Totals()


def _totals_file(config: Config) -> Path:
    return config.checkpoint_folder(SILVER) / "_totals.json"


@dataclass
class SilverSink:
    """Appends the valid rows of a batch to silver_movies and reports the malformed ones."""

    config: Config
    #: Rows in the table's files now.
    table_rows: int = 0
    totals: Totals = field(init=False)
    results: dict[int, BatchResult] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.totals = read_totals(self.config)

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        # Kept, because the state store must be read once, and counting, reporting and writing
        # are three passes.
        batch.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            valid = sf.count_if(is_valid()).alias("valid")
            counted = batch.agg(valid, sf.count("*").alias("all")).collect()[0]
            rows: int = counted["valid"]
            malformed: int = counted["all"] - rows
            if malformed:
                self._log_malformed(batch, batch_id, malformed)
            where = self._append(batch, batch_id, rows) if rows else None
        finally:
            batch.unpersist()
        self.totals = self.totals.with_batch(batch_id, rows, malformed)
        write_atomically(
            _totals_file(self.config), (json.dumps(asdict(self.totals)) + "\n").encode()
        )
        self.results[batch_id] = BatchResult(rows, malformed, where)

    def _append(self, batch: DataFrame, batch_id: int, rows: int) -> Path:
        name = f"{self.config.run_id}-{batch_id:010d}"
        target = self.config.silver_folder / f"{name}.parquet"
        is_replayed = target.exists()
        movies = silver_movies(
            batch, self.config.global_mean_rating, self.config.min_votes_prior
        ).to(SILVER_SCHEMA)
        _write_one_file(movies, self.config.staging_folder / f"{SILVER}-{name}", target)
        if not is_replayed:
            self.table_rows += rows
        return target

    def _log_malformed(self, batch: DataFrame, batch_id: int, malformed: int) -> None:
        first = (
            batch.where(~is_valid())
            .select("topic", "partition", "offset", "reason")
            .orderBy("topic", "partition", "offset")
            .limit(MALFORMED_LOGGED)
            .collect()
        )
        for row in first:
            log.warning("%s batch %d: malformed %s/%d/%d: %s", SILVER, batch_id, *row)
        if malformed > len(first):
            log.warning(
                "%s batch %d: and %d more malformed messages",
                SILVER,
                batch_id,
                malformed - len(first),
            )


@dataclass
class GenreCountsSink:
    """Replaces the snapshot genre_counts, as Parquet and as CSV, where it has changed.

    The counts pass through the driver: as many rows as there are genres, a few dozen.
    """

    config: Config
    results: dict[int, BatchResult] = field(default_factory=dict, init=False)
    _published: list[tuple[str, int]] | None = field(default=None, init=False)

    @property
    def parquet_file(self) -> Path:
        return self.config.genre_counts_folder / "genre_counts.parquet"

    @property
    def csv_file(self) -> Path:
        return self.config.genre_counts_csv_folder / "genre_counts.csv"

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        # Spark fails a query whose batch has touched state and was not read: read first.
        counts = [(row["genre"], row["movie_count"]) for row in genre_counts(batch).collect()]
        spark = batch.sparkSession
        written = self._publish_parquet(spark, counts, batch_id) if counts else False
        written = self._publish_csv(counts) or written if counts else False
        self.results[batch_id] = BatchResult(
            len(counts) if written else 0, 0, self.parquet_file if written else None
        )

    def _publish_parquet(
        self, spark: SparkSession, counts: list[tuple[str, int]], batch_id: int
    ) -> bool:
        if self.parquet_file.exists():
            if self._published is None:
                self._published = _read_snapshot(spark, self.parquet_file)
            if self._published == counts:
                return False
        staging = self.config.staging_folder / f"{GENRE_COUNTS}-{self.config.run_id}-{batch_id}"
        _write_one_file(_snapshot(spark, counts), staging, self.parquet_file)
        self._published = counts
        return True

    def _publish_csv(self, counts: Sequence[tuple[str, int]]) -> bool:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(GENRE_COUNTS_SCHEMA.fieldNames())
        writer.writerows(counts)
        content = text.getvalue().encode()
        if self.csv_file.exists() and self.csv_file.read_bytes() == content:
            return False
        write_atomically(self.csv_file, content)
        return True


def _snapshot(spark: SparkSession, counts: Sequence[tuple[str, int]]) -> DataFrame:
    """The counts as a DataFrame of one partition, in their order.

    They travel as JSON text within the plan: createDataFrame would need Python on the executors.
    """
    names = GENRE_COUNTS_SCHEMA.fieldNames()
    text = json.dumps([dict(zip(names, row, strict=True)) for row in counts])
    rows = sf.from_json(sf.lit(text), ArrayType(GENRE_COUNTS_SCHEMA))
    return spark.range(0, 1, 1, numPartitions=1).select(sf.inline(rows))


def _read_snapshot(spark: SparkSession, path: Path) -> list[tuple[str, int]] | None:
    """The rows of a snapshot in their order; None, said in the log, if it cannot be read."""
    try:
        rows = spark.read.schema(GENRE_COUNTS_SCHEMA).parquet(_uri(path)).collect()
    except (PySparkException, Py4JError) as error:
        log.warning("%s cannot be read and is written anew: %s", path, error)
        return None
    return [(row["genre"], row["movie_count"]) for row in rows]


def count_rows(spark: SparkSession, folder: Path) -> int:
    """The rows in a folder's Parquet files."""
    if not any(folder.glob("*.parquet")):
        return 0
    return int(spark.read.parquet(_uri(folder)).count())


def _write_one_file(rows: DataFrame, staging: Path, target: Path) -> None:
    """Let Spark write the rows as one Parquet file, then rename it to `target`."""
    rows.coalesce(1).write.mode("overwrite").parquet(_uri(staging))
    parts = list(staging.glob("part-*.parquet"))
    if len(parts) != 1:
        raise RuntimeError(
            f"Spark wrote {len(parts)} files into {staging} where one was due. Do driver and "
            "executors see the same folder under OUTPUT_PATH?"
        )
    put_in_place(parts[0], target)
    shutil.rmtree(staging)


def _uri(path: Path) -> str:
    """A name that means the local file system whatever Hadoop's default is."""
    return f"file://{path}"
