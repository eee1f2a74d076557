"""The cache: what is verified stays, what is not is never taken for good."""

from __future__ import annotations

import hashlib
import re
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from release_artifacts import cache as cache_module
from release_artifacts.cache import Archive, Cache
from release_artifacts.errors import ArtifactError, MismatchError
from release_artifacts.lock import Lock
from release_artifacts.releases import OwnRelease

from .fakes import FakeRelease

KEY = "fake-1.0"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    (tmp_path / "cache").mkdir()
    return Cache(tmp_path / "cache")


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    """A lock of the fake release, made in a cache that is not the tested one."""
    (tmp_path / "elsewhere").mkdir()
    made = Cache(tmp_path / "elsewhere").make_section(FakeRelease(), "1.0")
    return Lock(tmp_path / "artifacts.lock", {KEY: made})


def provide(cache: Cache, lock: Lock, release: FakeRelease) -> Archive:
    return cache.provide(release, "1.0", lock, offline=False)


def other_digit(sha256: str) -> str:
    return ("1" if sha256[0] == "0" else "0") + sha256[1:]


def test_a_release_is_fetched_once(cache: Cache, lock: Lock) -> None:
    release = FakeRelease()
    first, second = provide(cache, lock, release), provide(cache, lock, release)
    assert (first.fetched, second.fetched, release.fetches) == (True, False, 1)
    assert first.sha256 == second.sha256 == lock.sections[KEY].archive
    assert re.fullmatch(r"fake-1\.0-[0-9a-f]{12}\.tar", Path(first.archive).name)
    assert hashlib.sha256(Path(first.archive).read_bytes()).hexdigest() == first.sha256
    with tarfile.open(first.archive) as tar:
        assert tar.getnames() == ["libs", "libs/a.jar", "libs/b.jar"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"libs/a.jar": b"A" * 999 + b"!"}, "libs/a.jar"),
        ({"libs/b.jar": b"B" * 1999}, "libs/b.jar"),
        ({"libs/b.jar": b""}, "libs/b.jar"),
        ({"libs/c.jar": b"C"}, "libs/c.jar"),
        ({"libs/a.jar": None}, "libs/a.jar"),
    ],
    ids=["tampered", "truncated", "empty", "additional", "missing"],
)
def test_a_file_not_as_locked_is_named_and_not_kept(
    cache: Cache, lock: Lock, change: dict[str, bytes | None], named: str
) -> None:
    files = {**FakeRelease().files, **change}
    bad = FakeRelease({path: content for path, content in files.items() if content is not None})
    with pytest.raises(MismatchError, match=f"{KEY}/{named}: (expected|fetched).*") as caught:
        provide(cache, lock, bad)
    assert "make lock" in str(caught.value)
    assert [*cache.folder.glob("*.tar")] == []

    good = FakeRelease()
    assert provide(cache, lock, good).fetched


@pytest.mark.parametrize("path", ["libs/a.jar", "libs/b.jar"])
def test_one_digit_changed_in_the_lock_is_found_in_spite_of_the_cache(
    cache: Cache, lock: Lock, path: str
) -> None:
    release = FakeRelease()
    provide(cache, lock, release)
    right = lock.sections[KEY].files[path]
    lock.sections[KEY].files[path] = other_digit(right)
    with pytest.raises(MismatchError) as caught:
        provide(cache, lock, release)
    assert f"{KEY}/{path}: expected sha256 {other_digit(right)}, found {right}" in str(caught.value)

    lock.sections[KEY].files[path] = right
    assert not provide(cache, lock, release).fetched


@pytest.mark.parametrize("cached", [True, False])
def test_one_digit_changed_in_the_archive_s_line_is_found(
    cache: Cache, lock: Lock, cached: bool
) -> None:
    if cached:
        provide(cache, lock, FakeRelease())
    right = lock.sections[KEY].archive or ""
    lock.sections[KEY].archive = other_digit(right)
    with pytest.raises(MismatchError, match=f"fake-1.0.tar: .*{other_digit(right)}, found {right}"):
        provide(cache, lock, FakeRelease())


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_archive_in_the_cache_is_named_and_not_used(
    cache: Cache, lock: Lock, damage: str
) -> None:
    archive = Path(provide(cache, lock, FakeRelease()).archive)
    content = archive.read_bytes()
    bad = content[:-512] if damage == "cut" else content[:600] + b"!" + content[601:]
    archive.write_bytes(bad)
    release = FakeRelease()
    for _ in range(2):
        with pytest.raises(MismatchError) as caught:
            provide(cache, lock, release)
        text = str(caught.value)
        assert text.startswith(f"{archive}: expected sha256 {lock.sections[KEY].archive}, found ")
        assert hashlib.sha256(bad).hexdigest() in text
        assert "Delete the file" in text
    assert release.fetches == 0

    archive.unlink()
    assert provide(cache, lock, release).fetched


