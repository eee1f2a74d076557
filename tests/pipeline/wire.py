"""What passes an interface, captured by tcpdump, and what can be read of it."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .power import as_operator_root

#: The most that one capture takes.
SECONDS = 900
PACKETS = 2_000_000
#: KiB that the kernel keeps until tcpdump has read them.
BUFFER = 65536

_SYN, _ACK = 0x02, 0x10


@contextmanager
def captured(
    command: list[str], interface: str, expression: str, path: Path
) -> Generator[subprocess.Popen[str]]:
    """Write all that passes an interface to a file, until the end.

    Args:
        command: of tcpdump, as root, with what runs it in another place.
        interface: its name there.
        expression: which packets, in tcpdump's words.
        path: the file, in pcap's format.

    Raises:
        AssertionError: It has not all: its time or its number of packets was too small, or the
            kernel has dropped some.
    """
    options = ["-i", interface, "-n", "-U", "-s", "0", "-B", str(BUFFER), "-c", str(PACKETS)]
    with path.open("wb") as file:
        process = subprocess.Popen(
            [*command, *options, "-Z", "root", "-w", "-", expression],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
        )
    said = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "listening on" in line:
                break
        else:
            raise AssertionError(f"tcpdump does not begin: {''.join(said)}")
        yield process
        assert process.poll() is None, f"the capture of {interface} ended too soon"
    finally:
        if process.poll() is None:
            as_operator_root("kill", "-TERM", str(process.pid))
        _, rest = process.communicate(timeout=30)
    dropped = re.search(r"(\d+) packets? dropped by kernel", rest)
    assert dropped, rest
    assert dropped[1] == "0", rest


def seen(needles: Iterable[bytes], *files: Path) -> set[bytes]:
    """Return what of some byte strings can be read in files."""
    wanted = sorted(set(needles))
    assert all(wanted), "an empty text is everywhere"
    assert not any(b"\n" in it for it in wanted), "grep takes each line for one"
    done = subprocess.run(
        [
            *("grep", "--text", "--only-matching", "--no-filename", "--fixed-strings"),
            *("--file=-", "--", *map(str, files)),
        ],
        input=b"\n".join(wanted) + b"\n",
        env=os.environ | {"LC_ALL": "C"},
        stdout=subprocess.PIPE,
        timeout=300,
        check=False,
    )
    # 1: there was none.
    assert done.returncode in (0, 1), done.returncode
    return set(done.stdout.splitlines())


@dataclass(frozen=True)
class Opening:
    """What one end of a connection says first."""

    port: int
    by_server: bool
    said: bytes


def openings(capture: bytes) -> Iterator[Opening]:
    """Yield what both ends say first of each connection of TCP that begins in a capture."""
    servers: dict[tuple[bytes, int, bytes, int], bool] = {}
    for source, source_port, target, target_port, flags, said in _segments(capture):
        way = (source, source_port, target, target_port)
        back = (target, target_port, source, source_port)
        if flags & (_SYN | _ACK) == _SYN:
            servers |= {way: False, back: True}
        elif said and way in servers:
            by_server = servers.pop(way)
            yield Opening(source_port if by_server else target_port, by_server, said)


def _segments(capture: bytes) -> Iterator[tuple[bytes, int, bytes, int, int, bytes]]:
    """Yield addresses, ports, flags and content of TCP's segments over IPv4 and Ethernet."""
    order = "<" if capture[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    (link,) = struct.unpack_from(f"{order}I", capture, 20)
    assert link == 1, f"packets of the kind {link}, where Ethernet's are expected"
    at = 24
    while at + 16 <= len(capture):
        (length,) = struct.unpack_from(f"{order}I", capture, at + 8)
        packet = capture[at + 16 : at + 16 + length]
        at += 16 + length
        # IPv4, TCP, and not a later part of a packet.
        if packet[12:14] != b"\x08\x00" or packet[23] != 6 or packet[20] & 0x1F or packet[21]:
            continue
        size = struct.unpack_from(">H", packet, 16)[0]
        start = 14 + (packet[14] & 0x0F) * 4
        source_port, target_port = struct.unpack_from(">HH", packet, start)
        content = packet[start + (packet[start + 12] >> 4) * 4 : 14 + size]
        yield packet[26:30], source_port, packet[30:34], target_port, packet[start + 13], content
