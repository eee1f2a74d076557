"""What happens to the rows: pure functions from DataFrame to DataFrame.

Executors need no Python: everything is a Spark SQL function, or the one of Java that
`jvm.register` makes known.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from imdb_streaming.jvm import PARSE_MOVIE
from imdb_streaming.schema import DEAD_LETTERS_SCHEMA, MOVIE_SCHEMA, SILVER_SCHEMA

#: The header in which a producer numbers a movie's versions.
VERSION_HEADER = "movie_version"

#: What is wrong with a message whose version is none.
NO_VERSION = f"the header {VERSION_HEADER} is not a whole number from 0 to 9223372036854775807"


def parse_events(source: DataFrame) -> DataFrame:
    """Read Kafka's messages as movies and say what is wrong with those that are none.

    Takes rows of KAFKA_SCHEMA. Gives MOVIE_SCHEMA's columns, `event_id`, `version`,
    `kafka_timestamp`, `topic`, `partition`, `offset`, `reason`, which is null for a valid movie,
    else a sentence, and `key` and `value` of what is no movie. MOVIE_SCHEMA's columns are null
    then.

    No input makes it fail. The event id is the header `event_id`, else the SHA-256 of the value;
    the version is the header `movie_version`, else null.
    """
    parsed = source.withColumn("movie", sf.call_function(PARSE_MOVIE, sf.col("value"))).withColumn(
        "movie_version", _header(VERSION_HEADER)
    )
    version = sf.col("movie_version").try_cast("bigint")
    is_version = sf.col("movie_version").rlike(r"^[0-9]{1,19}\z") & version.isNotNull()
    reason = sf.coalesce(
        "movie.reason",
        sf.when(sf.col("movie_version").isNotNull() & ~is_version, sf.lit(NO_VERSION)),
    )
    is_malformed = reason.isNotNull()
    columns = {
        "event_id": sf.coalesce(_header("event_id"), sf.sha2("value", 256)),
        "version": version,
        "kafka_timestamp": sf.col("timestamp"),
        "topic": sf.col("topic"),
        "partition": sf.col("partition"),
        "offset": sf.col("offset"),
        "reason": reason,
        "key": sf.when(is_malformed, sf.col("key")),
        "value": sf.when(is_malformed, sf.col("value")),
    }
    named = [column.alias(name) for name, column in columns.items()]
    movie = [f"movie.{field}" for field in MOVIE_SCHEMA.fieldNames()]
    return _computed_once(parsed, sf.col("movie"), *named).select(*movie, *columns)


def _computed_once(rows: DataFrame, *columns: Column) -> DataFrame:
    """Select columns so that no later step computes them again.

    The optimizer would push a filter on `reason` below its computation and repeat all of it, the
    parsing included, for every mention: a hundred times slower. It does not look behind a
    generator.
    """
    return rows.select(sf.inline(sf.array(sf.struct(*columns))))


def _header(name: str) -> Column:
    """The last header of that name as text; null where there is none, or it is empty or no text."""
    named = sf.filter("headers", lambda header: header["key"] == name)
    last = sf.try_element_at(named, sf.lit(-1))["value"].cast("string")
    return sf.nullif(sf.try_validate_utf8(last), sf.lit(""))


def score(movies: DataFrame, global_mean_rating: float, min_votes_prior: float) -> DataFrame:
    """Add `weighted_score`, from 0 to 10: the rating drawn towards the mean while votes are few.

        v/(v+M) * R + M/(v+M) * C

    v = numVotes, R = averageRating, M = min_votes_prior (votes), C = global_mean_rating. Source:
    the weighted rating of IMDb's Top 250 as its help pages gave it, "a true Bayesian estimate".
    Neither votes nor a prior (v = M = 0) leaves nothing but the mean: C.
    """
    prior = sf.lit(float(min_votes_prior))
    mean = sf.lit(float(global_mean_rating))
    votes = sf.col("numVotes").cast("double")
    total = votes + prior
    weighted = votes / total * sf.col("averageRating") + prior / total * mean
    return movies.withColumn("weighted_score", sf.when(total == 0, mean).otherwise(weighted))


def silver_movies(
    events: DataFrame, global_mean_rating: float, min_votes_prior: float
) -> DataFrame:
    """Make the rows of the table silver_movies (SILVER_SCHEMA) of valid events."""
    return score(events, global_mean_rating, min_votes_prior).select(*SILVER_SCHEMA.fieldNames())


def latest_movies(silver: DataFrame) -> DataFrame:
    """Make of silver what parse_events has given of each movie's latest event.

    Takes rows of SILVER_SCHEMA as they are read from files. Of two with the same time the one that
    comes later counts. No file has the version: the time stands in.
    """
    place = ("kafka_timestamp", "_metadata.file_name", "_metadata.row_index")
    latest = silver.select("tconst", "event_id", "genres", *place).groupBy("tconst")
    movie = sf.max_by(
        sf.struct("event_id", "genres", "kafka_timestamp"),
        sf.struct("kafka_timestamp", "file_name", "row_index"),
    )
    return latest.agg(movie.alias("movie")).select(
        "tconst",
        "movie.*",
        sf.lit(None).cast("bigint").alias("version"),
        sf.lit(0).alias("partition"),
        sf.lit(0).cast("bigint").alias("offset"),
        sf.lit(None).cast("string").alias("reason"),
    )


def dead_letters(events: DataFrame) -> DataFrame:
    """Make the rows of the table dead_letters (DEAD_LETTERS_SCHEMA) of malformed messages."""
    return events.select(*DEAD_LETTERS_SCHEMA.fieldNames())
