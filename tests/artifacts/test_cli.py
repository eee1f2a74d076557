"""The command line, and the clients that it runs (replaced by scripts of the same names)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from release_artifacts import cli, releases, sources
from release_artifacts.errors import ArtifactError, MismatchError
from release_artifacts.lock import Lock

from ..waiting import wait_for
from .fakes import FakeRelease


@pytest.fixture(autouse=True)
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeRelease]:
    """Use a cache and a lock of the test's own, and two fake releases."""
    monkeypatch.setenv("IMDB_PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cli, "LOCK_PATH", tmp_path / "artifacts.lock")
    fakes = {name: FakeRelease(name=name) for name in ("fake", "other")}
    monkeypatch.setattr(cli, "RELEASES", fakes)
    monkeypatch.setattr(cli, "default_versions", lambda: {"fake": "1.0", "other": "2.0"})
    return fakes


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for mvn; the test writes the script."""
    script = tmp_path / "bin" / "mvn"
    script.parent.mkdir()
    script.touch(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return script


def test_lock_then_fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lock"]) == 0
    assert cli.main(["fetch", "fake=1.0"]) == 0
    out, _ = capsys.readouterr()
    section = Lock.read(tmp_path / "artifacts.lock").section("fake-1.0")
    assert json.loads(out) == {
        "fake": {
            "version": "1.0",
            "archive": str(tmp_path / f"cache/artifacts/fake-1.0-{section.digest()[:12]}.tar"),
            "sha256": section.archive,
            "fetched": False,
        }
    }


def test_fetch_without_names_means_the_roles_versions(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["lock"])
    cli.main(["fetch"])
    found = json.loads(capsys.readouterr().out)
    assert {name: found[name]["version"] for name in found} == {"fake": "1.0", "other": "2.0"}


def test_what_is_optional_is_locked_but_not_fetched_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "OPTIONAL", {"other"})
    cli.main(["lock"])
    cli.main(["fetch"])
    assert set(json.loads(capsys.readouterr().out)) == {"fake"}
    cli.main(["fetch", "other=2.0"])
    assert set(json.loads(capsys.readouterr().out)) == {"other"}


def test_lock_keeps_other_versions(tmp_path: Path) -> None:
    cli.main(["lock", "fake=0.9"])
    cli.main(["lock"])
    lock = Lock.read(tmp_path / "artifacts.lock")
    assert sorted(lock.sections) == ["fake-0.9", "fake-1.0", "other-2.0"]


def test_lock_tells_what_is_not_as_it_was(
    fakes: dict[str, FakeRelease], capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["lock"])
    fakes["fake"].files = {"libs/a.jar": b"another"}
    cli.main(["lock"])
    err = capsys.readouterr().err
    assert "fake-1.0 has CHANGED" in err
    assert "libs/b.jar: was " in err
    assert "other-2.0: as it was" in err


def test_all_that_is_wrong_is_told_and_nothing_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fetch"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "does not list fake-1.0" in err
    assert "does not list other-2.0" in err


@pytest.mark.parametrize("release", ["fake", "fake=", "nothing=1.0", "=1.0"])
def test_a_release_that_does_not_exist_is_told(
    release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fetch", release]) == 1
    assert (
        f"{release} is not NAME=VERSION with a name of these: fake, other"
        in capsys.readouterr().err
    )


def test_a_cache_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMDB_PIPELINE_CACHE", str(tmp_path / "file"))
    assert cli.main(["list"]) == 1
    assert "IMDB_PIPELINE_CACHE=" in capsys.readouterr().err


def test_a_client_that_fails_is_quoted(client: Path, tmp_path: Path) -> None:
    client.write_text("#!/bin/sh\necho no such artifact\nexit 1\n")
    pom = releases.REPOSITORY / "artifacts/maven/kafka.xml"
    with pytest.raises(
        ArtifactError, match=r"kafka\.xml asks for in version 9:\n    no such artifact"
    ):
        sources.fetch_jars(pom, "9", tmp_path / "libs", offline=False)


@pytest.mark.parametrize(("version", "pom"), [("3.9.2", "kafka.xml"), ("4.4.0", "kafka-4.xml")])
def test_a_major_version_may_ask_for_other_jars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, pom: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sources, "fetch_jars", lambda path, *_, **__: asked.append(path.name))
    releases.MavenRelease("kafka").fetch(version, tmp_path, {}, offline=True)
    assert asked == [pom]


def test_the_users_options_for_mavens_jvm_come_last(
    client: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.write_text(f'#!/bin/sh\necho "$MAVEN_OPTS" >{tmp_path}/options\n')
    monkeypatch.setenv("MAVEN_OPTS", "-Xmx1g -XX:TieredStopAtLevel=4")
    pom = releases.REPOSITORY / "artifacts/maven/kafka.xml"
    sources.fetch_jars(pom, "9", tmp_path / "libs", offline=False)
    options = (tmp_path / "options").read_text().split()
    assert options == [*sources.SHORT_LIVED, "-Xmx1g", "-XX:TieredStopAtLevel=4"]


def test_a_client_that_hangs_is_stopped_with_its_children(
    client: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.write_text(f"#!/bin/sh\nsleep 300 & echo $! > {tmp_path}/child\nwait\n")
    monkeypatch.setattr(sources, "TIMEOUT_SECONDS", 1)
    pom = releases.REPOSITORY / "artifacts/maven/kafka.xml"
    with pytest.raises(ArtifactError, match="mvn has not ended after 1 s and was stopped"):
        sources.fetch_jars(pom, "9", tmp_path / "libs", offline=False)
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "cmdline"
    # A process that was killed may stay for a moment on a busy machine.
    wait_for(
        "the client's child has ended",
        lambda: child.read_bytes() if child.exists() else b"",
        lambda command: command == b"",
        10,
    )


def test_pip_refuses_a_package_with_another_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An sdist so small that the real pip can be asked; its setup.py must never run.
    wheels = tmp_path / "wheels"
    project = tmp_path / "project"
    (project / "tiny_release").mkdir(parents=True)
    (project / "tiny_release/__init__.py").touch()
    (project / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    wheels.mkdir()
    subprocess.run(
        [
            "tar",
            "czf",
            wheels / "tiny_release-1.0.tar.gz",
            "--transform",
            "s,^project,tiny_release-1.0,",
            "project",
        ],
        cwd=tmp_path,
        check=True,
    )
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        MismatchError, match=f"tiny-release==1.0: expected sha256 {'0' * 64}, found "
    ):
        sources.fetch_packages(
            {"tiny-release==1.0": "0" * 64},
            tmp_path / "files",
            offline=True,
            options=["--no-deps", "--no-build-isolation"],
        )
    assert not (tmp_path / "ran").exists()


def test_the_program_runs_by_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, releases.REPOSITORY / "artifacts/artifacts.py", "fetch", "kafka=0.0"],
        env={**os.environ, "IMDB_PIPELINE_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "does not list kafka-0.0" in done.stderr
