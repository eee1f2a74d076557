"""The least that a job can do: read, parse, score, and Spark's own Parquet sink.

No event is known again, nothing is checked, nothing is counted. Its checkpoint goes by the same
fast file system as ours, so that the comparison is not won there.
"""

from __future__ import annotations

from .session import checkpoint, movies, output, run_until_stopped, session, trigger

FILES = {
    "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
    "spark.sql.streaming.checkpointFileManagerClass": (
        "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
    ),
}


def main() -> None:
    """Run until SIGTERM."""
    spark = session("bare", FILES)
    (
        movies(spark)
        .writeStream.queryName("silver_movies")
        .format("parquet")
        .option("path", f"file://{output()}/silver_movies")
        .option("checkpointLocation", checkpoint("silver_movies"))
        .trigger(**trigger())
        .start()
    )
    run_until_stopped(spark)


if __name__ == "__main__":
    main()
