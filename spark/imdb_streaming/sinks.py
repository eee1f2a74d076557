"""Where batches end: the writer for foreachBatch.

A plain reader of a table never meets half a file or a batch twice: Spark writes into
OUTPUT_PATH/_staging, and a rename (in a bucket: an upload) puts one file in place under a name that
follows from the batch, so that a batch which is run again after a crash replaces what it wrote. The
file goes there by way of `out` (terms.py), a folder that Spark never writes to.
"""

import json
import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from imdb_streaming import jvm
from imdb_streaming.bucket import BucketPath, Place
from imdb_streaming.checkpoint import has_accepted_loss, planned_at
from imdb_streaming.config import Config
from imdb_streaming.files import put_in_place, remove_tree, uri, write_atomically
from imdb_streaming.locks import tables_locked
from imdb_streaming.schema import DEAD_LETTERS_SCHEMA, GENRE_COUNTS_SCHEMA, SILVER_SCHEMA
from imdb_streaming.transformations import dead_letters, silver_movies

#: The query.
MOVIES = "movies"

#: The tables.
SILVER = "silver_movies"
GENRE_COUNTS = "genre_counts"
DEAD_LETTERS = "dead_letters"

#: As many malformed messages of a batch are logged one by one.
MALFORMED_LOGGED = 20

#: A batch of so many rows is written by one task; a larger one by several, whose files are joined.
ROWS_A_TASK = 20_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchResult:
    """What a batch did. `where` is the file of silver that it wrote, None if it wrote none.

    newest is when Kafka got the newest message, in seconds since 1970; 0 of an empty batch.
    """

    rows_written: int
    dead_letters: int
    duplicates: int
    newest: float
    where: Place | None


@dataclass(frozen=True)
class Totals:
    """Sums since the run began, up to and with the batch `batch_id` (-1: none yet)."""

    batch_id: int = -1
    silver_rows: int = 0
    dead_letters: int = 0
    duplicates: int = 0

    def with_batch(self, batch_id: int, result: BatchResult) -> "Totals":
        """Add a batch, or nothing if it was added before the crash that made it run again."""
        if batch_id <= self.batch_id:
            return self
        return Totals(
            batch_id,
            self.silver_rows + result.rows_written,
            self.dead_letters + result.dead_letters,
            self.duplicates + result.duplicates,
        )


def read_totals(config: Config) -> Totals:
    """The totals kept in the run's checkpoint; zeros where there are none."""
    path = _totals_file(config)
    return Totals(**json.loads(path.read_bytes())) if path.exists() else Totals()


def _totals_file(config: Config) -> Place:
    return config.state_folder / "_totals.json"


