"""The releases: where the files of each come from and how they lie on a host."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from . import archives, java, sources
from .errors import ArtifactError

REPOSITORY = Path(__file__).parents[2]

_PURE = (
    "--only-binary=:all:",
    "--platform=any",
    "--implementation=py",
    "--abi=none",
    "--python-version=3.11",
)
# The Pythons of Debian 12 and 13, the machines that the roles are made for, and the C libraries
# that both Debians have.
_PYTHONS = ("3.11", "3.13")
_MACHINES = ("x86_64", "aarch64")
_MANYLINUX = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
_WHEEL = re.compile(r"([^-]+)-([^-]+)-(?:py2\.)?py3-none-any\.whl")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+==[^\s;]+)", re.MULTILINE)


class Release(Protocol):
    """What the cache needs to know of a release."""

    @property
    def name(self) -> str:
        """Name in the lock and on the hosts."""
        ...

    @property
    def is_own(self) -> bool:
        """Whether the archive also depends on sources in this repository."""
        ...

    @property
    def is_locked(self) -> bool:
        """Whether anything of it comes from outside, and so stands in the lock."""
        ...

    def fetch(self, version: str, folder: Path, expected: dict[str, str], offline: bool) -> None:
        """Fetch the files into a folder; `expected` is empty when a lock is being made."""
        ...

    def lay_out(self, version: str, files: Path, folder: Path) -> None:
        """Put verified files into a folder as they will lie on a host."""
        ...


@dataclass(frozen=True)
class MavenRelease:
    """Jars, all in libs/. A major version may have a description of its own, NAME-MAJOR.xml."""

    name: str
    is_own = False
    is_locked = True

    def fetch(self, version: str, folder: Path, expected: dict[str, str], offline: bool) -> None:
        del expected
        major = version.partition(".")[0]
        own = REPOSITORY / f"artifacts/maven/{self.name}-{major}.xml"
        pom = own if own.exists() else REPOSITORY / f"artifacts/maven/{self.name}.xml"
        sources.fetch_jars(pom, version, folder / "libs", offline=offline)

    def lay_out(self, version: str, files: Path, folder: Path) -> None:
        del version
        (files / "libs").rename(folder / "libs")


@dataclass(frozen=True)
class SparkRelease:
    """Spark's distribution, from the pyspark sdist, and its Kafka connector."""

    name: str = "spark"
    is_own = False
    is_locked = True

    def fetch(self, version: str, folder: Path, expected: dict[str, str], offline: bool) -> None:
        # The sdist is all Python and jars, ready to run. pip insists on asking its setup.py for
        # metadata, after the hash is verified; the setuptools for that comes from requirements.txt,
        # not from a download of its own.
        sources.fetch_packages(
            {f"pyspark=={version}": expected.get(f"pyspark-{version}.tar.gz")},
            folder,
            offline=offline,
            options=("--no-deps", "--no-binary=pyspark", "--no-build-isolation"),
        )
        pom = REPOSITORY / "artifacts/maven/spark-connector.xml"
        sources.fetch_jars(pom, version, folder / "connector", offline=offline)

    def lay_out(self, version: str, files: Path, folder: Path) -> None:
        layout = {
            "deps/jars/": "jars/",
            "deps/bin/": "bin/",
            "deps/sbin/": "sbin/",
            "deps/licenses/": "licenses/",
            "lib/py4j-": "python/lib/py4j-",
            "pyspark/": "python/pyspark/",
        }
        archives.unpack_sdist(files / f"pyspark-{version}.tar.gz", folder, layout)
        (files / "connector").rename(folder / "connector")
        for script in [*folder.glob("bin/*"), *folder.glob("sbin/*")]:
            if script.suffix == ".cmd":
                script.unlink()
            else:
                script.chmod(0o755)


