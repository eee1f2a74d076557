"""Our classes of Java: compiled once for each state of their sources, and kept in the cache."""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .errors import ArtifactError
from .folders import cache_folder, exclusive, say
from .sources import SHORT_LIVED

#: The oldest Java that they run on.
JAVA_RELEASE = "17"
TIMEOUT_SECONDS = 300
KEPT = 4


def jar_of(sources: Path) -> Path:
    """Name the jar of a folder of sources: it is in the cache if these were compiled already."""
    digest = hashlib.sha256(JAVA_RELEASE.encode())
    for path in _source_files(sources):
        digest.update(f"{path.relative_to(sources)}\0".encode() + path.read_bytes() + b"\0")
    return cache_folder() / "files" / f"{sources.parent.name}-java" / f"{digest.hexdigest()}.jar"


def compile_against_archive(sources: Path, archive: Path) -> Path:
    """Compile against the jars in an archive of a release; return our jar."""
    if jar_of(sources).exists():
        return jar_of(sources)
    with tempfile.TemporaryDirectory(prefix="java-") as scratch:
        folders = set()
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.name.endswith(".jar") else None
                if content is None:
                    continue
                # By its last name alone: what an archive calls its files leads nowhere.
                folder = Path(scratch) / member.name.split("/", 1)[0].strip(".")
                folder.mkdir(exist_ok=True)
                folders.add(folder)
                with content, (folder / Path(member.name).name).open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
        return compile_against_folders(sources, sorted(folders))


def compile_against_folders(sources: Path, folders: Sequence[Path]) -> Path:
    """Compile against all jars of some folders; return our jar.

    Raises ArtifactError if there is no javac, or it finds something wrong.
    """
    jar = jar_of(sources)
    with exclusive(cache_folder() / "locks" / "java", "another compilation"):
        if jar.exists():
            return jar
        javac = shutil.which("javac")
        if javac is None:
            raise ArtifactError(
                "javac is not on PATH. Install a JDK of Java 17 or newer (Debian: apt-get install "
                "default-jdk-headless)."
            )
        say(f"compiling {sources.parent.name}/{sources.name}")
        with tempfile.TemporaryDirectory(prefix="java-") as scratch:
            classes = Path(scratch) / "classes"
            command = [
                javac,
                *(f"-J{option}" for option in SHORT_LIVED),
                "--release",
                JAVA_RELEASE,
                "-nowarn",
                "-proc:none",
                "-d",
                str(classes),
            ]
            command += ["-cp", ":".join(f"{folder}/*" for folder in folders)]
            result = subprocess.run(
                [*command, *map(str, _source_files(sources))],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
            )
            if result.returncode != 0:
                raise ArtifactError(f"javac could not compile {sources}:\n{result.stderr}")
            _pack(classes, Path(scratch) / "new.jar")
            jar.parent.mkdir(parents=True, exist_ok=True)
            partial = jar.with_suffix(".partial")
            shutil.copyfile(Path(scratch) / "new.jar", partial)
            partial.replace(jar)
            _prune(jar.parent)
    return jar


def _source_files(sources: Path) -> list[Path]:
    return sorted(sources.rglob("*.java"))


def _prune(folder: Path) -> None:
    """Keep the newest few: several checkouts may share the cache."""
    jars = sorted(folder.glob("*.jar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in jars[KEPT:]:
        old.unlink()


def _pack(classes: Path, jar: Path) -> None:
    """Pack a jar whose bytes depend on nothing but the classes."""
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(classes.rglob("*.class")):
            entry = zipfile.ZipInfo(str(path.relative_to(classes)), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
