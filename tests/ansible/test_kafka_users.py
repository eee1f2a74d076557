"""Kafka's users: which passwords fit, when they are written, and what ZooKeeper is asked for."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socketserver
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from ..waiting import wait_for
from .modules import load, load_utility

if TYPE_CHECKING:
    from ..producer.broker import SecuredBroker

znodes = load_utility("kafka_znodes")
load_utility("kafka_znode_session")
users = load("roles/kafka/library/kafka_users.py", "kafka_users")

BROKERS = {"name": "kafka", "password": "of-the-brokers"}
OPERATOR = {"name": "admin", "password": "of-the-operator"}


class FailedError(Exception):
    """The module has failed with these words."""


class Module:
    """What the module gets from Ansible."""

    def __init__(self, check_mode: bool = False, **given: Any) -> None:
        self.check_mode = check_mode
        self.params = {
            "connect": "10.0.0.1:2281/pipeline",
            "certificate": "",
            "ca": "",
            "users": [BROKERS, OPERATOR],
            "broker_user": "kafka",
            "broker_id": 1,
            "timeout": 0.0,
            "optional": False,
        } | given

    def fail_json(self, msg: str) -> None:
        raise FailedError(msg)


def stored(password: str) -> bytes:
    """What Kafka keeps of a password."""
    salt = b"of-a-test"
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 4096)
    key = hashlib.sha512(hmac.digest(salted, b"Client Key", "sha512")).digest()
    values = {"salt": salt, "stored_key": key, "server_key": b"unused"}
    parts = [f"{name}={base64.b64encode(value).decode()}" for name, value in values.items()]
    credential = ",".join([*parts, "iterations=4096"])
    return json.dumps({"version": 1, "config": {"SCRAM-SHA-512": credential}}).encode()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What ZooKeeper keeps; what is written lands there."""
    kept: dict[str, bytes] = {}
    running = ["1"]

    def write(_zookeeper: Any, differing: list[dict[str, str]]) -> None:
        kept.update({f"/config/users/{it['name']}": stored(it["password"]) for it in differing})

    monkeypatch.setattr(users, "read_znode", lambda _connect, name, *_files: kept.get(name))
    monkeypatch.setattr(
        users, "children", lambda *_: running + list(kept.get("others", b"").decode())
    )
    monkeypatch.setattr(users.Zookeeper, "write", write)
    return kept


# Written by Kafka 3.9.2 for the password of-the-brokers-in-the-test.
OF_KAFKA = (
    b'{"version":1,"config":{"SCRAM-SHA-512":"salt=MWl4NjQ0dmJnNzdwbndrODhwZTYxdTkyaHc=,'
    b"stored_key=CEXbC2nMxlGLARTd/EtWXKHcLQdvsDXBvAEiH5Tohzid5brzuclsGnlG4LG6aJPQHmmMSvnFlF9cfJma"
    b"FN8Ygw==,server_key=ji5ogRdaGpgn2apzPnWnjMGnOFsAFSN+2wPUUvkeAEsOG/z5gnOviu6JfEIVtkxhv0jn4E6r"
    b'lt1gNl7WqD5j8A==,iterations=4096"}}'
)


@pytest.mark.parametrize(
    ("content", "password", "expected"),
    [
        (OF_KAFKA, "of-the-brokers-in-the-test", True),
        (OF_KAFKA, "of-the-brokers-in-the-tesT", False),
        (None, "of-the-brokers-in-the-test", False),
        (b'{"version":1,"config":{}}', "of-the-brokers-in-the-test", False),
    ],
    ids=["right", "wrong", "no user", "no password"],
)
def test_a_password_fits_what_kafka_keeps_of_it(
    content: bytes | None, password: str, expected: bool
) -> None:
    assert users.fits(content, password) == expected


def test_users_are_written_once(kept: dict[str, bytes]) -> None:
    assert users.run(Module()) == {"changed": True, "written": ["kafka", "admin"]}
    assert users.run(Module()) == {"changed": False, "written": []}


def test_check_mode_writes_nothing(kept: dict[str, bytes]) -> None:
    assert users.run(Module(check_mode=True))["written"] == ["kafka", "admin"]
    assert not kept


def test_the_operators_password_may_change_while_brokers_run(kept: dict[str, bytes]) -> None:
    users.run(Module())
    kept["others"] = b"23"
    changed = [BROKERS, OPERATOR | {"password": "another"}]
    assert users.run(Module(users=changed))["written"] == ["admin"]


