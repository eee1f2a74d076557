"""The producer's command on a host: the same settings for whoever calls it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import jinja2
import pytest

TEMPLATES = Path(__file__).parents[2] / "roles/producer/templates"
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@pytest.fixture
def wrapper(tmp_path: Path) -> Path:
    """The wrapper, with the program replaced by one that prints its environment."""
    environment = jinja2.Environment(undefined=jinja2.ChainableUndefined)
    environment.filters |= {"comment": str, "bool": bool}
    text = environment.from_string((TEMPLATES / "imdb-producer.j2").read_text()).render(
        producer_fast=False, producer_user="imdb-producer", ansible_managed="# managed"
    )
    settings = tmp_path / "producer.env"
    settings.write_text('HTTP_PROXY=""\nHTTPS_PROXY="http://proxy:3128"\nNO_PROXY="localhost"\n')
    for before, after in (
        ("/etc/imdb-producer/producer.env", str(settings)),
        ("/opt/imdb-producer/current", str(tmp_path)),
        ("/opt/imdb-producer-duckdb/current", str(tmp_path)),
        ("/usr/bin/python3 -m imdb_producer", "env"),
    ):
        assert before in text
        text = text.replace(before, after)
    path = tmp_path / "imdb-producer"
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_proxies_are_those_of_the_settings_whoever_calls_it(wrapper: Path) -> None:
    ambient = {name: "http://ambient:1" for lower in PROXIES for name in (lower, lower.upper())}
    shown = [
        subprocess.run(
            ["/bin/bash", str(wrapper)],
            env={"PATH": "/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for environment in ({}, ambient)
    ]
    assert shown[0] == shown[1]
    found = dict(line.split("=", 1) for line in shown[1].splitlines())
    proxies = {name: value for name, value in found.items() if name.lower() in PROXIES}
    assert proxies == {
        "HTTP_PROXY": "",
        "HTTPS_PROXY": "http://proxy:3128",
        "NO_PROXY": "localhost",
    }
