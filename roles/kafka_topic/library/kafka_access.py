#!/usr/bin/python
"""Ansible module: brings Kafka's users and their rights on a topic to what is declared."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kafka_admin import (
    SECURITY,
    Cluster,
    KafkaError,
    LoginError,
    NotReadyError,
    check,
    connect,
    library,
    patiently,
)

DOCUMENTATION = r"""
module: kafka_access
short_description: Users of Kafka, their passwords and their rights on a topic
description:
  - Makes the users that are missing, changes passwords that are others, gives the rights that are
    declared, and takes every other right of these users away. Users that are not named are let be.
  - A password cannot be read back, so each user logs in with it; one whose login is refused gets it
    anew. Without a login of its own (C(security)) the module compares no passwords of users that
    exist.
author: imdb-pipeline
options:
  bootstrap_servers:
    description: Brokers to ask, as host:port[,host:port...].
    type: str
    required: true
  topic:
    description: Name of the topic.
    type: str
    required: true
  users:
    description: Users of SCRAM-SHA-512.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the user.
        type: str
        required: true
      password:
        description: Password of the user; C(absent) needs none.
        type: str
        default: ""
      rights:
        description:
          - C(write) is what a producer needs, C(read) a consumer without a group, C(manage) makes
            the topic and changes its partitions and settings. None is right for a super user.
        type: list
        elements: str
        choices: [write, read, manage]
        default: []
  state:
    description: Whether there should be the users; C(absent) deletes them with all their rights.
    type: str
    choices: [present, absent]
    default: present
  security:
    description: How to log in, as C(security_protocol) and other options of kafka-python.
    type: dict
    default: {}
  timeout:
    description: Seconds to wait for a broker.
    type: int
    default: 60
"""
EXAMPLES = r"""
- name: Let the producer in
  kafka_access:
    bootstrap_servers: 192.0.2.1:9093
    topic: imdb-movies
    users:
      - {name: producer, password: "{{ producer_password }}", rights: [write]}
"""
RETURN = r"""
msg:
  description: What was changed, or would be; never a password.
  type: str
  returned: always
unpredictable:
  description: Check mode found no broker to ask.
  type: bool
  returned: always
