"""A provider that serves many runs of Terraform: to start that of AWS costs more than most runs."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SECONDS = 60


@contextmanager
def attached(root: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run the provider that init brought for a root, by the mode that providers have for debuggers.

    It keeps one configuration, so the runs of Terraform must follow one another. It asks whom its
    own environment names, not theirs.

    Yields:
        What a run's environment must have, so that it is served by this provider.
    """
    (program,) = (root / ".terraform/providers").glob("*/*/*/*/*/terraform-provider-*")
    said = root / "provider.log"
    with said.open("w") as log:
        process = subprocess.Popen(
            [str(program), "-debug"],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield {"TF_REATTACH_PROVIDERS": address(process, said)}
        finally:
            process.send_signal(signal.SIGINT)  # upon which it removes its socket
            process.wait(timeout=SECONDS)


def address(process: subprocess.Popen[bytes], said: Path) -> str:
    """Wait for the provider to say where it is."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := re.search(r"TF_REATTACH_PROVIDERS='(.*)'\n", said.read_text()):
            return found[1]
        assert process.poll() is None, f"the provider ended:\n{said.read_text()}"
        time.sleep(0.1)
    raise AssertionError(f"the provider does not serve:\n{said.read_text()}")
