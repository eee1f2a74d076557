"""Packing files into archives whose bytes depend on nothing but the files."""

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .errors import ArtifactError


def pack(folder: Path, archive: Path) -> None:
    """Pack a folder's content into an uncompressed tar: sorted, without times, owned by 0:0.

    Files are 0644, or 0755 if their owner may execute them; folders are 0755.
    """
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts):
            tar.add(path, str(path.relative_to(folder)), recursive=False, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    executable = member.isdir() or member.mode & stat.S_IXUSR
    member.mode = 0o755 if executable else 0o644
    # A file that the file system happens to link twice is still two files.
    if member.islnk():
        raise ArtifactError(f"{member.name}: two names of one file cannot be packed.")
    return member


def unpack_sdist(sdist: Path, folder: Path, renamed: dict[str, str]) -> None:
    """Unpack parts of a source distribution.

    renamed maps a prefix in it (without its top folder) to the prefix under `folder`; the first
    that fits is taken, what fits none is left out.
    """
    with tarfile.open(sdist) as tar:
        for member in tar:
            _, _, path = member.name.partition("/")
            target = _renamed(path, renamed)
            if target and member.isfile():
                _copy_member(tar, member, folder, target)


def _copy_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, target: str) -> None:
    # By hand: the first releases of Python 3.11, Debian 12's among them, have no tarfile filters.
    path = PurePosixPath(target)
    if path.is_absolute() or ".." in path.parts:
        raise ArtifactError(
            f"{tar.name!r} holds {member.name}, which leads out of its folder. Do not use it."
        )
    content = tar.extractfile(member)
    assert content is not None, "a regular file has content"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    with content, (folder / path).open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    (folder / path).chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)


def _renamed(path: str, renamed: dict[str, str]) -> str | None:
    for prefix, replacement in renamed.items():
        if path.startswith(prefix):
            return replacement + path.removeprefix(prefix)
    return None


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """Unpack a pure-Python wheel as pip would install it into `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if PurePosixPath(name).parts[0].endswith(".data"):
                raise ArtifactError(
                    f"{wheel.name} holds {name}, which must be installed, not unpacked. Choose "
                    "another version of the package."
                )
        archive.extractall(folder)


def copy_package(package: Path, folder: Path) -> None:
    """Copy a Python package without what running it leaves behind."""
    for path in _package_files(package):
        target = folder / package.name / path.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())


def _package_files(package: Path) -> Iterator[Path]:
    for path in sorted(package.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(package).parts)
        if path.is_file() and not hidden and "__pycache__" not in path.parts:
            yield path
