"""A backup while data flows, all hosts lost with the environment's folder, and all of it restored.

Wants a pipeline of its own, whose producer has enough to send: tools/test makes it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import vault
from hosts import ROOT, Target, load, run

from ..variables import HostVariables
from ..waiting import wait_for
from .deployment import as_root, cut_off_after, run_playbook, status_of
from .expected import SILVER_COLUMNS, Expected
from .tables import Tables, same_values, tables_of

pytestmark = [pytest.mark.restore, pytest.mark.slow]

#: Rows of silver before the backup, and after it before all is lost.
ROWS_BEFORE, ROWS_AFTER = 5_000, 5_000
MAKE_SECONDS = 900
#: Once restored the producer need not take its time.
RATE = "MSGS_PER_SEC=5000"
SILVER = "pipeline/parquet/silver_movies"
#: A row of silver that is written once keeps these.
ONCE = ["tconst", "event_id", "kafka_timestamp"]


def make(target: Target, *arguments: str) -> str:
    """Run make for the environment, as the operator does; return what it said."""
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments, f"NAME={target.name}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MAKE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def read_rows(folder: Path) -> pd.DataFrame:
    """The rows of silver in a folder, ordered by movie."""
    frames = [pq.read_table(it, columns=ONCE).to_pandas() for it in folder.glob("*.parquet")]
    rows: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return rows.sort_values("tconst").reset_index(drop=True)


@dataclass(frozen=True)
class Lost:
    """A pipeline that was lost and restored."""

    #: What was in silver at the backup, and when all was lost.
    at_backup: pd.DataFrame
    at_end: pd.DataFrame
    #: How many records the producer knew to be delivered at the backup.
    position: int
    #: What was said: by the backups, by the restore that was cut off and run again.
    backups: list[str]
    restored: str
    #: The folder of the environment as it was.
    folder: Path


@pytest.fixture(scope="module")
def lost(
    target: Target,
    tables: Tables,
    expected: Expected,
    patience: float,
    say: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Lost:
    """Back up, go on, lose everything, restore; the producer is not through before it."""
    folder, work = ROOT / "inventories" / target.name, ROOT / "backups" / target.name / "work"

    def rows_are(count: int) -> None:
        wait_for(
            f"{count} rows of silver",
            lambda: status_of(target, "imdb-streaming"),
            lambda status: bool(status["silver_rows"] >= count),
            300 * patience,
        )

    rows_are(ROWS_BEFORE)
    said = []
    for _ in range(2):
        begun = time.monotonic()
        said.append(make(target, "backup"))
        say(f"make backup took {time.monotonic() - begun:.1f} s")
    at_backup = read_rows(work / SILVER)
    position = json.loads((work / "producer/progress.json").read_text())["position"]
    rows_are(len(at_backup) + ROWS_AFTER)
    assert status_of(target, "imdb-producer")["state"] == "sending", "it had not enough to send"
    at_end = read_rows(tables.silver)
    password = tmp_path_factory.mktemp("safe") / "password"
    password.write_text(
        vault.read(vault.secrets_file(folder), vault.vault_of(folder))["secret_backup"]
    )

    make(target, "down", f"CONFIRM={target.name}")
    # The operator's machine is lost too; the repository lies elsewhere.
    before = tmp_path_factory.mktemp("lost") / "inventory"
    shutil.move(folder, before)
    repository = f"REPOSITORY={work.parent}/repository"
    make(target, "restore-environment", repository, f"PASSWORD_FILE={password}")
    assert not (folder / "terraform.tfstate").exists()

    make(target, "hosts")
    make(target, "artifacts", "sample")
    # Tables are in place, and nothing says so yet; and once more in the midst of the deployment.
    for task in ("Note that all is in place", "service : Start | Start kafka"):
        cut_off_after(task, playbook="restore.yml", seconds=300 * patience)
    begun = time.monotonic()
    restored = make(target, "restore", RATE)
    say(f"make restore took {time.monotonic() - begun:.1f} s")
    return Lost(at_backup, at_end, position, said, restored, before)


@pytest.fixture(scope="module")
def silver(
    target: Target, lost: Lost, variables: HostVariables, expected: Expected, patience: float
) -> pd.DataFrame:
    """Silver once the producer has sent everything, ordered by movie."""
    rate = float(variables["producer_msgs_per_sec"])
    wait_for(
        "the producer has sent everything",
        lambda: status_of(target, "imdb-producer"),
        lambda status: bool(status["state"] == "finished"),
        (120 + 1.2 * len(expected.silver) / rate) * patience,
    )
    wait_for(
        "the job has read it",
        lambda: status_of(target, "imdb-streaming"),
        lambda status: bool(status["silver_rows"] >= len(expected.silver)),
        300 * patience,
    )
    tables = tables_of(load(target.name), variables)
    return tables.read_silver().sort_values("tconst").reset_index(drop=True)


def test_every_movie_is_in_silver_once_as_the_dumps_say(
    silver: pd.DataFrame, expected: Expected
) -> None:
    assert silver["event_id"].is_unique
    for column in SILVER_COLUMNS:
        same_values(silver[column], expected.silver[column])


def test_rows_of_the_backup_are_the_very_same(silver: pd.DataFrame, lost: Lost) -> None:
    kept = silver[silver["tconst"].isin(lost.at_backup["tconst"])][ONCE].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, lost.at_backup)


def test_what_came_after_the_backup_was_sent_again(silver: pd.DataFrame, lost: Lost) -> None:
    """And is the same event, though its row was written anew."""
    assert len(lost.at_end) >= len(lost.at_backup) + ROWS_AFTER
    later = lost.at_end[~lost.at_end["tconst"].isin(lost.at_backup["tconst"])].set_index("tconst")
    again = silver.set_index("tconst").loc[later.index]
    assert list(again["event_id"]) == list(later["event_id"])
    assert (again["kafka_timestamp"] > later["kafka_timestamp"].max()).all()


def test_producer_went_on_from_its_position(
    target: Target, silver: pd.DataFrame, expected: Expected, lost: Lost
) -> None:
    journal = as_root(target, "imdb-producer", "journalctl", "--output=cat", "-u", "imdb-producer")
    found = re.search(r"Going on at record (\d+) of (\d+) in the topic", journal)
    assert found
    assert (int(found[1]), int(found[2])) == (lost.position, len(expected.silver))
    assert 0 < lost.position <= len(lost.at_backup)


def test_job_has_dropped_what_was_sent_twice_and_nothing_else(
    target: Target, silver: pd.DataFrame, lost: Lost
) -> None:
    totals = json.loads(
        as_root(
            target,
            "imdb-streaming",
            "cat",
            "/opt/spark-output/parquet/_chk/genre_counts_main/_totals.json",
        )
    )
    twice = len(lost.at_backup) - lost.position
    assert (totals["silver_rows"], totals["duplicates"]) == (len(silver), twice)
    assert (totals["stale"], totals["dead_letters"]) == (0, 0)


def test_genre_counts_are_of_all_movies(
    target: Target, silver: pd.DataFrame, variables: HostVariables, expected: Expected
) -> None:
    actual = tables_of(load(target.name), variables).read_genre_counts()
    pd.testing.assert_frame_equal(actual, expected.genre_counts, check_dtype=False)


def test_secrets_certificates_and_settings_are_those_of_before(target: Target, lost: Lost) -> None:
    folder = ROOT / "inventories" / target.name
    for name in ("group_vars/all/secrets.yml", "group_vars/all/knobs.yml", ".vault-password"):
        assert (folder / name).read_bytes() == (lost.folder / name).read_bytes(), name
    ca = ".certificates/ca.pem"
    assert (folder / ca).read_bytes() == (lost.folder / ca).read_bytes()


def test_second_backup_took_what_was_new_alone(lost: Lost) -> None:
    megabytes = [
        float(found[1])
        for said in lost.backups
        if (found := re.search(r"([0-9.]+) MB were fetched from the hosts", said))
    ]
    assert len(megabytes) == 2
    assert megabytes[1] < megabytes[0]


def test_nothing_is_left_on_the_host_but_what_is_deployed(target: Target, silver: Any) -> None:
    left = run(
        target,
        target.host_of("imdb-streaming"),
        "sudo find /opt/spark-output /var/lib -maxdepth 3 "
        "'(' -name '*restore*' -o -name backup -o -name whole ')' -path '*imdb*' "
        "-o -name '.restore*'",
    )
    assert left == ""


def test_hosts_with_data_are_refused_by_name(target: Target, silver: Any) -> None:
    refused = run_playbook(playbook="restore.yml")
    assert refused.exit_code != 0
    assert f"{target.host_of('kafka')} holds data: /var/lib/zookeeper/version-2" in refused.output
    assert "Nothing was changed" in refused.output
    assert sum(refused.changed.values()) == 0


def test_no_secret_is_in_what_was_said(lost: Lost) -> None:
    folder = lost.folder
    held: dict[str, str] = vault.read(vault.secrets_file(folder), vault.vault_of(folder))
    for value in held.values():
        assert not any(value in said for said in [*lost.backups, lost.restored])
