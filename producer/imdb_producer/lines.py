"""Whole lines out of blocks of bytes that end anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

#: A longer line is damaged data; IMDb's longest have some thousand bytes.
LONGEST_LINE = 256 * 1024
_SHOWN = 100


def whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Give the same bytes as blocks of whole lines; each block ends with a line's end.

    The last line gets an end if it lacks one. A line of more than LONGEST_LINE bytes becomes a
    short one of a single column, which no reader takes for a row: it is reported, and memory stays
    bounded.
    """
    rest = b""
    skipping = False
    for block in blocks:
        if skipping:
            end = block.find(b"\n")
            if end < 0:
                continue
            block = block[end + 1 :]
            skipping = False
        cut = block.rfind(b"\n") + 1
        if not cut:
            rest += block
            if len(rest) > LONGEST_LINE:
                yield _stub(rest)
                rest, skipping = b"", True
            continue
        lines = rest + block[:cut] if rest else block[:cut]
        rest = block[cut:]
        yield lines
    if rest:
        yield rest + b"\n"


def _stub(line: bytes) -> bytes:
    shown = line[:_SHOWN].replace(b"\t", b" ")
    return b"(more than %d bytes) %s\n" % (LONGEST_LINE, shown)