@pytest.mark.parametrize("cut_after", [0, 1])
def test_an_interrupted_fetch_heals(cache: Cache, lock: Lock, cut_after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        provide(cache, lock, FakeRelease(cut_after=cut_after))
    assert [*cache.folder.glob("*.tar")] == []
    assert provide(cache, lock, FakeRelease()).fetched


def test_what_a_killed_run_left_is_cleared_away(cache: Cache, lock: Lock) -> None:
    left = cache.folder / "work" / KEY / "of-another-run"
    left.mkdir(parents=True)
    (left / "half.jar").write_bytes(b"half")
    assert provide(cache, lock, FakeRelease()).sha256 == lock.sections[KEY].archive
    assert [*(cache.folder / "work").rglob("*.jar")] == []


def test_two_runs_at_once_fetch_once(cache: Cache, lock: Lock) -> None:
    release = FakeRelease(go_on=Event())
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(provide, cache, lock, release) for _ in range(4)]
        assert release.go_on
        release.go_on.set()
        archives = [run.result(20) for run in runs]
    assert release.fetches == 1
    assert sorted(archive.fetched for archive in archives) == [False, False, False, True]
    assert len({archive.sha256 for archive in archives}) == 1


def test_a_version_that_is_not_locked_is_not_fetched(cache: Cache, lock: Lock) -> None:
    release = FakeRelease()
    with pytest.raises(ArtifactError, match=r"does not list fake-2\.0; it lists fake-1\.0"):
        cache.provide(release, "2.0", lock, offline=False)
    assert release.fetches == 0


def test_two_locks_share_the_cache_and_keep_out_of_each_other_s_way(
    cache: Cache, lock: Lock
) -> None:
    first = provide(cache, lock, FakeRelease())
    changed = FakeRelease({"libs/a.jar": b"another"})
    other = Lock(lock.path, {KEY: cache.make_section(changed, "1.0")})
    archive = provide(cache, other, changed)
    assert archive.sha256 == other.sections[KEY].archive
    assert not archive.fetched
    assert provide(cache, lock, FakeRelease()) == replace(first, fetched=False)


def test_clean_leaves_nothing_to_trust(cache: Cache, lock: Lock) -> None:
    provide(cache, lock, FakeRelease())
    cache.clean()
    assert [path.name for path in cache.folder.iterdir()] == ["locks"]
    assert provide(cache, lock, FakeRelease()).fetched


# --- our own programs -----------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path) -> Path:
    package = tmp_path / "sources" / "program"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "0.1.0"\n')
    return package


def provide_program(cache: Cache, lock: Lock, package: Path, version: str = "0.1.0") -> Archive:
    return cache.provide(OwnRelease("program", package), version, lock, offline=True)


def test_a_program_s_archive_is_named_for_its_content(
    cache: Cache, lock: Lock, program: Path
) -> None:
    first = provide_program(cache, lock, program)
    assert Path(first.archive).name == f"program-0.1.0-{first.sha256[:12]}.tar"
    assert provide_program(cache, lock, program) == Archive(
        "0.1.0", first.archive, first.sha256, fetched=False
    )
    (program / "more.py").write_text("x = 1\n")
    second = provide_program(cache, lock, program)
    assert second.fetched
    assert second.sha256 != first.sha256
    (program / "more.py").unlink()
    assert provide_program(cache, lock, program).sha256 == first.sha256


def test_old_archives_of_a_program_are_removed(cache: Cache, lock: Lock, program: Path) -> None:
    for number in range(cache_module.KEPT + 3):
        (program / "more.py").write_text(f"x = {number}\n")
        newest = provide_program(cache, lock, program)
    kept = [*cache.folder.glob("program-*.tar")]
    assert len(kept) == cache_module.KEPT
    assert Path(newest.archive) in kept


def test_a_program_s_version_must_be_its_own(cache: Cache, lock: Lock, program: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"program 0\.2\.0 is wanted, but __version__ .* 0\.1\.0"
    ):
        provide_program(cache, lock, program, "0.2.0")


def test_a_program_s_wheels_are_kept_and_verified(cache: Cache, lock: Lock) -> None:
    release = FakeRelease(is_own=True)
    provide(cache, lock, release)
    provide(cache, lock, release)
    assert release.fetches == 1
    kept = cache.folder / "files" / KEY
    (kept / "libs/a.jar").write_bytes(b"tampered")
    with pytest.raises(MismatchError, match=f"{KEY}/libs/a.jar: expected .*\n.*delete {kept}"):
        provide(cache, lock, release)
