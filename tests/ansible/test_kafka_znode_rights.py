"""Whose Kafka's nodes in ZooKeeper are: the rights that Kafka itself gives, given later, and back.

With a real broker whose nodes are its own, by TLS.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .modules import load, load_utility

if TYPE_CHECKING:
    from ..producer.broker import SecuredBroker

znodes = load_utility("kafka_znodes")
module = load("roles/kafka/library/kafka_znode_rights.py", "kafka_znode_rights")


class FailedError(Exception):
    """The module has failed with these words."""


class Module:
    """What the module gets from Ansible."""

    def __init__(self, check_mode: bool = False, **given: Any) -> None:
        self.check_mode = check_mode
        self.params = given

    def fail_json(self, msg: str) -> None:
        raise FailedError(msg)


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """A broker that connects to ZooKeeper by TLS, and makes its nodes its own."""
    # Not for tests that need none: it imports the Kafka client.
    from ..producer.broker import SecuredBroker

    class Owner(SecuredBroker):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            self.certificate = self._certificate
            settings = (folder / "server.properties").read_text()
            settings = settings.replace(self.zookeeper_address, self.secured_zookeeper_address)
            (folder / "server.properties").write_text(
                f"{settings}zookeeper.set.acl=true\nzookeeper.ssl.client.enable=true\n"
                "zookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty\n"
                f"zookeeper.ssl.keystore.type=PEM\n"
                f"zookeeper.ssl.keystore.location={self._certificate}\n"
                f"zookeeper.ssl.truststore.type=PEM\nzookeeper.ssl.truststore.location={self.ca}\n"
            )

    broker = Owner(tmp_path_factory.mktemp("owner"))
    try:
        broker.start()
        broker.make_topic("movies")
        broker.set_user("producer", "of-the-producer-itself")
        broker.let_write("producer", "movies")
        yield broker
    finally:
        broker.close()


def asked(owner: Any, own: bool, **more: Any) -> Module:
    """What is asked of the module."""
    given = {
        "connect": owner.secured_zookeeper_address,
        "certificate": str(owner.certificate),
        "ca": str(owner.ca),
        "own": own,
    }
    return Module(more.pop("check_mode", False), **given | more)


def test_what_kafka_has_made_its_own_stays_so(owner: Any) -> None:
    assert module.run(asked(owner, own=True)) == {"changed": False, "nodes": []}


def test_nodes_are_opened_and_closed_again(owner: Any) -> None:
    strange = str(owner.authority.certificate("streaming"))
    user = (owner.secured_zookeeper_address, "/config/users/producer", strange, str(owner.ca))
    with pytest.raises(OSError, match="no right"):
        znodes.read_znode(*user)

    would = module.run(asked(owner, own=False, check_mode=True))
    done = module.run(asked(owner, own=False))
    assert done == would
    assert {"/brokers/topics/movies", "/config/users/producer", "/kafka-acl"} < set(done["nodes"])
    assert b"SCRAM-SHA-512" in znodes.read_znode(*user)
    assert module.run(asked(owner, own=False))["nodes"] == []

    closed = module.run(asked(owner, own=True))
    assert closed == done
    with pytest.raises(OSError, match="no right"):
        znodes.read_znode(*user)
    assert module.run(asked(owner, own=True))["nodes"] == []
    # The broker still may change what is its own again.
    owner.set_user("producer", "another-of-the-producer")


def test_the_root_stays_open_to_others(owner: Any) -> None:
    servers = owner.secured_zookeeper_address
    with module.session(servers, str(owner.certificate), str(owner.ca)) as zookeeper:
        assert zookeeper.rights("/") == {module.ANYBODY}
        assert zookeeper.rights("/absent") is None
        assert zookeeper.children("/absent") == []


def test_another_subject_is_refused(owner: Any) -> None:
    strange = str(owner.authority.certificate("streaming"))
    with pytest.raises(FailedError, match=r"/admin: .*no right.*certificates of one subject"):
        module.run(asked(owner, own=False, certificate=strange))


def test_a_server_that_is_away_is_told_and_passed_over(owner: Any) -> None:
    away = f"127.0.0.1:1,{owner.secured_zookeeper_address}"
    assert module.run(asked(owner, own=True, connect=away))["nodes"] == []
    with pytest.raises(FailedError, match=r"127\.0\.0\.1:1: .*refused"):
        module.run(asked(owner, own=True, connect="127.0.0.1:1"))


def test_a_path_of_kafkas_own_is_kept_to(owner: Any) -> None:
    below = f"{owner.secured_zookeeper_address}/elsewhere"
    assert module.run(asked(owner, own=False, connect=below))["nodes"] == []


def test_files_that_cannot_be_used_are_told(owner: Any) -> None:
    with pytest.raises(FailedError, match=r"absent\.pem or .* cannot be used"):
        module.run(asked(owner, own=True, certificate="absent.pem"))
