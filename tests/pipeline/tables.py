"""The tables as anyone on the operator's machine reads them: without root, with pandas."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hosts import Target

from ..variables import HostVariables
from ..waiting import wait_for

# The folder on the hosts that the operator sees as data/output.
SHARED = PurePosixPath("/opt/spark-output")

NOBODY = 65534


@dataclass(frozen=True)
class Tables:
    """Where the tables are on this machine."""

    parquet: Path
    csv: Path

    @property
    def silver(self) -> Path:
        """The folder of silver_movies."""
        return self.parquet / "silver_movies"

    @property
    def genre_counts(self) -> Path:
        """The Parquet file of genre_counts."""
        return self.parquet / "genre_counts" / "genre_counts.parquet"

    @property
    def genre_counts_csv(self) -> Path:
        """The CSV file of genre_counts."""
        return self.csv / "genre_counts" / "genre_counts.csv"

    def silver_files(self) -> list[Path]:
        """Return the files that make up silver now."""
        return sorted(self.silver.glob("*.parquet"))

    def read_silver(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Read silver as it is now, every file or just the named columns of every file."""
        frames = [pq.read_table(path, columns=columns).to_pandas() for path in self.silver_files()]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)

    def event_ids(self) -> list[str]:
        """Return the event ids in silver now, one for each row."""
        return [str(value) for value in self.read_silver(["event_id"])["event_id"]]

    def hold_each_once(self, event_ids: set[str], seconds: float) -> None:
        """Wait until silver has these events; assert that it has none twice."""
        wait_for(
            f"silver has the {len(event_ids)} events that were acknowledged",
            lambda: len(event_ids - set(self.event_ids())),
            lambda missing: missing == 0,
            seconds,
        )
        found = self.event_ids()
        assert len(found) == len(set(found)), "an event is in silver twice"

    def read_genre_counts(self) -> pd.DataFrame:
        """Read the Parquet form of genre_counts as it is now."""
        counts: pd.DataFrame = pq.read_table(self.genre_counts).to_pandas()
        return counts

    def copied_by_nobody(self, folder: Path) -> Tables:
        """Copy the tables into a folder as a user without any rights, as far as it can read.

        Raises:
            AssertionError: Something cannot be read without root.
        """
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        copies = Tables(folder / "parquet", folder / "csv")
        for source, copy, names in (
            (self.parquet, copies.parquet, ["silver_movies", "genre_counts"]),
            (self.csv, copies.csv, ["genre_counts"]),
        ):
            copy.mkdir(parents=True)
            packed = subprocess.run(
                ["tar", "-C", str(source), "-cf", "-", *names],
                capture_output=True,
                timeout=120,
                check=False,
                cwd="/",
                **user,  # type: ignore[call-overload]
            )
            assert packed.returncode == 0, (
                f"{source} cannot be read without root: {packed.stderr.decode()}"
            )
            subprocess.run(
                ["tar", "-C", str(copy), "-xf", "-"], input=packed.stdout, timeout=120, check=True
            )
        return copies


def tables_of(target: Target, variables: HostVariables) -> Tables:
    """Return where a local target's tables are on this machine."""
    here = target.output_link.resolve()
    return Tables(
        here / PurePosixPath(variables["streaming_output_path"]).relative_to(SHARED),
        here / PurePosixPath(variables["streaming_output_path_csv"]).relative_to(SHARED),
    )


def same_values(actual: pd.Series, wanted: pd.Series) -> None:
    """Assert that two columns hold the same values in the same order; scores to 1e-9."""

    def plain(values: pd.Series) -> list[Any]:
        return [
            list(value) if wanted.name == "genres" else None if pd.isna(value) else value
            for value in values
        ]

    if wanted.name == "weighted_score":
        assert plain(actual) == pytest.approx(plain(wanted), rel=0, abs=1e-9)
    else:
        assert plain(actual) == plain(wanted)
