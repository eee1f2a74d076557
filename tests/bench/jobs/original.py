"""The original's shape: two queries, Spark's file sink, and genre counts that are overwritten."""

from __future__ import annotations

import os

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from .session import checkpoint, movies, output, run_until_stopped, session, trigger


def overwrite(counts: DataFrame, _: int) -> None:
    """Write the whole snapshot as Parquet and as one CSV, in place of the last."""
    if counts.isEmpty():
        return
    ordered = counts.orderBy(sf.desc("movie_count"), sf.asc("genre"))
    ordered.write.mode("overwrite").parquet(f"file://{output()}/genre_counts")
    csv = f"file://{os.environ['OUTPUT_PATH_CSV']}/genre_counts"
    ordered.coalesce(1).write.mode("overwrite").option("header", "true").csv(csv)


def main() -> None:
    """Run until SIGTERM."""
    spark = session("original", {})
    found = movies(spark)
    (
        found.writeStream.queryName("silver_movies")
        .format("parquet")
        .outputMode("append")
        .option("path", f"file://{output()}/silver_movies")
        .option("checkpointLocation", checkpoint("silver_movies"))
        .trigger(**trigger())
        .start()
    )
    genre = sf.explode(
        sf.when(sf.size("genres") > 0, sf.col("genres")).otherwise(sf.array(sf.lit("(unknown)")))
    )
    (
        found.select(genre.alias("genre"))
        .groupBy("genre")
        .agg(sf.count("*").alias("movie_count"))
        .writeStream.queryName("genre_counts")
        .outputMode("complete")
        .foreachBatch(overwrite)
        .option("checkpointLocation", checkpoint("genre_counts"))
        .trigger(**trigger())
        .start()
    )
    run_until_stopped(spark)


if __name__ == "__main__":
    main()
