"""Each claim of docs/security-checklist.md has its place in the code, and its test is there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from ..documents import ROOT, tracked

PAGE = ROOT / "docs/security-checklist.md"
HEAD = "| asked | answer | how, or why not and what you can do | where | proven by |"
ANSWERS = ("yes", "in part", "no", "not used")
#: Says that a file lacks what follows it.
LACKS = "without "


@dataclass(frozen=True)
class Item:
    """A row of one of the lists."""

    chapter: str
    asked: str
    answer: str
    where: str
    proven: str

    def __str__(self) -> str:
        return f"{self.chapter}: {self.asked}"


def items() -> Iterator[Item]:
    """Yield the rows of the page's lists."""
    chapter, within = "", False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            chapter = line.removeprefix("## ")
        within = line == HEAD or (within and line.startswith("|"))
        if within and line != HEAD and not line.startswith("|---"):
            asked, answer, _, where, proven = (it.strip() for it in line.strip("|").split("|"))
            yield Item(chapter, asked, answer, where, proven)


ITEMS = list(items())
each_item = pytest.mark.parametrize("item", ITEMS, ids=str)


@cache
def files() -> tuple[str, ...]:
    """Return the names of all files."""
    return tuple(str(path.relative_to(ROOT)) for path in tracked())


def named(name: str) -> str | None:
    """Return the file that a name, or the end of one, stands for; None if it is none."""
    found = [it for it in files() if it == name or it.endswith(f"/{name}")]
    found = [it for it in found if it == name] or found
    assert len(found) < 2, f"{name} may be {found}"
    return found[0] if found else None


def claims(cell: str) -> Iterator[tuple[str, str, bool]]:
    """Yield what a cell says of files: the file, a text, and whether it is there."""
    file = ""
    for lacks, shown in re.findall(rf"({LACKS})?`([^`]+)`", cell):
        if path := named(shown):
            file = path
            yield file, "", True
        else:
            assert file, f"`{shown}` is no file of this project, and no file stands before it"
            yield file, shown, not lacks


@each_item
def test_an_answer_is_one_of_four(item: Item) -> None:
    assert item.answer in ANSWERS
    assert item.where
    assert item.proven


@each_item
def test_what_is_claimed_stands_in_the_code(item: Item) -> None:
    found = list(claims(item.where))
    assert found or item.answer in {"no", "not used"}, "no file is named"
    for file, text, there in found:
        assert (text in (ROOT / file).read_text(encoding="utf-8")) == there, f"{file}: {text}"


@each_item
def test_what_proves_it_is_there(item: Item) -> None:
    found = list(claims(item.proven))
    if not found:
        assert item.proven in ({"no test"} if item.answer in {"yes", "in part"} else {"-"})
    for file, text, _ in found:
        assert f"def {text}(" in (ROOT / file).read_text(encoding="utf-8") or not text, text
    assert not found or any(text for _, text, _ in found), "no test is named"


def test_the_answers_are_counted() -> None:
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE.read_text(), re.M)
    told = {chapter: dict(zip(ANSWERS, map(int, counts), strict=True)) for chapter, *counts in rows}
    counted = {item.chapter: Counter(dict.fromkeys(ANSWERS, 0)) for item in ITEMS}
    for item in ITEMS:
        counted[item.chapter][item.answer] += 1
    assert told == counted
