"""Backups in a repository of restic's: what is kept, what is given back, and what is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import sys
import tarfile
from pathlib import Path
from typing import Any

import backup
import backup_copies
import pytest
from backup import Place
from backup_repository import BackupError, Repository

from . import fake_restic

PASSWORD = "what-opens-the-repository"
TABLES = {
    "parquet/silver_movies/main-0000000000.parquet": "rows",
    "parquet/_chk/silver_movies_main/_contract.json": '{"topic_id": "old"}',
    "csv/genre_counts/genre_counts.csv": "genre,movie_count",
}


class Host:
    """A folder in the place of a host, in the reach of ssh and sudo."""

    name = "trial-1"

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder, self.place = folder, place
        self.asked: list[tuple[str, ...]] = []

    def ssh(self, host: str, *command: str) -> list[str]:
        assert host == self.name
        self.asked.append(command)
        # As ssh hands it on: words, that a shell takes apart.
        return ["sh", "-c", " ".join(command).removeprefix("sudo ")]

    def take(self, batch: int, run: str = "1", **more: str) -> None:
        """What `imdb-streaming backup` leaves."""
        whole = self.folder / "whole"
        shutil.rmtree(whole, ignore_errors=True)
        files = TABLES | more
        for name, content in files.items():
            path = whole / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            os.utime(path, (1_700_000_000, 1_700_000_000))
        manifest = {
            "format": 1,
            "run_id": "main",
            "run": run,
            "batch": batch,
            "topic": "imdb-movies",
            "silver_rows": 7,
            "files": {name: [len(content), 1_700_000_000] for name, content in files.items()},
        }
        (whole / "manifest.json").write_text(json.dumps(manifest))

    def given(self, **more: Any) -> dict[str, Any]:
        return {
            "repository": str(self.folder / "repository"),
            "password": PASSWORD,
            "keep": {"last": 2},
            "read_data": "",
            "tables_host": self.name,
            "tables": str(self.folder / "whole"),
            "producer_host": self.name,
            "producer": "",
        } | more


#: Each of its commands takes a second.
REAL = pytest.param("restic", marks=pytest.mark.slow)
with_both = pytest.mark.parametrize("restic", ["a stand-in", REAL], indirect=True)


@pytest.fixture
def restic(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of that name: a stand-in, where it is not asked for."""
    if getattr(request, "param", "") == "restic":
        if shutil.which("restic") is None:
            pytest.skip("needs restic: BACKUP=yes tools/setup")
        return
    monkeypatch.setattr(Repository, "run", fake_restic.run)


