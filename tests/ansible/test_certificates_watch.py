"""What imdb-certificates, which hosts run daily, says of when certificates end."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..certificates import Ca
from .test_certificates import filters

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "roles/certificates/templates/imdb-certificates.j2"
END = "imdb_certificate_end_timestamp_seconds"
DAY = 86400


@pytest.fixture
def ca(tmp_path: Path) -> Ca:
    return Ca(tmp_path, days=300)


def look(folder: Path, days: int = 21) -> subprocess.CompletedProcess[str]:
    """Look at a host's two files."""
    program = folder / "imdb-certificates"
    program.write_text(TEMPLATE.read_text().replace("{{ ansible_managed | comment }}", "#"))
    return subprocess.run(
        [sys.executable, "-I", program, str(days), folder / "certificates.pem", folder / "ca.pem"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write(folder: Path, *services: str) -> None:
    """Write what a host's file of public certificates holds."""
    files = [{"name": name, "certificate": str(folder / f"{name}.pem")} for name in services]
    text = filters.public_certificates(files)
    (folder / "certificates.pem").write_text(f"#\n# Ansible managed\n#\n{text}")


def ends(said: str) -> dict[tuple[str, str], int]:
    """Return the ends that were printed, by name and subject."""
    found = re.findall(rf'^{END}{{name="(.*)",subject="(.*)"}} (\d+)$', said, re.MULTILINE)
    return {(name, subject): int(end) for name, subject, end in found}


def numbers(said: str) -> dict[str, int]:
    """Return the numbers without labels."""
    return {name: int(it) for name, it in re.findall(r"^(\w+) (\d+)$", said, re.MULTILINE)}


def test_no_private_key_is_made_public(ca: Ca, tmp_path: Path) -> None:
    both = ca.certificate("kafka")
    assert "PRIVATE KEY" in both.read_text()
    write(tmp_path, "kafka")
    public = (tmp_path / "certificates.pem").read_text()
    assert "PRIVATE" not in public
    assert public.count("BEGIN CERTIFICATE") == both.read_text().count("BEGIN CERTIFICATE") == 2


def test_the_end_of_each_is_told_with_its_name(ca: Ca, tmp_path: Path) -> None:
    ca.certificate("kafka", hours=(-1, 100 * 24))
    ca.certificate("zookeeper", hours=(-1, 200 * 24))
    write(tmp_path, "kafka", "zookeeper")
    begun = int(time.time())
    done = look(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = ends(done.stdout)
    assert set(found) == {
        ("kafka", "CN=kafka"),
        ("kafka", "CN=CA of the test"),
        ("zookeeper", "CN=zookeeper"),
        ("zookeeper", "CN=CA of the test"),
        ("ca", "CN=CA of the test"),
    }
    told = numbers(done.stdout)
    assert told["imdb_certificates_warn_seconds"] == 21 * DAY
    assert begun <= told["imdb_certificates_checked_timestamp_seconds"] <= time.time()
    # The tests' certificates are made when these begin.
    for named, days in {("kafka", "CN=kafka"): 100, ("ca", "CN=CA of the test"): 300}.items():
        assert begun + (days - 1) * DAY < found[named] <= begun + days * DAY


def test_each_that_ends_soon_or_has_ended_is_warned_of(ca: Ca, tmp_path: Path) -> None:
    ca.certificate("kafka", hours=(-1, 20.5 * 24))
    ca.certificate("spark", hours=(-100, -50))
    ca.certificate("zookeeper", hours=(-1, 22 * 24))
    write(tmp_path, "kafka", "spark", "zookeeper")
    done = look(tmp_path)
    assert done.returncode == 0
    first, second = done.stderr.splitlines()
    assert re.match(r"<4>The certificate of kafka \(CN=kafka\) ends on .* UTC, in 20 days\.", first)
    assert re.match(r"<4>The certificate of spark \(CN=spark\) has ended on .*, 2 days ago", second)
    assert len(ends(done.stdout)) == 7


def test_of_a_ca_another_way_out_is_named(ca: Ca, tmp_path: Path) -> None:
    ca.certificate("kafka", hours=(-1, 400 * 24))
    (tmp_path / "certificates.pem").write_text("# nothing here\n")
    done = look(tmp_path, 301)
    assert re.match(r"<4>The certificate of ca \(CN=CA of the test\).* rotate=ca; ", done.stderr)
    assert done.stderr.count("\n") == 1


def test_of_two_cas_each_is_told(ca: Ca, tmp_path: Path) -> None:
    following = Ca(tmp_path / "following", "CA that follows", days=600)
    ca.ca.write_text(ca.ca.read_text() + following.ca.read_text())
    write(tmp_path)
    done = look(tmp_path, 400)
    assert set(ends(done.stdout)) == {
        ("ca", "CN=CA of the test"),
        ("ca", "CN=CA that follows"),
    }
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        ("nothing", "ca.pem holds no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nTm8=\n-----END CERTIFICATE-----\n",
            "openssl cannot read a certificate",
        ),
    ],
)
def test_what_cannot_be_read_is_an_error(
    ca: Ca, tmp_path: Path, content: str | None, told: str
) -> None:
    write(tmp_path)
    ca.ca.unlink()
    if content is not None:
        ca.ca.write_text(content)
    done = look(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("<3>imdb-certificates: ")
    assert told in done.stderr


def test_it_tells_every_number_that_its_alerts_read(ca: Ca, tmp_path: Path) -> None:
    ca.certificate("kafka")
    write(tmp_path, "kafka")
    rules = (ROOT / "roles/prometheus/files/alerts/imdb-certificates.yml").read_text()
    read = set(re.findall(r"\bimdb_certificates?_\w+", rules))
    assert len(read) == 3
    assert read == set(re.findall(r"^(\w+)[ {]", look(tmp_path).stdout, re.MULTILINE))
