"""Every command that the documents show is proven by a row of ../proofs.py, and is well formed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ..conftest import MARKERS
from ..documents import ROOT, Command, UnknownBlockError, commands, documents, of_text
from ..proofs import ROWS, Alone, Form, Proven, Reads, Row, as_here, row_of

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# Files that a run makes, of whichever environment.
MADE = re.compile(r"inventories/[\w<>-]+/|data/|<|\.auto\.tfvars")


def each(kind: type[Row]) -> pytest.MarkDecorator:
    rows = [row for row in ROWS if isinstance(row, kind)]
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.pattern)


def test_each_command_is_known() -> None:
    unknown = [str(command) for command in commands() if not row_of(command.text)]
    assert not unknown, (
        "no row of tests/proofs.py says how these are proven; add one, and let the command be run "
        "if it can be:\n" + "\n".join(unknown)
    )


def test_each_row_has_a_command() -> None:
    used = {row_of(command.text) for command in commands()}
    left = [row.pattern for row in ROWS if row not in used]
    assert not left, f"no document shows what these rows of tests/proofs.py are for: {left}"


def test_make_alone_prints_all_commands() -> None:
    said = subprocess.run(
        ["make", "--no-print-directory"],
        cwd=ROOT,
        env={name: it for name, it in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    targets = set(re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"^  make ([a-z-]+) +\w", said, re.MULTILINE)) == targets


@each(Proven)
def test_what_proves_it_is_there(row: Proven) -> None:
    assert row.text in (ROOT / row.file).read_text(encoding="utf-8")


@each(Form)
def test_what_is_not_run_has_a_reason(row: Form) -> None:
    assert len(row.reason.split()) > 2


@each(Alone)
def test_it_prints_what_it_should(row: Alone) -> None:
    for text in dict.fromkeys(it.text for it in commands() if row_of(it.text) is row):
        said = subprocess.run(
            ["bash", "-c", as_here(row, text, "local", "local-1")],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert said.returncode == 0, said.stdout
        assert re.search(row.prints, said.stdout), said.stdout


def test_each_command_is_well_formed() -> None:
    wrong = [f"{command}: {why}" for command in commands() for why in problems(command)]
    assert not wrong, "\n".join(wrong)


def problems(command: Command) -> Iterator[str]:
    """Yield what is wrong with a command, as far as can be told without running it."""
    if re.match(r"(?:pytest|molecule|ansible-\w+ -|python )", command.text):
        shown = (ROOT / command.file).read_text(encoding="utf-8").splitlines()[: command.line]
        if not any(line.strip().startswith(". .venv/bin/activate") for line in shown):
            yield "it is not on PATH before . .venv/bin/activate, which the document does not show"
    for part in re.split(r"&&|\||;(?! cat)", command.text.replace("(", " ").replace(")", " ")):
        words = [word for word in words_of(part) if not re.match(r"[A-Z][A-Za-z_]*=", word)]
        program = words[0] if words else ""
        check = CHECKS.get(program.rpartition("/")[2])
        yield from check(part, words) if check else ()
        for word in words:
            path = re.sub(r"::.*|:$", "", word)
            if re.match(r"(?:ansible|tests|tools|artifacts|roles|monitoring|spark)/\w", path):
                yield from () if any(ROOT.glob(path)) else [f"there is no {path}"]


def words_of(part: str) -> list[str]:
    try:
        return shlex.split(part)
    except ValueError:  # an end of a quoted command
        return part.split()


def of_make(part: str, words: list[str]) -> Iterator[str]:
    target = words[1]
    if not re.search(rf"^{re.escape(target)}: .*## ", MAKEFILE, re.MULTILINE):
        yield f"make has no target {target}, or none with a word of help"
    for name in re.findall(
        r"(?<= )([A-Z_]+)=", part.partition("make ")[2].partition('="')[0] + "="
    ):
        if not re.search(rf"\$\({name}\)|\b{name} +:?=|^knobs := .*\b{name}\b", MAKEFILE, re.M):
            yield f"make knows no {name}"
    # Options that it hands on, as in BENCH="--records 1".
    bench = "".join(path.read_text() for path in (ROOT / "tests/bench").glob("bench_*.py"))
    for option in re.findall(r"--[a-z-]+", part):
        if f'"{option}"' not in bench:
            yield f"tests/bench has no option {option}"


def of_terraform(part: str, words: list[str]) -> Iterator[str]:
    given = [word for word in words[1:] if word.startswith("-")]
    folder = next((it.removeprefix("-chdir=") for it in given if it.startswith("-chdir=")), "")
    if not folder:
        if given and "..." not in words:
            yield "it has no -chdir=, and there is no configuration in the checkout's own folder"
        return
    sources = "".join(path.read_text() for path in (ROOT / folder).glob("*.tf"))
    for option, value in (it[1:].split("=", 1) for it in given if "=" in it):
        if option in ("replace", "target"):
            kind, name = re.split(r"[.\[]", value)[:2]
            if f'resource "{kind}" "{name}"' not in sources:
                yield f"{folder} has no {kind}.{name}"
    if "-var" in given:
        yield "what -var says the next run takes back: write it into environment.tfvars"


def of_pytest(part: str, words: list[str]) -> Iterator[str]:
    known = {marker.partition("(")[0].partition(":")[0] for marker in MARKERS} | {"slow"}
    marks = words[words.index("-m") + 1] if "-m" in words else ""
    for name in set(marks.split()) - {"and", "or", "not"} - known:
        yield f"there is no marker {name}"
    options = (ROOT / "tests/conftest.py").read_text(encoding="utf-8")
    for option in re.findall(r"--[a-z-]+", part):
        if f'"{option}"' not in options:
            yield f"pytest has no option {option}"


def of_artifacts(part: str, words: list[str]) -> Iterator[str]:
    lock = (ROOT / "artifacts/artifacts.lock").read_text(encoding="utf-8")
    for release in (word for word in words[2:] if "=" in word):
        if release.replace("=", "-") not in lock:
            yield f"artifacts.lock does not list {release}"


def of_ssh(part: str, words: list[str]) -> Iterator[str]:
    if not re.fullmatch(r"inventories/[\w<>-]+/\.ssh/config", words[words.index("-F") + 1]):
        yield "the ssh config of an environment is inventories/<name>/.ssh/config"


CHECKS = {
    "make": of_make,
    "terraform": of_terraform,
    "pytest": of_pytest,
    "artifacts.py": of_artifacts,
    "ssh": of_ssh,
}


@cache
def links() -> list[tuple[str, str]]:
    """The files that documents lead to, by a link or by name, and the document."""
    folders = (
        r"ansible|docs|roles|tools|tests|terraform|spark|producer|standby|monitoring|artifacts"
    )
    found = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        document = str(path.relative_to(ROOT))
        found += [(document, link) for link in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", text)]
        named = re.findall(rf"`((?:{folders})/[\w./*-]+)`", text)
        found += [(document, name) for name in named if not MADE.search(name)]
    return found


def test_files_that_the_documents_name_are_there() -> None:
    missing = [
        f"{document}: {name}"
        for document, name in links()
        if not any(
            any(base.glob(name.removeprefix("/").rstrip("/")))
            for base in (ROOT, ROOT / Path(document).parent)
            if ".." not in name
        )
        and not (ROOT / Path(document).parent / name).exists()
    ]
    assert missing == []


class TestTheCollector:
    """What counts as a command, and what does not."""

    def shown(self, text: str) -> list[tuple[int, str]]:
        return [(command.line, command.text) for command in of_text("x.md", text)]

    def test_a_block_is_a_command_a_line_without_remarks(self) -> None:
        text = "Do:\n\n    make up      # all of it\n    # or\n    make test\n\nEnd.\n"
        assert self.shown(text) == [(3, "make up"), (5, "make test")]

    def test_a_command_goes_on_in_the_next_line(self) -> None:
        text = "Do:\n\n    A=1 terraform apply \\\n        -x\n    make a |\n        make b\n"
        assert self.shown(text) == [(3, "A=1 terraform apply -x"), (5, "make a | make b")]

    def test_prose_shows_a_program_with_arguments(self) -> None:
        text = "Run `make\n  status`, not `make`, nor `kafka_port`; `kafka-topics.sh` is there.\n"
        assert self.shown(text) == [(1, "make status"), (2, "kafka-topics.sh")]

    def test_data_and_fenced_code_are_no_commands(self) -> None:
        text = "It:\n\n    - hosts: all\n      become: true\n\nOr:\n\n```sh\nmake up\n```\n"
        assert self.shown(text) == []

    def test_a_program_that_nobody_knows_is_told(self) -> None:
        with pytest.raises(UnknownBlockError, match=r"x\.md:3: 'frob -x'.*PROGRAM"):
            of_text("x.md", "Do:\n\n    frob -x\n")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("make frobnicate", "no target frobnicate"),
            ("make up COLOUR=red", "knows no COLOUR"),
            ("terraform apply -var subnet=x", "no -chdir="),
            ("terraform -chdir=terraform/local apply -var x=y", "environment.tfvars"),
            ("terraform -chdir=terraform/local apply -replace=a_b.c", "has no a_b.c"),
            (".venv/bin/pytest tests/nowhere", "there is no tests/nowhere"),
            (".venv/bin/pytest tests/spark -m soon", "no marker soon"),
            ("pytest tests/spark", "not on PATH"),
            ("artifacts/artifacts.py fetch kafka=0.1", "does not list"),
            ("ssh -F generated/local/ssh_config a-1", "inventories/<name>/.ssh/config"),
        ],
    )
    def test_what_is_wrong_with_a_command_is_told(self, text: str, why: str) -> None:
        assert why in "\n".join(problems(Command("README.md", 1, text)))


def test_reading_rows_say_what_they_print() -> None:
    assert [row.pattern for row in ROWS if isinstance(row, Reads) and not row.prints] == []
