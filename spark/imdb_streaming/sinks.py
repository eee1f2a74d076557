"""Where batches end: the writer for foreachBatch.

A plain reader of a table never meets half a file or an event twice: executors write a batch's parts
into OUTPUT_PATH/_staging, each into a file, and a rename (in a bucket: an upload by an executor)
puts each in place under a name that follows from run, batch and part, so that a batch which is run
again after a crash replaces what it wrote. The files go there by way of `out` (terms.py), a folder
that Spark never writes to.
"""

import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from imdb_streaming import jvm
from imdb_streaming.bucket import BucketPath, Place
from imdb_streaming.checkpoint import has_accepted_loss, messages_of
from imdb_streaming.config import Config
from imdb_streaming.files import (
    put_in_place,
    remove,
    remove_tree,
    uri,
    write_atomically,
    write_json,
)
from imdb_streaming.locks import tables_locked
from imdb_streaming.schema import DEAD_LETTERS_SCHEMA, GENRE_COUNTS_SCHEMA, SILVER_SCHEMA
from imdb_streaming.transformations import dead_letters, latest_movies, silver_movies

#: The query.
MOVIES = "movies"

#: The tables.
SILVER = "silver_movies"
DEAD_LETTERS = "dead_letters"

#: In the state's folder.
TOTALS_FILE = "_totals.json"

#: As many malformed messages of a batch are logged one by one.
MALFORMED_LOGGED = 20

#: Messages that a task reads at most, and a part of a batch has. A backlog of few partitions is cut
#: into more parts than there are partitions: three large ones keep two cores busy for as long as
#: four. A batch of no more messages is one part.
MESSAGES_A_PART = 40_000

#: Files that are counted at once.
FILES_A_STEP = 2_000

#: A file that Spark wrote, and the part that it is of.
_PART = re.compile(r"part-([0-9]{5,})-.*\.parquet")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchResult:
    """What a batch did. `where` is the file of silver that it wrote, with `*` for the parts of
    several, None if it wrote none.

    newest is when Kafka got the newest message, in seconds since 1970; 0 of an empty batch.
    """

    rows_written: int
    dead_letters: int
    duplicates: int
    stale: int
    newest: float
    where: Place | None

    @property
    def messages(self) -> int:
        """How many messages it has read."""
        return self.rows_written + self.dead_letters + self.duplicates + self.stale


@dataclass(frozen=True)
class Totals:
    """Sums since the run began, up to and with the batch `batch_id` (-1: none yet)."""

    batch_id: int = -1
    silver_rows: int = 0
    dead_letters: int = 0
    duplicates: int = 0
    stale: int = 0

    def with_batch(self, batch_id: int, result: BatchResult) -> "Totals":
        """Add a batch, or nothing if it was added before the crash that made it run again."""
        if batch_id <= self.batch_id:
            return self
        return Totals(
            batch_id,
            self.silver_rows + result.rows_written,
            self.dead_letters + result.dead_letters,
            self.duplicates + result.duplicates,
            self.stale + result.stale,
        )


