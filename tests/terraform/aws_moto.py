"""AWS as moto plays it: a server on the loopback that answers the provider and boto3."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3

from ..direct import DIRECT

SERVER = Path(__file__).with_name("aws_server.py")
REGION = "eu-central-1"
DEBIAN = "136693071363"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
# The image to be found, and those that must not be: older, or of another kind or owner.
IMAGE = "ami-0debian12arm64000"
OTHER_IMAGE = "ami-0debian12old00000"
TRIXIE_IMAGE = "ami-0debian13arm64000"
IMAGES = [
    (IMAGE, "debian-12-arm64-20261101-2300", "arm64", DEBIAN, "2026-11-01T23:00:00.000Z"),
    (
        OTHER_IMAGE,
        "debian-12-arm64-20260101-2",
        "arm64",
        DEBIAN,
        "2026-01-01T00:00:00Z",
    ),
    (
        "ami-0debian12amd64000",
        "debian-12-amd64-20261102-1",
        "x86_64",
        DEBIAN,
        "2026-11-02T00:00:00Z",
    ),
    (
        TRIXIE_IMAGE,
        "debian-13-arm64-20261103-1",
        "arm64",
        DEBIAN,
        "2026-11-03T00:00:00Z",
    ),
    (
        "ami-0foreign000000000",
        "debian-12-arm64-20261104-1",
        "arm64",
        "123456789012",
        "2026-11-04T00:00:00Z",
    ),
]


@dataclass(frozen=True)
class Aws:
    """A running moto server."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """What leads a program's AWS client here."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint}

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service."""
        return client(service, self.endpoint)


@cache
def client(service: str, endpoint: str) -> Any:
    """Make a boto3 client, which costs more than to ask by it."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


@contextmanager
def moto_server(folder: Path) -> Iterator[Aws]:
    """Run a moto server on a free port of the loopback; its log is in folder."""
    images = folder / "images.json"
    images.write_text(json.dumps([image(*fields) for fields in IMAGES]))
    port = free_port()
    with (folder / "moto.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(SERVER), "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, "MOTO_AMIS_PATH": str(images)},
            stdout=log,
            stderr=log,
        )
        try:
            wait_until_it_answers(process, port, folder / "moto.log")
            yield Aws(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(timeout=30)


def image(identity: str, name: str, architecture: str, owner: str, date: str) -> dict[str, Any]:
    """Return an image as moto reads it."""
    return {
        "ami_id": identity,
        "name": name,
        "architecture": architecture,
        "owner_id": owner,
        "creation_date": date,
        "description": name,
        "image_type": "machine",
        "hypervisor": "xen",
        "platform": None,
        "public": True,
        "root_device_name": "/dev/xvda",
        "root_device_type": "ebs",
        "sriov": "simple",
        "state": "available",
        "virtualization_type": "hvm",
    }


def free_port() -> int:
    """Return a port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait for the server, up to a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, f"moto ended:\n{log.read_text()}"
        try:
            with DIRECT.open(f"http://127.0.0.1:{port}/moto-api/", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"moto does not answer:\n{log.read_text()}")
