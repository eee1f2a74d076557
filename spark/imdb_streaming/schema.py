"""The shapes of everything that goes in and comes out."""

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

#: What Spark's Kafka source gives when asked for headers.
KAFKA_SCHEMA = StructType(
    [
        StructField("key", BinaryType()),
        StructField("value", BinaryType()),
        StructField("topic", StringType()),
        StructField("partition", IntegerType()),
        StructField("offset", LongType()),
        StructField("timestamp", TimestampType()),
        StructField("timestampType", IntegerType()),
        StructField(
            "headers",
            ArrayType(
                StructType([StructField("key", StringType()), StructField("value", BinaryType())])
            ),
        ),
    ]
)

#: One movie, the value of a message: a JSON object with at least these fields.
#: runtimeMinutes is in minutes and the one field that may be null; averageRating is on IMDb's
#: scale of 0 to 10.
MOVIE_SCHEMA = StructType(
    [
        StructField("tconst", StringType()),
        StructField("primaryTitle", StringType()),
        StructField("startYear", IntegerType()),
        StructField("runtimeMinutes", IntegerType()),
        StructField("genres", ArrayType(StringType())),
        StructField("averageRating", DoubleType()),
        StructField("numVotes", IntegerType()),
    ]
)

#: What the function of Java makes of a value. reason says what is wrong with one that is no movie.
PARSED_SCHEMA = StructType([*MOVIE_SCHEMA.fields, StructField("reason", StringType())])

#: The table silver_movies. kafka_timestamp is the message's, in UTC.
SILVER_SCHEMA = StructType(
    [
        *MOVIE_SCHEMA.fields,
        StructField("weighted_score", DoubleType()),
        StructField("event_id", StringType()),
        StructField("kafka_timestamp", TimestampType()),
    ]
)

#: The table genre_counts.
GENRE_COUNTS_SCHEMA = StructType(
    [StructField("genre", StringType()), StructField("movie_count", LongType())]
)

#: The table dead_letters: messages that are no movies, as they came, and why they are none.
DEAD_LETTERS_SCHEMA = StructType(
    [
        StructField("topic", StringType()),
        StructField("partition", IntegerType()),
        StructField("offset", LongType()),
        StructField("kafka_timestamp", TimestampType()),
        StructField("reason", StringType()),
        StructField("key", BinaryType()),
        StructField("value", BinaryType()),
    ]
)
