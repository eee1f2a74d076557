"""What Spark must be told of the place where the tables lie."""

import re

_CHECKPOINTS = "spark.sql.streaming.checkpointFileManagerClass"


def scheme_of(output_path: str) -> str:
    """`file` for an absolute path or file:///..., `s3a` for s3a://BUCKET/...

    Raises ValueError, which says what to write, for anything else.
    """
    if re.fullmatch(r"(file://)?/[^\0]*", output_path):
        return "file"
    if re.fullmatch(r"s3a://[a-z0-9][a-z0-9.-]+(/[^\0]*)?", output_path):
        return "s3a"
    hint = "Write s3a://, Hadoop's name for S3. " if output_path.startswith("s3:") else ""
    raise ValueError(
        f"{output_path!r} is no place for tables. {hint}Give an absolute path, file:///PATH or "
        "s3a://BUCKET/PREFIX."
    )


def storage_settings(output_path: str) -> dict[str, str]:
    """Spark's settings for tables and checkpoints under a path; no credentials.

    Raises ValueError for a path that is neither local nor s3a://.
    """
    # Hadoop's own local file system starts chmod or readlink for each file that it makes or
    # renames, some sixty programs a batch. This one asks the kernel.
    settings = {
        "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem"
    }
    if scheme_of(output_path) == "file":
        # The default manager goes by another class of Hadoop's, which starts them too. The renames
        # of this one are two of rename(2) here (TermFileSystem.java), and there is one writer.
        return settings | {_CHECKPOINTS: _rename_based_manager()}
    cloud = "org.apache.spark.internal.io.cloud"
    return settings | {
        # S3 has no rename: others would copy, and a crash between copy and deletion leaves both.
        # An object appears when its upload is completed, and not if that is aborted.
        _CHECKPOINTS: f"{cloud}.AbortableStreamBasedCheckpointFileManager",
        # Tasks upload the parts of an object, and the job's commit completes the uploads of those
        # tasks that count: no copies, and nothing to see of a task that failed.
        "spark.sql.sources.commitProtocolClass": f"{cloud}.PathOutputCommitProtocol",
        "spark.sql.parquet.output.committer.class": f"{cloud}.BindingParquetOutputCommitter",
        "spark.hadoop.fs.s3a.committer.name": "magic",
    }


def _rename_based_manager() -> str:
    """The class that writes checkpoints through spark.hadoop.fs.file.impl."""
    # Not at the top: the configuration is read where there may be no Spark.
    import pyspark

    package = "org.apache.spark.sql.execution.streaming"
    if not pyspark.__version__.startswith("4.0."):
        package += ".checkpointing"
    return f"{package}.FileSystemBasedCheckpointFileManager"