@pytest.fixture
def host(restic: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host of an environment with a folder of its own, and one run of the job that was copied."""
    monkeypatch.setattr(backup, "ROOT", tmp_path / "checkout")
    monkeypatch.setenv("RESTIC_CACHE_DIR", str(tmp_path / "cache"))
    place = Place("trial")
    (place.inventory / "group_vars").mkdir(parents=True)
    (place.inventory / "group_vars/knobs.yml").write_text("---\n")
    (place.inventory / "terraform.tfstate").write_text("{}")
    made = Host(tmp_path / "host", place)
    monkeypatch.setattr(backup, "load", lambda _: made)
    made.take(batch=4)
    return made


def put_given(host: Host, **more: Any) -> dict[str, Any]:
    there = host.folder / "new"
    about = {"id": "0123456789", "host": host.name, "owner": os.getuid(), "mode": "0755"}
    return about | {"parquet": f"{there}/parquet", "csv": f"{there}/csv"} | more


def found(folder: Path) -> dict[str, str]:
    return {str(it.relative_to(folder)): it.read_text() for it in folder.rglob("*") if it.is_file()}


@with_both
def test_what_was_kept_is_given_back(host: Host) -> None:
    said = backup.store(host.place, host.given())
    assert "7 rows of silver after batch 4, without a position" in said[0]
    about = backup.fetch(host.place, host.given(snapshot="latest"))
    assert (about["contract"], about["position"]) == ({"topic_id": "old"}, False)
    backup.put_tables(host.place, put_given(host))
    assert found(host.folder / "new") == TABLES
    backup.done(host.place)
    assert not host.place.restored.exists()


def test_position_of_the_producer_comes_along(host: Host) -> None:
    state = host.folder / "state"
    state.mkdir()
    (state / "progress.json").write_text("{}")
    backup.store(host.place, host.given(producer=str(state)))
    assert backup.fetch(host.place, host.given(snapshot="latest"))["position"]
    there = host.folder / "new/state/imdb-movies"
    backup.put_position(host.place, put_given(host, folder=str(there), mode="0750"))
    assert found(there) == {"progress.json": "{}"}
    # Not left to root, whose the folder above would be.
    assert stat.S_IMODE(there.parent.stat().st_mode) == 0o750
    # The next one has no position, and does not take this one for its own.
    backup.store(host.place, host.given())
    assert not backup.fetch(host.place, host.given(snapshot="latest"))["position"]


def test_files_that_are_here_are_not_fetched_again(host: Host) -> None:
    backup.store(host.place, host.given())
    new = "parquet/silver_movies/main-0000000005.parquet"
    host.take(5, **{new: "more"})
    host.asked.clear()
    said = backup.store(host.place, host.given())
    assert said[1].startswith("0.0 MB were fetched")
    assert (host.place.work / ".names").exists() is False
    assert found(host.place.work / "pipeline")[new] == "more"
    # Those of another run have the same names and another content.
    host.take(0, run="2", **{"parquet/silver_movies/main-0000000000.parquet": "swor"})
    backup.store(host.place, host.given())
    kept = found(host.place.work / "pipeline")
    assert kept["parquet/silver_movies/main-0000000000.parquet"] == "swor"
    assert new not in kept


@with_both
def test_backups_are_listed_and_only_so_many_kept(host: Host) -> None:
    for batch in range(3):
        host.take(batch)
        backup.store(host.place, host.given())
    listed = backup.show(host.place, host.given())
    assert len(listed) == 2
    assert backup.fetch(host.place, host.given(snapshot=listed[0].split()[0]))["batch"] == 1
    with pytest.raises(BackupError, match="SNAPSHOT=ffffffff names no backup of trial"):
        backup.fetch(host.place, host.given(snapshot="ffffffff"))


def test_password_is_in_no_command_and_in_no_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "restic"
    program.write_text(
        f'#!/bin/sh\ncat "$RESTIC_PASSWORD_FILE" >{tmp_path}/read\n'
        f"tr '\\0' '\\n' </proc/$$/environ >{tmp_path}/seen\n"
        f"tr '\\0' ' ' </proc/$$/cmdline >>{tmp_path}/seen\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    repository = Repository("/mnt/backups", PASSWORD, {"AWS_ACCESS_KEY_ID": "a-key"})
    repository.run("snapshots", "--json")
    assert (tmp_path / "read").read_text() == f"{PASSWORD}\n"
    seen = (tmp_path / "seen").read_text()
    assert "RESTIC_REPOSITORY=/mnt/backups\n" in seen
    assert "AWS_ACCESS_KEY_ID=a-key\n" in seen
    assert "snapshots --json" in seen
    assert PASSWORD not in seen + repr(repository)


def test_what_restic_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository("/mnt/backups", PASSWORD)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupError, match="restic is not on this machine"):
        repository.run("snapshots")
    (tmp_path / "restic").write_text("#!/bin/sh\necho unable to create lock >&2; exit 1\n")
    (tmp_path / "restic").chmod(0o755)
    with pytest.raises(BackupError, match="snapshots failed for /mnt/backups: unable to create"):
        repository.run("snapshots")


@with_both
def test_repository_that_is_gone_is_not_begun_anew(host: Host) -> None:
    backup.store(host.place, host.given())
    away = host.folder / "repository"
    away.rename(host.folder / "away")
    with pytest.raises(BackupError, match="and there is none now"):
        backup.store(host.place, host.given())
    assert not away.exists()
    (host.folder / "away").rename(away)
    backup.store(host.place, host.given())


@with_both
def test_another_password_is_refused_by_name(host: Host) -> None:
    backup.store(host.place, host.given())
    with pytest.raises(BackupError, match="does not open by secret_backup"):
        backup.store(host.place, host.given(password="another"))


def test_nothing_is_restored_of_no_repository(host: Host) -> None:
    with pytest.raises(BackupError, match="there is no repository at"):
        backup.fetch(host.place, host.given(snapshot="latest"))
    assert not (host.folder / "repository").exists()


def test_tables_that_are_there_stay(host: Host) -> None:
    backup.store(host.place, host.given())
    backup.fetch(host.place, host.given(snapshot="latest"))
    there = host.folder / "new/parquet/silver_movies"
    there.mkdir(parents=True)
    with pytest.raises(BackupError, match="silver_movies is there already"):
        backup.put_tables(host.place, put_given(host))
    assert list(there.iterdir()) == []
    assert not (host.folder / "new/parquet/_chk").exists()


@pytest.mark.parametrize("moved", ["csv", "silver_movies", "_chk"])
def test_restore_that_was_cut_off_goes_on(host: Host, moved: str) -> None:
    """When some of the parts were moved to their places, and others were not."""
    backup.store(host.place, host.given())
    backup.fetch(host.place, host.given(snapshot="latest"))
    given = put_given(host)
    backup.put_tables(host.place, given)
    for root, names in (("parquet", ["silver_movies", "_chk"]), ("csv", ["genre_counts"])):
        whole = host.folder / "new" / root / ".restore-01234567"
        for name in names:
            if (moved, name) not in {("csv", "genre_counts"), (name, name)}:
                (whole.parent / name).rename(whole / name)
    backup.put_tables(host.place, given)
    assert found(host.folder / "new") == TABLES


def test_half_of_what_was_sent_is_taken_for_nothing(host: Host) -> None:
    backup.store(host.place, host.given())
    backup.fetch(host.place, host.given(snapshot="latest"))
    half = host.folder / "new/parquet/.restore-begun/silver_movies"
    half.mkdir(parents=True)
    (half / "main-0000000000.parquet").write_text("ro")
    backup.put_tables(host.place, put_given(host))
    assert found(host.folder / "new") == TABLES


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b", "a\nb", "a;b"])
def test_host_names_no_file_outside(host: Host, name: str) -> None:
    manifest = host.folder / "whole/manifest.json"
    written = json.loads(manifest.read_text()) | {"files": {name: [1, 1]}}
    manifest.write_text(json.dumps(written))
    with pytest.raises(BackupError, match="which is none of a backup"):
        backup.store(host.place, host.given())


def test_host_sends_nothing_that_was_not_asked_for(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        link = tarfile.TarInfo("parquet/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    packed.seek(0)
    with pytest.raises(BackupError, match="which was not asked for"):
        backup_copies.unpack(packed, tmp_path, "trial-1", lambda _: True)
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_are_refused(host: Host) -> None:
    with host.place.alone(), pytest.raises(BackupError, match="another backup or restore of trial"):
        backup.store(host.place, host.given())


@with_both
def test_lost_folder_of_an_environment_is_made_again(host: Host) -> None:
    backup.store(host.place, host.given())
    repository = Repository(str(host.folder / "repository"), PASSWORD)
    with pytest.raises(BackupError, match="Move it away"):
        backup.make_environment("trial", repository)
    shutil.rmtree(host.place.inventory)
    said = backup.make_environment("trial", repository)
    assert "make restore NAME=trial" in said[0]
    # Terraform's state is of hosts that are no more.
    assert found(host.place.inventory) == {"group_vars/knobs.yml": "---\n"}
    # And the repository is known again with the next backup.
    backup.store(host.place, host.given())


def test_backup_of_a_later_version_is_refused(host: Host) -> None:
    backup.store(host.place, host.given())
    backup.fetch(host.place, host.given(snapshot="latest"))
    folder = host.place.restored
    about = json.loads((folder / "about.json").read_text())
    (folder / "about.json").write_text(json.dumps(about | {"format": 2}))
    with pytest.raises(BackupError, match="made by a later version"):
        backup.look_at(folder)
    (folder / "about.json").write_text(json.dumps(about))
    (folder / "pipeline/csv/genre_counts/genre_counts.csv").unlink()
    with pytest.raises(BackupError, match=r"lacks files .*: csv/genre_counts/genre_counts\.csv"):
        backup.look_at(folder)


def test_program_says_what_is_wrong(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["backup.py", "list", "trial"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(host.given())))
    assert backup.main() == 1
