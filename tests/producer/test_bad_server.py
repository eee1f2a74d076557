"""Downloads from a server that misbehaves: a whole file in the end, or an error; never a half."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import random
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from imdb_producer import cache
from imdb_producer.download import Patience, fetch
from imdb_producer.errors import BusyError, SourceError
from imdb_producer.lock import exclusive
from imdb_producer.sources import Source, open_blocks

from .bad_server import Answer, Site, serving

SEED = int(os.environ.get("TEST_SEED", random.randrange(2**32)))
TEXT = b"tconst\taverageRating\tnumVotes\n" + b"".join(
    b"tt%07d\t7.1\t%d\n" % (number, random.Random(number).randrange(10**6))
    for number in range(3000)
)
PACKED = gzip.compress(TEXT, mtime=0)
QUICK = Patience(attempts=4, first_delay=0.001, longest_delay=0.002, timeout=(5, 5))


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(PACKED) as site:
        yield site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def get(site: Site, folder: Path, *, allow_cached: bool = False) -> Source:
    return fetch(site.url, folder, "dump", allow_cached=allow_cached, patience=QUICK)


def is_whole(source: Source, text: bytes = TEXT) -> bool:
    with open_blocks(source.path) as blocks:
        content = b"".join(blocks)
    sha256 = hashlib.sha256(source.path.read_bytes()).hexdigest()
    return content == text and source.sha256 == sha256


def ranges(site: Site) -> list[str]:
    return [asked.get("range", "") for asked in site.asked]


@pytest.mark.parametrize(
    "cut_at",
    [0, 1, 2, 3, 9, 10, 11, 63, 64, 65, len(PACKED) - 9, len(PACKED) - 8, len(PACKED) - 1],
)
def test_a_cut_is_made_good_by_the_rest(site: Site, folder: Path, cut_at: int) -> None:
    site.answers = deque([Answer(cut_at=cut_at)])
    assert is_whole(get(site, folder))
    assert ranges(site) == ["", f"bytes={cut_at}-" if cut_at else ""]


def test_cuts_anywhere_are_made_good(folder: Path) -> None:
    print(f"TEST_SEED={SEED}")
    generator = random.Random(SEED)
    with serving(PACKED) as site:
        for number in range(60):
            cuts = [generator.randrange(len(PACKED)) for _ in range(generator.randint(1, 5))]
            site.answers = deque(Answer(cut_at=cut) for cut in cuts)
            assert is_whole(get(site, folder / str(number))), f"{SEED}: {cuts}"


def test_many_cuts_that_each_bring_something_are_survived(site: Site, folder: Path) -> None:
    site.otherwise = Answer(cut_at=len(PACKED) // 50)
    assert is_whole(get(site, folder))
    assert len(site.asked) > 40


@pytest.mark.parametrize(
    ("no_promise", "cut_at"), [(False, 5000), (True, 5000), (True, len(PACKED) - 4)]
)
def test_a_cut_without_ranges_begins_anew(
    site: Site, folder: Path, no_promise: bool, cut_at: int
) -> None:
    length = -1 if no_promise else None
    site.answers = deque([Answer(cut_at=cut_at, length=length)])
    site.otherwise = Answer(ignore_range=True, length=length)
    assert is_whole(get(site, folder))


def test_without_etag_and_date_nothing_is_asked_for_in_part(site: Site, folder: Path) -> None:
    site.etag = site.modified = ""
    site.answers = deque([Answer(cut_at=5000)])
    assert is_whole(get(site, folder))
    assert ranges(site) == ["", ""]


def test_without_etag_the_date_will_do(site: Site, folder: Path) -> None:
    site.etag = ""
    site.answers = deque([Answer(cut_at=5000)])
    assert is_whole(get(site, folder))
    assert site.asked[1]["if-range"] == site.modified


def test_a_weak_etag_is_not_asked_with(site: Site, folder: Path) -> None:
    site.etag = 'W/"v1"'
    site.answers = deque([Answer(cut_at=5000)])
    assert is_whole(get(site, folder))
    assert site.asked[1]["if-range"] == site.modified


def test_two_versions_are_never_mixed(folder: Path) -> None:
    other = TEXT.replace(b"7.1", b"3.4")
    with serving(PACKED) as site:
        site.answers = deque([Answer(cut_at=7000)])
        for error in (ConnectionError("planted"), None):
            site.content, site.etag = (PACKED, '"v1"') if error else (gzip.compress(other), '"v2"')
            if error:
                with pytest.raises(SourceError):
                    fetch(site.url, folder, "dump", patience=Patience(1, 0, 0, (5, 5)))
            else:
                assert is_whole(get(site, folder), other)
    assert ranges(site) == ["", "bytes=7000-"]


def test_a_server_that_mixes_versions_itself_is_found_out(site: Site, folder: Path) -> None:
    site.answers = deque([Answer(cut_at=7000), Answer(headers={"ETag": '"v2"'})])
    site.answers[1].status = 206
    site.answers[1].headers |= {"Content-Range": f"bytes 7000-{len(PACKED) - 1}/{len(PACKED)}"}
    site.answers[1].body = b"x" * (len(PACKED) - 7000)
    assert is_whole(get(site, folder))


def test_another_part_than_asked_for_is_not_taken(site: Site, folder: Path) -> None:
    site.answers = deque([Answer(cut_at=7000), Answer(wrong_part=True)])
    assert is_whole(get(site, folder))
    assert ranges(site) == ["", "bytes=7000-", ""]


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_trouble_of_the_server_is_waited_for(site: Site, folder: Path, status: int) -> None:
    site.answers = deque([Answer(status=status, body=b"<html>")] * 3)
    assert is_whole(get(site, folder))
    assert len(site.asked) == 4


def test_trouble_that_does_not_end_is_an_error(site: Site, folder: Path) -> None:
    site.otherwise = Answer(status=503, body=b"<html>")
    with pytest.raises(SourceError, match=r"503.*tried 4 times"):
        get(site, folder)
    assert not (folder / "dump").exists()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_will_not_get_better_is_an_error_at_once(
    site: Site, folder: Path, status: int
) -> None:
    site.otherwise = Answer(status=status, body=b"<html>")
    with pytest.raises(SourceError, match=str(status)):
        get(site, folder)
    assert len(site.asked) == 1


def test_the_server_says_how_long_to_wait(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("imdb_producer.download.time.sleep", waits.append)
    site.answers = deque([Answer(status=503, headers={"Retry-After": "7"})])
    assert is_whole(get(site, folder))
    assert waits == [7]


@pytest.mark.parametrize("length", [len(PACKED) + 1, len(PACKED) * 2])
def test_a_promise_of_too_much_is_an_error(site: Site, folder: Path, length: int) -> None:
    site.otherwise = Answer(length=length, ignore_range=True)
    with pytest.raises(SourceError, match="Cannot download"):
        get(site, folder)
    assert not (folder / "dump").exists()


def test_a_promise_of_too_little_is_made_good(site: Site, folder: Path) -> None:
    site.answers = deque([Answer(length=5000)])
    assert is_whole(get(site, folder))


def test_a_promise_of_too_little_that_stays_is_an_error(site: Site, folder: Path) -> None:
    site.otherwise = Answer(length=5000, ignore_range=True)
    with pytest.raises(SourceError, match="damaged or cut short"):
        get(site, folder)


def test_a_slow_server_is_waited_for(site: Site, folder: Path) -> None:
    site.otherwise = Answer(pause=0.01)
    assert is_whole(get(site, folder))


def test_a_server_that_falls_silent_is_asked_again(site: Site, folder: Path) -> None:
    site.answers = deque([Answer(pause=2)])
    quick = Patience(attempts=4, first_delay=0.001, longest_delay=0.002, timeout=(5, 0.3))
    assert is_whole(fetch(site.url, folder, "dump", patience=quick))
    assert ranges(site)[1].startswith("bytes=")


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>Log in</html>", b"<html>" + b"x" * 10**5])
def test_a_page_is_an_error_and_leaves_the_cache_alone(
    site: Site, folder: Path, page: bytes
) -> None:
    source = get(site, folder)
    site.etag, site.content = '"v2"', page
    with pytest.raises(SourceError, match="neither gzip nor TSV"):
        get(site, folder, allow_cached=True)
    assert is_whole(source)


def test_plain_text_of_unknown_length_is_refused(folder: Path) -> None:
    with serving(TEXT) as site:
        site.otherwise = Answer(length=-1)
        with pytest.raises(SourceError, match="does not say how long it is"):
            get(site, folder)


def test_an_unchanged_dump_is_not_sent_again(site: Site, folder: Path) -> None:
    first = get(site, folder)
    assert get(site, folder) == first
    assert site.asked[1]["if-none-match"] == '"v1"'
    assert is_whole(first)


def test_a_changed_dump_is(site: Site, folder: Path) -> None:
    get(site, folder)
    other = TEXT.replace(b"7.1", b"3.4")
    site.content, site.etag = gzip.compress(other), '"v2"'
    assert is_whole(get(site, folder), other)


def test_without_network_the_last_download_will_do_if_that_is_allowed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(PACKED) as site:
        first = get(site, folder)
    assert get(site, folder, allow_cached=True) == first
    assert "copy of" in caplog.text
    assert "in the cache, as ALLOW_CACHED allows" in caplog.text
    with pytest.raises(SourceError, match="Connection refused"):
        get(site, folder)


def test_the_last_download_of_another_address_will_not_do(folder: Path) -> None:
    with serving(PACKED) as site:
        get(site, folder)
        other = site.url.replace("dump", "other")
    with pytest.raises(SourceError, match="Connection refused"):
        fetch(other, folder, "dump", allow_cached=True, patience=QUICK)


def test_a_new_process_goes_on_with_what_was_left(site: Site, folder: Path) -> None:
    site.answers = deque([Answer(cut_at=9000)])
    with pytest.raises(SourceError):
        fetch(site.url, folder, "dump", patience=Patience(1, 0, 0, (5, 5)))
    assert is_whole(get(site, folder))
    assert ranges(site) == ["", "bytes=9000-"]


def test_what_was_left_and_damaged_is_not_gone_on_with(site: Site, folder: Path) -> None:
    site.answers = deque([Answer(cut_at=9000)])
    with pytest.raises(SourceError):
        fetch(site.url, folder, "dump", patience=Patience(1, 0, 0, (5, 5)))
    left = folder / ".dump.partial"
    left.write_bytes(left.read_bytes()[:4000] + b"\0" * 5000)
    assert is_whole(get(site, folder))


def test_a_full_disk_is_an_error_and_is_not_kept_full(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: object, _chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.Partial, "add", full)
    with pytest.raises(SourceError, match="No space left on device"):
        get(site, folder)
    assert [it.name for it in folder.iterdir()] == [".dump.lock"]


def test_too_little_room_is_seen_before_it_is_filled(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = os.statvfs("/")
    little = os.statvfs_result((*free[:4], 0, *free[5:]))
    monkeypatch.setattr("imdb_producer.download.os.statvfs", lambda _: little)
    with pytest.raises(SourceError, match=r"takes [0-9,]+ bytes more, and 0 are free"):
        get(site, folder)


def test_two_downloads_to_one_place_are_refused(site: Site, folder: Path) -> None:
    with (
        exclusive(folder / ".dump.lock", "downloads dump"),
        pytest.raises(BusyError, match=f"process {os.getpid()}"),
    ):
        get(site, folder)
