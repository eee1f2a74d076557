"""Whose nodes in ZooKeeper are: Kafka's, by the rights that it gives itself, and others', and back.

With a real broker whose nodes are its own, by TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import OPEN_ACL_UNSAFE

from imdb_producer.tls import Tls, kazoo_settings
from imdb_producer.znodes import make_node

from .modules import load, load_utility

if TYPE_CHECKING:
    from ..producer.broker import SecuredBroker

znodes = load_utility("kafka_znodes")
load_utility("kafka_znode_session")
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


def waiting(call: Callable[..., Any], *arguments: object, **more: object) -> Any:
    """Ask ZooKeeper and wait for what it says."""
    return call(*arguments, **more).get(timeout=30)


def asked(owner: Any, own: bool, **more: Any) -> Module:
    """What is asked of the module."""
    given = {
        "connect": owner.secured_zookeeper_address,
        "certificate": str(owner.certificate),
        "ca": str(owner.ca),
        "own": own,
        "others": [],
        "optional": False,
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


def test_the_root_stays_as_it_is_where_no_others_are_named(owner: Any) -> None:
    servers = owner.secured_zookeeper_address
    with module.session(servers, str(owner.certificate), str(owner.ca)) as zookeeper:
        assert zookeeper.rights("/") == {module.ANYBODY}
        assert zookeeper.rights("/absent") is None
        assert zookeeper.children("/absent") == []


OTHERS = [
    {
        "path": "/elections/ours",
        "owners": ["CN=job", "CN=producer"],
        "shared": True,
    },
    {"path": "/elections/ours/progress", "owners": ["CN=producer"], "below": True},
    {"path": "/spark", "owners": ["CN=spark"]},
    {"path": "/anybodys"},
]


@pytest.fixture
def clients(owner: Any) -> Iterator[Callable[[str], KazooClient]]:
    """Gives a client with a certificate of a subject."""
    opened: dict[str, KazooClient] = {}

    def client(name: str) -> KazooClient:
        if name not in opened:
            its = owner.certificate if name == "broker" else owner.authority.certificate(name)
            tls = Tls(str(owner.ca), str(its))
            opened[name] = KazooClient(owner.secured_zookeeper_address, **kazoo_settings(tls))
            opened[name].start(60)
        return opened[name]

    yield client
    # As before: all is open, but for Kafka's own.
    module.run(asked(owner, own=False, others=OTHERS))
    module.run(asked(owner, own=True))
    for each in opened.values():
        each.stop()
        each.close()


def test_nodes_of_others_are_for_their_owners(
    owner: Any, clients: Callable[[str], KazooClient]
) -> None:
    # As one who was there before has left them.
    clients("producer").create("/elections/ours/progress/movies", b"7", makepath=True)
    clients("spark").create("/spark/app", b"", makepath=True)

    would = module.run(asked(owner, own=True, others=OTHERS, check_mode=True))
    done = module.run(asked(owner, own=True, others=OTHERS))
    assert done == would
    assert {"/", "/elections/ours/progress/movies", "/spark"} < set(done["nodes"])
    assert "/spark/app" not in done["nodes"]

    spark, job, producer = (clients(name) for name in ("spark", "job", "producer"))
    make_node(waiting, job, "/elections/ours/job", b"one", ephemeral=True)
    # As an operator does: what is made anew is for who makes it, until the next deployment.
    producer.delete("/elections/ours/progress", recursive=True)
    make_node(waiting, producer, "/elections/ours/progress/movies", b"6")
    producer.set("/elections/ours/progress/movies", b"7")
    again = module.run(asked(owner, own=True, others=OTHERS))["nodes"]
    assert again == ["/elections/ours/progress", "/elections/ours/progress/movies"]
    assert module.run(asked(owner, own=True, others=OTHERS))["nodes"] == []

    for path in ("/elections/ours/x", "/elections/ours/progress/x", "/x"):
        with pytest.raises(NoAuthError):
            spark.create(path, b"")
    for client in (spark, job):
        with pytest.raises(NoAuthError):
            client.get("/elections/ours/progress/movies")
        with pytest.raises(NoAuthError):
            client.delete("/elections/ours/progress/movies")
        # Whoever may change the root may delete what is empty there.
        with pytest.raises(NoAuthError):
            client.delete("/controller")
    with pytest.raises(NoAuthError):
        producer.set("/elections/ours/job", b"two")
    for client in (spark, producer):
        with pytest.raises(NoAuthError):
            client.set_acls("/elections/ours", OPEN_ACL_UNSAFE)
    with pytest.raises(NoAuthError):
        job.create("/spark/x", b"")
    with pytest.raises(NoAuthError):
        job.delete("/spark/app")

    assert producer.get("/elections/ours/progress/movies")[0] == b"7"
    producer.set("/elections/ours/progress/movies", b"8")
    assert spark.get("/elections/ours/job")[0] == b"one"
    spark.create("/spark/1/x", b"", makepath=True)
    job.create("/anybodys/x", b"")
    # Kafka makes a node at the root for each new controller.
    broker = clients("broker")
    broker.create("/made-by-the-broker", b"")
    broker.delete("/made-by-the-broker")


def test_nodes_of_others_are_opened_on_the_way_back(
    owner: Any, clients: Callable[[str], KazooClient]
) -> None:
    module.run(asked(owner, own=True, others=OTHERS))
    assert {"/", "/elections/ours"} < set(
        module.run(asked(owner, own=False, others=OTHERS))["nodes"]
    )
    assert module.run(asked(owner, own=False, others=OTHERS))["nodes"] == []
    clear = KazooClient(owner.zookeeper_address)
    clear.start(60)
    try:
        for path in ("/x", "/elections/x", "/elections/ours/progress/x", "/spark/x"):
            clear.create(path, b"")
            clear.delete(path)
    finally:
        clear.stop()
        clear.close()


def test_where_zookeeper_is_yet_to_be_made_it_is_passed_over(owner: Any) -> None:
    given = asked(owner, own=True, connect="127.0.0.1:1", optional=True)
    assert module.run(given) == {"changed": True, "nodes": []}


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
