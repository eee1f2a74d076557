"""Guards: each start that would lose or double rows is refused, and no other."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from imdb_streaming import checkpoint, cli, guards, terms
from imdb_streaming.files import write_json
from imdb_streaming.guards import BrokerUnreachableError, StartRefusedError

from .local import LocalConfig as Config
from .local import load_local_config as load_config
from .local import with_term
from .plans import end, plan


@pytest.fixture
def begun(prepared: Config) -> Config:
    """A run that has written its first batch."""
    plan(prepared.checkpoint_folder, 0)
    (prepared.state_folder / "delta-0000000000").touch()
    (prepared.silver_folder / "main-0000000000.parquet").touch()
    (prepared.genre_counts_folder / "genre_counts.parquet").touch()
    return prepared


def start(config: Config) -> None:
    guards.prepare_folders(config)
    guards.check_belongs_together(with_term(config))


def refusal(config: Config) -> str:
    with pytest.raises(StartRefusedError) as caught:
        start(config)
    return str(caught.value)


def test_checksums_that_may_be_old_are_dropped(begun: Config) -> None:
    for name in ("2", ".2.crc"):
        (begun.checkpoint_folder / "offsets" / name).touch()
    guards.drop_checksums(begun)
    names = [path.name for path in (begun.checkpoint_folder / "offsets").iterdir()]
    assert sorted(names) == ["0", "2"]


def test_restart_of_a_begun_run_is_allowed(begun: Config) -> None:
    start(begun)


@pytest.mark.parametrize("written", range(7))
def test_crash_while_marking_the_first_start_locks_nobody_out(
    config: Config, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    guards.prepare_folders(config)
    left = written

    def write_or_crash(path: Path, content: object, out: Path | None) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        write_json(path, content, out)

    with monkeypatch.context() as patch:
        patch.setattr(guards, "write_json", write_or_crash)
        if written < 6:
            with pytest.raises(KeyboardInterrupt):
                guards.check_belongs_together(config)
        else:
            guards.check_belongs_together(config)
    start(config)
    marks = {path.read_text() for path in config.output_path.rglob(guards.RUN_FILE)}
    assert len(marks) == 1
    plan(config.checkpoint_folder, 0)
    start(config)


def test_tables_without_their_checkpoint_are_refused(begun: Config) -> None:
    shutil.rmtree(begun.output_path / "_chk")
    text = refusal(begun)
    assert "the checkpoint that made them is not there" in text
    assert str(begun.checkpoint_folder) in text
    assert "imdb-streaming reset" in text


@pytest.mark.parametrize("folder", ["checkpoint_folder", "state_folder"])
def test_one_lost_checkpoint_is_refused(begun: Config, folder: str) -> None:
    shutil.rmtree(getattr(begun, folder))
    assert str(getattr(begun, folder)) in refusal(begun)


@pytest.mark.parametrize("table", ["silver_movies", "genre_counts"])
def test_checkpoint_without_its_table_is_refused(begun: Config, table: str) -> None:
    shutil.rmtree(begun.output_path / table)
    text = refusal(begun)
    assert "the table that it filled is not there" in text
    assert str(begun.output_path / table) in text


def test_emptied_table_is_refused(begun: Config) -> None:
    totals = {"batch_id": 0, "silver_rows": 3}
    (begun.state_folder / "_totals.json").write_text(json.dumps(totals))
    start(begun)
    (begun.silver_folder / "main-0000000000.parquet").unlink()
    assert "says that 3 rows were written" in refusal(begun)


@pytest.mark.parametrize(
    "name",
    [
        "silver_movies/main-0000000008.parquet",
        "silver_movies/main-0000000000_0000000008.parquet",
        "silver_movies/main-0000000008-0003.parquet",
        "dead_letters/main-0000000008.parquet",
        "_chk/genre_counts_main/delta-0000000008",
        "_chk/genre_counts_main/snapshot-0000000008",
    ],
)
def test_checkpoint_that_is_older_than_the_tables_is_refused(begun: Config, name: str) -> None:
    for batch_id in range(8):
        plan(begun.checkpoint_folder, batch_id)
        end(begun.checkpoint_folder, batch_id)
    (begun.output_path / name).touch()
    text = refusal(begun)
    assert "has a file of batch 8" in text
    assert "has begun batch 7 as the last one" in text
    assert "checkpoint and tables of one and the same backup" in text
    # Begun and in place, but not done: the batch runs again.
    plan(begun.checkpoint_folder, 8)
    start(begun)


def test_checkpoint_that_has_lost_its_plans_is_refused(begun: Config) -> None:
    shutil.rmtree(begun.checkpoint_folder / "offsets")
    assert "has begun no batch" in refusal(begun)


@pytest.mark.parametrize("content", ["", "v1", "v1\n", "v1\n{", "v1\n[]\n{}", "\0" * 99])
@pytest.mark.parametrize("name", ["offsets/1", "offsets/0", "commits/0", "metadata"])
def test_damaged_checkpoint_is_refused(begun: Config, name: str, content: str) -> None:
    plan(begun.checkpoint_folder, 1)
    end(begun.checkpoint_folder, 0)
    (begun.checkpoint_folder / "metadata").write_text('{"id":"1"}')
    start(begun)
    (begun.checkpoint_folder / name).write_text(content)
    text = refusal(begun)
    assert f"{begun.checkpoint_folder / name} cannot be read as " in text
    assert "imdb-streaming reset" in text


def test_end_of_a_batch_without_its_plan_is_refused(begun: Config) -> None:
    end(begun.checkpoint_folder, 1)
    assert "a batch that was never planned" in refusal(begun)


@pytest.mark.parametrize("offsets", ["{}", '{"imdb-movies":{"0":"x"}}', '{"imdb-movies":3}'])
def test_offsets_that_are_none_are_refused(begun: Config, offsets: str) -> None:
    path = plan(begun.checkpoint_folder, 0)
    path.write_text("\n".join([*path.read_text().splitlines()[:2], offsets]))
    with pytest.raises(StartRefusedError, match="cannot be read as offsets"):
        checkpoint.planned_offsets(begun.checkpoint_folder)


def test_other_run_id_over_a_table_is_refused(begun: Config, environ: dict[str, str]) -> None:
    text = refusal(load_config(environ | {"RUN_ID": "second"}))
    assert "RUN_ID=main" in text
    assert "RUN_ID=second" in text
    assert "imdb-streaming reprocess second" in text
    assert str(begun.silver_folder) in text


def test_other_run_id_is_allowed_once_the_old_tables_are_aside(
    begun: Config, environ: dict[str, str]
) -> None:
    begun.silver_folder.rename(begun.output_path / "old-silver")
    begun.genre_counts_folder.rename(begun.output_path / "old-genre-counts")
    start(load_config(environ | {"RUN_ID": "second"}))


def test_files_of_another_run_in_the_table_are_refused(begun: Config) -> None:
    (begun.silver_folder / "main-2-0000000000.parquet").touch()
    assert "was written by RUN_ID=main-2" in refusal(begun)


def test_foreign_files_in_the_table_are_refused(config: Config) -> None:
    config.silver_folder.mkdir(parents=True)
    (config.silver_folder / "part-00000.snappy.parquet").touch()
    assert "was written by something else" in refusal(config)


def test_checkpoint_of_another_first_start_is_refused(
    begun: Config, environ: dict[str, str], tmp_path: Path
) -> None:
    other = load_config(environ | {"OUTPUT_PATH": str(tmp_path / "other")})
    start(other)
    shutil.copytree(other.silver_folder, begun.silver_folder, dirs_exist_ok=True)
    assert "are of different runs" in refusal(begun)


def test_the_advised_command_resolves_a_refusal(begun: Config, environ: dict[str, str]) -> None:
    shutil.rmtree(begun.state_folder)
    assert "imdb-streaming reset" in refusal(begun)
    assert cli.main(["reset", "--yes"], environ) == cli.DONE
    start(begun)
    (kept,) = begun.output_path.glob("kept-*")
    assert (kept / "silver_movies" / "main-0000000000.parquet").exists()
    assert (kept / "_chk" / "silver_movies_main" / "offsets" / "0").exists()
    assert [path.parent.name for path in begun.output_path_csv.glob("kept-*/*")] == [kept.name]


def test_reset_without_a_yes_changes_nothing(
    begun: Config,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli.main(["reset"], environ) == cli.REFUSED
    assert "say --yes if it is meant" in caplog.text
    start(begun)
    assert not list(begun.output_path.glob("kept-*"))


def test_reset_beside_a_running_job_is_refused(
    begun: Config, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with terms.exclusive(begun):
        assert cli.main(["reset", "--yes"], environ) == cli.REFUSED
    assert "Another job is writing" in caplog.text
    start(begun)


def test_damaged_run_file_is_refused(begun: Config) -> None:
    (begun.silver_folder / guards.RUN_FILE).write_text("{")
    assert "Restore it from a backup" in refusal(begun)


def test_folder_that_is_a_file_is_refused(config: Config) -> None:
    config.output_path_csv.parent.mkdir(exist_ok=True)
    config.output_path_csv.touch()
    text = refusal(config)
    assert f"cannot write to {config.output_path_csv}" in text


def test_output_that_is_read_only_is_refused(config: Config, environ: dict[str, str]) -> None:
    config.output_path.mkdir()
    config.output_path.chmod(0o555)
    # Root may write whatever a mode says, unless that right is taken away.
    bound = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    try:
        ended = subprocess.run(
            [*(bound if os.getuid() == 0 else []), sys.executable, "-m", "imdb_streaming"],
            env=os.environ | environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        config.output_path.chmod(0o755)
    assert ended.returncode == cli.REFUSED
    assert f"cannot write to {config.output_path}: Permission denied" in ended.stderr
    assert f"chown {os.getuid()}" in ended.stderr
    assert not list(config.output_path.iterdir())


def test_missing_folder_of_the_status_file_is_refused(
    environ: dict[str, str], tmp_path: Path
) -> None:
    text = refusal(load_config(environ | {"STATUS_FILE": str(tmp_path / "none" / "status.json")}))
    assert "STATUS_FILE" in text


def test_missing_connector_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    config = load_config(environ | {"SPARK_CONNECTOR_PATH": str(tmp_path / "none" / "*")})
    with pytest.raises(StartRefusedError, match=r"No spark-sql-kafka-\*\.jar in .*/none\."):
        guards.check_connector(config)


def test_refused_start_exits_2(
    begun: Config, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert cli.main(["run"], environ | {"RUN_ID": "second"}) == cli.REFUSED
    assert "Start refused." in caplog.text


def test_unreachable_broker_is_told_with_the_reason(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    config = load_config(
        environ | {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", "BROKER_WAIT_SECONDS": "0"}
    )
    with pytest.raises(BrokerUnreachableError, match=f"127.0.0.1:{port}: .*refused"):
        guards.wait_for_broker(config, threading.Event())


def test_broker_that_listens_is_enough(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        servers = f"127.0.0.1:1,127.0.0.1:{port}"
        config = load_config(environ | {"KAFKA_BOOTSTRAP_SERVERS": servers})
        guards.wait_for_broker(config, threading.Event())


def test_wait_for_the_broker_ends_when_asked_to_stop(config: Config) -> None:
    stopping = threading.Event()
    stopping.set()
    guards.wait_for_broker(config, stopping)


def test_sigterm_while_waiting_for_the_broker_exits_0(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "imdb_streaming"],
        env={
            **os.environ,
            **environ,
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    status = Path(environ["OUTPUT_PATH"]) / "silver_movies" / guards.RUN_FILE
    try:
        for _ in range(200):
            if status.exists():
                break
            threading.Event().wait(0.1)
        process.terminate()
        _, log = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, log
