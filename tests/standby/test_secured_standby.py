"""Elections by TLS with a certificate; what is wrong with it is named."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from imdb_standby import cli
from tests.producer.broker import SecuredBroker, free_port, wait_until

from .conftest import PROGRAM, Host


@pytest.fixture
def secured(secured_zookeeper: SecuredBroker) -> SecuredBroker:
    return secured_zookeeper


@pytest.fixture
def environment(secured: SecuredBroker) -> dict[str, str]:
    return {
        "STANDBY_SERVERS": secured.secured_zookeeper_address,
        "STANDBY_CERTIFICATE": str(secured.authority.certificate("streaming")),
        "STANDBY_CA": str(secured.ca),
    }


def test_one_runs_and_the_next_follows(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    hosts: list[Host] = []
    try:
        for name in ("one", "two"):
            command = ["bash", "-c", PROGRAM.format(mark=tmp_path / f"{name}.pid")]
            hosts.append(Host(name, tmp_path, environment["STANDBY_SERVERS"], command))
            role = "leads" if name == "one" else "stands by"
            wait_until(f"{name} {role}", lambda it=hosts[-1], role=role: it.role == role)  # type: ignore[misc]
        hosts[0].signal(signal.SIGTERM)
        wait_until("two leads", lambda: hosts[1].role == "leads")
    finally:
        for host in hosts:
            host.end()


def test_who_leads_is_asked_by_tls(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["leader", "nobody"], environment) == cli.FAILED
    assert capsys.readouterr().out == ""


CASES = {
    "certificate missing": (cli.REFUSED, "STANDBY_CERTIFICATE='/none.pem': there is no such file"),
    "certificate not given": (cli.REFUSED, "STANDBY_CERTIFICATE='': STANDBY_CA is set, and TLS"),
    "certificate no key": (cli.REFUSED, "holds no certificate with its private key"),
    "certificate ended": (cli.REFUSED, "its certificate has ended on"),
    "certificate another": (cli.FAILED, "does not take this host's certificate (certificate un"),
    "CA missing": (cli.REFUSED, "STANDBY_CA='/none.pem': there is no such file"),
    "CA another": (cli.FAILED, "is of a CA that is not in"),
    "plain port": (cli.FAILED, "does not speak TLS"),
    "nobody": (cli.FAILED, "No ZooKeeper server answers at"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named(
    secured: SecuredBroker,
    environment: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    case: str,
) -> None:
    wrong = {
        "certificate missing": {"STANDBY_CERTIFICATE": "/none.pem"},
        "certificate not given": {"STANDBY_CERTIFICATE": ""},
        "certificate no key": {"STANDBY_CERTIFICATE": str(secured.ca)},
        "certificate ended": {
            "STANDBY_CERTIFICATE": str(secured.authority.certificate("old", hours=(-9, -1)))
        },
        "certificate another": {
            "STANDBY_CERTIFICATE": str(secured.other_authority.certificate("streaming"))
        },
        "CA missing": {"STANDBY_CA": "/none.pem"},
        "CA another": {"STANDBY_CA": str(secured.other_authority.ca)},
        "plain port": {"STANDBY_SERVERS": secured.zookeeper_address},
        "nobody": {"STANDBY_SERVERS": f"127.0.0.1:{free_port()}"},
    }[case]
    code, message = CASES[case]
    assert cli.main(["run", "--wait=1", "trial", "--", "true"], environment | wrong) == code
    assert message in caplog.text