def read_totals(config: Config) -> Totals:
    """The totals kept in the run's checkpoint; zeros where there are none."""
    path = config.state_folder / TOTALS_FILE
    return Totals(**json.loads(path.read_bytes())) if path.exists() else Totals()


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
    #: Whether the batch before had new events alone: so will the next, most likely.
    _expects_new_alone: bool = field(default=True, init=False)
    #: Whether no batch has ended: none but the first of a start can be one that is run again.
    _is_first: bool = field(default=True, init=False)
    #: Whether what a batch has in its files stays there when it is run again: see _take_in.
    _keeps_rows: bool = field(init=False)

    def __post_init__(self) -> None:
        self.totals = read_totals(self.config)
        self._keeps_rows = self.state.is_made

    def __call__(self, rows: DataFrame, batch_id: int) -> None:
        self.steps += 1
        checkpoint = self.config.checkpoint_folder
        keeps = self._keeps_rows or has_accepted_loss(checkpoint)
        before = self._files_before(SILVER, batch_id)
        rows_before = count_rows(self.spark, before)
        rows_kept = rows_before if keeps else 0
        if rows_kept:
            self._take_in(before)
        is_small = messages_of(checkpoint, batch_id) <= MESSAGES_A_PART
        batch = self.state.batch(rows, as_one_part=is_small)
        staged = None
        if self._expects_new_alone:
            staged = self._stage(self._silver(batch.valid_events()), SILVER, batch_id)
        else:
            batch.read()
        batch.decide()
        self.steps += 1
        self._expects_new_alone = batch.duplicates == batch.stale == 0
        letters = self._keep_dead_letters(batch, batch_id, keeps)
        where = None
        if batch.fresh:
            if staged is None or not self._expects_new_alone:
                staged = self._stage(self._silver(batch.chosen(events=True)), SILVER, batch_id)
            parts = batch.places(events=True)
            is_alone = batch.parts_at_most == 1
            where = self._put_in_place(staged, SILVER, batch_id, parts, is_alone, keeps)
            self.table_rows += batch.fresh + rows_kept - rows_before
        elif staged:
            remove_tree(staged)
        if batch.fresh or rows_kept:
            GenreCounts(self.config, self.spark).publish(self.state.counts())
        rows_written = batch.fresh + rows_kept
        others = letters, batch.duplicates, batch.stale
        result = BatchResult(rows_written, *others, batch.newest, where)
        self.steps += 1
        self.totals = self.totals.with_batch(batch_id, result)
        path = self.config.state_folder / TOTALS_FILE
        write_json(path, asdict(self.totals), self.config.out_folder)
        self.state.save(batch_id)
        self._is_first = False
        self.results[batch_id] = result

    def _take_in(self, files: list[Place]) -> None:
        """Let the state know what readers have of a batch that is run again, and may now differ.

        The topic may have lost messages since; or the batch was run by a version of the job that
        told events apart in another way. Without either it has the same rows, or Spark would have
        stopped.
        """
        kept = self.state.batch(latest_movies(self.spark.read.parquet(*map(uri, files))))
        kept.read()
        kept.decide()

    def _silver(self, events: DataFrame) -> DataFrame:
        config = self.config
        movies = silver_movies(events, config.global_mean_rating, config.min_votes_prior)
        return movies.to(SILVER_SCHEMA)

    def _keep_dead_letters(self, batch: jvm.Batch, batch_id: int, keeps: bool) -> int:
        """Write the messages that are no events; how many the batch has, those of before too."""
        before = self._files_before(DEAD_LETTERS, batch_id) if keeps else []
        if not batch.malformed and not before:
            return 0
        count, parts = batch.malformed, batch.places(events=False)
        letters = dead_letters(batch.chosen(events=False)).to(DEAD_LETTERS_SCHEMA)
        if before:
            here = ["topic", "partition", "offset"]
            kept = self.spark.read.parquet(*map(uri, before)).select(here)
            letters = letters.join(kept, here, "left_anti").select(letters.columns).coalesce(1)
            new = letters.count()
            count, parts = kept.count() + new, {0: 0} if new else {}
        if parts:
            staged = self._stage(letters, DEAD_LETTERS, batch_id)
            is_alone = batch.parts_at_most == 1
            self._log_malformed(self.spark.read.parquet(uri(staged)), batch_id)
            where = self._put_in_place(staged, DEAD_LETTERS, batch_id, parts, is_alone, keeps)
            if batch.malformed > MALFORMED_LOGGED:
                more = batch.malformed - MALFORMED_LOGGED
                log.warning(
                    "batch %d: and %d more malformed messages, see %s", batch_id, more, where
                )
        return count

    def _log_malformed(self, letters: DataFrame, batch_id: int) -> None:
        first = letters.orderBy("topic", "partition", "offset").limit(MALFORMED_LOGGED)
        for row in first.select("topic", "partition", "offset", "reason").collect():
            log.warning("batch %d: malformed %s/%d/%d: %s", batch_id, *row)

    def _files_before(self, table: str, batch_id: int) -> list[Place]:
        """The files that a table has already of a batch that is run again."""
        if not self._is_first:
            return []
        folder = self.config.tables_path / table
        name = f"{self.config.run_id}-{batch_id:010d}"
        return [*folder.glob(f"{name}.parquet"), *sorted(folder.glob(f"{name}-*.parquet"))]

    def _stage(self, rows: DataFrame, table: str, batch_id: int) -> Place:
        """Let executors write the rows of a table, each part into a file of a folder."""
        folder = self.config.staging_folder / f"{table}-{self.config.run_id}-{batch_id:010d}"
        rows.write.mode("overwrite").parquet(uri(folder))
        self.steps += 1
        return folder

    def _put_in_place(
        self,
        staged: Place,
        table: str,
        batch_id: int,
        parts: dict[int, int],
        is_alone: bool,
        keeps: bool,
    ) -> Place:
        """Give the files of these parts their names in the table; which they are, `*` of several.

        Parts have their places in the topic as numbers; one that `is_alone` needs none. What the
        batch has there already stays if it `keeps` that, and else is replaced.
        """
        found = {
            int(match[1]): path
            for path in staged.glob("part-*.parquet")
            if (match := _PART.fullmatch(path.name))
        }
        if missing := set(parts) - found.keys():
            raise RuntimeError(
                f"Spark wrote no file of part {min(missing)} into {staged} where one was due. Do "
                "driver and executors see the same folder under OUTPUT_PATH?"
            )
        folder = self.config.tables_path / table
        before = self._files_before(table, batch_id)
        first = 1 + max(map(_part_of, before), default=-1) if keeps else 0
        name = f"{self.config.run_id}-{batch_id:010d}"
        targets = {it: folder / f"{name}-{first + parts[it]:04d}.parquet" for it in parts}
        if is_alone and not first:
            targets = {0: folder / f"{name}.parquet"}
        with tables_locked(self.config):
            if not keeps:
                # Of a version of the job that cut batches in another way.
                for path in set(before) - set(targets.values()):
                    remove(path, self.config.out_folder)
            if isinstance(folder, BucketPath):
                jvm.upload(self.spark, {uri(found[it]): uri(targets[it]) for it in parts})
            else:
                for part in parts:
                    put_in_place(found[part], targets[part], self.config.out_folder)
        remove_tree(staged)
        self.steps += 1
        return next(iter(targets.values())) if len(parts) == 1 else folder / f"{name}-*.parquet"


