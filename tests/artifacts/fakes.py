"""A small release that needs no network."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Event


@dataclass
class FakeRelease:
    """Files by path, put where mvn or pip would put them."""

    files: dict[str, bytes] = field(
        default_factory=lambda: {"libs/a.jar": b"A" * 1000, "libs/b.jar": b"B" * 2000}
    )
    name: str = "fake"
    is_own: bool = False
    is_locked: bool = True
    fetches: int = 0
    cut_after: int | None = None
    go_on: Event | None = None

    def fetch(self, version: str, folder: Path, expected: dict[str, str], offline: bool) -> None:
        """Write the files; end like a killed run after `cut_after` of them."""
        self.fetches += 1
        if self.go_on:
            assert self.go_on.wait(20)
        for number, (path, content) in enumerate(self.files.items()):
            if number == self.cut_after:
                raise KeyboardInterrupt
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

    def lay_out(self, version: str, files: Path, folder: Path) -> None:
        """Lay the files out as they came."""
        (files / "libs").rename(folder / "libs")