def test_the_brokers_password_may_not_while_others_run(kept: dict[str, bytes]) -> None:
    users.run(Module())
    changed = [BROKERS | {"password": "another"}, OPERATOR]
    before = dict(kept) | {"others": b"23"}
    kept["others"] = b"23"
    with pytest.raises(FailedError, match=r"brokers 2, 3 run as that user.*kafka_broker_user"):
        users.run(Module(users=changed))
    assert kept == before
    # The other user, with the new password.
    changed = [{"name": "kafka-2", "password": "another"}, OPERATOR]
    assert users.run(Module(users=changed, broker_user="kafka-2"))["written"] == ["kafka-2"]
    # A broker that is alone is restarted with it.
    del kept["others"]
    changed = [BROKERS | {"password": "another"}, OPERATOR]
    assert users.run(Module(users=changed))["written"] == ["kafka"]


def test_a_user_whose_password_was_deleted_is_no_brokers_user(kept: dict[str, bytes]) -> None:
    users.run(Module())
    # What Kafka leaves of a user that it has deleted.
    kept["/config/users/kafka"] = b'{"version":1,"config":{}}'
    kept["others"] = b"23"
    assert users.run(Module())["written"] == ["kafka"]


def test_a_zookeeper_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ConnectionRefusedError("10.0.0.1:2281: refused")

    monkeypatch.setattr(users, "read_znode", refuse)
    with pytest.raises(FailedError, match=r"10\.0\.0\.1:2281: refused"):
        users.run(Module())
    assert users.run(Module(optional=True))["written"] == ["kafka", "admin"]


def test_a_broker_that_runs_lets_in_who_was_written(secured_broker: SecuredBroker) -> None:
    """And keeps what else it knows of a user; the name is one that Kafka writes otherwise."""
    from kafka import KafkaAdminClient

    name, servers = "of tests & others", secured_broker.zookeeper_address
    secured_broker.set_user(name, "the first")
    path = f"/config/users/{quote(name, safe='')}"
    first = json.loads(znodes.read_znode(servers, path))
    given: dict[str, Any] = {"connect": servers, "set_acl": False}
    given["users"] = [{"name": name, "password": "the second"}, BROKERS | {"name": "new"}]
    assert users.run(Module(**given))["written"] == [name, "new"]
    assert users.run(Module(**given))["written"] == []
    second = json.loads(znodes.read_znode(servers, path))
    assert first.keys() == second.keys()
    assert first["config"].keys() == second["config"].keys()

    def let_in(name: str, password: str) -> bool:
        login = secured_broker.login(name, password)
        address = {"bootstrap_servers": secured_broker.address, "bootstrap_timeout_ms": 5000}
        with contextlib.closing(KafkaAdminClient(**address, **login)) as client:
            return bool(client.describe_cluster())

    wait_for("the note reaches the broker", lambda: let_in(name, "the second"), bool, 30)
    assert let_in("new", BROKERS["password"])


class Server(socketserver.ThreadingTCPServer):
    """Answers for a few znodes as ZooKeeper does."""

    allow_reuse_address = True

    class Handler(socketserver.StreamRequestHandler):
        def packet(self) -> bytes:
            return self.rfile.read(struct.unpack(">i", self.rfile.read(4))[0])

        def answer(self, content: bytes) -> None:
            self.wfile.write(struct.pack(">i", len(content)) + content)

        def handle(self) -> None:
            self.packet()
            self.answer(bytes(36))
            _, kind, length = struct.unpack_from(">iii", asked := self.packet())
            path = asked[12 : 12 + length].decode()
            header = struct.pack(">iq", 1, 7)
            if path == "/below/secret":
                self.answer(header + struct.pack(">i", -102))
            elif path == "/below/ids" and kind == 8:
                names = struct.pack(">ii1si2s", 2, 1, b"1", 2, b"12")
                self.answer(header + struct.pack(">i", 0) + names)
            elif path == "/below/empty":
                self.answer(header + struct.pack(">ii", 0, -1) + bytes(68))
            elif path == "/below/id" and kind == 4:
                self.answer(header + struct.pack(">ii2s", 0, 2, b"ab") + bytes(68))
            else:
                self.answer(header + struct.pack(">i", -101))
            self.packet()


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    with pytest.raises(znodes.CertificateError, match=r"absent.pem or ca.pem cannot be used"):
        znodes.read_znode("127.0.0.1:1", "/id", f"{tmp_path}/absent.pem", "ca.pem")


@pytest.fixture
def connect() -> Iterator[str]:
    """A server that refuses, and one that answers."""
    with Server(("127.0.0.1", 0), Server.Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:1,127.0.0.1:{server.server_address[1]}/below"
        server.shutdown()


def test_znodes_are_read(connect: str) -> None:
    assert znodes.read_znode(connect, "/id") == b"ab"
    assert znodes.read_znode(connect, "/empty") == b""
    assert znodes.read_znode(connect, "/absent") is None
    assert znodes.children(connect, "/ids") == ["1", "12"]
    assert znodes.children(connect, "/absent") == []


def test_a_znode_that_may_not_be_read_is_told(connect: str) -> None:
    with pytest.raises(OSError, match="/below/secret: the certificate's subject has no right"):
        znodes.read_znode(connect, "/secret")
