#!/usr/bin/python
"""Ansible module: users of Kafka with their passwords, before the first broker runs and later."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_znode_session import session, wanted
from ansible.module_utils.kafka_znodes import CertificateError, children, read_znode

DOCUMENTATION = r"""
module: kafka_users
short_description: Users of Kafka with their passwords (SCRAM-SHA-512)
description:
  - Compares the passwords with what Kafka keeps in ZooKeeper, and writes those that differ as
    Kafka's own tool does, without its two JVMs. Brokers that run take them at once, and none has
    to run.
  - Refuses another password for the user that brokers are while other brokers run.
author: imdb-pipeline
options:
  connect:
    description: Servers of ZooKeeper and a path, as Kafka's zookeeper.connect.
    type: str
    required: true
  certificate:
    description: PEM file with private key and certificate for ZooKeeper; empty is no TLS.
    type: path
    default: ""
  ca:
    description: PEM file with the CAs that are trusted.
    type: path
    default: ""
  set_acl:
    description: Whether what is made in ZooKeeper is for the certificate's subject alone.
    type: bool
    default: false
  users:
    description: Users, each with C(name) and C(password).
    type: list
    elements: dict
    required: true
  broker_user:
    description: The user that brokers are.
    type: str
    required: true
  broker_id:
    description: Id of the broker of this host.
    type: int
    required: true
  timeout:
    description: Seconds to wait for ZooKeeper.
    type: float
    default: 30
  optional:
    description: Whether a ZooKeeper that does not answer is one that knows no users yet.
    type: bool
    default: false
"""
EXAMPLES = r"""
- name: Make the user of the brokers
  kafka_users:
    connect: 192.0.2.1:2181
    users: [{name: kafka, password: "{{ vault_kafka }}"}]
    broker_user: kafka
    broker_id: 1
"""
RETURN = r"""
written:
  description: Names of the users whose passwords were written, or would be.
  type: list
  elements: str
  returned: always
"""

MECHANISM = "SCRAM-SHA-512"
ITERATIONS = 4096


def scram(password: str) -> str:
    """Return what Kafka keeps of a password, with a salt that is new (RFC 5802)."""
    salt = os.urandom(32)
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    parts = {
        "salt": salt,
        "stored_key": hashlib.sha512(hmac.digest(salted, b"Client Key", "sha512")).digest(),
        "server_key": hmac.digest(salted, b"Server Key", "sha512"),
    }
    each = [f"{name}={base64.b64encode(value).decode()}" for name, value in parts.items()]
    return ",".join([*each, f"iterations={ITERATIONS}"])


def credential(content: bytes | None) -> str:
    """What Kafka keeps of the password in a user's znode; empty for a user that cannot log in."""
    return str(json.loads(content or b"{}").get("config", {}).get(MECHANISM, ""))


def fits(content: bytes | None, password: str) -> bool:
    """Whether a user's znode, if there is one, holds what Kafka makes of a password (RFC 5802)."""
    stored = credential(content)
    if not stored:
        return False
    parts = dict(part.split("=", 1) for part in stored.split(","))
    salt = base64.b64decode(parts["salt"])
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, int(parts["iterations"]))
    key = hashlib.sha512(hmac.digest(salted, b"Client Key", "sha512")).digest()
    return hmac.compare_digest(key, base64.b64decode(parts["stored_key"]))


