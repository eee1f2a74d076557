"""How the modules reach brokers: what keeps them out is named, and nothing stays behind."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest

from ..producer.broker import SecuredBroker, cut_off_port, free_port
from .modules import load_utility

kafka_admin = load_utility("kafka_admin")
SYSTEM_CAS = "/etc/ssl/certs/ca-certificates.crt"


def ask(servers: str, security: dict[str, Any]) -> Any:
    with kafka_admin.Cluster(servers, security) as cluster:
        return cluster.metadata([])


def test_a_login_by_tls_is_answered(secured_broker: SecuredBroker) -> None:
    assert list(ask(secured_broker.address, dict(secured_broker.security)).brokers) == [1]


def test_a_broker_that_is_not_there_is_passed_over(secured_broker: SecuredBroker) -> None:
    servers = f"127.0.0.1:{free_port()},{secured_broker.address}"
    assert list(ask(servers, dict(secured_broker.security)).brokers) == [1]


def test_a_wrong_password_is_named_and_given_up(secured_broker: SecuredBroker) -> None:
    wrong = secured_broker.login(secured_broker.USER, "another")
    began = time.monotonic()
    with pytest.raises(kafka_admin.LoginError, match="refuses user kafka or the password") as told:
        # The broker's answer is lost by chance; then it is asked again.
        kafka_admin.patiently(lambda: ask(secured_broker.address, wrong), began + 60)
    assert time.monotonic() - began < 30
    assert "another" not in str(told.value)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"ssl_cafile": "/none.pem"}, "ssl_cafile /none.pem is not on this host"),
        ({"ssl_cafile": SYSTEM_CAS}, f"is not one that {SYSTEM_CAS} trusts"),
    ],
)
def test_a_wrong_ca_is_named(
    secured_broker: SecuredBroker, other: dict[str, str], told: str
) -> None:
    with pytest.raises(kafka_admin.KafkaError, match=told):
        ask(secured_broker.address, {**secured_broker.security, **other})


def test_nobody_there_is_named_with_each_address() -> None:
    first, second = free_port(), free_port()
    with pytest.raises(kafka_admin.NotReadyError, match=f":{first}: .*REFUSED; .*:{second}: "):
        ask(f"127.0.0.1:{first},127.0.0.1:{second}", {})


def test_a_host_that_is_cut_off_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_admin, "TIMEOUT_MS", 500)
    with cut_off_port() as port, pytest.raises(kafka_admin.NotReadyError):
        ask(f"127.0.0.1:{port}", {})


def test_no_thread_stays_behind(secured_broker: SecuredBroker) -> None:
    before = threading.active_count()
    for security in (dict(secured_broker.security), {}):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kafka_admin, "TIMEOUT_MS", 2000)
            for _ in range(3):
                try:
                    ask(secured_broker.address, security)
                except kafka_admin.NotReadyError:
                    assert not security
    assert threading.active_count() == before


def test_kafka_python_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kafka", None)
    with pytest.raises(kafka_admin.NotReadyError, match="role kafka"):
        ask("127.0.0.1:1", {})
