"""What spark-ask, which units of Spark wait by, says of web UIs with and without TLS."""

from __future__ import annotations

import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "roles/spark/templates/spark-ask.j2"


class Page(http.server.BaseHTTPRequestHandler):
    """The page of a worker that is registered after its third answer."""

    def do_GET(self) -> None:
        asked = self.server.asked = getattr(self.server, "asked", 0) + 1  # type: ignore[attr-defined]
        self.send_response(200 if self.path == "/json/" else 404)
        self.end_headers()
        said = {"masterurl": "spark://192.0.2.1:7077" if asked > 3 else "", "coresused": 12}
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[str]:
    """Serve the page, by TLS with a certificate; yield its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def made(folder: Path, name: str) -> Path:
    """Return a file with a private key and a certificate for a name of the loopback address."""
    file = folder / "pair.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    request += ["-nodes", "-subj", "/CN=spark", "-addext", f"subjectAltName={name}"]
    parts = [str(folder / "key.pem"), str(folder / "ca.pem")]
    subprocess.run(
        [*request, "-keyout", parts[0], "-out", parts[1]], check=True, capture_output=True
    )
    file.write_text("".join(Path(part).read_text() for part in parts))
    return file


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program as a host has it."""
    file = tmp_path / "spark-ask"
    file.write_text(TEMPLATE.read_text().replace("{{ ansible_managed | comment }}", "# ours"))
    return file


def ask(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it."""
    command = [sys.executable, "-I", str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_it_prints_what_a_page_says(program: Path) -> None:
    with serving() as url:
        assert json.loads(ask(program, url).stdout)["coresused"] == 12


def test_it_takes_a_page_by_tls_with_the_certificate_of_its_ca_alone(
    program: Path, tmp_path: Path
) -> None:
    with serving(made(tmp_path, "IP:127.0.0.1")) as url:
        assert "spark://" not in ask(program, url).stdout
        assert ask(program, url).returncode == 1
        known = ask(program, url, f"--ca={tmp_path / 'ca.pem'}")
        assert json.loads(known.stdout)["coresused"] == 12


def test_it_takes_no_certificate_of_another_name(program: Path, tmp_path: Path) -> None:
    with serving(made(tmp_path, "DNS:other.example")) as url:
        said = ask(program, url, f"--ca={tmp_path / 'ca.pem'}")
    assert (said.returncode, said.stdout) == (1, "")
    assert "127.0.0.1" in said.stderr


def test_it_waits_until_the_answer_matches_and_says_nothing(program: Path) -> None:
    with serving() as url:
        said = ask(program, url, "--until=masterurl=spark:", f"--while-pid={os.getpid()}")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_it_does_not_take_a_number_for_one_that_begins_so(program: Path) -> None:
    with serving() as url:
        assert ask(program, url, "--until=coresused=1$", "--seconds=0.5").returncode == 1
        assert ask(program, url, "--until=coresused=12$", "--seconds=5").returncode == 0


def test_it_waits_no_longer_than_the_process_or_the_time(program: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    # Nobody listens there.
    nowhere = "http://127.0.0.1:1"
    said = ask(program, nowhere, "--until=status=ALIVE", f"--while-pid={ended.pid}")
    assert f"process {ended.pid} has ended" in said.stderr
    begin = time.monotonic()
    assert ask(program, nowhere, "--until=status=ALIVE", "--seconds=1").returncode == 1
    assert time.monotonic() - begin < 10


def test_it_tells_of_a_page_that_does_not_answer(program: Path) -> None:
    said = ask(program, "http://127.0.0.1:1")
    assert said.returncode == 1
    assert "spark-ask: http://127.0.0.1:1: " in said.stderr
