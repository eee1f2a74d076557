"""A support bundle of what hosts have sent: what its index says, and what never gets into it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import stat
import tarfile
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import status
import support_bundle
from hosts import HostsError, Target
from support_bundle import SupportError

PLANTED = "planted-in-a-variable"
MIB = 1024 * 1024
GROUPS = {"kafka": ["core-1", "core-2"], "streaming": ["core-1"]}
RUNS = {
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "UnitFileState": "enabled",
    "NRestarts": "0",
    "ExecMainStatus": "0",
    "StateChangeTimestamp": "Mon 2026-11-30 12:00:00 UTC",
    "Type": "notify",
}
WELL: dict[str, Any] = {
    "host_time": 1000.0,
    "units": {"kafka.service": RUNS, "imdb-streaming.service": RUNS},
    "failed": [],
    "filesystems": [
        {
            "mount": "/",
            "kind": "ext4",
            "bytes": 2**34,
            "free": 2**33,
            "used_percent": 50,
            "inodes_percent": 9,
        }
    ],
    "memory_kb": {"MemTotal": 8_000_000, "MemAvailable": 4_000_000},
    "load": [0.1, 0.1, 0.1],
    "processors": 2,
    "uptime_seconds": 90_000.0,
    "clock_synchronized": True,
    "releases": {"kafka": "3.9.2"},
    "errors": {},
    "killed": [],
    "notes": [],
    "limit": 16 * MIB,
    "taken": 1000,
    "seconds": 3.0,
}


def packed(files: dict[str, str], entry: tarfile.TarInfo | None = None) -> str:
    """Return files as a host sends them."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, text in files.items():
            it = tarfile.TarInfo(name)
            it.size = len(text.encode())
            archive.addfile(it, io.BytesIO(text.encode()))
        if entry:
            archive.addfile(entry)
    return base64.b64encode(whole.getvalue()).decode()


def sent(host: dict[str, Any], **files: str) -> dict[str, Any]:
    """Return what is given to unpack what a host has sent."""
    named = {name.replace("__", "/"): text for name, text in files.items()}
    content = packed({"host.json": json.dumps(host), **named})
    return {"content": content, "megabytes": 16, "secrets": [PLANTED]}


def given(**changes: Any) -> dict[str, Any]:
    """Return what is given to write the index."""
    return {
        "environment": "trial",
        "since": "2 hours ago",
        "secrets": [PLANTED],
        "hosts": ["core-1", "core-2"],
        "asked": {"core-1": ["1000", "1001", "1000.5"], "core-2": ["1000", "1001", "1000.5"]},
        "silent": {},
        "groups": GROUPS,
        "problems": [],
        "unchecked": "",
        **changes,
    }


def one_host(**changes: Any) -> dict[str, Any]:
    """The same for core-1 alone."""
    alone = {"hosts": ["core-1"], "groups": {"kafka": ["core-1"], "streaming": ["core-1"]}}
    return given(**(alone | changes))


