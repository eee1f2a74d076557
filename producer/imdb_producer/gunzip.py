"""Gzip, or plain bytes, in pieces: checked to the last byte, in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

_zlib: Any
try:
    # Of the extra `fast`: unpacks three times as fast.
    from isal import isal_zlib as _zlib
except ImportError:
    _zlib = zlib

GZIP_MAGIC = b"\x1f\x8b"
#: Bytes to unpack at once. Even what is packed a thousandfold then stays within 64 MB.
PIECE = 64 * 1024


class Damaged(ValueError):  # noqa: N818 - a finding; who reads decides what it means
    """The bytes are no gzip file, or not the ones that were packed."""


class CutShort(Damaged):
    """The gzip file ends before its end."""


class Gunzip:
    """Unpacks pieces of a gzip file of one member or more; length and CRC of each are checked."""

    def __init__(self) -> None:
        self._member = _zlib.decompressobj(wbits=31)
        self._fed = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take the next piece of the file; give what it unpacks to.

        Raises:
            Damaged: it is not what was packed.
        """
        while piece:
            if self._member.eof:
                # Zeros may follow a member: some tools fill up blocks.
                piece = piece.lstrip(b"\0")
                if not piece:
                    return
                self._member = _zlib.decompressobj(wbits=31)
            self._fed = True
            try:
                unpacked = self._member.decompress(piece)
            except _zlib.error as error:
                raise Damaged(str(error)) from error
            if unpacked:
                yield unpacked
            piece = self._member.unused_data

    def finish(self) -> None:
        """Say that there are no more pieces.

        Raises:
            CutShort: there should be.
        """
        if not self._fed or not self._member.eof:
            raise CutShort("it ends before the end of the compressed data")


def unpack(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack gzip; give plain bytes as they are.

    Raises:
        Damaged: gzip that is not what was packed, or is cut short.
    """
    rest = iter(pieces)
    start = b""
    for piece in rest:
        start += piece
        if len(start) >= len(GZIP_MAGIC):
            break
    if not start.startswith(GZIP_MAGIC):
        if start:
            yield start
        yield from rest
        return
    gunzip = Gunzip()
    yield from gunzip.feed(start)
    for piece in rest:
        yield from gunzip.feed(piece)
    gunzip.finish()
