"""What uv is told of the settings that pip has."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from uv_install import SettingError, read_settings, translated

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
USUAL = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "true"}


def test_the_narrowest_setting_is_in_force() -> None:
    listed = "\n".join(
        [
            ":env:.index-url='https://third/simple'",
            "global.index-url='https://first/simple'",
            "global.timeout='60'",
            "download.timeout='7'",
            "install.index-url='https://second/simple'",
            "global.find-links='\\n/a\\n/b'",
        ]
    )
    assert read_settings(listed, {"CURL_CA_BUNDLE": "/ca.pem"}) == {
        "index-url": "https://third/simple",
        "timeout": "60",
        "find-links": "\n/a\n/b",
        "cert": "/ca.pem",
    }


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("index-url", "https://u:p@x/simple", {"UV_DEFAULT_INDEX": "https://u:p@x/simple"}),
        ("extra-index-url", "\nhttps://a\nhttps://b", {"UV_INDEX": "https://a https://b"}),
        ("no-index", "true", {"no-index": "yes"}),
        ("find-links", "/ /nowhere https://a/b", {"UV_FIND_LINKS": "/,https://a/b"}),
        ("find-links", "/nowhere", {}),
        ("trusted-host", "a b:8080", {"UV_INSECURE_HOST": "a b:8080"}),
        ("cert", "/ca.pem", {"SSL_CERT_FILE": "/ca.pem", "UV_SYSTEM_CERTS": "false"}),
        ("cert", "/", {"SSL_CERT_DIR": "/", "UV_SYSTEM_CERTS": "false"}),
        ("client-cert", "/me.pem", {"SSL_CLIENT_CERT": "/me.pem"}),
        ("proxy", "proxy:3128", {"ALL_PROXY": "http://proxy:3128"}),
        ("default-timeout", "180", {"UV_HTTP_TIMEOUT": "180"}),
        ("disable-pip-version-check", "1", {}),
    ],
)
def test_each_setting_is_told(name: str, value: str, told: dict[str, str]) -> None:
    assert translated({name: value}) == USUAL | told


def test_a_setting_that_uv_cannot_be_told_is_named() -> None:
    with pytest.raises(SettingError, match="only-binary = ':all:' cannot be told to uv"):
        translated({"only-binary": ":all:"})


@pytest.mark.skipif(not UV.exists(), reason="uv could not be had for the venv of these tests")
def test_uv_asks_the_index_and_no_other(tmp_path: Path) -> None:
    asked = []

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
            self.end_headers()
            answer = {"meta": {"api-version": "1.0"}, "name": "hello", "files": []}
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *values: object) -> None:
            pass

    packages = tmp_path / "list.txt"
    packages.write_text("hello==1.0 --hash=sha256:" + "0" * 64)
    settings = tmp_path / "pip.conf"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings.write_text(f"[global]\nindex-url = http://127.0.0.1:{server.server_port}/mine\n")
        result = subprocess.run(
            [sys.executable, ROOT / "tools/uv_install.py", packages],
            env={
                **{it: os.environ[it] for it in os.environ if it[:4] not in ("PIP_", "UV_I")},
                "PIP_CONFIG_FILE": str(settings),
                "UV_CACHE_DIR": str(tmp_path / "cache"),
                "NO_PROXY": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        server.shutdown()
    assert result.returncode != 0
    assert "hello" in result.stderr
    assert set(asked) == {"/mine/hello/"}
