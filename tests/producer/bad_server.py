"""An HTTP server that misbehaves as told."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """One answer: by default whole and right.

    `cut_at` ends the connection after so many bytes of the body; `length` is what is promised,
    -1 to promise nothing; `pause` is in seconds, after each 1,000 bytes.
    """

    status: int = 200
    cut_at: int | None = None
    length: int | None = None
    pause: float = 0.0
    body: bytes | None = None
    ignore_range: bool = False
    wrong_part: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Site:
    """What the server has, how it answers next, and what it was asked."""

    content: bytes
    etag: str = '"v1"'
    modified: str = "Wed, 01 Jan 2025 00:00:00 GMT"
    answers: deque[Answer] = field(default_factory=deque)
    otherwise: Answer = field(default_factory=Answer)
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: Site
    timeout = 10

    def do_GET(self) -> None:
        """Answer as told."""
        site = self.site
        site.asked.append({name.lower(): value for name, value in self.headers.items()})
        answer = site.answers.popleft() if site.answers else site.otherwise
        body = site.content if answer.body is None else answer.body
        status, part = answer.status, ""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        current = self.headers.get("If-Range", "") in {site.etag or None, site.modified or None}
        if status == 200 and asked and current and not answer.ignore_range:
            start = int(asked[1])
            if start >= len(body):
                status, body = 416, b""
            else:
                first = start + 1 if answer.wrong_part else start
                part = f"bytes {first}-{len(body) - 1}/{len(body)}"
                status, body = 206, body[start:]
        elif status == 200 and site.etag and self.headers.get("If-None-Match") == site.etag:
            status, body = 304, b""
        self.send_response(status)
        length = len(body) if answer.length is None else answer.length
        if length >= 0:
            self.send_header("Content-Length", str(length))
        for name, value in (
            ("ETag", site.etag),
            ("Last-Modified", site.modified),
            ("Content-Range", part),
            *answer.headers.items(),
        ):
            if value:
                self.send_header(name, value)
        self.end_headers()
        self._send(body if answer.cut_at is None else body[: answer.cut_at], answer.pause)
        self.close_connection = True

    def _send(self, body: bytes, pause: float) -> None:
        try:
            if not pause:
                self.wfile.write(body)
            else:
                for start in range(0, len(body), 1000):
                    self.wfile.write(body[start : start + 1000])
                    self.wfile.flush()
                    time.sleep(pause)
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            # Whoever asked has gone, as some tests have it.
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def serving(content: bytes) -> Iterator[Site]:
    """Serve a file that is called dump.tsv.gz, whatever it is."""
    site = Site(content)
    handler = type("Handler", (_Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        httpd.daemon_threads = True
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        site.url = f"http://127.0.0.1:{httpd.server_address[1]}/dump.tsv.gz"
        try:
            yield site
        finally:
            httpd.shutdown()
            thread.join(timeout=10)
