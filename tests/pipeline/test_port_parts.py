"""How ports are read from a scan and the table of flows, and texts and openings from a capture."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from . import port_table
from .flow_table import Flow
from .port_cases import CASES, SERVERS
from .port_scan import EVERY, as_text, let_in, read_scan, who_is
from .port_table import HEADER, Row
from .wire import Opening, openings, seen

HOST = """
<nmaprun><host><address addr="10.0.0.2" addrtype="ipv4"/><address addr="02:00" addrtype="mac"/>
<ports>
<extraports state="filtered" count="{dropped}">
<extrareasons reason="no-response" count="{dropped}" proto="tcp" ports="1-21,23-9093,9096-65535"/>
</extraports>
<port protocol="tcp" portid="22"><state state="open" reason="syn-ack"/></port>
<port protocol="tcp" portid="9094"><state state="open" reason="syn-ack"/></port>
<port protocol="tcp" portid="9095"><state state="closed" reason="reset"/></port>
</ports></host></nmaprun>
"""


def test_a_scan_tells_of_every_port() -> None:
    found = read_scan(HOST.format(dropped=len(EVERY) - 3))["10.0.0.2"]
    assert (set(found.open), set(found.closed)) == ({22, 9094}, {9095})
    assert found.silent == set(EVERY) - {22, 9094, 9095}


def test_a_scan_that_lacks_ports_is_none() -> None:
    with pytest.raises(AssertionError, match="tells of 65534 ports"):
        read_scan(HOST.format(dropped=len(EVERY) - 3).replace("1-21,", "2-21,"))


def test_a_source_is_what_its_groups_and_addresses_say() -> None:
    others = {"operator": ["10.0.0.0/24"], "monitoring": [], "any": ["0.0.0.0/0", "::/0"]}
    assert who_is("10.0.0.9", set(), others) == {"operator", "any"}
    assert who_is("10.0.1.9", {"kafka"}, others) == {"kafka", "hosts", "any"}


def test_the_table_opens_ports_of_tcp_to_whom_it_names() -> None:
    flows = [
        Flow(frozenset({"kafka"}), frozenset({"zookeeper"}), range(2281, 2282), "tcp"),
        Flow(frozenset({"worker", "kafka"}), frozenset({"worker"}), range(7080, 7083), "tcp"),
        Flow(frozenset({"kafka"}), frozenset({"zookeeper"}), range(53, 54), "udp"),
    ]
    assert let_in(flows, {"kafka", "hosts"}, {"zookeeper", "worker"}) == {2281, 7080, 7081, 7082}
    assert let_in(flows, {"operator"}, {"zookeeper"}) == set()


def test_ports_are_written_as_spans() -> None:
    assert as_text({7081, 22, 7080, 7082}) == "22, 7080-7082"
    assert as_text([]) == "none"


def test_the_table_keeps_rows_of_ports_that_are_not_here() -> None:
    old = [Row("1", "nothing", "ask", "old"), Row("2", "nothing", "ask", "old")]
    seen_now = [Row("2", "nothing", "ask", "new"), Row("3", "nothing", "ask", "new")]
    order = [row.key for row in (old[0], *seen_now)]
    rows = port_table.merged(old, seen_now, order)
    assert [row.gets for row in rows] == ["old", "new", "new"]
    page = port_table.with_rows(f"Before.\n\n{HEADER}| 1 | a | b | c |\n\nAfter.\n", rows)
    assert port_table.read_rows(page) == rows
    assert page.startswith("Before.\n\n")
    assert page.endswith("\n\nAfter.\n")


def test_of_one_attempt_there_is_one_answer() -> None:
    rows = [Row("1", "nothing", "ask", it) for it in ("no answer", "answered")]
    with pytest.raises(AssertionError, match="once"):
        port_table.merged([], rows, [rows[0].key])


def test_the_docs_have_a_row_for_each_case() -> None:
    rows = port_table.read_rows(port_table.PAGE.read_text(encoding="utf-8"))
    assert rows == [Row(it.label, it.client, it.tries, it.words(it.gets)) for it in CASES]


@pytest.mark.parametrize("port", SERVERS)
def test_who_has_the_right_credentials_is_let_in_at_each_port(port: str) -> None:
    cases = [it for it in CASES if it.port == port]
    refused = {it.gets for it in cases if not it.right and not it.open}
    let = {it.gets for it in cases if it.right or it.open}
    # Without credentials of its own there is a server that needs none, or nobody listens.
    assert let or refused == {"closed"}
    assert not let & refused


def packet(way: tuple[int, int], flags: int, said: bytes = b"") -> bytes:
    """Return a packet of TCP as a capture has it, from 10.0.0.PORT to 10.0.0.PORT."""
    source, target = way
    tcp = struct.pack(">HHIIBBHHH", source, target, 0, 0, 5 << 4, flags, 0, 0, 0) + said
    addresses = bytes([10, 0, 0, source % 256, 10, 0, 0, target % 256])
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + addresses
    frame = bytes(12) + b"\x08\x00" + ip + tcp
    return struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame


def capture(*packets: bytes) -> bytes:
    return struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(packets)


def test_both_ends_of_a_connection_open_it() -> None:
    there, back = (40000, 9094), (9094, 40000)
    syn, answer, more = 2, 18, 16
    taken = capture(
        packet((9093, 50000), more, b"of a connection from before"),
        packet(there, syn),
        packet(back, answer),
        packet(there, more),
        packet(there, more, b"hello"),
        packet(back, more, b"and you"),
        packet(there, more, b"not the first"),
    )
    assert list(openings(taken)) == [
        Opening(9094, False, b"hello"),
        Opening(9094, True, b"and you"),
    ]


def test_texts_are_found_among_bytes(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(b"\xff\x00\n\x80The Title\x00\xfe" + "F\u00e9d".encode())
    wanted = [b"The Title", "F\u00e9d".encode(), b"another", b"[T]he"]
    assert seen(wanted, path) == {b"The Title", "F\u00e9d".encode()}


@pytest.mark.parametrize("needle", [b"", b"two\nlines"])
def test_a_text_that_would_be_found_anywhere_is_refused(tmp_path: Path, needle: bytes) -> None:
    with pytest.raises(AssertionError):
        seen([needle], tmp_path)