class Zookeeper:
    """What Kafka keeps in ZooKeeper of its users."""

    def __init__(self, given: dict[str, Any]) -> None:
        """Take the module's arguments."""
        self.given = given
        self.servers, _, self.root = given["connect"].partition("/")
        self.files = (given["certificate"], given["ca"])

    def differing(self) -> tuple[list[dict[str, str]], list[str]]:
        """Return the users whose passwords are others, and the names of those that have one."""
        differing, known = [], []
        for user in self.given["users"]:
            content = read_znode(self.given["connect"], znode(user), *self.files)
            if not fits(content, user["password"]):
                differing.append(user)
                known += [user["name"]] if credential(content) else []
        return differing, known

    def other_brokers(self) -> list[str]:
        """Return the ids of the other brokers that run."""
        running = children(self.given["connect"], "/brokers/ids", *self.files)
        return sorted(set(running) - {str(self.given["broker_id"])})

    def write(self, users: list[dict[str, str]]) -> None:
        """Write the users, and a note for brokers that run (KafkaZkClient, AdminZkClient)."""
        root = f"/{self.root}".rstrip("/")
        above = [part for part in self.root.split("/") if part]
        paths = ["/" + "/".join(above[:count]) for count in range(1, len(above) + 1)]
        paths += [f"{root}/config", f"{root}/config/users", f"{root}/config/changes"]
        with session(self.servers, *self.files) as zookeeper:

            def make(path: str, content: str = "", sequential: bool = False) -> bool:
                rights = wanted(path.removeprefix(root), self.given["set_acl"])
                return zookeeper.make(path, rights, content, sequential)

            for path in paths:
                make(path)
            for user in users:
                held = read_znode(self.given["connect"], znode(user), *self.files)
                config = json.loads(held or b"{}").get("config", {})
                config[MECHANISM] = scram(user["password"])
                content = json.dumps({"version": 1, "config": config})
                if not make(f"{root}{znode(user)}", content):
                    zookeeper.write(f"{root}{znode(user)}", content)
                note = {"version": 2, "entity_path": f"users/{quote(user['name'], safe='')}"}
                make(f"{root}/config/changes/config_change_", json.dumps(note), sequential=True)


def znode(user: dict[str, str]) -> str:
    """Return the path of a user's znode, below Kafka's."""
    return f"/config/users/{quote(user['name'], safe='')}"


def wait_for_users(zookeeper: Zookeeper, seconds: float) -> tuple[list[dict[str, str]], list[str]]:
    """Return what differs as soon as ZooKeeper answers; OSError if it does not in this time."""
    end = time.monotonic() + seconds
    while True:
        try:
            return zookeeper.differing()
        except CertificateError:
            raise
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Compare, and write what differs; return the module's result."""
    given = module.params
    zookeeper = Zookeeper(given)
    try:
        differing, known = wait_for_users(zookeeper, given["timeout"])
        others = zookeeper.other_brokers() if given["broker_user"] in known else []
    except OSError as error:
        if given["optional"]:
            return {"changed": True, "written": [user["name"] for user in given["users"]]}
        module.fail_json(
            msg=f"ZooKeeper cannot be asked for Kafka's users: {error}. Is it up at "
            f"{given['connect']}, and does each end trust the CA of the other's certificate?"
        )
    if others:
        module.fail_json(
            msg=f"The password of {given['broker_user']} is another one now, and the brokers "
            f"{', '.join(others)} run as that user: they could not connect to one that has the "
            "new password. Give the new password to the other of kafka_broker_users, by "
            "kafka_broker_user. Nothing was changed."
        )
    written = [user["name"] for user in differing]
    if differing and not module.check_mode:
        try:
            zookeeper.write(differing)
        except OSError as error:
            module.fail_json(
                msg=f"ZooKeeper does not take the users {', '.join(written)}: {error}. Were they "
                "made by brokers with another subject in their certificates?"
            )
    return {"changed": bool(written), "written": written}


def main() -> None:
    """Run the module."""
    user = {"name": {"required": True}, "password": {"required": True, "no_log": True}}
    module = AnsibleModule(
        argument_spec={
            "connect": {"required": True},
            "certificate": {"type": "path", "default": ""},
            "ca": {"type": "path", "default": ""},
            "set_acl": {"type": "bool", "default": False},
            "users": {"type": "list", "elements": "dict", "options": user, "required": True},
            "broker_user": {"required": True},
            "broker_id": {"type": "int", "required": True},
            "timeout": {"type": "float", "default": 30},
            "optional": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
