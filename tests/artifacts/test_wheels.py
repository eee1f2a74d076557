"""Compiled wheels: one for each kind of host, all of them locked."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from release_artifacts import releases, sources
from release_artifacts.errors import ArtifactError
from release_artifacts.releases import WheelsRelease

RELEASE = WheelsRelease("imdb-producer-fast", ("confluent-kafka", "isal"))
KINDS = ["cp311-aarch64", "cp311-x86_64", "cp313-aarch64", "cp313-x86_64"]


def test_each_kind_of_host_has_its_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, dict[str, Any]] = {}

    def note(wanted: dict[str, str | None], folder: Path, **options: Any) -> None:
        asked[folder.name] = {"wanted": wanted, **options}

    monkeypatch.setattr(sources, "fetch_packages", note)
    expected = {
        f"{kind}/{package}-1.0-some.whl": f"{kind} {package}"
        for kind in KINDS
        for package in ("confluent_kafka", "isal")
    }
    RELEASE.fetch("2.0", tmp_path, expected, offline=False)
    assert sorted(asked) == KINDS
    wanted = asked["cp313-aarch64"]["wanted"]
    assert wanted["confluent-kafka==2.0"] == "cp313-aarch64 confluent_kafka"
    assert list(wanted.values()) == ["cp313-aarch64 confluent_kafka", "cp313-aarch64 isal"]
    assert "--python-version=3.13" in asked["cp313-aarch64"]["options"]
    assert "--platform=manylinux2014_aarch64" in asked["cp313-aarch64"]["options"]


def test_a_wheel_that_is_not_locked_is_named(tmp_path: Path) -> None:
    expected = {"cp311-x86_64/confluent_kafka-2.0-some.whl": "0" * 64}
    with pytest.raises(ArtifactError, match="lists no wheel of isal for cp311-x86_64"):
        RELEASE.fetch("2.0", tmp_path, expected, offline=False)


def test_wheels_lie_in_a_folder_for_each_kind(tmp_path: Path) -> None:
    files, target = tmp_path / "files", tmp_path / "release"
    for kind in KINDS:
        (files / kind).mkdir(parents=True)
        with zipfile.ZipFile(files / kind / "isal-1.0-some.whl", "w") as wheel:
            wheel.writestr("isal/__init__.py", kind)
    RELEASE.lay_out("1.0", files, target)
    found = {path.parent.parent.name: path.read_text() for path in target.rglob("__init__.py")}
    assert found == {kind: kind for kind in KINDS}


@pytest.mark.parametrize(
    ("release", "package"),
    [
        ("imdb-producer-fast", "confluent-kafka"),
        ("imdb-producer-duckdb", "duckdb"),
        ("kafka-python", "kafka-python"),
    ],
)
def test_hosts_have_what_the_tests_run_with(release: str, package: str) -> None:
    version = releases.default_versions()[release]
    pinned = (releases.REPOSITORY / "requirements.txt").read_text()
    assert f"\n{package}=={version} " in pinned