@dataclass(frozen=True)
class OwnRelease:
    """A program of this repository with the pure-Python wheels that it needs, all in lib/.

    Its classes of Java, if it has any, are there as NAME.jar; they are compiled before. One that
    does without a part of what its packages ask for names all that it needs (`names_all`).
    """

    name: str
    package: Path
    requirements: Path | None = None
    java_sources: Path | None = None
    names_all: bool = False
    is_own = True

    @property
    def is_locked(self) -> bool:
        return self.requirements is not None

    def fetch(self, version: str, folder: Path, expected: dict[str, str], offline: bool) -> None:
        self._check_version(version)
        if self.requirements is None:
            return
        if expected:
            sources.fetch_packages(
                {_pin(wheel): sha256 for wheel, sha256 in expected.items()},
                folder,
                offline=offline,
                options=[*_PURE, "--no-deps"],
            )
        else:
            lines = self.requirements.read_text().splitlines()
            sources.fetch_packages(
                dict.fromkeys(line for line in lines if line and not line.startswith("#")),
                folder,
                offline=offline,
                options=[*_PURE, "--no-deps"] if self.names_all else _PURE,
                # What runs on the hosts is what the operator's tests ran with.
                constraints=_PINNED.findall((REPOSITORY / "requirements.txt").read_text()),
            )

    def lay_out(self, version: str, files: Path, folder: Path) -> None:
        self._check_version(version)
        for wheel in sorted(files.glob("*.whl")):
            archives.unpack_wheel(wheel, folder / "lib")
        archives.copy_package(self.package, folder / "lib")
        if self.java_sources:
            shutil.copyfile(java.jar_of(self.java_sources), folder / "lib" / f"{self.name}.jar")

    def _check_version(self, version: str) -> None:
        init = self.package / "__init__.py"
        match = re.search(r'^__version__ = "([^"]+)"$', init.read_text(), re.MULTILINE)
        found = match[1] if match else "none"
        if found != version:
            raise ArtifactError(
                f"{self.name} {version} is wanted, but __version__ in {init} is {found}. "
                "Make the two equal: the version stands there and in the role's defaults."
            )


@dataclass(frozen=True)
class WheelsRelease:
    """Wheels of compiled code, for each kind of host: lib/<Python>-<machine>/.

    The release's version is that of its first package; those of all are in requirements.txt.
    """

    name: str
    packages: tuple[str, ...]
    is_own = False
    is_locked = True

    def fetch(self, version: str, folder: Path, expected: dict[str, str], offline: bool) -> None:
        pins = dict(
            pin.split("==")
            for pin in _PINNED.findall((REPOSITORY / "requirements.txt").read_text())
        )
        pins[self.packages[0]] = version
        for python in _PYTHONS:
            for machine in _MACHINES:
                kind = f"cp{python.replace('.', '')}-{machine}"
                sources.fetch_packages(
                    self._wanted(pins, kind, expected),
                    folder / kind,
                    offline=offline,
                    options=(
                        "--only-binary=:all:",
                        "--no-deps",
                        "--implementation=cp",
                        f"--python-version={python}",
                        *(f"--platform={tag}_{machine}" for tag in _MANYLINUX),
                    ),
                )

    def _wanted(
        self, pins: dict[str, str], kind: str, expected: dict[str, str]
    ) -> dict[str, str | None]:
        wanted: dict[str, str | None] = {}
        for package in self.packages:
            start = f"{kind}/{package.replace('-', '_')}-"
            sha256 = next((it for path, it in expected.items() if path.startswith(start)), None)
            if expected and sha256 is None:
                raise ArtifactError(
                    f"The lock lists no wheel of {package} for {kind}. Refresh it: "
                    f"artifacts/artifacts.py lock {self.name}={pins[self.packages[0]]}"
                )
            wanted[f"{package}=={pins[package]}"] = sha256
        return wanted

    def lay_out(self, version: str, files: Path, folder: Path) -> None:
        del version
        for wheel in sorted(files.glob("*/*.whl")):
            archives.unpack_wheel(wheel, folder / "lib" / wheel.parent.name)


