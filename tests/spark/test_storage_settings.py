"""Settings for the place of the tables."""

import pytest

from imdb_streaming.storage_settings import scheme_of, storage_settings

MANAGER = "spark.sql.streaming.checkpointFileManagerClass"


@pytest.mark.parametrize("path", ["/opt/spark-output/parquet", "file:///srv/tables", "/"])
def test_a_folder_is_written_by_renames_without_programs(path: str) -> None:
    settings = storage_settings(path)
    assert settings.pop(MANAGER).endswith(".FileSystemBasedCheckpointFileManager")
    assert settings == {
        "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem"
    }


@pytest.mark.parametrize("path", ["s3a://bucket", "s3a://bucket/", "s3a://a.bucket-1/some/prefix"])
def test_a_bucket_is_written_by_uploads(path: str) -> None:
    assert storage_settings(path) == {
        "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
        MANAGER: "org.apache.spark.internal.io.cloud.AbortableStreamBasedCheckpointFileManager",
        "spark.sql.sources.commitProtocolClass": (
            "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol"
        ),
        "spark.sql.parquet.output.committer.class": (
            "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter"
        ),
        "spark.hadoop.fs.s3a.committer.name": "magic",
    }


@pytest.mark.parametrize(
    "path", ["", "tables", "file://tables", "hdfs://host/x", "s3a://", "s3a:///x"]
)
def test_another_place_is_an_error_that_says_what_to_write(path: str) -> None:
    with pytest.raises(ValueError, match=r"is no place for tables.*s3a://BUCKET/PREFIX"):
        scheme_of(path)


def test_s3_is_told_its_name() -> None:
    with pytest.raises(ValueError, match=r"'s3://bucket/x' .*Write s3a://"):
        storage_settings("s3://bucket/x")
