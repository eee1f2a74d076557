"""Attempts at ports of the pipeline, each made in earnest; run in the place that a client is at.

Usage: python -m tests.pipeline.port_attempts <attempts.json

Reads a list of attempts, each an object with `kind` and what that takes, and prints a list of
answers: `outcome`, one of those below, and `said`, what the server or its client said.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

#: What an attempt came to. Only the last two are what a client with the right credentials gets.
CLOSED = "closed"
NO_ANSWER = "no answer"
NO_TLS = "refused in the TLS handshake"
NO_LOGIN = "login refused"
NO_RIGHT = "no right"
NO_SECRET = "refused for its secret"
ANSWERED = "answered"
ENCRYPTED = "TLS connection"

Answer = tuple[str, str]
#: Seconds that a server may take to answer; that one closes the connection is seen at once.
SECONDS = 5.0
#: Seconds that a client of Kafka's may take for one request, and for its login.
KAFKA_SECONDS = 20.0
#: GROUP_AUTHORIZATION_FAILED
GROUP_REFUSED = 30
#: A version that no znode has: to change it needs the right to, and does not succeed.
NO_VERSION = 1_000_000
#: What a TLS server sends to who speaks something else.
ALERT = b"\x15\x03"


def connected(address: str, port: int) -> socket.socket:
    """Connect; ConnectionRefusedError if nobody listens."""
    return socket.create_connection((address, port), timeout=SECONDS)


def received(connection: socket.socket) -> bytes | None:
    """Return what comes first, nothing if the server closes the connection, None if it waits."""
    try:
        return connection.recv(4096)
    except TimeoutError:
        return None
    except ConnectionResetError:
        return b""


def clear(address: str, port: int, sends: str) -> Answer:
    """Send bytes in the clear, given as hexadecimal digits."""
    try:
        connection = connected(address, port)
    except ConnectionRefusedError as error:
        return CLOSED, str(error)
    with connection:
        connection.sendall(bytes.fromhex(sends))
        answer = received(connection)
    if not answer or answer.startswith(ALERT):
        return NO_ANSWER, repr(answer)
    return ANSWERED, answer.decode(errors="replace")


def tls(address: str, port: int, certificate: str = "", sends: str = "") -> Answer:
    """Connect by TLS to whomever, with a certificate or none; send bytes and read an answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate)
    with connected(address, port) as plain:
        try:
            secured = context.wrap_socket(plain)
            # By TLS 1.3 a client hears of it only when it reads.
            secured.settimeout(2)
            answer = received(secured)
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as error:
            return NO_TLS, str(error)
        if answer is not None:
            return (ANSWERED, repr(answer)) if answer else (NO_TLS, "closed")
        if not sends:
            return ENCRYPTED, str(secured.version())
        secured.settimeout(SECONDS)
        secured.sendall(bytes.fromhex(sends))
        # An end without TLS's farewell is one too.
        try:
            answer = received(secured)
        except ssl.SSLEOFError:
            answer = b""
        return (ANSWERED, repr(answer)) if answer else (NO_ANSWER, repr(answer))


def metrics(address: str, port: int, scheme: str, certificate: str = "") -> Answer:
    """Ask for the metrics of a host, of whoever serves them."""
    import requests

    answer = requests.get(
        f"{scheme}://{address}:{port}/node",
        cert=certificate or None,
        verify=False,
        timeout=SECONDS,
    )
    if answer.status_code in (requests.codes.bad_request, requests.codes.forbidden):
        return NO_RIGHT, answer.text
    answer.raise_for_status()
    return ANSWERED, answer.text[:200]


