"""One local Spark for all tests of the job."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..releases import home_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from imdb_streaming.job import Load

    from .batches import Send
    from .local import LocalConfig
    from .s3 import S3

REPOSITORY = Path(__file__).parents[2]
HADOOPS_PROGRAMS = ("chmod", "readlink")


def _spark_home() -> Path:
    """SPARK_HOME, else the project's own Spark from the artifact cache, unpacked beside it once."""
    return Path(given) if (given := os.environ.get("SPARK_HOME")) else home_of("spark")


def _use_spark(home: Path) -> None:
    """Make pyspark importable from a distribution, or from a pyspark package used as one."""
    os.environ["SPARK_HOME"] = str(home)
    is_package = (home / "__init__.py").exists()
    python = home.parent if is_package else home / "python"
    paths = [str(python), *(str(path) for path in python.glob("lib/py4j-*-src.zip"))]
    sys.path[:0] = paths
    # The Python workers that createDataFrame starts look there.
    given = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *([given] if given else [])])


def _use_our_classes() -> None:
    sys.path.insert(0, str(REPOSITORY / "artifacts"))
    from release_artifacts import java

    home = Path(os.environ["SPARK_HOME"])
    jar = java.compile_against_folders(
        REPOSITORY / "spark/java", [home / "jars", home / "connector"]
    )
    os.environ["IMDB_STREAMING_JAR"] = str(jar)


# Before the tests are collected: they import pyspark, and the job, which looks for its jar.
_use_spark(_spark_home())
_use_our_classes()
# As spark-env.sh has it on hosts with spark_s3; the JVM reads it when it starts.
os.environ["SPARK_DIST_CLASSPATH"] = f"{home_of('spark-s3')}/libs/*"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:
    """A session with the job's own settings, on two cores."""
    from pyspark.sql import SparkSession

    from imdb_streaming.config import load_config
    from imdb_streaming.jvm import let_the_driver_alone_call, register
    from imdb_streaming.session import spark_settings

    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    config = load_config(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "localhost:1",
            "SPARK_MASTER": "local[2]",
            "SHUFFLE_PARTITIONS": "2",
            "SPARK_DRIVER_HOST": "127.0.0.1",
            "SPARK_HOME": os.environ["SPARK_HOME"],
        }
    )
    scratch = tmp_path_factory.mktemp("spark")
    settings = spark_settings(config) | {
        "spark.ui.enabled": "false",
        # Rows of frames.py go through tasks, as those of a topic, and not through the optimizer.
        "spark.sql.execution.arrow.localRelationThreshold": "0",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
    }
    # The job's own compiler and collector among them.
    settings["spark.driver.extraJavaOptions"] += f" -Djava.io.tmpdir={scratch}"
    # Programs that Hadoop would start for a file are told apart by what they leave.
    for name in HADOOPS_PROGRAMS:
        program = scratch / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >>{scratch}/programs\nexec /bin/{name} "$@"\n'
        )
        program.chmod(0o755)
    os.environ["PATH"] = f"{scratch}/bin{os.pathsep}{os.environ['PATH']}"
    builder = SparkSession.builder.appName("tests").master("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    let_the_driver_alone_call(session)
    register(session)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def s3(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Iterator["S3"]:
    """A bucket that Spark's s3a:// leads to, empty at first, for all tests: each takes a prefix."""
    pytest.importorskip("moto", reason="needs requirements-aws.txt: TARGET=aws tools/setup")
    from .s3 import s3_server

    with s3_server(tmp_path_factory.mktemp("s3")) as s3:
        s3.use(spark)
        yield s3


@pytest.fixture
def cloud(spark: "SparkSession", s3: "S3") -> "SparkSession":
    """A session with the job's settings for a bucket."""
    from imdb_streaming.jvm import register
    from imdb_streaming.storage_settings import storage_settings

    session = spark.newSession()
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    for key, value in storage_settings(s3.uri).items():
        if key.startswith("spark.hadoop."):
            conf.set(key.removeprefix("spark.hadoop."), value)
        else:
            session.conf.set(key, value)
    register(session)
    return session


@pytest.fixture
def programs_started(spark: "SparkSession") -> Path:
    """The file that says which of Hadoop's programs were started; none: there is no file."""
    return Path(spark.conf.get("spark.local.dir") or "") / "programs"


@pytest.fixture
def executors_without_python(spark: "SparkSession", monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every task fail that wants a Python worker, as hosts need not have one for the job."""
    monkeypatch.setattr(spark.sparkContext, "pythonExec", "/bin/false")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A complete environment whose folders lie in a place of its own."""
    from .local import environment

    return environment(tmp_path)


@pytest.fixture
def config(environ: dict[str, str]) -> "LocalConfig":
    from .local import load_local_config

    return load_local_config(environ)


@pytest.fixture
def prepared(config: "LocalConfig") -> "LocalConfig":
    """The configuration of a start whose folders are made and marked."""
    from imdb_streaming import guards

    from .local import with_term

    guards.prepare_folders(config)
    held = with_term(config)
    guards.check_belongs_together(held)
    return held


@pytest.fixture
def topic(tmp_path: Path) -> Path:
    """A folder of files in the place of a topic."""
    folder = tmp_path / "topic"
    folder.mkdir()
    return folder


@pytest.fixture
def send(topic: Path) -> "Send":
    """Puts messages at the end of the topic."""
    from .batches import sender

    return sender(topic)


@pytest.fixture
def run_job(spark: "SparkSession", prepared: "LocalConfig", topic: Path) -> "Callable[[], Load]":
    """A function that starts the job anew, lets it read all there is, and ends."""
    from .batches import run_to_end

    return lambda: run_to_end(spark, prepared, topic)


@pytest.fixture(scope="session")
def movie() -> dict[str, Any]:
    """A valid movie, as the producer sends it."""
    return {
        "tconst": "tt0111161",
        "primaryTitle": 'A Title, "Quoted"',
        "startYear": 1994,
        "runtimeMinutes": 142,
        "genres": ["Drama", "Crime"],
        "averageRating": 9.3,
        "numVotes": 3000,
    }
