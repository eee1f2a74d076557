"""Elections by TLS with a certificate; what is wrong with it is named."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import ACL, ANYONE_ID_UNSAFE, Id

from imdb_standby import cli
from imdb_standby.election import Election, UnreachableError
from imdb_standby.tls import Tls, kazoo_settings
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


def test_nodes_have_the_rights_of_what_is_above_them(secured: SecuredBroker) -> None:
    def tls(name: str) -> Tls:
        return Tls(str(secured.ca), str(secured.authority.certificate(name)))

    address = secured.secured_zookeeper_address
    operator, other = (KazooClient(address, **kazoo_settings(tls(it))) for it in ("kafka", "other"))
    rights = [
        ACL(31, Id("auth", "")),
        ACL(12, Id("x509", "CN=streaming")),
        ACL(1, ANYONE_ID_UNSAFE),
    ]
    operator.start(60)
    other.start(60)
    operator.create("/rights", b"", acl=rights)
    election = Election(address, "/rights/below/trial", "one", 4, tls("streaming"))
    election.connect(20)
    try:
        assert election.run_for_it() == "one"
        wanted = set(operator.get_acls("/rights")[0]) | {ACL(15, Id("x509", "CN=streaming"))}
        for path in ("/rights/below", "/rights/below/trial"):
            assert set(operator.get_acls(path)[0]) == wanted
        # Who leads is for everybody to know, and for nobody else to change.
        assert other.get("/rights/below/trial")[0] == b"one"
        for change in (other.delete, lambda path: other.set(path, b"two")):
            with pytest.raises(NoAuthError):
                change("/rights/below/trial")
        for server, files in ((address, tls("other")), (secured.zookeeper_address, None)):
            stranger = Election(server, "/rights/below/another", "two", 4, files)
            stranger.connect(20)
            with pytest.raises(UnreachableError, match="refuses this host at /rights/below/ano"):
                stranger.run_for_it()
            stranger.close()
    finally:
        election.close()
        for client in (operator, other):
            client.stop()
            client.close()


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
