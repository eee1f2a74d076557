"""What must not be in the repository: it has to work for anyone, anywhere."""

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Written in parts so that this file does not hold them. Each tool's client knows its own registry.
REGISTRIES = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "repo" + "1.maven",
    "repo" + ".maven",
    "maven" + ".org",
    "deb" + ".debian.org",
    "security" + ".debian.org",
    "archive" + ".ubuntu",
    "crates" + ".io",
    "npmjs" + ".org",
    "proxy" + ".golang.org",
    "registry" + ".terraform",
]


@cache
def texts() -> dict[str, str]:
    """The text files that git tracks or would track, by name."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    ).stdout
    found = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file():
            content = path.read_bytes()
            if b"\0" not in content:
                found[name] = content.decode()
    return found


def where(pattern: str) -> list[str]:
    expression = re.compile(pattern, re.IGNORECASE)
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if expression.search(line)
    ]


@pytest.mark.parametrize("host", REGISTRIES)
def test_no_registry_is_named(host: str) -> None:
    assert where(re.escape(host)) == []


def test_no_path_of_this_machine_is_written_down() -> None:
    folders = {str(ROOT), str(Path.home())} - {"/"}
    # Not what follows a variable, with or without its quote: "$folder"/root.
    pattern = "|".join(
        rf"(?<![\w.])(?<!\w\"){re.escape(folder)}(?![\w-])" for folder in sorted(folders)
    )
    assert where(pattern) == []


def test_nothing_is_left_to_do() -> None:
    assert where(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b") == []


def test_commands_that_the_documents_name_can_be_run() -> None:
    commands = set(re.findall(r"^    ((?:tools|artifacts)/[\w.-]+)", "\n".join(documents()), re.M))
    assert "artifacts/artifacts.py" in commands
    assert [name for name in sorted(commands) if not os.access(ROOT / name, os.X_OK)] == []


def documents() -> list[str]:
    return [text for name, text in texts().items() if name.endswith(".md")]
