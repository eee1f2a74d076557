#!/usr/bin/python3
"""Stands in for Grafana, which no source has for everybody.

It reads all below its folder of settings once, at its start and as its user, as Grafana reads data
sources and providers, and tells on its port what it has read.
"""

import http.server
import json
import pathlib
import sys

SETTINGS = pathlib.Path(sys.argv[1])
READ = {str(path): path.read_text() for path in sorted(SETTINGS.rglob("*")) if path.is_file()}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every question with all that was read."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(READ).encode())


http.server.HTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