@pytest.fixture(autouse=True)
def without_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no hosts to ask for their status."""

    def load(name: str) -> None:
        raise HostsError(f"the environment {name!r} has no hosts")

    monkeypatch.setattr(support_bundle, "load", load)


def bundle(folder: Path, hosts: dict[str, dict[str, Any]], given: dict[str, Any]) -> list[str]:
    """Make a bundle in a folder, and return what is printed."""
    for host, it in hosts.items():
        support_bundle.unpack(folder / "work", host, it)
    return support_bundle.index(folder / "work", folder / "trial.tar.gz", given)


def index_of(folder: Path) -> str:
    """Return the index page of a bundle as text."""
    with tarfile.open(folder / "trial.tar.gz") as archive:
        file = archive.extractfile("trial/index.html")
        assert file
        html = file.read().decode()
    return unescape(re.sub(r"<[^>]+>", " ", html))


def whole(folder: Path) -> bytes:
    """Return all that is in a bundle."""
    return gzip.decompress((folder / "trial.tar.gz").read_bytes())


def test_where_all_is_well_nothing_looks_wrong(tmp_path: Path) -> None:
    said = bundle(tmp_path, {"core-1": sent(WELL)}, one_host())
    assert said == ["Nothing looks wrong that the index looks for."]
    assert "Nothing that this page looks for." in index_of(tmp_path)


DEAD = {"ActiveState": "inactive", "SubState": "dead"}
FAILED = {
    "ActiveState": "failed",
    "SubState": "failed",
    "Result": "exit-code",
    "ExecMainStatus": "3",
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            {"units": {"kafka.service": RUNS | DEAD, "imdb-streaming.service": RUNS}},
            "wrong         core-1: unit kafka.service does not run since "
            "Mon 2026-11-30 12:00:00 UTC",
            id="stopped",
        ),
        pytest.param(
            {
                "units": {"kafka.service": RUNS | FAILED, "imdb-streaming.service": RUNS},
                "failed": ["kafka.service"],
            },
            "wrong         core-1: unit kafka.service failed (exit-code, exit status 3)",
            id="failed",
        ),
        pytest.param(
            {"failed": ["another.service"]},
            "wrong         core-1: unit another.service failed",
            id="another's failed",
        ),
        pytest.param(
            {"units": {"kafka.service": RUNS}},
            "wrong         core-1: unit imdb-streaming.service is not there",
            id="not there",
        ),
        pytest.param(
            {"units": WELL["units"] | {"imdb-streaming.service": RUNS | {"NRestarts": "4"}}},
            "look at this  core-1: unit imdb-streaming.service was restarted, times: 4",
            id="restarted",
        ),
        pytest.param(
            {
                "units": WELL["units"]
                | {
                    "kafka.service": RUNS
                    | {"ActiveState": "activating", "SubState": "auto-restart"}
                }
            },
            "look at this  core-1: unit kafka.service is starting (auto-restart)",
            id="starting",
        ),
        pytest.param(
            {"killed": ["Out of memory: Killed process 7 (java)"]},
            "wrong         core-1: the kernel killed processes for want of memory: "
            "Out of memory: Killed process 7 (java)",
            id="out of memory",
        ),
        pytest.param(
            {"filesystems": [WELL["filesystems"][0] | {"used_percent": 99, "free": 0}]},
            "wrong         core-1: the file system / uses 99 %, 0.0 GiB are free",
            id="disk full",
        ),
        pytest.param(
            {"filesystems": [WELL["filesystems"][0] | {"inodes_percent": 90}]},
            "look at this  core-1: the file system / uses 90 % of its inodes",
            id="inodes",
        ),
        pytest.param(
            {"clock_synchronized": False},
            "look at this  core-1: its clock is not synchronized, as far as it knows",
            id="clock not synchronized",
        ),
        pytest.param(
            {"memory_kb": {"MemTotal": 100, "MemAvailable": 1}},
            "look at this  core-1: 1 % of its memory is available",
            id="memory",
        ),
        pytest.param(
            {
                "alerts": [
                    {
                        "state": "firing",
                        "labels": {
                            "alertname": "KafkaDown",
                            "severity": "critical",
                            "instance": "core-2",
                        },
                        "annotations": {"summary": "It is down"},
                    }
                ]
            },
            "wrong         core-2: alert KafkaDown: It is down",
            id="alert",
        ),
    ],
)
def test_what_looks_wrong_comes_first(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    assert bundle(tmp_path, {"core-1": sent(WELL | change)}, one_host()) == [says]
    text = re.sub(r"\s+", " ", index_of(tmp_path))
    finding = says[14:].partition(": ")[2]
    assert text.index("What looks wrong") < text.index(finding) < text.index("Units")


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ("1300", ["wrong         core-1: its clock is 299 s ahead of the operator's machine"]),
        ("700", ["wrong         core-1: its clock is 300 s behind the operator's machine"]),
        ("1002", ["Nothing looks wrong that the index looks for."]),
        ("0", ["Nothing looks wrong that the index looks for."]),
    ],
)
def test_a_clock_that_is_off_is_told(tmp_path: Path, there: str, says: list[str]) -> None:
    asked = {"core-1": ["1000", "1001", there]}
    assert bundle(tmp_path, {"core-1": sent(WELL)}, one_host(asked=asked)) == says


def test_a_host_that_does_not_answer_is_a_line_of_the_index(tmp_path: Path) -> None:
    said = bundle(tmp_path, {"core-1": sent(WELL)}, given(silent={"core-2": "no route to it"}))
    assert said == ["wrong         core-2: nothing was taken from it: no route to it"]
    assert "no route to it" in index_of(tmp_path)


def test_no_host_at_all_gives_a_bundle_too(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    silent = {"core-1": "it is down", "core-2": "it is down"}
    said = bundle(tmp_path, {}, given(silent=silent, unchecked="no host answers"))
    assert len(said) == 3
    assert "look at this  the health checks could not be made: no host answers" in said


def test_health_checks_come_with_host_and_unit(tmp_path: Path) -> None:
    problem = {"host": "core-1", "unit": "kafka", "text": f"broker 1 is not up: {PLANTED}"}
    said = bundle(tmp_path, {"core-1": sent(WELL)}, one_host(problems=[problem]))
    assert said == ["wrong         core-1: health check: broker 1 is not up: ***"]
    assert "hosts/core-1/journal/kafka.log" in index_of(tmp_path)


def test_releases_that_differ_are_told(tmp_path: Path) -> None:
    units = {"kafka.service": RUNS}
    other = WELL | {"units": units, "releases": {"kafka": "3.9.1"}}
    said = bundle(tmp_path, {"core-1": sent(WELL), "core-2": sent(other)}, given())
    assert said == [
        "look at this  hosts have several releases of kafka: 3.9.2 on core-1; 3.9.1 on core-2"
    ]


def test_errors_are_counted_by_unit_and_what_was_cut_is_told(tmp_path: Path) -> None:
    counted = {"count": 41, "first": "a", "last": "b", "examples": [[40, f"ERROR no {PLANTED}"]]}
    notes = [
        {"file": "journal/kafka.log", "cut": 12345, "problem": ""},
        {"file": "system/disks.txt", "cut": 0, "problem": "df was ended after 20 s"},
    ]
    host = sent(WELL | {"errors": {"kafka": counted}, "notes": notes})
    bundle(tmp_path, {"core-1": host}, one_host())
    text = index_of(tmp_path)
    assert 'errors in the journal of kafka: 41, the last at b; 40 like "ERROR no ***"' in text
    assert "12,345 bytes left out" in text
    assert "df was ended after 20 s" in text


def test_no_secret_gets_into_a_file_or_the_page(tmp_path: Path) -> None:
    texts = {
        "journal__kafka.log": f"ERROR {PLANTED}\nmovie tt0111161 is there\n",
        "files__etc__imdb-producer__producer.env": "EXTRA_TOKEN planted as well\nMSGS_PER_SEC=10\n",
    }
    host = WELL | {"killed": [f"Out of memory: {PLANTED}"]}
    bundle(tmp_path, {"core-1": sent(host, **texts)}, one_host(unchecked=PLANTED))
    content = whole(tmp_path)
    for it in (PLANTED.encode(), b"planted as well", b"0111161"):
        assert it not in content
    assert b"EXTRA_TOKEN ***\nMSGS_PER_SEC=10\n" in content


def test_what_is_secret_in_an_address_goes_alone_too(tmp_path: Path) -> None:
    host = sent(WELL, journal__a="login of me with planted%word failed, sig-planted is wrong")
    host["secrets"] = ["https://me:planted%25word@host/x?sig=sig-planted"]
    bundle(tmp_path, {"core-1": host}, one_host())
    assert b"login of me with *** failed, *** is wrong" in whole(tmp_path)


def test_nobody_else_may_read_it_and_the_page_is_whole_by_itself(tmp_path: Path) -> None:
    bundle(tmp_path, {"core-1": sent(WELL)}, one_host())
    archive = tmp_path / "trial.tar.gz"
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with tarfile.open(archive) as opened:
        entries = opened.getmembers()
    assert {stat.S_IMODE(it.mode) for it in entries} == {0o600, 0o700}
    assert {it.uname for it in entries} == {""}
    assert not re.search(rb"(?:src|href)=|url\(", (tmp_path / "work/index.html").read_bytes())
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_what_a_run_left_that_was_cut_off_goes(tmp_path: Path) -> None:
    old, young, other = tmp_path / ".trial-1", tmp_path / ".trial-2", tmp_path / ".another-1"
    for path in (old, young, other):
        (path / "hosts").mkdir(parents=True)
    partial = tmp_path / ".trial-1.tar.gz.partial"
    partial.touch()
    for path in (old, other, partial):
        os.utime(path, (1, 1))
    bundle(tmp_path, {"core-1": sent(WELL)}, one_host())
    assert [path for path in (old, young, other, partial) if path.exists()] == [young, other]


def test_what_a_host_says_of_itself_is_no_html(tmp_path: Path) -> None:
    units = WELL["units"] | {"<script>x</script>.service": RUNS}
    bundle(tmp_path, {"core-1": sent(WELL | {"units": units})}, one_host())
    assert b"<script>" not in (tmp_path / "work/index.html").read_bytes()


def linked() -> tarfile.TarInfo:
    """A link out of the folder."""
    entry = tarfile.TarInfo("journal/link")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return entry


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (packed({"../outside": "x"}), "'../outside', which is no file of a pack"),
        (packed({"/etc/outside": "x"}), "'/etc/outside', which is no file of a pack"),
        (packed({"a/../../outside": "x"}), "which is no file of a pack"),
        (packed({}, linked()), "'journal/link', which is no file of a pack"),
        (packed({"large": "0" * (10 * MIB)}), "is larger than"),
        ("bm8gcGFjaw==", "is no pack"),
        ("no base64!", "is no pack"),
        (packed({"a": "text"})[:60], "is no pack"),
    ],
)
def test_a_host_that_was_taken_over_writes_nowhere(tmp_path: Path, content: str, says: str) -> None:
    what = {"content": content, "megabytes": 1, "secrets": []}
    with pytest.raises(SupportError, match=re.escape(says)):
        support_bundle.unpack(tmp_path / "work", "core-1", what)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_status_page_comes_without_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    units = {"kafka": RUNS | {"LoadState": "loaded"}}
    host = {"address": "192.0.2.1", "error": None, "units": units, "roles": {}, "certificate": None}
    state = {
        "hosts": {"core-1": host},
        "urls": {},
        "genres": [{"genre": "Planted Title", "movie_count": "3"}],
        "topic": None,
        "producer": None,
        "streaming": None,
    }
    seen = []

    def collect(target: Target) -> dict[str, Any]:
        seen.append((list(target.hosts), target.groups))
        return state

    hosts: dict[str, dict[str, Any]] = {"core-1": {}, "core-2": {}}
    monkeypatch.setattr(support_bundle, "load", lambda name: Target(name, hosts, GROUPS))
    monkeypatch.setattr(status, "collect", collect)
    bundle(tmp_path, {"core-1": sent(WELL)}, given(silent={"core-2": "it is down"}))
    # A host that is known not to answer is not waited for.
    assert seen == [(["core-1"], {"kafka": ["core-1"], "streaming": ["core-1"]})]
    assert "192.0.2.1" in index_of(tmp_path)
    assert b"Planted Title" not in whole(tmp_path)
