"""An output folder that has held tables and is empty now is no first start."""

import shutil
from pathlib import Path

import pytest

from imdb_streaming import cli, guards, presence, runs
from imdb_streaming.guards import StartRefusedError

from .local import LocalConfig as Config
from .local import load_local_config as load_config
from .local import with_term


@pytest.fixture
def here(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a job on a host that remembers."""
    (tmp_path / "host").mkdir()
    return environ | {"HOST_FOLDER": str(tmp_path / "host")}


@pytest.fixture
def held(here: dict[str, str]) -> Config:
    """A run that was begun, as a start leaves it."""
    config = load_config(here)
    presence.refuse_if_gone(config)
    guards.prepare_folders(config)
    config = with_term(config)
    guards.check_belongs_together(config)
    presence.remember(config)
    return config


def unmount(config: Config) -> None:
    """Leave an empty folder, as where the disk is to be mounted."""
    shutil.rmtree(config.output_path)
    config.output_path.mkdir()


def test_restart_is_allowed(held: Config) -> None:
    presence.refuse_if_gone(held)


@pytest.mark.parametrize("command", ["run", "check", "accept-loss"])
def test_folder_that_is_not_mounted_is_no_first_start(
    held: Config, here: dict[str, str], caplog: pytest.LogCaptureFixture, command: str
) -> None:
    unmount(held)
    assert cli.main([command], here) == cli.REFUSED
    assert f"{held.output_path} holds nothing, and has held" in caplog.text
    assert "RUN_ID=main: is its disk mounted?" in caplog.text
    assert "imdb-streaming reset" in caplog.text
    # Nothing is made below a place for a disk.
    assert not list(held.output_path.iterdir())


def test_new_run_beside_tables_that_are_gone_is_refused(
    held: Config, here: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    unmount(held)
    assert cli.main(["reprocess", "second"], here) == cli.REFUSED
    assert "is its disk mounted?" in caplog.text


def test_reset_lets_it_begin_anew(
    held: Config, here: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    unmount(held)
    assert cli.main(["reset"], here) == cli.REFUSED
    assert "is its disk mounted?" in caplog.text
    assert not list(held.output_path.iterdir())
    assert cli.main(["reset", "--yes"], here) == cli.DONE
    presence.refuse_if_gone(held)


def test_start_after_a_reset_on_another_host_is_allowed(held: Config) -> None:
    runs.set_aside(held)
    presence.refuse_if_gone(held)


def test_host_that_stands_by_remembers_what_it_finds(
    held: Config, here: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "standby").mkdir()
    standby = here | {"HOST_FOLDER": str(tmp_path / "standby")}
    assert cli.main(["remember"], standby) == cli.DONE
    unmount(held)
    assert presence.missing_run(load_config(standby)) == "main"
    assert cli.main(["remember"], standby) == cli.DONE
    assert presence.missing_run(load_config(standby)) == "main"


def test_another_folder_may_be_empty(held: Config, here: dict[str, str], tmp_path: Path) -> None:
    presence.refuse_if_gone(load_config(here | {"OUTPUT_PATH": str(tmp_path / "other")}))


def test_job_without_such_a_folder_remembers_nothing(config: Config, tmp_path: Path) -> None:
    presence.remember(config)
    presence.refuse_if_gone(config)
    presence.forget(config)


def test_note_that_cannot_be_written_is_told(
    here: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config(here | {"HOST_FOLDER": "/nowhere"})
    presence.remember(config)
    assert "would be taken for that of a first start" in caplog.text


def test_damaged_note_still_tells(held: Config) -> None:
    assert held.host_folder
    (note,) = held.host_folder.iterdir()
    note.write_text("half a")
    unmount(held)
    with pytest.raises(StartRefusedError, match="is its disk mounted"):
        presence.refuse_if_gone(held)
