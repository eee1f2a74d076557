"""The job, which stands still at one step once a file says so: for test_take_over.py.

    python pausing_job.py STEP FOLDER

When FOLDER has the file `armed`, it makes the file `reached` there the next time that it comes to
the step, and goes on when there is a file `go`.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imdb_streaming import cli, guards, jvm, sinks

STEPS = (
    "start",
    "before the file",
    "into out",
    "out of out",
    "after the file",
    "before the state",
    "after the state",
)


def main() -> int:
    step, folder = sys.argv[1], Path(sys.argv[2])

    def pause() -> None:
        if not (folder / "armed").exists() or (folder / "reached").exists():
            return
        (folder / "reached").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)

    def pausing(function: Callable[..., Any], *, before: bool = True) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if before:
                pause()
            result = function(*arguments, **options)
            if not before:
                pause()
            return result

        return call

    rename = Path.replace

    def replace(source: Path, target: Path) -> Path:
        is_out = source.parent.name == "out"
        if source.suffix == ".parquet" and is_out == (step == "out of out"):
            pause()
        return rename(source, target)

    if step == "start":
        guards.check_belongs_together = pausing(guards.check_belongs_together)
    elif step == "before the file":
        sinks.MovieSink._put_in_place = pausing(  # type: ignore[method-assign]
            sinks.MovieSink._put_in_place
        )
    elif step in {"into out", "out of out"}:
        Path.replace = replace  # type: ignore[method-assign, assignment]
    elif step == "after the file":
        sinks.GenreCounts.publish = pausing(sinks.GenreCounts.publish)  # type: ignore[method-assign]
    elif step in {"before the state", "after the state"}:
        jvm.JobState.save = pausing(  # type: ignore[method-assign]
            jvm.JobState.save, before=step == "before the state"
        )
    return cli.main(["run"])


if __name__ == "__main__":
    sys.exit(main())
