"""The lock: read, written, and compared with files."""

from __future__ import annotations

from pathlib import Path

import pytest

from release_artifacts.errors import ArtifactError, MismatchError
from release_artifacts.lock import Lock, Section, hash_files, verify_files

A, B, C = "a" * 64, "b" * 64, "c" * 64


def lock_of(tmp_path: Path, text: str) -> Lock:
    path = tmp_path / "artifacts.lock"
    path.write_text(text)
    return Lock.read(path)


def test_versions_of_a_release_stand_side_by_side(tmp_path: Path) -> None:
    lock = lock_of(
        tmp_path,
        f"# kafka\n\n{A}  kafka-3.9.1/libs/a.jar\n{B}  kafka-3.9.1.tar\n"
        f"{C}  kafka-3.9.2/libs/a.jar\n",
    )
    assert lock.sections == {
        "kafka-3.9.1": Section({"libs/a.jar": A}, B),
        "kafka-3.9.2": Section({"libs/a.jar": C}, None),
    }


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    sections = {"b-2": Section({"z": B, "d/e-1.0.jar": A}, C), "a-1.0": Section({"x.whl": A})}
    lock = Lock(tmp_path / "artifacts.lock", sections)
    lock.write()
    assert Lock.read(lock.path).sections == sections
    before = lock.path.read_bytes()
    Lock.read(lock.path).write()
    assert lock.path.read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        f"{A[1:]}  kafka-1/a.jar",
        f"{A} kafka-1/a.jar",
        f"{A.upper()}  kafka-1/a",
        "kafka-1/a.jar",
        A,
    ],
)
def test_a_line_that_is_not_understood_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(ArtifactError, match=r"artifacts\.lock, line 2: expected .*make lock"):
        lock_of(tmp_path, f"# first\n{line}\n")


@pytest.mark.parametrize("name", ["kafka-1/a.jar", "kafka-1.tar"])
def test_a_file_that_stands_twice_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match=f"line 2: {name} stands twice"):
        lock_of(tmp_path, f"{A}  {name}\n{B}  {name}\n")


def test_a_version_that_is_not_locked_is_told_with_how_to_add_it(tmp_path: Path) -> None:
    lock = lock_of(tmp_path, f"{A}  imdb-producer-0.1.0/a.whl\n")
    with pytest.raises(
        ArtifactError, match=r"not list imdb-producer-0\.2\.0; it lists imdb-prod.*"
    ):
        lock.section("imdb-producer-0.2.0")
    with pytest.raises(ArtifactError, match=r"artifacts\.py lock imdb-producer=0\.2\.0"):
        lock.section("imdb-producer-0.2.0")


def test_a_missing_lock_lists_nothing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="it lists nothing"):
        Lock.read(tmp_path / "artifacts.lock").section("kafka-1")


def test_any_change_of_a_section_changes_its_digest() -> None:
    section = Section({"a": A}, B)
    others = [Section({"a": A}, C), Section({"a": B}, B), Section({"b": A}, B), Section({"a": A})]
    assert section.digest() == Section({"a": A}, B).digest()
    assert section.digest() not in [other.digest() for other in others]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "libs").mkdir(parents=True)
    (folder / "libs/a.jar").write_bytes(b"A" * 1000)
    (folder / "libs/b.jar").write_bytes(b"B" * 1000)
    return folder


def test_files_as_locked_pass(files: Path) -> None:
    verify_files("kafka-1", files, hash_files(files), "")


def test_every_fault_is_told_at_once(files: Path) -> None:
    expected = hash_files(files)
    (files / "libs/a.jar").unlink()
    (files / "libs/b.jar").write_bytes(b"B" * 999)
    (files / "libs/c.jar").write_bytes(b"C")
    found = hash_files(files)
    with pytest.raises(MismatchError) as caught:
        verify_files("kafka-1", files, expected, "Do this.")
    assert str(caught.value).splitlines() == [
        f"kafka-1/libs/a.jar: expected by the lock (sha256 {expected['libs/a.jar']}), but not "
        "fetched.",
        f"kafka-1/libs/b.jar: expected sha256 {expected['libs/b.jar']}, found "
        f"{found['libs/b.jar']} (999 bytes); damaged, cut short or tampered with.",
        f"kafka-1/libs/c.jar: fetched (sha256 {found['libs/c.jar']}), but not expected by the "
        "lock.",
        "Nothing of it is used. Do this. If the change is meant, refresh the lock by `make lock` "
        "and commit it.",
    ]
