"""What happens to the rows: pure functions from DataFrame to DataFrame.

Everything is a Spark SQL function, so that executors need no Python.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from imdb_streaming.schema import JSON_TYPES, MOVIE_SCHEMA

#: The genre under which movies without one are counted.
UNKNOWN_GENRE = "(unknown)"


def parse_events(source: DataFrame) -> DataFrame:
    """Read Kafka's messages as movies and say what is wrong with those that are none.

    Takes rows of KAFKA_SCHEMA. Gives MOVIE_SCHEMA's columns, `event_id`, `kafka_timestamp`,
    `topic`, `partition`, `offset` and `reason`: null for a valid movie, else a sentence. A row
    with a reason may hold values in any column; they mean nothing.

    No input makes it fail. The event id is the header `event_id`, else the SHA-256 of the value;
    a malformed message is known by its position, so that none stands for another.
    """
    # A parser stops behind the first JSON value and would not see what trails it. So the value
    # is parsed as the first item of a list whose second item nobody can foresee: the digest of
    # the value itself. Whatever trails the value breaks the list or moves that item.
    text = sf.try_validate_utf8(sf.col("value").cast("string"))
    envelope = sf.try_parse_json(
        sf.concat(sf.lit("["), text, sf.lit(',"'), sf.col("digest"), sf.lit('"]'))
    )
    is_single_value = sf.try_variant_get("envelope", "$[1]", "string") == sf.col("digest")
    payload = sf.try_variant_get("envelope", "$[0]", "variant")
    movie = sf.try_variant_get("payload", "$", MOVIE_SCHEMA.simpleString())
    position = sf.concat_ws("-", "topic", "partition", "offset")

    parsed = (
        source.withColumn("digest", sf.sha2("value", 256))
        .withColumn("envelope", envelope)
        .withColumn("payload", sf.when(is_single_value, payload))
        .withColumn("movie", movie)
    )
    return _computed_once(
        parsed,
        sf.col("movie"),
        sf.coalesce(_event_id_header(), sf.col("digest")).alias("event_id"),
        sf.col("timestamp").alias("kafka_timestamp"),
        sf.col("topic"),
        sf.col("partition"),
        sf.col("offset"),
        _reason().alias("reason"),
    ).select(
        "movie.*",
        sf.when(is_valid(), sf.col("event_id")).otherwise(position).alias("event_id"),
        "kafka_timestamp",
        "topic",
        "partition",
        "offset",
        "reason",
    )


def _computed_once(rows: DataFrame, *columns: Column) -> DataFrame:
    """Select columns so that no later step computes them again.

    The optimizer would push a filter on `reason` below its computation and repeat all of it, the
    parsing included, for every mention: a hundred times slower. It does not look behind a
    generator.
    """
    return rows.select(sf.inline(sf.array(sf.struct(*columns))))


def _event_id_header() -> Column:
    named = sf.filter("headers", lambda header: header["key"] == "event_id")
    last = sf.try_element_at(named, sf.lit(-1))["value"].cast("string")
    return sf.nullif(sf.try_validate_utf8(last), sf.lit(""))


def _reason() -> Column:
    """The first thing wrong with a message, or null. Never quotes the message."""
    is_empty = sf.col("value").isNull() | (sf.length("value") == 0)
    is_utf8 = sf.is_valid_utf8(sf.col("value").cast("string"))
    is_json_object = sf.schema_of_variant("payload").startswith("OBJECT<")
    problems = [
        sf.when(is_empty, "the message is empty"),
        sf.when(~is_utf8, "the message is not UTF-8"),
        sf.when(~sf.coalesce(is_json_object, sf.lit(False)), "the message is not one JSON object"),
        *(_type_problem(field) for field in MOVIE_SCHEMA.fieldNames()),
        *_value_problems(),
    ]
    return sf.coalesce(*problems)


def _type_problem(field: str) -> Column:
    wanted, pattern = JSON_TYPES[field]
    json_type = sf.schema_of_variant(sf.try_variant_get("payload", f"$.{field}", "variant"))
    is_of_wanted_type = sf.coalesce(json_type, sf.lit("")).rlike(f"^({pattern})$")
    problem = sf.when(json_type.isNull(), f"{field} is missing").otherwise(
        f"{field} is not {wanted}"
    )
    return sf.when(~is_of_wanted_type, problem)


def _value_problems() -> list[Column]:
    def field(name: str) -> Column:
        return sf.col(f"movie.{name}")

    is_tconst = field("tconst").rlike(r"^tt[0-9]+\z")
    has_title = sf.trim(field("primaryTitle")) != ""
    # An integer that does not fit 32 bits becomes null when it is cast.
    year_fits = field("startYear").isNotNull()
    runtime_is_null = (
        sf.schema_of_variant(sf.try_variant_get("payload", "$.runtimeMinutes", "variant")) == "VOID"
    )
    runtime_in_range = sf.coalesce(field("runtimeMinutes") >= 0, runtime_is_null)
    genres_are_strings = sf.forall(field("genres"), lambda genre: genre.isNotNull())
    rating = field("averageRating")
    rating_in_range = ~sf.isnan(rating) & (rating >= 0) & (rating <= 10)
    votes_in_range = sf.coalesce(field("numVotes") >= 0, sf.lit(False))
    return [
        sf.when(~is_tconst, "tconst is not tt and digits"),
        sf.when(~has_title, "primaryTitle is empty"),
        sf.when(~year_fits, "startYear does not fit 32 bits"),
        sf.when(~runtime_in_range, "runtimeMinutes is not from 0 to 2147483647"),
        sf.when(~genres_are_strings, "genres is not a list of strings"),
        sf.when(~rating_in_range, "averageRating is not from 0 to 10"),
        sf.when(~votes_in_range, "numVotes is not from 0 to 2147483647"),
    ]


def is_valid() -> Column:
    return sf.col("reason").isNull()


def distinct_events(events: DataFrame) -> DataFrame:
    """Keep the first of the rows that share an event id, over the whole life of the checkpoint.

    Cost: one id (64 characters) in the state store for every event ever seen, without bound.
    """
    return events.dropDuplicates(["event_id"])


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
    """The rows of the table silver_movies (SILVER_SCHEMA) that are among the events."""
    valid = events.where(is_valid())
    return score(valid, global_mean_rating, min_votes_prior).select(
        "tconst",
        "primaryTitle",
        "startYear",
        "runtimeMinutes",
        "genres",
        "averageRating",
        "numVotes",
        "weighted_score",
        "event_id",
        "kafka_timestamp",
    )


def latest_genres(events: DataFrame) -> DataFrame:
    """One row a movie, `tconst` and `genres`: the genres of its latest valid event.

    Later is what Kafka stamped later and, at the same instant, what stands further on in the
    partition; messages are keyed by tconst, so a movie's are all in one. A re-sent event changes
    nothing but its own time.

    Cost: one row a movie in the state store, and the whole of it read for each batch.
    """
    latest = sf.max_by("genres", sf.struct("kafka_timestamp", "offset"))
    return events.where(is_valid()).groupBy("tconst").agg(latest.alias("genres"))


def genre_counts(movies: DataFrame) -> DataFrame:
    """Movies by genre (GENRE_COUNTS_SCHEMA), most first, then by name.

    Takes one row a movie with `genres`. A movie counts once for each of its genres, and one
    without any for `(unknown)`.
    """
    named = sf.array_distinct(sf.filter("genres", lambda genre: sf.trim(genre) != ""))
    has_genre = sf.size(named) > 0
    genres = sf.when(has_genre, named).otherwise(sf.array(sf.lit(UNKNOWN_GENRE)))
    return (
        movies.select(sf.explode(genres).alias("genre"))
        .groupBy("genre")
        .agg(sf.count("*").alias("movie_count"))
        .orderBy(sf.desc("movie_count"), sf.asc("genre"))
    )
