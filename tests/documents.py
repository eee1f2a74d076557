"""The commands that the documents show, each with its file and line."""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What a command begins with, beside variables that are set for it.
PROGRAM = (
    r"(?:make|tools/[\w-]+(?:\.py)?|artifacts/[\w-]+\.py|\.venv/bin/[\w-]+|\.|export|cd|cp|rm|echo|env|bash|git"
    r"|apt-get|apt|usermod|chgrp|readlink|df|nc|curl|ssh|sudo|python3?|pytest|molecule|terraform"
    r"|ansible-[a-z]+|ansible/[a-z]+\.yml|virsh|aws|nft|journalctl|systemctl|duckdb|pyspark|zkCli\.sh"
    r"|kafka-[a-z-]+\.sh|spark-[a-z]+|imdb-[a-z]+)"
)
SET = r"[A-Z][A-Za-z_]*=\S*"
IN_BLOCK = re.compile(rf"\(?(?:{SET} |{SET}$|{PROGRAM}(?: |$))")
# A program alone is named, not shown, but for these.
IN_PROSE = re.compile(
    rf"(?:{SET} )*{PROGRAM} (?![:=])|(?:kafka-[a-z-]+|zkCli)\.sh$|pyspark$"
    r"|ansible/[a-z]+\.yml$"
    r"|spark-(?:submit|shell|sql|class)$"
)
# In a message: what begins it, or a variable in it, tells it from English.
ADVISED = r"(`|[Rr]un:? `?|See: |or: |\()?\b(make [a-z][a-z-]*(?: [A-Z_]+=[^\s`\"',;)]*)*)"
# A block that is none of commands begins like this: YAML, an input of Terraform, Python, a picture.
DATA = re.compile(
    r"- |[\w.]+:(?: |$)|\w+ += |import |\S*<\w+> {2}|IMDb's dumps|.* (?:->|---) ", re.MULTILINE
)


class UnknownBlockError(AssertionError):
    """A block is neither commands nor data of a known kind; the text says where it is."""


@dataclass(frozen=True)
class Command:
    """A command on one line, without the remark after it."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def tracked(*patterns: str) -> list[Path]:
    """Return the files that git tracks or would track, of these names or in these folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    ).stdout
    return [ROOT / name for name in sorted(set(listed.split("\0"))) if (ROOT / name).is_file()]


def documents() -> list[Path]:
    """Return the documents that people read; the changelog tells of what was."""
    return [path for path in tracked("*.md") if path.name != "CHANGELOG.md"]


@cache
def commands() -> tuple[Command, ...]:
    """Return every command that a document shows, in their order."""
    found = [*of_help(), *of_messages()]
    for path in documents():
        found += of_text(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    return tuple(found)


def of_help() -> Iterator[Command]:
    """Yield what `make help` prints."""
    for number, line in enumerate((ROOT / "Makefile").read_text(encoding="utf-8").splitlines(), 1):
        if target := re.match(r"([a-z-]+):.*## ", line):
            yield Command("Makefile", number, f"make {target[1]}")


def of_messages() -> Iterator[Command]:
    """Yield what messages and remarks advise."""
    for path in tracked("Makefile", "ansible", "inventories", "roles", "terraform", "tools"):
        if path.suffix == ".md":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for shown in re.finditer(ADVISED, line):
                if shown[1] or "=" in shown[2]:
                    yield Command(str(path.relative_to(ROOT)), number, shown[2].rstrip("."))
            for text in re.findall(r"# .*?`([^`]+)`", line):
                if path.parts[-4:-2] == ("inventories", "pipeline") and IN_PROSE.match(text):
                    yield Command(str(path.relative_to(ROOT)), number, text)


def of_text(file: str, text: str) -> list[Command]:
    """Return the commands of one document.

    Raises:
        UnknownBlockError: A block is neither commands nor data.
    """
    # A test of its own executes what stands between fences (spark/test_reading.py).
    text = re.sub(r"^```\w*\n.*?^```$", blank, text, flags=re.DOTALL | re.MULTILINE)
    found: list[Command] = []
    for block in re.finditer(r"(?<=\n\n)(?: {4,}\S.*\n(?:\n(?= {4}))?)+", text):
        found += of_block(file, text.count("\n", 0, block.start()) + 1, block[0])
    text = re.sub(r"(?<=\n\n)(?: {4,}\S.*\n(?:\n(?= {4}))?)+", blank, text)
    for shown in re.finditer(r"`((?:[^`\n]|\n(?! *\n))+)`", text):
        command = " ".join(shown[1].split())
        if IN_PROSE.match(command):
            found.append(Command(file, text.count("\n", 0, shown.start()) + 1, command))
    return sorted(found, key=lambda command: command.line)


def blank(part: re.Match[str]) -> str:
    """Return as many lines with nothing on them."""
    return "\n" * part[0].count("\n")


def of_block(file: str, start: int, block: str) -> Iterator[Command]:
    """Yield the commands of an indented block; none of a block of data."""
    lines = textwrap.dedent(block).splitlines()
    if DATA.match(lines[0]):
        return
    whole, begun = "", start
    for number, line in enumerate(lines, start):
        begun = begun if whole else number
        part = re.sub(r"(?:^|\s+)# .*$", "", line)
        whole += part.removesuffix("\\").strip() + " "
        if part.endswith(("\\", "|")):
            continue
        command, whole = whole.strip(), ""
        if not command:
            continue
        if not IN_BLOCK.match(command):
            raise UnknownBlockError(
                f"{file}:{begun}: {command!r} is no command that {Path(__file__).name} knows, and "
                "its block no data: add the program to PROGRAM, or how the block begins to DATA"
            )
        yield Command(file, begun, command)