@dataclass
class MovieSink:
    """Puts a batch into the tables: two of them grow, genre_counts is replaced."""

    config: Config
    spark: SparkSession
    state: jvm.JobState
    #: Rows in silver's files now.
    table_rows: int = 0
    totals: Totals = field(init=False)
    results: dict[int, BatchResult] = field(default_factory=dict, init=False)
    #: Grows with each thing that is done, so that a batch that hangs can be told from a long one.
    steps: int = field(default=0, init=False)
    #: Whether the batch before had no event that was known: so will the next, most likely.
    _expects_new_alone: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self.totals = read_totals(self.config)

    def __call__(self, rows: DataFrame, batch_id: int) -> None:
        self.steps += 1
        checkpoint = self.config.checkpoint_folder
        planned = planned_at(checkpoint, batch_id)
        planned_before = planned_at(checkpoint, batch_id - 1) if batch_id else planned
        with self.state.batch(self._with_kept(rows, batch_id)) as batch:
            staged = self._write_on_trial(batch, batch_id) if self._expects_new_alone else None
            batch.decide(planned, planned_before)
            self.steps += 1
            if batch.malformed:
                self._keep_dead_letters(batch, batch_id)
            where = self._append(batch, batch_id, staged) if batch.fresh else None
            if staged and not where:
                remove_tree(staged)
            self._expects_new_alone = batch.duplicates == 0
            result = BatchResult(
                batch.fresh, batch.malformed, batch.duplicates, batch.newest, where
            )
        if where:
            GenreCounts(self.config, self.spark).publish(self.state.counts())
        self.steps += 1
        self.totals = self.totals.with_batch(batch_id, result)
        write_atomically(
            _totals_file(self.config),
            (json.dumps(asdict(self.totals)) + "\n").encode(),
            self.config.out_folder,
        )
        self.state.save(batch_id)
        self.results[batch_id] = result

    def _with_kept(self, rows: DataFrame, batch_id: int) -> DataFrame:
        """Add to a batch that is run again what its files have and the topic may have lost since.

        Without accepted loss it has the same rows, or Spark would have stopped.
        """
        if not has_accepted_loss(self.config.checkpoint_folder):
            return rows
        silver = self._silver_file(batch_id)
        letters = self.config.dead_letters_folder / self._file_name(batch_id)
        if silver.exists():
            # Before all partitions, so that these rows stay, and their copies are sent again.
            kept = (
                rows.sparkSession.read.parquet(uri(silver))
                .withColumn("partition", sf.lit(-1))
                .withColumn("offset", sf.monotonically_increasing_id())
            )
            rows = rows.unionByName(kept.drop("weighted_score"), allowMissingColumns=True)
        if letters.exists():
            kept = rows.sparkSession.read.parquet(uri(letters))
            here = ["topic", "partition", "offset"]
            lost = kept.join(rows.select(here), here, "left_anti")
            rows = rows.unionByName(lost, allowMissingColumns=True)
        return rows

    def _write_on_trial(self, batch: jvm.Batch, batch_id: int) -> Place:
        """Write all valid events as if none of them were known: mostly that is so."""
        return self._stage(self._silver(batch.valid_events()), self._silver_file(batch_id))

    def _append(self, batch: jvm.Batch, batch_id: int, staged: Place | None) -> Place:
        target = self._silver_file(batch_id)
        is_replayed = target.exists()
        if staged is None or batch.duplicates:
            staged = self._stage(self._silver(batch.new_events()), target, batch.fresh)
        self._put_in_place(staged, target, batch.fresh)
        if not is_replayed:
            self.table_rows += batch.fresh
        return target

    def _silver(self, events: DataFrame) -> DataFrame:
        config = self.config
        movies = silver_movies(events, config.global_mean_rating, config.min_votes_prior)
        return movies.to(SILVER_SCHEMA)

    def _silver_file(self, batch_id: int) -> Place:
        return self.config.silver_folder / self._file_name(batch_id)

    def _keep_dead_letters(self, batch: jvm.Batch, batch_id: int) -> None:
        letters = dead_letters(batch.malformed_events()).to(DEAD_LETTERS_SCHEMA)
        target = self.config.dead_letters_folder / self._file_name(batch_id)
        self._put_in_place(self._stage(letters, target, batch.malformed), target, batch.malformed)
        first = letters.orderBy("topic", "partition", "offset").limit(MALFORMED_LOGGED)
        for row in first.select("topic", "partition", "offset", "reason").collect():
            log.warning("batch %d: malformed %s/%d/%d: %s", batch_id, *row)
        if batch.malformed > MALFORMED_LOGGED:
            log.warning(
                "batch %d: and %d more malformed messages, see %s",
                batch_id,
                batch.malformed - MALFORMED_LOGGED,
                target,
            )

    def _file_name(self, batch_id: int) -> str:
        return f"{self.config.run_id}-{batch_id:010d}.parquet"

    def _stage(self, rows: DataFrame, target: Place, count: int | None = None) -> Place:
        """Let Spark write the rows of a target into a folder of files; `count` if it is known."""
        folder = self.config.staging_folder / f"{target.parent.name}-{target.stem}"
        # One task writes one file. Several are faster, and their files are put behind each other.
        tasks = rows.coalesce(1) if count is not None and count <= ROWS_A_TASK else rows
        tasks.write.mode("overwrite").parquet(uri(folder))
        self.steps += 1
        return folder

    def _put_in_place(self, folder: Place, target: Place, count: int) -> None:
        """Make one file of those that Spark wrote, and rename it to `target`."""
        names = sorted(path.name for path in folder.glob("part-*.parquet"))
        if not names:
            raise RuntimeError(
                f"Spark wrote no file into {folder} where one was due. Do driver and executors "
                "see the same folder under OUTPUT_PATH?"
            )
        whole = folder / names[0]
        if len(names) > 1:
            whole = folder / "whole.parquet"
            rows = jvm.concatenate(self.spark, [uri(folder / name) for name in names], uri(whole))
            if rows != count:
                raise RuntimeError(
                    f"{folder} has {rows} rows, and {count} were due. Does another program write "
                    "there?"
                )
        with tables_locked(self.config):
            put_in_place(whole, target, self.config.out_folder)
        remove_tree(folder)
        self.steps += 1


@dataclass(frozen=True)
class GenreCounts:
    """The snapshot genre_counts, as Parquet and as CSV: a file each, replaced if it changed."""

    config: Config
    spark: SparkSession

    @property
    def parquet_file(self) -> Place:
        return self.config.genre_counts_folder / "genre_counts.parquet"

    @property
    def csv_file(self) -> Place:
        return self.config.genre_counts_csv_folder / "genre_counts.csv"

    def publish(self, counts: Mapping[str, int]) -> None:
        """Replace what is not as it should be: most movies first, then by the genre's name."""
        ordered = dict(sorted(counts.items(), key=lambda row: (-row[1], row[0])))
        self._publish_parquet(ordered)
        self._publish_csv(ordered)

    def _publish_parquet(self, counts: Mapping[str, int]) -> None:
        if isinstance(self.parquet_file, BucketPath):
            self._upload_parquet(counts, self.parquet_file)
            return
        staged = self.config.staging_folder / "genre_counts.parquet"
        jvm.write_counts(self.spark, counts, uri(staged))
        # The same rows make the same bytes.
        if self.parquet_file.exists() and self.parquet_file.read_bytes() == staged.read_bytes():
            staged.unlink()
        else:
            put_in_place(staged, self.parquet_file, self.config.out_folder)

    def _upload_parquet(self, counts: Mapping[str, int], target: BucketPath) -> None:
        """Make the file here, and send it as one object."""
        with tempfile.TemporaryDirectory(prefix="genre-counts-") as folder:
            made = Path(folder) / target.name
            jvm.write_counts(self.spark, counts, uri(made))
            content = made.read_bytes()
        if not target.exists() or target.read_bytes() != content:
            write_atomically(target, content)

    def _publish_csv(self, counts: Mapping[str, int]) -> None:
        rows = [GENRE_COUNTS_SCHEMA.fieldNames(), *counts.items()]
        content = "".join(f"{_quoted(genre)},{count}\n" for genre, count in rows).encode()
        if not self.csv_file.exists() or self.csv_file.read_bytes() != content:
            write_atomically(self.csv_file, content, self.config.out_folder_csv)


def _quoted(text: str) -> str:
    """A field of CSV. Python's own writer leaves a carriage return as it is, where lines end
    without one."""
    return '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text


def count_rows(spark: SparkSession, folder: Place) -> int:
    """The rows in a folder's Parquet files."""
    if not any(folder.glob("*.parquet")):
        return 0
    return int(spark.read.parquet(uri(folder)).count())
