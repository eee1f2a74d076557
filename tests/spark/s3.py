"""S3 as moto plays it, for Spark: a server on the loopback, a bucket in it."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from pyspark.sql import SparkSession

from ..terraform.aws_moto import REGION, free_port, wait_until_it_answers

_SERVER = Path(__file__).with_name("s3_server.py")
_KEY = "testing"


@dataclass(frozen=True)
class S3:
    """A running server with a bucket."""

    endpoint: str
    log: Path
    bucket: str = "tables"

    @property
    def uri(self) -> str:
        """The bucket as Spark names it."""
        return f"s3a://{self.bucket}"

    @property
    def settings(self) -> dict[str, str]:
        """What leads S3A here, and what it shows there."""
        return {
            "fs.s3a.endpoint": self.endpoint,
            "fs.s3a.endpoint.region": REGION,
            "fs.s3a.path.style.access": "true",
            "fs.s3a.connection.ssl.enabled": "false",
            "fs.s3a.access.key": _KEY,
            "fs.s3a.secret.key": _KEY,
            "fs.s3a.connection.expect.continue": "false",
        }

    def client(self) -> Any:
        """A client that is not Hadoop's, as other readers have."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=_KEY,
            aws_secret_access_key=_KEY,
        )

    def keys(self, prefix: str = "") -> set[str]:
        """The objects under a prefix, without the marks that stand for folders."""
        found = self.client().list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return {item["Key"] for item in found.get("Contents", ()) if item["Key"][-1] != "/"}

    def get(self, key: str) -> bytes:
        """An object's content."""
        body = self.client().get_object(Bucket=self.bucket, Key=key)["Body"].read()
        assert isinstance(body, bytes)
        return body

    def unfinished_uploads(self) -> list[str]:
        """The keys of uploads that were neither completed nor aborted."""
        found = self.client().list_multipart_uploads(Bucket=self.bucket)
        return [upload["Key"] for upload in found.get("Uploads", ())]

    def requests(self, since: str, until: str) -> Counter[str]:
        """How often it was asked after one request up to another, by what AWS has a price for, but
        for file sources: the topic of the tests is one, and hosts have Kafka."""
        asked = re.findall(
            r'"(?:\x1b\[\d+m)*((?:GET|HEAD|PUT|POST|DELETE) \S+) HTTP', self.log.read_text()
        )
        # The one that puts an object, and not those for parts of an upload.
        begin, end = (
            asked.index(request.replace(" /", f" /{self.bucket}/")) for request in (since, until)
        )
        counted: Counter[str] = Counter()
        for request in asked[begin + 1 : end + 1]:
            method, path = request.split(" ", 1)
            if "/sources/" not in path and "%2Fsources" not in path:
                is_list = method == "GET" and "?" in path and "prefix=" in path
                counted["list" if is_list else method.lower()] += 1
        return counted

    def use(self, spark: SparkSession) -> None:
        """Let Spark find it, in file systems that it opens from now on."""
        conf: Any = spark.sparkContext._jsc.hadoopConfiguration()
        for key, value in self.settings.items():
            conf.set(key, value)


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """Run a server with an empty bucket; its log is in folder."""
    port = free_port()
    with (folder / "moto.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(_SERVER), "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            stdout=log,
            stderr=log,
        )
        try:
            wait_until_it_answers(process, port, folder / "moto.log")
            s3 = S3(f"http://127.0.0.1:{port}", folder / "moto.log")
            s3.client().create_bucket(
                Bucket=s3.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
            yield s3
        finally:
            process.terminate()
            process.wait(timeout=30)