"""

MECHANISM = "SCRAM-SHA-512"
#: Each needs nothing else: what it does not name, such as DESCRIBE, comes with it.
RIGHTS = {
    # The second tells a producer how large a message may be.
    "write": ("WRITE", "DESCRIBE_CONFIGS"),
    "read": ("READ",),
    "manage": ("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER", "ALTER_CONFIGS"),
}


class Access(Cluster):
    """What is asked of the brokers here; each method is one request."""

    def there(self, users: Iterable[dict[str, Any]]) -> set[str]:
        """Names of those users that have a password of the mechanism."""
        # By name: who may not list them all gets no answer of Kafka 3.9.
        with self.asking("listing users") as admin:
            said = admin.describe_user_scram_credentials([user["name"] for user in users])
        return {
            name
            for name, user in said.items()
            if any(it["mechanism"].name == "SCRAM_SHA_512" for it in user["credential_infos"])
        }

    def change(self, users: Iterable[dict[str, Any]], delete: bool) -> None:
        """Give users their passwords, or delete them."""
        admin_module = library().admin
        changes = [
            admin_module.UserScramCredentialDeletion(user["name"], MECHANISM)
            if delete
            else admin_module.UserScramCredentialUpsertion(
                user["name"], MECHANISM, user["password"]
            )
            for user in users
        ]
        with self.asking("changing users") as admin:
            said = admin.alter_user_scram_credentials(changes)
        for name, problem in said.items():
            if problem is not None:
                raise KafkaError(f"changing user {name} was refused: {problem}")

    def rights(self) -> set[Any]:
        """All ACLs."""
        kind = library().admin
        everything = kind.ACLFilter(
            principal=None,
            host=None,
            operation=kind.ACLOperation.ANY,
            permission_type=kind.ACLPermissionType.ANY,
            resource_pattern=kind.ResourcePatternFilter(
                kind.ResourceType.ANY, None, kind.ACLResourcePatternType.ANY
            ),
        )
        with self.asking("listing rights") as admin:
            return set(admin.describe_acls(everything)[0])

    def give(self, rights: Iterable[Any]) -> None:
        with self.asking("giving rights") as admin:
            said = admin.create_acls(list(rights))
        for error in said["failed"]:
            check(error.errno, None, "giving rights")

    def take(self, rights: Iterable[Any]) -> None:
        with self.asking("taking rights away") as admin:
            said = admin.delete_acls(list(rights))
        for _, _, error in said:
            check(error.errno, None, "taking rights away")

    def admits(self, user: dict[str, Any]) -> bool:
        """Whether the user can log in with the password. The brokers have just been reached."""
        login = {"sasl_plain_username": user["name"], "sasl_plain_password": user["password"]}
        try:
            connect(self.servers[0], self.security | login | {"sasl_mechanism": MECHANISM}).close()
        except (LoginError, NotReadyError):
            return False
        return True


def declared(topic: str, users: Iterable[dict[str, Any]]) -> set[Any]:
    """The ACLs that the users should have."""
    kind = library().admin
    return {
        kind.ACL(
            principal=f"User:{user['name']}",
            host="*",
            operation=kind.ACLOperation[operation],
            permission_type=kind.ACLPermissionType.ALLOW,
            resource_pattern=kind.ResourcePattern(kind.ResourceType.TOPIC, topic),
        )
        for user in users
        for right in user["rights"]
        for operation in RIGHTS[right]
    }


def controller(module: AnsibleModule) -> str:
    """Address of the controller, which alone changes users. Raises NotReadyError without one."""
    with Cluster(module.params["bootstrap_servers"], module.params["security"]) as cluster:
        seen = cluster.metadata([])
    if seen.controller not in seen.brokers:
        raise NotReadyError("the brokers have no controller yet")
    host, port, _ = seen.brokers[seen.controller]
    return f"{host}:{port}"


def run(module: AnsibleModule) -> dict[str, Any]:
    """Look, decide and change. Raises KafkaError, TimeoutError."""
    deadline = time.monotonic() + module.params["timeout"]
    address = patiently(lambda: controller(module), deadline)
    with Access(address, module.params["security"]) as access:
        return bring(module, access, deadline)


def bring(module: AnsibleModule, access: Access, deadline: float) -> dict[str, Any]:
    """Bring users and rights to what is declared. See run()."""
    users, delete = module.params["users"], module.params["state"] == "absent"
    there = patiently(lambda: access.there(users), deadline)
    if delete:
        changed = [user for user in users if user["name"] in there]
    else:
        logs_in = "sasl_mechanism" in access.security
        changed = [
            user
            for user in users
            if user["name"] not in there or (logs_in and not access.admits(user))
        ]
    wanted = set() if delete else declared(module.params["topic"], users)
    principals = {f"User:{user['name']}" for user in users}
    has = {it for it in rights_of(access, wanted, deadline) if it.principal in principals}
    gone, new = has - wanted, wanted - has
    said = [f"{user['name']} {'deleted' if delete else 'given its password'}" for user in changed]
    said += sorted([f"{right_text(it)} given" for it in new])
    said += sorted([f"{right_text(it)} taken away" for it in gone])
    if not module.check_mode:
        if changed:
            patiently(lambda: access.change(changed, delete), deadline)
        if new:
            patiently(lambda: access.give(new), deadline)
        if gone:
            patiently(lambda: access.take(gone), deadline)
    would = "Would be: " if module.check_mode and said else ""
    return {"changed": bool(said), "msg": would + ("; ".join(said) or "As declared") + "."}


def rights_of(access: Access, wanted: set[Any], deadline: float) -> set[Any]:
    """All ACLs; none where brokers check no rights, which is an error if some are wanted."""
    try:
        found: set[Any] = patiently(access.rights, deadline)
    except KafkaError as error:
        disabled = library().errors.SecurityDisabledError.errno
        if f"(error {disabled})" not in str(error):
            raise
        if wanted:
            raise KafkaError(
                "The brokers have no authorizer.class.name, so no user can be given a right"
            ) from error
        return set()
    return found


def right_text(right: Any) -> str:
    """What is said of a right."""
    pattern = right.resource_pattern
    kind = "" if right.permission_type.name == "ALLOW" else f"{right.permission_type.name} "
    return (
        f"{kind}{right.operation.name} on {pattern.resource_type.name.lower()} "
        f"{pattern.resource_name} of {right.principal.removeprefix('User:')}"
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "bootstrap_servers": {"type": "str", "required": True},
            "topic": {"type": "str", "required": True},
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "password": {"type": "str", "default": "", "no_log": True},
                    "rights": {
                        "type": "list",
                        "elements": "str",
                        "choices": list(RIGHTS),
                        "default": [],
                    },
                },
            },
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "security": SECURITY,
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    servers, timeout = module.params["bootstrap_servers"], module.params["timeout"]
    try:
        result = run(module)
    except TimeoutError as error:
        if module.check_mode:
            msg = f"No broker answers at {servers} yet, so what becomes of users is not known."
            module.exit_json(changed=False, unpredictable=True, msg=msg)
        module.fail_json(
            msg=f"The brokers at {servers} were not ready within {timeout} s ({error}). "
            f"See `journalctl -u kafka` there."
        )
    except KafkaError as error:
        module.fail_json(msg=str(error))
    else:
        module.exit_json(unpredictable=False, **result)


if __name__ == "__main__":
    main()
