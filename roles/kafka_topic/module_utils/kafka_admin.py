"""Kafka's brokers by kafka-python's admin client: what the modules of the playbooks share.

Each of Kafka's own commands starts a JVM, a second and more; a request here takes milliseconds.
Role kafka brings kafka-python to every broker. It is imported where a broker is asked only, as
modules that ask other services too run where it is not.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIBRARY = Path("/opt/kafka-python/current/lib")
TIMEOUT_MS = 10_000
PAUSE_SECONDS = 0.3
UNKNOWN_TOPIC, BROKER_NOT_AVAILABLE = 3, 8
#: How to log in, as an argument of a module: options of kafka-python's.
SECURITY = {
    "type": "dict",
    "default": {},
    "options": {
        "security_protocol": {"type": "str"},
        "sasl_mechanism": {"type": "str"},
        "sasl_plain_username": {"type": "str"},
        "sasl_plain_password": {"type": "str", "no_log": True},
        "ssl_cafile": {"type": "path"},
    },
}


class KafkaError(Exception):
    """The broker refused a request; the text says which and why."""


class LoginError(KafkaError):
    """The broker refuses the login, or is refused itself; trying again does not help."""


class NotReadyError(Exception):
    """No broker can answer now, but one may soon."""


@dataclass(frozen=True)
class Metadata:
    """What the brokers say of themselves and of topics.

    brokers: host, port and rack of each broker that is up, by id.
    controller: id of the controller, -1 if there is none.
    topics: by name the partitions by number, each with leader, replicas and isr.
    """

    brokers: dict[int, tuple[str, int, str | None]]
    controller: int
    topics: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)


class Cluster:
    """The brokers behind some addresses; the first that takes a connection answers."""

    def __init__(self, servers: str, security: dict[str, Any] | None = None) -> None:
        self.servers = [server.strip() for server in servers.split(",")]
        # Options that are not given are None.
        self.security = {key: it for key, it in (security or {}).items() if it is not None}
        self._admin: Any = None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    @contextlib.contextmanager
    def asking(self, doing: str) -> Iterator[Any]:
        """The admin client, to ask one thing. Raises KafkaError, NotReadyError in place of its."""
        errors = library().errors
        try:
            yield self._connected()
        except errors.BrokerResponseError as error:
            self.close()
            check(error.errno, None, doing)
        except (errors.KafkaError, OSError, RuntimeError) as error:
            # A RuntimeError is a controller that moves.
            self.close()
            raise NotReadyError(f"{doing}: {error}") from error

    def _connected(self) -> Any:
        failures = []
        for server in self.servers if self._admin is None else ():
            try:
                self._admin = connect(server, self.security)
                break
            except LoginError as error:
                raise LoginError(f"{server}: {error}") from error
            except NotReadyError as error:
                failures.append(f"{server}: {error}")
        if self._admin is None:
            raise NotReadyError("; ".join(failures))
        return self._admin

    def metadata(self, topics: list[str] | None = None) -> Metadata:
        """Ask for topics by name, none of them or (None) all."""
        with self.asking("describing the cluster") as admin:
            said, rows = admin.describe_cluster(), admin.describe_topics(topics)
        brokers = {it["broker_id"]: (it["host"], it["port"], it["rack"]) for it in said["brokers"]}
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for row in rows:
            if row["error_code"] != UNKNOWN_TOPIC:
                check(row["error_code"], None, f"describing {row['name']}")
                found[row["name"]] = {
                    it["partition_index"]: {
                        "leader": it["leader_id"],
                        "replicas": it["replica_nodes"],
                        "isr": it["isr_nodes"],
                    }
                    for it in sorted(row["partitions"], key=lambda it: it["partition_index"])
                }
        return Metadata(brokers, said["controller_id"], found)

    def alter(self, kind: str, name: str, settings: dict[str, str] | dict[str, None]) -> None:
        """Change settings of a topic or a broker; None takes one away."""
        changes = {
            key: ("SET" if value is not None else "DELETE", value)
            for key, value in settings.items()
        }
        doing = f"changing the settings of {name}"
        with self.asking(doing) as admin:
            resource = library().admin.ConfigResource(kind, name, changes)
            # Whether there is such a setting the broker knows; its list lacks some.
            said = admin.alter_configs([resource], raise_on_unknown=False, incremental=True)
        if (answer := said[kind][name]) != "OK":
            raise KafkaError(f"{doing} was refused: {answer}")


def library() -> Any:
    """kafka-python. Raises NotReadyError where it is not."""
    if LIBRARY.is_dir() and str(LIBRARY.resolve()) not in sys.path:
        sys.path.insert(0, str(LIBRARY.resolve()))
        # A release stays as it was unpacked.
        sys.dont_write_bytecode = True
        # What it says of attempts that fail would stand between what modules say.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        import kafka.admin
        import kafka.net.compat
    except ImportError as error:
        raise NotReadyError(
            f"kafka-python is not on this host ({error}); role kafka (ansible/site.yml) brings it"
        ) from error
    return kafka


def connect(server: str, security: dict[str, Any]) -> Any:
    """An admin client that asks this broker. Raises NotReadyError, LoginError.

    kafka-python by itself logs in again and again until its time is up, and does not say why it
    could not: so the first attempt is made here. Later it would ask any broker that the others
    have not given up yet.
    """
    kafka = library()
    made: list[Any] = []

    def client(**options: Any) -> Any:
        made.append(kafka.net.compat.KafkaNetClient(**options))
        manager = made[0]._manager
        node = manager.cluster.bootstrap_brokers()[0].node_id
        manager.least_loaded_node = lambda: node

        async def attempt() -> None:
            await manager.get_connection(
                node, timeout_ms=TIMEOUT_MS, pop_on_close=False, refresh_metadata_on_err=False
            )

        made[0]._net.start()
        manager.run(attempt)
        return made[0]

    try:
        return kafka.admin.KafkaAdminClient(
            bootstrap_servers=server,
            bootstrap_timeout_ms=TIMEOUT_MS,
            request_timeout_ms=TIMEOUT_MS,
            kafka_client=client,
            **security,
        )
    except (kafka.errors.KafkaError, OSError) as error:
        # Else its thread and sockets stay in the process, which may live on.
        for it in made:
            it.close()
        raise named(error, security) from error


def named(error: Exception, security: dict[str, Any]) -> Exception:
    """What a connection that failed means."""
    errors, said = library().errors, str(error)
    user = f"user {security.get('sasl_plain_username')}"
    if isinstance(error, errors.SaslAuthenticationFailedError):
        return LoginError(f"it refuses {user} or the password")
    if isinstance(error, errors.UnsupportedSaslMechanismError):
        return LoginError(f"it does not take {security['sasl_mechanism']}: {said}")
    if isinstance(error, FileNotFoundError):
        return LoginError(f"ssl_cafile {security.get('ssl_cafile')} is not on this host")
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return LoginError(
            f"its certificate is not one that {security.get('ssl_cafile')} trusts: {said}"
        )
    # Its answer is lost if the end of the connection comes with it.
    if "sasl_mechanism" in security and "socket disconnected" in said:
        said = f"it ended the connection, as after a wrong {user} or password"
    return NotReadyError(said)


def check(code: int, message: str | None, doing: str) -> None:
    """Raise for an error code of an answer: NotReadyError if it may pass, else KafkaError."""
    if code == 0:
        return
    error = library().errors.for_code(code)
    said = message or error.description
    if error.retriable or code == BROKER_NOT_AVAILABLE:
        raise NotReadyError(f"{doing}: {said} (error {code})")
    raise KafkaError(f"{doing} was refused: {said} (error {code})")


def patiently(action: Callable[[], Any], deadline: float) -> Any:
    """The action's result, tried until the deadline while brokers are away or not ready."""
    while True:
        try:
            return action()
        except (OSError, NotReadyError) as error:
            if time.monotonic() >= deadline:
                raise TimeoutError(str(error)) from error
            time.sleep(PAUSE_SECONDS)
