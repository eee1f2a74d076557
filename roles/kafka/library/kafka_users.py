#!/usr/bin/python
"""Ansible module: users of Kafka with their passwords, before the first broker runs and later."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_znodes import CertificateError, children, read_znode

DOCUMENTATION = r"""
module: kafka_users
short_description: Users of Kafka with their passwords (SCRAM-SHA-512)
description:
  - Compares the passwords with what Kafka keeps in ZooKeeper, and lets Kafka's own tool write those
    that differ. Brokers that run take them at once, and none has to run.
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
  java:
    description: Path of java.
    type: path
    required: true
  libs:
    description: Folder of Kafka's jars.
    type: path
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
    java: /usr/bin/java
    libs: /opt/kafka/current/libs
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
JVM = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


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
    """What Kafka keeps in ZooKeeper: read by our own client, written by Kafka's tools."""

    def __init__(self, given: dict[str, Any]) -> None:
        """Take the module's arguments."""
        self.given = given
        self.servers, _, self.root = given["connect"].partition("/")
        self.files = (given["certificate"], given["ca"])

    def differing(self) -> tuple[list[dict[str, str]], list[str]]:
        """Return the users whose passwords are others, and the names of those that have one."""
        differing, known = [], []
        for user in self.given["users"]:
            content = read_znode(
                self.given["connect"], f"/config/users/{user['name']}", *self.files
            )
            if not fits(content, user["password"]):
                differing.append(user)
                known += [user["name"]] if credential(content) else []
        return differing, known

    def other_brokers(self) -> list[str]:
        """Return the ids of the other brokers that run."""
        running = children(self.given["connect"], "/brokers/ids", *self.files)
        return sorted(set(running) - {str(self.given["broker_id"])})

    def write(self, users: list[dict[str, str]]) -> str:
        """Let Kafka's tools write the users, side by side; return what they say."""
        with tempfile.TemporaryDirectory(dir="/run") as folder:
            settings = Path(folder, "zookeeper.properties")
            settings.write_text(self.settings(), encoding="utf-8")
            said = self.make_root(settings)
            running = []
            for number, user in enumerate(users):
                # Not by the command line, which everybody on the host can read.
                file = Path(folder, f"{number}.properties")
                given = f"{MECHANISM}=iterations={ITERATIONS},password={user['password']}\n"
                file.write_text(given, encoding="utf-8")
                command = ["kafka.admin.ConfigCommand", "--zookeeper", self.given["connect"]]
                command += ["--zk-tls-config-file", str(settings), "--alter", "--entity-type"]
                command += ["users", "--entity-name", user["name"], "--add-config-file", str(file)]
                running.append(self.start(command))
            return said + "".join(process.communicate()[0] for process in running)

    def make_root(self, settings: Path) -> str:
        """Make the path above Kafka's znodes: the broker would, but not the tool for users."""
        path, said = "", ""
        for part in filter(None, self.root.split("/")):
            path += f"/{part}"
            if read_znode(self.servers, path, *self.files) is None:
                command = ["org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka", "-server"]
                command += [self.servers, "-zk-tls-config-file", str(settings), "create", path]
                command += ["", "auth::cdrwa,world:anyone:r"] if self.given["set_acl"] else []
                said += self.start(command).communicate()[0]
        return said

    def settings(self) -> str:
        """Return what Kafka's tools need to know of ZooKeeper."""
        lines = [f"zookeeper.set.acl={str(self.given['set_acl']).lower()}"]
        certificate, ca = self.files
        if certificate:
            lines += [
                "zookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty",
                "zookeeper.ssl.client.enable=true",
                f"zookeeper.ssl.keystore.location={certificate}",
                "zookeeper.ssl.keystore.type=PEM",
                f"zookeeper.ssl.truststore.location={ca}",
                "zookeeper.ssl.truststore.type=PEM",
            ]
        return "\n".join(lines) + "\n"

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start one of Kafka's tools, given as its class and arguments."""
        return subprocess.Popen(
            [
                "timeout",
                "120",
                self.given["java"],
                *JVM,
                "-cp",
                f"{self.given['libs']}/*",
                *command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


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
        said = zookeeper.write(differing)
        if left := [user["name"] for user in zookeeper.differing()[0]]:
            module.fail_json(msg=f"Kafka's tool did not write {', '.join(left)}. It said:\n{said}")
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
            "java": {"type": "path", "required": True},
            "libs": {"type": "path", "required": True},
            "timeout": {"type": "float", "default": 30},
            "optional": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
