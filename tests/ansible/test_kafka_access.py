"""Users and their rights, on a real broker with TLS, passwords and ACLs."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from kafka.errors import KafkaError

from ..producer.broker import Broker, Brokers, SecuredBroker
from .modules import ROOT, load, load_utility

kafka_admin = load_utility("kafka_admin")
state = load("roles/kafka_topic/library/kafka_topic_state.py", "kafka_topic_state")
access = load("roles/kafka_topic/library/kafka_access.py", "kafka_access")

PASSWORD = "long-and-random-enough"
NUMBERS = itertools.count()


@pytest.fixture
def topic(secured_broker: SecuredBroker) -> str:
    """A topic of its own."""
    name = f"movies-{next(NUMBERS)}"
    secured_broker.make_topic(name, partitions=1)
    return name


@pytest.fixture
def name() -> str:
    """The name of a user that no other test has."""
    return f"user-{next(NUMBERS)}"


def user(name: str, *rights: str, password: str = PASSWORD) -> dict[str, Any]:
    return {"name": name, "password": password, "rights": list(rights)}


def run(
    broker: Broker, topic: str, *users: dict[str, Any], check_mode: bool = False, **other: Any
) -> dict[str, Any]:
    params = {
        "bootstrap_servers": broker.address,
        "topic": topic,
        "users": list(users),
        "state": "present",
        "security": dict(broker.security),
        "timeout": 30,
    }
    module = SimpleNamespace(params=params | other, check_mode=check_mode)
    result: dict[str, Any] = access.run(module)
    assert PASSWORD not in result["msg"]
    return result


def send(broker: SecuredBroker, topic: str, name: str, password: str = PASSWORD) -> None:
    """Send a message as a user. Raises KafkaError."""
    producer = KafkaProducer(
        bootstrap_servers=broker.address,
        acks="all",
        bootstrap_timeout_ms=3000,
        **broker.login(name, password),
    )
    try:
        producer.send(topic, b"{}").get(20)
    finally:
        producer.close(timeout=5)


def read(broker: SecuredBroker, topic: str, name: str) -> int:
    """Return how many messages a user reads without a group."""
    consumer = KafkaConsumer(
        bootstrap_servers=broker.address,
        group_id=None,
        auto_offset_reset="earliest",
        **broker.login(name, PASSWORD),
    )
    try:
        consumer.assign([TopicPartition(topic, 0)])
        return sum(map(len, consumer.poll(timeout_ms=5000).values()))
    finally:
        consumer.close()


def rights(broker: SecuredBroker, name: str) -> list[str]:
    with access.Access(broker.address, dict(broker.security)) as cluster:
        return sorted(
            access.right_text(it) for it in cluster.rights() if it.principal == f"User:{name}"
        )


def test_each_may_what_is_declared_and_nothing_else(
    secured_broker: SecuredBroker, topic: str
) -> None:
    writer, reader = f"writer-{topic}", f"reader-{topic}"
    users = user(writer, "write"), user(reader, "read")
    made = run(secured_broker, topic, *users)
    assert made["changed"]
    assert f"{writer} given its password" in made["msg"]
    assert f"WRITE on topic {topic} of {writer} given" in made["msg"]
    send(secured_broker, topic, writer)
    assert read(secured_broker, topic, reader) == 1
    with pytest.raises(KafkaError, match="AuthorizationFailed"):
        send(secured_broker, topic, reader)
    again = run(secured_broker, topic, *users)
    assert again == {"changed": False, "msg": "As declared."}


def test_a_password_that_was_changed_is_set_and_the_old_one_is_no_more(
    secured_broker: SecuredBroker, topic: str, name: str
) -> None:
    run(secured_broker, topic, user(name, "write"))
    new = user(name, "write", password="another-long-and-random")
    would = run(secured_broker, topic, new, check_mode=True)
    assert would == {"changed": True, "msg": f"Would be: {name} given its password."}
    send(secured_broker, topic, name)
    assert run(secured_broker, topic, new)["msg"] == f"{name} given its password."
    assert not run(secured_broker, topic, new)["changed"]
    send(secured_broker, topic, name, new["password"])
    with pytest.raises(KafkaError):
        send(secured_broker, topic, name)


def test_rights_that_are_not_declared_go_and_others_users_are_let_be(
    secured_broker: SecuredBroker, topic: str, name: str
) -> None:
    other = f"{name}-other"
    run(secured_broker, topic, user(name, "write", "read"), user(other, "read"))
    admin = secured_broker.admin()
    try:
        by_hand = ResourcePattern(ResourceType.GROUP, "a-group")
        right = (f"User:{name}", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, by_hand)
        assert admin.create_acls([ACL(*right)])["succeeded"]
    finally:
        admin.close()
    told = run(secured_broker, topic, user(name, "read"))["msg"]
    assert f"WRITE on topic {topic} of {name} taken away" in told
    assert f"ALL on group a-group of {name} taken away" in told
    assert rights(secured_broker, name) == [f"READ on topic {topic} of {name}"]
    assert rights(secured_broker, other) == [f"READ on topic {topic} of {other}"]
    assert run(secured_broker, topic, user(name))["changed"]
    assert rights(secured_broker, name) == []


def test_check_mode_changes_nothing(secured_broker: SecuredBroker, topic: str, name: str) -> None:
    assert run(secured_broker, topic, user(name, "read"), check_mode=True)["changed"]
    assert rights(secured_broker, name) == []
    assert run(secured_broker, topic, user(name, "read"))["changed"]


def test_users_that_are_deleted_have_nothing_left(
    secured_broker: SecuredBroker, topic: str, name: str
) -> None:
    run(secured_broker, topic, user(name, "write"))
    gone = run(secured_broker, topic, user(name, "write"), state="absent")
    assert f"{name} deleted" in gone["msg"]
    assert rights(secured_broker, name) == []
    with pytest.raises(KafkaError):
        send(secured_broker, topic, name)
    assert not run(secured_broker, topic, user(name), state="absent")["changed"]


def test_who_manages_a_topic_makes_and_changes_it_and_no_other(
    secured_broker: SecuredBroker, topic: str, name: str
) -> None:
    run(secured_broker, f"{topic}-new", user(name, "manage"))

    def bring(wanted: str, partitions: int, **config: str) -> Any:
        params = {
            "bootstrap_servers": secured_broker.address,
            "name": wanted,
            "state": "present",
            "partitions": partitions,
            "replication_factor": 1,
            "accept_replicas": False,
            "config": config,
            "behind_ms": -1,
            "security": secured_broker.login(name, PASSWORD),
            "timeout": 10,
        }
        return state.run(SimpleNamespace(params=params, check_mode=False))

    assert bring(f"{topic}-new", 1)["changed"]
    assert bring(f"{topic}-new", 2, **{"retention.ms": "60000"})["changed"]
    assert not bring(f"{topic}-new", 2, **{"retention.ms": "60000"})["changed"]
    with pytest.raises(kafka_admin.KafkaError, match="refused"):
        bring(topic, 1)


def test_who_may_not_make_users_is_told_so(
    secured_broker: SecuredBroker, topic: str, name: str
) -> None:
    run(secured_broker, topic, user(name, "read"))
    with pytest.raises(kafka_admin.KafkaError, match="listing users was refused"):
        run(secured_broker, topic, user("x"), security=secured_broker.login(name, PASSWORD))


def test_users_are_made_by_the_controller_whichever_broker_is_asked(
    brokers: Brokers, name: str
) -> None:
    made = [run(brokers.second, "t", user(name)), run(brokers.second, "t", user(name))]
    # Neither broker asks for a login, so the password of one that exists is not compared.
    assert [it["changed"] for it in made] == [True, False]
    gone = [run(it, "t", user(name), state="absent") for it in (brokers.second, brokers.first)]
    assert [it["changed"] for it in gone] == [True, False]


def test_rights_without_an_authorizer_are_refused(brokers: Brokers, name: str) -> None:
    with pytest.raises(kafka_admin.KafkaError, match=r"no authorizer\.class\.name"):
        run(brokers.first, "t", user(name, "read"))


def play(folder: Path, broker: SecuredBroker, *plays: str) -> list[str]:
    """Run the role on this machine, as a user would; return all that each play says, most of it.

    A play is a file of the role's tasks, and may say that it is a check.
    """
    login = dict(broker.security)
    given = {
        "kafka_topic_name": "declared",
        "kafka_topic_partitions": 1,
        "kafka_topic_bootstrap_servers": broker.address,
        "kafka_topic_security": login,
        "kafka_topic_users": [user("of-a-play", "write")],
        "kafka_topic_remove_data": True,
        "kafka_topic_remove_data_confirmed": True,
    }
    (folder / "given.json").write_text(json.dumps(given))
    book = []
    for it in plays:
        tasks, _, check = it.partition(" ")
        role = {
            "import_role": {"name": "kafka_topic", "tasks_from": tasks},
            "check_mode": bool(check),
        }
        book.append({"hosts": "all", "gather_facts": False, "tasks": [role]})
    (folder / "play.yml").write_text(yaml.safe_dump(book))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,"]
    command += ["-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
    command += ["-e", f"@{folder}/given.json", "-vvv", "--diff", "play.yml"]
    clean = {name: it for name, it in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean | {"ANSIBLE_ROLES_PATH": str(ROOT / "roles"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for secret in (PASSWORD, broker.PASSWORD):
        assert secret not in said
    _, *parts = done.stdout.split("\nPLAY [all]")
    assert len(parts) == len(plays), said
    return parts


def test_the_role_makes_topic_and_users_once_and_shows_no_password(
    secured_broker: SecuredBroker, tmp_path: Path
) -> None:
    checked, made, again = play(tmp_path, secured_broker, "main check", "main", "main")
    changes = [said.count("\nchanged: [localhost]") for said in (checked, made, again)]
    assert changes == [2, 2, 0]
    assert "Would be: of-a-play given its password" in checked
    assert "of-a-play given its password" in made
    send(secured_broker, "declared", "of-a-play")
    (removed,) = play(tmp_path, secured_broker, "remove")
    assert removed.count("\nchanged: [localhost]") == 2
    assert rights(secured_broker, "of-a-play") == []
