"""What Spark's checkpoint writes is on the disk before it has its name."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from imdb_streaming.jvm import checkpoint_uri

from ..waiting import wait_for
from .local import LocalConfig as Config


@pytest.fixture
def calls(spark: SparkSession, tmp_path: Path) -> Iterator[Path]:
    """A file of what Spark's JVM asks the kernel to flush and to rename, with paths."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    assert spark._jvm
    pid = str(spark._jvm.java.lang.ProcessHandle.current().pid())
    told, log = tmp_path / "calls", tmp_path / "strace.log"
    traced = "trace=fsync,fdatasync,rename,renameat,renameat2"
    with log.open("w") as stderr:
        tracer = subprocess.Popen(
            ["strace", "-f", "-y", "-e", traced, "-o", str(told), "-p", pid], stderr=stderr
        )
        try:
            wait_for("strace is attached", log.read_text, lambda text: "attached" in text, 30)
            yield told
        finally:
            tracer.terminate()
            tracer.wait(30)


def test_file_is_flushed_before_it_is_renamed_and_its_folder_after(
    spark: SparkSession, prepared: Config, calls: Path
) -> None:
    folder, out = prepared.checkpoint_folder, prepared.out_folder
    assert spark._jvm
    assert out
    uri = checkpoint_uri(spark, folder, out)
    source = spark._jvm.org.apache.hadoop.fs.Path(f"{uri}/.7.tmp")
    target = spark._jvm.org.apache.hadoop.fs.Path(f"{uri}/7")
    files = source.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    stream = files.create(source, True)
    stream.write(bytearray(b"v1"))
    stream.close()
    assert files.rename(source, target)
    assert (folder / "7").read_bytes() == b"v1"

    text = wait_for("the folder is flushed", calls.read_text, lambda it: f"<{folder}>" in it, 10)
    done = re.findall(r"(fsync|rename)\w*\((.*)", text)
    steps = [
        name
        for name, arguments in done
        if str(folder) in arguments
        and (name == "rename" or re.search(r"\.7\.tmp>|_main>", arguments))
    ]
    assert steps == ["fsync", "rename", "rename", "fsync"], text