def _part_of(path: Place) -> int:
    """The number of the part that a file of a table is of."""
    match = re.fullmatch(r".*-[0-9]{10}-([0-9]{4,9})\.parquet", path.name)
    return int(match[1]) if match else 0


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
        with tempfile.TemporaryDirectory(prefix="genre-counts-") as folder:
            made = Path(folder) / self.parquet_file.name
            jvm.write_counts(self.spark, ordered, uri(made))
            # The same rows make the same bytes.
            _replace(self.parquet_file, made.read_bytes(), self.config.out_folder)
        rows = [GENRE_COUNTS_SCHEMA.fieldNames(), *ordered.items()]
        content = "".join(f"{_quoted(genre)},{count}\n" for genre, count in rows)
        _replace(self.csv_file, content.encode(), self.config.out_folder_csv)


def _replace(path: Place, content: bytes, out: Path | None) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content, out)


def _quoted(text: str) -> str:
    """A field of CSV. Python's own writer leaves a carriage return as it is, where lines end
    without one."""
    return '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text


def count_rows(
    spark: SparkSession, files: Iterable[Place], begin: Callable[[], None] = lambda: None
) -> int:
    """The rows of Parquet files, however many; before each step of the count `begin` is called."""
    paths = sorted(map(uri, files))
    rows = 0
    for first in range(0, len(paths), FILES_A_STEP):
        begin()
        rows += spark.read.parquet(*paths[first : first + FILES_A_STEP]).count()
    return rows
