"""Fetching: a whole file in the cache, or an error and the former file."""

from __future__ import annotations

import gzip
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from imdb_producer.download import Patience, fetch
from imdb_producer.errors import SourceError
from imdb_producer.sources import open_blocks

TEXT = b"tconst\taverageRating\tnumVotes\n" + b"tt0000001\t7.1\t1000\n" * 5000
PACKED = gzip.compress(TEXT, mtime=0)
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"

#: path -> (status, promised length, body)
RESPONSES: dict[str, tuple[int, int, bytes]] = {
    "/whole.tsv.gz": (200, len(PACKED), PACKED),
    "/plain.tsv": (200, len(TEXT), TEXT),
    "/cut-gzip.tsv.gz": (200, len(PACKED) // 2, PACKED[: len(PACKED) // 2]),
    "/cut-trailer.tsv.gz": (200, len(PACKED) - 4, PACKED[:-4]),
    "/cut-connection.tsv.gz": (200, len(PACKED), PACKED[: len(PACKED) // 2]),
    "/cut-plain.tsv": (200, len(TEXT), TEXT[: len(TEXT) // 2]),
    "/flipped.tsv.gz": (200, len(PACKED), PACKED[:-8] + b"\0" * 4 + PACKED[-4:]),
    "/page.tsv.gz": (200, len(HTML), HTML),
    "/empty.tsv.gz": (200, 0, b""),
    "/error.tsv.gz": (500, len(HTML), HTML),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, length, body = RESPONSES.get(self.path.partition("?")[0], (404, len(HTML), HTML))
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join(timeout=10)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


QUICK = Patience(attempts=3, first_delay=0.01, longest_delay=0.01, timeout=(5, 5))


def read(path: Path) -> bytes:
    with open_blocks(path) as blocks:
        return b"".join(blocks)


@pytest.mark.parametrize("path", ["/whole.tsv.gz", "/plain.tsv"])
def test_gzip_and_plain_are_fetched_over_http(server: str, cache: Path, path: str) -> None:
    assert read(fetch(server + path, cache, "dump").path) == TEXT


@pytest.mark.parametrize("content", [PACKED, TEXT, PACKED + PACKED])
def test_gzip_and_plain_are_taken_from_files(cache: Path, tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "a dump.tsv"
    source.write_bytes(content)
    assert read(fetch(source.as_uri(), cache, "dump").path).startswith(TEXT)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing.tsv.gz", "404"),
        ("/error.tsv.gz", "500"),
        ("/page.tsv.gz", "neither gzip nor TSV"),
        ("/empty.tsv.gz", "is empty"),
        ("/cut-gzip.tsv.gz", "damaged or cut short"),
        ("/cut-trailer.tsv.gz", "damaged or cut short"),
        ("/flipped.tsv.gz", "damaged or cut short"),
        ("/cut-connection.tsv.gz", "Cannot download"),
        ("/cut-plain.tsv", "Cannot download"),
    ],
)
def test_a_bad_answer_is_an_error_and_leaves_the_cache_alone(
    server: str, cache: Path, path: str, reason: str
) -> None:
    fetch(server + "/whole.tsv.gz", cache, "dump")
    with pytest.raises(SourceError) as caught:
        fetch(server + path, cache, "dump", patience=QUICK)
    assert server + path in str(caught.value)
    assert reason in str(caught.value)
    assert sorted(found.name for found in cache.iterdir()) == [".dump.lock", "dump", "dump.json"]
    assert read(cache / "dump") == TEXT


def no_file(folder: Path) -> str:
    return (folder / "missing.tsv.gz").as_uri()


def a_folder(folder: Path) -> str:
    return folder.as_uri()


def no_server(_: Path) -> str:
    # Port 1 is reserved, and nothing listens there.
    return "http://127.0.0.1:1/dump.tsv.gz"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (no_file, "No such file or directory"),
        (a_folder, "Is a directory"),
        (no_server, "Connection refused"),
    ],
)
def test_a_source_that_is_not_there_is_named(
    cache: Path, tmp_path: Path, url: Callable[[Path], str], reason: str
) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(url(tmp_path), cache, "dump", patience=QUICK)
    assert url(tmp_path) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "path",
    ["missing.tsv.gz", "empty.tsv.gz", "page.tsv.gz", "cut-trailer.tsv.gz", "cut-plain.tsv"],
)
def test_no_secret_of_an_address_is_told(
    server: str, cache: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.DEBUG, "imdb_producer")
    url = f"{server.replace('//', '//user:planted@')}/{path}?signature=planted"
    with pytest.raises(SourceError) as caught:
        fetch(url, cache, "dump", patience=QUICK)
    told = caplog.text + "".join(traceback.format_exception(caught.value))
    assert f"/{path}" in told
    assert "planted" not in told


def test_no_secret_of_an_address_is_told_when_nobody_answers(cache: Path) -> None:
    url = "http://user:planted@127.0.0.1:1/dump?signature=planted"
    with pytest.raises(SourceError, match="Connection refused") as caught:
        fetch(url, cache, "dump", patience=QUICK)
    assert "planted" not in "".join(traceback.format_exception(caught.value))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, server: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match=r"Cannot write to .*CACHE_DIR"):
        fetch(server + "/whole.tsv.gz", tmp_path / "file" / "cache", "dump")


def test_a_file_damaged_in_the_cache_is_an_error_while_it_is_read(tmp_path: Path) -> None:
    damaged = tmp_path / "dump"
    damaged.write_bytes(PACKED[:-20])
    with pytest.raises(SourceError, match="remove it and start again"):
        read(damaged)
