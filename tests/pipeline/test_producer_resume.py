"""The producer killed in the midst of its work goes on where it was, and says so."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hosts import Target

from ..variables import HostVariables
from ..waiting import wait_for
from .deployment import as_root, comes_back, status_of, unit_state

pytestmark = pytest.mark.faults

UNIT = "imdb-producer"


def status_text(target: Target) -> str:
    """What `systemctl status` shows."""
    return as_root(target, UNIT, "systemctl", "show", "--property=StatusText", "--value", UNIT)


def test_killed_producer_goes_on_where_it_was(
    target: Target, variables: HostVariables, patience: float, finished: dict[str, Any]
) -> None:
    total = finished["total"]
    state = f"{variables['producer_data_dir']}/state"
    again = f"systemctl stop {UNIT} && rm -rf {state} && systemctl start {UNIT}"
    as_root(target, UNIT, "sh", "-c", f"'{again}'")
    before = wait_for(
        "a part of the records is sent",
        lambda: status_of(target, UNIT),
        lambda status: status["state"] == "sending" and 0 < status["sent"] < total,
        120 * patience,
    )
    assert re.search(
        rf"sent [0-9,]+ of {total:,} \([0-9.]+ %\), [0-9.]+/s, ETA ", status_text(target)
    )
    unit = unit_state(target, UNIT)
    as_root(target, UNIT, "kill", "-KILL", str(unit.main_pid))
    comes_back(target, UNIT, unit, 120 * patience)
    after = wait_for(
        "it sends again, or has finished",
        lambda: status_of(target, UNIT),
        lambda status: status["started_at"] != before["started_at"] and status["total"] == total,
        120 * patience,
    )
    # What was acknowledged is kept each second, and at least each 500 records.
    assert after["resumed_at"] >= before["sent"] - 500
    assert after["resumed_at"] > 0
