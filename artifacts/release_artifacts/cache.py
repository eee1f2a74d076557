"""The archives at hand: made when asked for, verified each time."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import archives
from .errors import ArtifactError, MismatchError
from .folders import exclusive, say
from .lock import REFRESH, Lock, Section, hash_files, sha256_of, verify_files
from .releases import Release

# How many archives of one version are kept: each change of the lock, or of the sources of a program
# of ours, makes one, and several checkouts may share the cache.
KEPT = 4

_BAD_FILE = (
    "Run again, in case the transfer failed; if the same file fails again, delete it from Maven's "
    "local repository (usually ~/.m2/repository)."
)


@dataclass(frozen=True)
class Archive:
    """An archive in the cache; `fetched` tells whether it was made just now."""

    version: str
    archive: str
    sha256: str
    fetched: bool


class Cache:
    """A folder of archives. Each release's version is guarded by a lock file of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def provide(self, release: Release, version: str, lock: Lock, *, offline: bool) -> Archive:
        """Return a release's archive, fetched and packed if need be.

        Raises MismatchError if anything is not as locked, ArtifactError if it cannot be had.
        """
        key = f"{release.name}-{version}"
        with self._alone(key):
            if release.is_own:
                return self._provide_own(release, version, lock, offline=offline)
            section = lock.section(key)
            archive = self._place(key, section)
            if self._is_good(archive, section):
                self._prune(key, archive)
                return Archive(version, str(archive), section.archive or "", fetched=False)
            say(f"fetching {release.name} {version}")
            begun = time.monotonic()
            with self._scratch(key) as scratch:
                files = scratch / "files"
                self._fetch(release, version, files, section.files, offline=offline)
                verify_files(key, files, section.files, _BAD_FILE)
                sha256 = _pack(release, version, files, scratch / "new.tar")
                if sha256 != section.archive:
                    raise MismatchError(
                        f"{key}.tar: expected sha256 {section.archive or 'none'}, found {sha256}, "
                        f"though every file in it is as locked. {REFRESH}"
                    )
                (scratch / "new.tar").replace(archive)
            self._prune(key, archive)
            seconds = time.monotonic() - begun
            say(f"{release.name} {version} is verified and packed ({seconds:.1f} s)")
            return Archive(version, str(archive), sha256, fetched=True)

    def make_section(self, release: Release, version: str) -> Section:
        """Fetch a release anew, take its files as they come, and return their section."""
        key = f"{release.name}-{version}"
        with self._alone(key), self._scratch(key) as scratch:
            say(f"fetching {release.name} {version}, to lock it")
            files = scratch / "files"
            self._fetch(release, version, files, {}, offline=False)
            section = Section(hash_files(files))
            if release.is_own:
                return section
            section.archive = _pack(release, version, files, scratch / "new.tar")
            (scratch / "new.tar").replace(self._place(key, section))
            return section

    def clean(self) -> None:
        """Delete all archives, and what interrupted runs left, once no fetch is under way."""
        locks = self.folder / "locks"
        with contextlib.ExitStack() as held:
            for path in sorted(locks.glob("*")):
                held.enter_context(exclusive(path, f"a fetch of {path.name}"))
            for path in self.folder.iterdir():
                if path.is_dir() and path != locks:
                    shutil.rmtree(path)
                elif path.is_file():
                    path.unlink()

    def _provide_own(self, release: Release, version: str, lock: Lock, *, offline: bool) -> Archive:
        """Pack a program of ours; what it needs from outside is kept, to do without the network."""
        key = f"{release.name}-{version}"
        expected = lock.section(key).files if release.is_locked else {}
        kept = self.folder / "files" / key
        with self._scratch(key) as scratch:
            files = scratch / "files"
            if kept.exists() and set(hash_files(kept)) == set(expected):
                remedy = f"The cache is damaged or the lock has changed: delete {kept}."
                verify_files(key, kept, expected, remedy)
                shutil.copytree(kept, files)
            else:
                self._fetch(release, version, files, expected, offline=offline)
                verify_files(key, files, expected, "Run again, in case the transfer failed.")
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(files, kept)
            new = scratch / "new.tar"
            sha256 = _pack(release, version, files, new)
            archive = self.folder / f"{key}-{sha256[:12]}.tar"
            fetched = not (archive.exists() and sha256_of(archive) == sha256)
            if fetched:
                new.replace(archive)
        self._prune(key, archive)
        return Archive(version, str(archive), sha256, fetched)

    def _place(self, key: str, section: Section) -> Path:
        """Name an archive for all that the lock says of it: another lock is another archive."""
        return self.folder / f"{key}-{section.digest()[:12]}.tar"

    @staticmethod
    def _is_good(archive: Path, section: Section) -> bool:
        """Tell whether the archive is there; raise MismatchError if it is damaged."""
        if not archive.exists():
            return False
        found = sha256_of(archive)
        if found != section.archive:
            raise MismatchError(
                f"{archive}: expected sha256 {section.archive}, found {found} "
                f"({archive.stat().st_size} bytes); the cache is damaged. Nothing of it is used. "
                "Delete the file (or all of the cache: artifacts/artifacts.py clean) and run again."
            )
        return True

    @staticmethod
    def _fetch(
        release: Release, version: str, folder: Path, expected: dict[str, str], *, offline: bool
    ) -> None:
        folder.mkdir()
        release.fetch(version, folder, expected, offline)

    @contextlib.contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        with exclusive(self.folder / "locks" / key, f"another fetch of {key}"):
            yield

    @contextlib.contextmanager
    def _scratch(self, key: str) -> Iterator[Path]:
        """Make a folder for one run, gone after it; what a killed run left goes too."""
        work = self.folder / "work" / key
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        with tempfile.TemporaryDirectory(dir=work) as scratch:
            yield Path(scratch)

    def _prune(self, key: str, newest: Path) -> None:
        newest.touch()
        found = sorted(
            self.folder.glob(f"{key}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        for path in found[KEPT:]:
            path.unlink()


def _pack(release: Release, version: str, files: Path, archive: Path) -> str:
    """Lay files out as on a host, pack them, and return the archive's SHA-256."""
    layout = archive.with_name("layout")
    layout.mkdir()
    release.lay_out(version, files, layout)
    if not any(layout.iterdir()):
        raise ArtifactError(f"{release.name} {version} has no files.")
    archives.pack(layout, archive)
    shutil.rmtree(layout)
    return sha256_of(archive)
