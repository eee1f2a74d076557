"""How `make tunnel` leads to web UIs that are open to the network, and to secured ones."""

from __future__ import annotations

import pytest
import tunnel
from hosts import BY_TLS, Target

GROUPS = {
    "spark_master": ["core-1", "core-2"],
    "spark_worker": ["core-2"],
    "streaming": ["core-2", "core-3"],
}
HOSTS = {f"core-{number}": {"host_address": f"192.0.2.{number}"} for number in (1, 2, 3)}


def forwards(
    monkeypatch: pytest.MonkeyPatch, unit_of_the_master: str, page: int | None = None
) -> list[list[str]]:
    """Return what each ssh forwards, and the host that it goes to."""
    monkeypatch.setattr(tunnel, "run", lambda *command: unit_of_the_master)
    monkeypatch.setattr(tunnel, "host_running", lambda target, unit: "core-3")
    monkeypatch.setattr(tunnel, "page_port", lambda target, host: page)
    commands = tunnel.forwards(Target("dev", HOSTS, GROUPS))
    return [[part for part in command if ":" in part or part in HOSTS] for command in commands]


def test_open_web_uis_are_reached_through_one_master(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert forwards(monkeypatch, "ExecStart=master") == [
        [
            "127.0.0.1:8080:192.0.2.1:8080",
            "127.0.0.1:8081:192.0.2.2:8081",
            "127.0.0.1:4040:192.0.2.3:4040",
            "core-1",
        ]
    ]
    assert "Streaming job: http://localhost:4040" in capsys.readouterr().out


def test_secured_web_uis_are_reached_on_their_own_hosts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert forwards(monkeypatch, f"Environment={BY_TLS}8080") == [
        ["127.0.0.1:8080:127.0.0.1:8080", "core-1"],
        ["127.0.0.1:8081:127.0.0.1:8081", "core-2"],
        ["127.0.0.1:4040:127.0.0.1:4440", "core-3"],
    ]
    assert "Streaming job: https://localhost:4040" in capsys.readouterr().out


def test_a_page_is_reached_on_its_own_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for unit in ("ExecStart=master", f"Environment={BY_TLS}8080"):
        page = ["127.0.0.1:9408:127.0.0.1:9408", "core-2"]
        assert page in forwards(monkeypatch, unit, page=9408)
    assert "Movies and pipeline: http://localhost:9408" in capsys.readouterr().out