def znode(address: str, port: int, certificate: str, does: str, path: str) -> Answer:
    """Read or change a node of ZooKeeper's, by TLS.

    does: `read`; `write`, which asks for a version that it does not have, and so changes nothing;
    `make`, which makes a node below it.
    """
    from kazoo.client import KazooClient
    from kazoo.exceptions import BadVersionError, NoAuthError

    client = KazooClient(
        f"{address}:{port}",
        timeout=10,
        use_ssl=True,
        certfile=certificate,
        keyfile=certificate,
        verify_certs=False,
        connection_retry={"max_tries": 1},
    )
    client.start(timeout=15)
    try:
        if does == "read":
            client.get(path)
        elif does == "write":
            with contextlib.suppress(BadVersionError):
                client.set(path, b"", version=NO_VERSION)
        else:
            client.create(f"{path.rstrip('/')}/attempt", b"", ephemeral=True)
    except NoAuthError as error:
        return NO_RIGHT, repr(error)
    finally:
        client.stop()
        client.close()
    return ANSWERED, ""


def kafka(
    address: str, port: int, ca: str, user: str, password: str, does: str, topic: str
) -> Answer:
    """Log in to a broker and ask for something, or do it."""
    from confluent_kafka import KafkaError, KafkaException
    from kafka.errors import ClusterAuthorizationFailedError

    settings: dict[str, Any] = {
        "bootstrap.servers": f"{address}:{port}",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
        "ssl.ca.location": ca,
        # It is told by an error.
        "log_level": 0,
    }
    refused = _logged_in(settings)
    if refused:
        return NO_LOGIN, refused
    try:
        KAFKA[does](settings, topic)
    except ClusterAuthorizationFailedError as error:
        return NO_RIGHT, str(error)
    except KafkaException as error:
        problem = error.args[0]
        if problem.code() in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        ):
            return NO_RIGHT, problem.str()
        raise
    return ANSWERED, ""


def _logged_in(settings: dict[str, Any]) -> str:
    """Return why the broker refuses a login; nothing if it does not."""
    from confluent_kafka import KafkaError, KafkaException

    told: list[KafkaError] = []
    admin = _administration().AdminClient(settings | {"error_cb": told.append})
    end = time.monotonic() + KAFKA_SECONDS
    while True:
        admin.poll(0.1)
        for error in told:
            if error.code() == KafkaError._AUTHENTICATION:
                return str(error.str())
        try:
            admin.list_topics(timeout=1)
        except KafkaException:
            # Why, if the login is refused, comes by the other way.
            if time.monotonic() >= end:
                raise
        else:
            return ""


def _list(settings: dict[str, Any], topic: str) -> None:
    client = _administration().AdminClient(settings)
    assert topic in client.list_topics(timeout=KAFKA_SECONDS).topics


def _read(settings: dict[str, Any], topic: str) -> None:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

    consumer = Consumer(settings | {"group.id": "attempt", "enable.auto.commit": False})
    end = time.monotonic() + KAFKA_SECONDS
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        while True:
            assert time.monotonic() < end, "neither a message nor an error came"
            message = consumer.poll(1)
            if message is None:
                continue
            error = message.error()
            if error is None:
                return
            # Who reads needs no group, which this client asks for nevertheless.
            if error.code() != GROUP_REFUSED:
                raise KafkaException(error)
    finally:
        consumer.close()


def _write(settings: dict[str, Any], topic: str) -> None:
    from confluent_kafka import KafkaException, Producer

    told: list[Any] = []
    producer = Producer(settings | {"message.timeout.ms": int(KAFKA_SECONDS * 1000)})
    producer.produce(topic, b"attempt", b"attempt", on_delivery=lambda *it: told.append(it[0]))
    producer.flush(KAFKA_SECONDS + 5)
    (error,) = told
    if error is not None:
        raise KafkaException(error)


def _users(settings: dict[str, Any], _topic: str) -> None:
    with _python_client(settings) as client:
        # Asked for all, a broker that refuses fails in earnest, and never answers.
        assert client.describe_user_scram_credentials(["admin"])


def _password(settings: dict[str, Any], _topic: str) -> None:
    kafka = _administration()
    kind = kafka.ScramCredentialInfo(kafka.ScramMechanism.SCRAM_SHA_512, 4096)
    change = kafka.UserScramCredentialUpsertion("attempt", kind, b"attempt-attempt")
    _ask(settings, lambda client: client.alter_user_scram_credentials([change]))


