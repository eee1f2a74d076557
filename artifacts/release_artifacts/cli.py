"""The command line of artifacts.py."""

import argparse
import json
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TypeVar

from . import java, sources
from .cache import Archive, Cache
from .errors import ArtifactError
from .folders import cache_folder, say
from .lock import Lock, Section
from .releases import OPTIONAL, RELEASES, REPOSITORY, default_versions

Result = TypeVar("Result")

LOCK_PATH = REPOSITORY / "artifacts/artifacts.lock"


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit status: 0, or 1 for an error, told on standard error."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        match arguments.command:
            case "fetch":
                fetch(_wanted(arguments.releases) or _usual(), offline=arguments.offline)
            case "lock":
                refresh(default_versions() | _wanted(arguments.releases))
            case "list":
                show()
            case "clean":
                Cache(cache_folder()).clean()
    except ArtifactError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; run again to go on")
        return 130
    return 0


def fetch(versions: dict[str, str], *, offline: bool) -> None:
    """Print the archives of these releases as JSON, fetched side by side where missing."""
    lock = Lock.read(LOCK_PATH)
    cache = Cache(cache_folder())

    def provide(name: str) -> Archive:
        sources = getattr(RELEASES[name], "java_sources", None)
        if sources and not java.jar_of(sources).exists():
            version = versions.get("spark") or default_versions()["spark"]
            spark = cache.provide(RELEASES["spark"], version, lock, offline=offline)
            java.compile_against_archive(sources, Path(spark.archive))
        return cache.provide(RELEASES[name], versions[name], lock, offline=offline)

    provided = _side_by_side(provide, versions)
    print(json.dumps({name: asdict(archive) for name, archive in provided.items()}))


def refresh(versions: dict[str, str]) -> None:
    """Write the lock's sections of these releases anew; others stay as they are."""
    lock = Lock.read(LOCK_PATH)
    cache = Cache(cache_folder())

    def make(name: str) -> Section:
        return cache.make_section(RELEASES[name], versions[name])

    locked = [name for name in versions if RELEASES[name].is_locked]
    for name, section in _side_by_side(make, locked).items():
        key = f"{name}-{versions[name]}"
        before = lock.sections.get(key)
        if before is None:
            say(f"{key}: {len(section.files)} files, new in the lock")
        else:
            _tell_changes(key, before, section)
        lock.sections[key] = section
    lock.write()


def show() -> None:
    """Print what the lock lists, and what of it is in the cache."""
    folder = cache_folder()
    for key, section in sorted(Lock.read(LOCK_PATH).sections.items()):
        found = [path for path in folder.glob(f"{key}*.tar") if path.is_file()]
        size = f"{sum(path.stat().st_size for path in found) / 1e6:.0f} MB" if found else "-"
        print(f"{key:<24} {len(section.files):>4} files   cached: {size}")


def _usual() -> dict[str, str]:
    """The versions of the releases that every deployment needs."""
    return {name: it for name, it in default_versions().items() if name not in OPTIONAL}


def _side_by_side(work: Callable[[str], Result], names: Iterable[str]) -> dict[str, Result]:
    """Do the work for all names at once; raise one error for all that failed, in the end."""
    errors: list[ArtifactError] = []
    done: dict[str, Result] = {}
    with ThreadPoolExecutor(max_workers=len(RELEASES)) as pool:
        running = {name: pool.submit(work, name) for name in names}
        try:
            for name, future in running.items():
                try:
                    done[name] = future.result()
                except ArtifactError as error:
                    errors.append(error)
        except KeyboardInterrupt:
            sources.stop_clients()
            raise
    if errors:
        raise ArtifactError("\n".join(str(error) for error in errors))
    return done


def _tell_changes(key: str, before: Section, after: Section) -> None:
    """Say what is not as it was: the same version should always be the same files."""
    changed = [
        f"{path}: was {before.files.get(path, 'absent')}, is {after.files.get(path, 'absent')}"
        for path in sorted({*before.files, *after.files})
        if before.files.get(path) != after.files.get(path)
    ]
    if changed:
        listed = "\n  ".join(changed)
        say(f"{key} has CHANGED; see that this is meant before you commit:\n  {listed}")
    elif before.archive != after.archive:
        say(f"{key}: the same files, packed otherwise")
    else:
        say(f"{key}: as it was")


def _wanted(releases: Sequence[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for release in releases:
        name, _, version = release.partition("=")
        if name not in RELEASES or not version:
            raise ArtifactError(
                f"{release} is not NAME=VERSION with a name of these: {', '.join(RELEASES)}."
            )
        if wanted.setdefault(name, version) != version:
            raise ArtifactError(f"{name} is asked for in two versions. Run once for each.")
    return wanted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="artifacts.py",
        description="Fetch, verify and pack what the hosts get. "
        "IMDB_PIPELINE_CACHE names the folder of the cache (default ~/.cache/imdb-pipeline).",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch", help="make sure archives are in the cache; print JSON")
    fetching.add_argument("--offline", action="store_true", help="do without the network")
    locking = commands.add_parser("lock", help="write the lock of the roles' versions anew")
    commands.add_parser("list", help="print what the lock lists and the cache has")
    commands.add_parser("clean", help="delete the cached archives")
    fetching.add_argument(
        "releases",
        nargs="*",
        metavar="NAME=VERSION",
        help="default: all that every deployment needs, in the versions of the roles' defaults",
    )
    locking.add_argument(
        "releases",
        nargs="*",
        metavar="NAME=VERSION",
        help="lock this version in place of the default",
    )
    return parser


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