@dataclass(frozen=True)
class PureRelease:
    """A package of pure Python that needs no other, in lib/."""

    name: str
    is_own = False
    is_locked = True

    def fetch(self, version: str, folder: Path, expected: dict[str, str], offline: bool) -> None:
        sources.fetch_packages(
            {f"{self.name}=={version}": next(iter(expected.values()), None)},
            folder,
            offline=offline,
            options=[*_PURE, "--no-deps"],
        )

    def lay_out(self, version: str, files: Path, folder: Path) -> None:
        del version
        (wheel,) = files.glob("*.whl")
        archives.unpack_wheel(wheel, folder / "lib")


def _pin(wheel: str) -> str:
    match = _WHEEL.fullmatch(wheel)
    if not match:
        raise ArtifactError(
            f"{wheel} stands in the lock, but is no wheel of pure Python for every machine. "
            "Remove its line."
        )
    return f"{match[1]}=={match[2]}"


RELEASES: dict[str, Release] = {
    release.name: release
    for release in (
        MavenRelease("zookeeper"),
        MavenRelease("kafka"),
        PureRelease("kafka-python"),
        MavenRelease("jmx-exporter"),
        SparkRelease(),
        MavenRelease("spark-s3"),
        OwnRelease(
            "imdb-standby",
            REPOSITORY / "standby/imdb_standby",
            REPOSITORY / "artifacts/imdb-standby.txt",
        ),
        OwnRelease(
            "imdb-producer",
            REPOSITORY / "producer/imdb_producer",
            REPOSITORY / "artifacts/imdb-producer.txt",
        ),
        WheelsRelease("imdb-producer-duckdb", ("duckdb",)),
        WheelsRelease("imdb-producer-fast", ("confluent-kafka", "isal")),
        OwnRelease(
            "imdb-streaming",
            REPOSITORY / "spark/imdb_streaming",
            REPOSITORY / "artifacts/imdb-streaming.txt",
            java_sources=REPOSITORY / "spark/java",
        ),
        OwnRelease(
            "imdb-dashboard",
            REPOSITORY / "dashboard/imdb_dashboard",
            REPOSITORY / "artifacts/imdb-dashboard.txt",
            names_all=True,
        ),
        WheelsRelease("imdb-dashboard-protobuf", ("protobuf",)),
    )
}

#: Fetched only where asked for by name; locked with the others.
OPTIONAL = frozenset(
    {
        "imdb-dashboard",
        "imdb-dashboard-protobuf",
        "imdb-producer-fast",
        "imdb-standby",
        "jmx-exporter",
        "spark-s3",
    }
)

# Where the version of each stands: the role, and the variable of it.
_VERSIONS = {
    "zookeeper": ("zookeeper", "zookeeper_version"),
    "kafka": ("kafka", "kafka_version_zookeeper"),
    "kafka-python": ("kafka", "kafka_python_version"),
    "jmx-exporter": ("exporters", "exporters_jmx_version"),
    "spark": ("spark", "spark_version"),
    "spark-s3": ("spark", "spark_version"),
    "imdb-standby": ("standby", "standby_version"),
    "imdb-producer": ("producer", "producer_version"),
    "imdb-producer-duckdb": ("producer", "producer_duckdb_version"),
    "imdb-producer-fast": ("producer", "producer_fast_version"),
    "imdb-streaming": ("streaming", "streaming_version"),
    "imdb-dashboard": ("dashboard", "dashboard_version"),
    "imdb-dashboard-protobuf": ("dashboard", "dashboard_protobuf_version"),
}


def default_versions() -> dict[str, str]:
    """Return the version of each release, as in the roles' defaults.

    Raises ArtifactError if one is not written there as `<role>_version: "1.2.3"`.
    """
    return {name: _default_version(role, variable) for name, (role, variable) in _VERSIONS.items()}


def _default_version(role: str, variable: str) -> str:
    defaults = REPOSITORY / f"roles/{role}/defaults/main.yml"
    text = defaults.read_text(encoding="utf-8") if defaults.exists() else ""
    match = re.search(rf'^{variable}: *["\']?([\w.-]+)["\']? *$', text, re.MULTILINE)
    if not match:
        raise ArtifactError(
            f'{defaults} must hold a line `{variable}: "1.2.3"`. Write it there, or name what '
            "to fetch: artifacts/artifacts.py fetch NAME=VERSION"
        )
    return match[1]