def _rights(settings: dict[str, Any], topic: str) -> None:
    from kafka.admin import (
        ACLFilter,
        ACLOperation,
        ACLPermissionType,
        ACLResourcePatternType,
        ResourcePatternFilter,
        ResourceType,
    )

    pattern = ResourcePatternFilter(ResourceType.TOPIC, topic, ACLResourcePatternType.ANY)
    every = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, pattern)
    with _python_client(settings) as client:
        found, _ = client.describe_acls(every)
        assert found


@contextlib.contextmanager
def _python_client(settings: dict[str, Any]) -> Iterator[Any]:
    """Give a client of kafka-python's.

    That of confluent 2.16.1 does not tell each refusal, and takes one to show rights for an empty
    list.
    """
    from kafka import KafkaAdminClient

    client = KafkaAdminClient(
        bootstrap_servers=settings["bootstrap.servers"],
        security_protocol=settings["security.protocol"],
        sasl_mechanism=settings["sasl.mechanism"],
        sasl_plain_username=settings["sasl.username"],
        sasl_plain_password=settings["sasl.password"],
        ssl_cafile=settings["ssl.ca.location"],
    )
    try:
        yield client
    finally:
        client.close()


def _grant(settings: dict[str, Any], topic: str) -> None:
    kafka = _administration()
    right = kafka.AclBinding(
        kafka.ResourceType.TOPIC,
        topic,
        kafka.ResourcePatternType.LITERAL,
        "User:attempt",
        "*",
        kafka.AclOperation.ALL,
        kafka.AclPermissionType.ALLOW,
    )
    _ask(settings, lambda client: client.create_acls([right]))


def _make(settings: dict[str, Any], _topic: str) -> None:
    made = [_administration().NewTopic("attempt", 1, 1)]
    _ask(settings, lambda client: client.create_topics(made))


def _delete(settings: dict[str, Any], topic: str) -> None:
    _ask(settings, lambda client: client.delete_topics([topic]))


def _administration() -> Any:
    """Return the module, whose types do not name all that it has."""
    import confluent_kafka.admin

    return confluent_kafka.admin


def _ask(settings: dict[str, Any], request: Callable[[Any], Any]) -> None:
    # A client that nobody holds takes its requests with it.
    client = _administration().AdminClient(settings)
    answer = request(client)
    for future in answer.values() if isinstance(answer, dict) else [answer]:
        future.result(KAFKA_SECONDS)


#: What a user of Kafka's may try.
KAFKA: dict[str, Callable[[dict[str, Any], str], None]] = {
    "list": _list,
    "read": _read,
    "write": _write,
    "users": _users,
    "password": _password,
    "rights": _rights,
    "grant": _grant,
    "make": _make,
    "delete": _delete,
}


def kafka_request(api: int) -> str:
    """Return a request of Kafka's of version 0 without content, as hexadecimal digits."""
    client = b"attempt"
    header = struct.pack(f">hhih{len(client)}s", api, 0, 1, len(client), client)
    # How many topics are asked for: none are all. A request for versions ends before.
    body = header + (struct.pack(">i", 0) if api == METADATA else b"")
    return (struct.pack(">i", len(body)) + body).hex()


METADATA, API_VERSIONS = 3, 18


def shell(address: str, port: int, user: str, options: list[str]) -> Answer:
    """Log in by ssh and do nothing."""
    done = subprocess.run(
        [
            *("ssh", *options, f"-oPort={port}", "-oControlPath=none", "-oBatchMode=yes"),
            *("-l", user, address, "true"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode == 0:
        return ANSWERED, ""
    # Of the ways to log in the server offers keys alone.
    assert f"{user}@{address}: Permission denied (publickey)." in done.stderr, done.stderr
    return NO_LOGIN, done.stderr


KINDS: dict[str, Callable[..., Answer]] = {
    "clear": clear,
    "tls": tls,
    "metrics": metrics,
    "znode": znode,
    "kafka": kafka,
    "shell": shell,
}


def main() -> None:
    """Make all attempts, one after the other."""
    logging.disable(logging.CRITICAL)
    answers = []
    for attempt in json.load(sys.stdin):
        kind = attempt.pop("kind")
        outcome, said = KINDS[kind](**attempt)
        answers.append({"outcome": outcome, "said": said})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
