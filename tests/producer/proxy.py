"""A small forward proxy on the loopback that notes what it is asked."""

from __future__ import annotations

import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ..direct import DIRECT


@dataclass
class Proxy:
    """What it was asked: method and target, and the credentials that came along."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    credentials: list[str | None] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    timeout = 10

    def _note(self) -> None:
        self.proxy.asked.append(f"{self.command} {self.path}")
        self.proxy.credentials.append(self.headers["Proxy-Authorization"])

    def do_GET(self) -> None:
        """Fetch what is asked for."""
        self._note()
        try:
            with DIRECT.open(self.path, timeout=10) as answer:
                status, body = 200, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        """Lead nowhere."""
        self._note()
        self.send_error(502, "leads nowhere")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def proxying() -> Iterator[Proxy]:
    """Run a proxy."""
    proxy = Proxy()
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join(timeout=10)
