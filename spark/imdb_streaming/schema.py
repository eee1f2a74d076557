"""The shapes of everything that goes in and comes out."""

from pyspark.sql.types import ArrayType, DataType, StringType, StructType


def _shape(**columns: str | DataType) -> StructType:
    shape = StructType()
    for name, kind in columns.items():
        shape.add(name, kind)
    return shape


#: What Spark's Kafka source gives when asked for headers.
KAFKA_SCHEMA = _shape(
    key="binary",
    value="binary",
    topic="string",
    partition="integer",
    offset="long",
    timestamp="timestamp",
    timestampType="integer",
    headers=ArrayType(_shape(key="string", value="binary")),
)

#: One movie, the value of a message: a JSON object with at least these fields.
#: runtimeMinutes is in minutes and the one field that may be null; averageRating is on IMDb's
#: scale of 0 to 10.
MOVIE_SCHEMA = _shape(
    tconst="string",
    primaryTitle="string",
    startYear="integer",
    runtimeMinutes="integer",
    genres=ArrayType(StringType()),
    averageRating="double",
    numVotes="integer",
)

#: What the function of Java makes of a value. reason says what is wrong with one that is no movie.
PARSED_SCHEMA = StructType([*MOVIE_SCHEMA.fields, *_shape(reason="string").fields])

#: The table silver_movies. kafka_timestamp is the message's, in UTC.
SILVER_SCHEMA = StructType(
    [
        *MOVIE_SCHEMA.fields,
        *_shape(weighted_score="double", event_id="string", kafka_timestamp="timestamp").fields,
    ]
)

#: The table genre_counts.
GENRE_COUNTS_SCHEMA = _shape(genre="string", movie_count="long")

#: The table dead_letters: messages that are no movies, as they came, and why they are none.
DEAD_LETTERS_SCHEMA = _shape(
    topic="string",
    partition="integer",
    offset="long",
    kafka_timestamp="timestamp",
    reason="string",
    key="binary",
    value="binary",
)
