"""The lock: which files a release consists of, by their SHA-256.

One line a file, as sha256sum writes it: `<sha256>  <release>-<version>/<path>`. The line without
a slash is the archive made from a release's files. Lines of `#` and empty lines say nothing.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ArtifactError, MismatchError

REFRESH = "If the change is meant, refresh the lock by `make lock` and commit it."

_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_HEADER = """\
# SHA-256 of every file that the hosts get from outside. Made by `make lock`, checked at every
# fetch. A line without a slash is the archive packed from the files above it. Several versions of
# a release may stand here; a section that no host needs any more may be deleted.
"""


@dataclass
class Section:
    """What one release in one version consists of.

    files maps a path to its SHA-256; archive is the SHA-256 of what is packed from them, None if
    that also depends on sources in this repository.
    """

    files: dict[str, str] = field(default_factory=dict)
    archive: str | None = None

    def digest(self) -> str:
        """Return a SHA-256 over all lines, to see that a section is still the same."""
        return hashlib.sha256("\n".join(self.lines("-")).encode()).hexdigest()

    def lines(self, key: str) -> list[str]:
        """Return the section's lines, `key` being the release's name and version."""
        lines = [f"{sha256}  {key}/{path}" for path, sha256 in sorted(self.files.items())]
        if self.archive:
            lines.append(f"{self.archive}  {key}.tar")
        return lines


@dataclass
class Lock:
    """The sections of a lock file by `<release>-<version>`."""

    path: Path
    sections: dict[str, Section] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Lock":
        """Read a lock file; one that does not exist is empty.

        Raises ArtifactError for a line that is not understood or a file that is named twice.
        """
        lock = cls(path)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if not match:
                raise ArtifactError(
                    f"{path}, line {number}: expected `<64 hex digits>  <path>`, found {line!r}. "
                    f"Restore the file (git checkout {path.name}) or refresh it by `make lock`."
                )
            lock._add(number, *match.groups())
        return lock

    def _add(self, number: int, sha256: str, name: str) -> None:
        key, _, path = name.partition("/")
        section = self.sections.setdefault(key if path else key.removesuffix(".tar"), Section())
        if path in section.files or (not path and section.archive):
            raise ArtifactError(
                f"{self.path}, line {number}: {name} stands twice. Delete one of the "
                "lines, or refresh the file by `make lock`."
            )
        if path:
            section.files[path] = sha256
        else:
            section.archive = sha256

    def section(self, key: str) -> Section:
        """Return a section, or raise ArtifactError if there is none."""
        try:
            return self.sections[key]
        except KeyError:
            known = ", ".join(sorted(self.sections)) or "nothing"
            name, _, version = key.rpartition("-")
            raise ArtifactError(
                f"{self.path} does not list {key}; it lists {known}. If that version is meant, "
                f"add it: artifacts/artifacts.py lock {name}={version}"
            ) from None

    def write(self) -> None:
        """Write the file, atomically."""
        parts = [_HEADER]
        for key, section in sorted(self.sections.items()):
            parts.append(f"\n# {key}\n" + "".join(f"{line}\n" for line in section.lines(key)))
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(parts), encoding="utf-8")
        partial.replace(self.path)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file under a folder by its path in it."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)): sha256_of(path) for path in paths}


def verify_files(key: str, folder: Path, expected: Mapping[str, str], remedy: str) -> None:
    """Compare a folder's files with the lock's.

    Raises MismatchError that names every file which is missing, additional or different, with what
    was expected and found, and ends with `remedy`, followed by how to refresh the lock.
    """
    found = hash_files(folder)
    faults = [*_faults(key, folder, expected, found)]
    if faults:
        raise MismatchError("\n".join([*faults, f"Nothing of it is used. {remedy} {REFRESH}"]))


def _faults(
    key: str, folder: Path, expected: Mapping[str, str], found: Mapping[str, str]
) -> Iterable[str]:
    for path in sorted({*expected, *found}):
        name = f"{key}/{path}"
        if path not in found:
            yield f"{name}: expected by the lock (sha256 {expected[path]}), but not fetched."
        elif path not in expected:
            yield f"{name}: fetched (sha256 {found[path]}), but not expected by the lock."
        elif expected[path] != found[path]:
            size = (folder / path).stat().st_size
            yield (
                f"{name}: expected sha256 {expected[path]}, found {found[path]} "
                f"({size} bytes); damaged, cut short or tampered with."
            )
