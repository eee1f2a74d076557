"""The driver's and the executors' one output folder: where it is not one, nothing is begun."""

from __future__ import annotations

import pytest
from hosts import Target, run

from .cluster import invocations
from .deployment import run_playbook
from .tables import SHARED

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_an_output_folder_that_a_worker_does_not_see_is_refused(target: Target) -> None:
    worker, driver = target.groups["spark_worker"][0], target.host_of("imdb-streaming")
    assert worker != driver
    before = invocations(target)
    run(target, worker, "sudo", "mount", "-t", "tmpfs", "elsewhere", str(SHARED))
    try:
        refused = run_playbook()
    finally:
        run(target, worker, "sudo", "umount", "--lazy", str(SHARED))
    assert refused.exit_code != 0
    assert f"{worker} does not see what {driver} writes" in refused.output, refused.end
    assert set(refused.changed.values()) == {0}, refused.changed_tasks
    assert invocations(target) == before
    assert run(target, driver, "sudo", "find", str(SHARED), "-name", "'.seen-by-all-*'") == ""
