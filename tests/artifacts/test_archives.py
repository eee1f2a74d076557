"""Archives: the same bytes for the same files, and layouts."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from release_artifacts import archives
from release_artifacts.errors import ArtifactError


def tree(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def test_order_times_and_umask_do_not_show(tmp_path: Path) -> None:
    names = ["libs/b.jar", "libs/a.jar", "bin/run", "a-long/" + "name/" * 40 + "file"]
    one = tree(tmp_path / "one", names)
    before = os.umask(0o077)
    try:
        two = tree(tmp_path / "two", names[::-1])
    finally:
        os.umask(before)
    os.utime(two / "bin/run", (1, 1))
    archives.pack(one, tmp_path / "one.tar")
    archives.pack(two, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_members_are_sorted_and_belong_to_nobody(tmp_path: Path) -> None:
    folder = tree(tmp_path / "files", ["lib/z.py", "lib/a/b.py", "bin/run"])
    (folder / "bin/run").chmod(0o700)
    archives.pack(folder, tmp_path / "files.tar")
    with tarfile.open(tmp_path / "files.tar") as tar:
        members = [(m.name, m.mode, m.mtime, m.uid, m.gid, m.uname) for m in tar]
    assert members == [
        ("bin", 0o755, 0, 0, 0, ""),
        ("bin/run", 0o755, 0, 0, 0, ""),
        ("lib", 0o755, 0, 0, 0, ""),
        ("lib/a", 0o755, 0, 0, 0, ""),
        ("lib/a/b.py", 0o644, 0, 0, 0, ""),
        ("lib/z.py", 0o644, 0, 0, 0, ""),
    ]


def test_only_named_parts_of_an_sdist_are_unpacked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x-1.tar.gz", "w:gz") as tar:
        for name in [
            "x-1/deps/jars/a.jar",
            "x-1/deps/data/big.txt",
            "x-1/pkg/__init__.py",
            "x-1/setup.py",
        ]:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    archives.unpack_sdist(
        tmp_path / "x-1.tar.gz", tmp_path / "out", {"deps/jars/": "jars/", "pkg/": "python/pkg/"}
    )
    found = [
        str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()
    ]
    assert sorted(found) == ["jars/a.jar", "python/pkg/__init__.py"]


def test_an_sdist_cannot_write_beside_its_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x-1.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("x-1/jars/../../../evil"))
    with pytest.raises(ArtifactError, match="leads out of its folder"):
        archives.unpack_sdist(tmp_path / "x-1.tar.gz", tmp_path / "out", {"jars/": "jars/"})


def test_a_wheel_that_must_be_installed_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x-1.data/scripts/x", "")
    with pytest.raises(ArtifactError, match=r"x-1-py3-none-any\.whl holds x-1\.data/scripts/x"):
        archives.unpack_wheel(wheel, tmp_path)


def test_a_package_is_copied_without_what_running_it_leaves(tmp_path: Path) -> None:
    package = tree(
        tmp_path / "pkg",
        ["__init__.py", "data/x.json", "__pycache__/x.pyc", "sub/__pycache__/y.pyc", ".hidden/z"],
    )
    archives.copy_package(package, tmp_path / "lib")
    found = [
        str(p.relative_to(tmp_path / "lib")) for p in (tmp_path / "lib").rglob("*") if p.is_file()
    ]
    assert sorted(found) == ["pkg/__init__.py", "pkg/data/x.json"]
