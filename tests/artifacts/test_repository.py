"""What is committed: the lock, the versions, and that neither names where things come from."""

from __future__ import annotations

import re

import pytest

from release_artifacts.cli import LOCK_PATH
from release_artifacts.lock import Lock
from release_artifacts.releases import RELEASES, REPOSITORY, default_versions


@pytest.mark.parametrize("name", [name for name, release in RELEASES.items() if release.is_locked])
def test_the_roles_versions_are_locked(name: str) -> None:
    section = Lock.read(LOCK_PATH).section(f"{name}-{default_versions()[name]}")
    assert section.files
    assert bool(section.archive) != RELEASES[name].is_own


def test_kafka_and_zookeeper_fit() -> None:
    versions = default_versions()
    kafka = Lock.read(LOCK_PATH).section(f"kafka-{versions['kafka']}")
    (brought,) = (
        match[1]
        for it in kafka.files
        if (match := re.fullmatch(r"libs/zookeeper-([\d.]+)\.jar", it))
    )
    own, client = (
        [int(number) for number in version.split(".")]
        for version in (versions["zookeeper"], brought)
    )
    # Of one line, whose fixes the server may have before Kafka's client does.
    assert own[:2] == client[:2]
    assert own >= client


@pytest.mark.parametrize("version", ["3.9.2", "4.1.2", "4.4.0"])
def test_every_kafka_has_one_way_to_its_log(version: str) -> None:
    files = Lock.read(LOCK_PATH).section(f"kafka-{version}").files
    matches = (re.fullmatch(r"libs/(.+?)-(\d[\d.]*)\.jar", it) for it in files)
    jars = {match[1]: match[2] for match in matches if match}
    bindings = {"slf4j-reload4j", "log4j-slf4j-impl"} & set(jars)
    assert bindings == {"slf4j-reload4j" if version < "4" else "log4j-slf4j-impl"}
    if version >= "4":
        assert jars["log4j-slf4j-impl"] == jars["log4j-core"] == jars["log4j-api"]


@pytest.mark.parametrize("name", ["imdb-producer", "imdb-streaming"])
def test_programs_run_with_what_they_are_tested_with(name: str) -> None:
    pinned = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.M)
    )
    section = Lock.read(LOCK_PATH).section(f"{name}-{default_versions()[name]}")
    for wheel in section.files:
        package, version, *_ = wheel.split("-")
        assert pinned[package.replace("_", "-")] == version


def test_no_download_address_is_committed() -> None:
    paths = [
        *(REPOSITORY / "artifacts").glob("*.*"),
        *(REPOSITORY / "artifacts/maven").iterdir(),
        *REPOSITORY.glob("requirements.*"),
    ]
    for path in paths:
        if path.is_file():
            found = re.search(r"https?://|--(extra-)?index-url|--find-links", path.read_text())
            assert not found, f"{path}: {found}"


def test_every_python_requirement_has_a_hash() -> None:
    text = (REPOSITORY / "requirements.txt").read_text()
    for block in re.split(r"\n(?=\w)", text)[1:]:
        assert "--hash=sha256:" in block, block
