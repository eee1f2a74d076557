#!/usr/bin/env bash
# kafka-python 3.0.12: an answer is dropped if the end of the connection comes with it. Its transport reads until the
# socket has no more or is at its end, and in the second case drops what it has read (transport.py, _sock_recv and
# _read_from_sock). So the reason that a broker gives for a refused login before it closes the connection gets into the
# log by chance only. Here a server sends that answer and the end in one TCP segment, and then the answer alone. What is
# raised is the same, and late: until bootstrap_timeout_ms is over, the refused password is sent again and again.
# Seen:
#   answer with the end: log KafkaConnectionError: socket disconnected, raised KafkaTimeoutError
#   answer alone: log SaslAuthenticationFailedError: wrong password, raised KafkaTimeoutError
# Needs python3, on Linux. Ends with 1 if that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kafka-python==3.0.12
cat >try.py <<'PY'
import logging
import re
import socket
import struct
import sys
import threading

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 3, 17, 18, 36
VERSIONS = (
    (METADATA, 0, 1),
    (SASL_HANDSHAKE, 1, 1),
    (API_VERSIONS, 0, 0),
    (SASL_AUTHENTICATE, 0, 0),
)
UNSUPPORTED_VERSION, SASL_AUTHENTICATION_FAILED = 35, 58
REASON = b"wrong password"


def body(key, version):
    if key == API_VERSIONS:
        error = UNSUPPORTED_VERSION if version else 0
        ranges = b"".join(struct.pack(">hhh", *it) for it in VERSIONS)
        return struct.pack(">hi", error, len(VERSIONS)) + ranges
    if key == SASL_HANDSHAKE:
        return struct.pack(">hih", 0, 1, 5) + b"PLAIN"
    return struct.pack(">hh", SASL_AUTHENTICATION_FAILED, len(REASON)) + REASON + bytes(4)


def serve(listener, ends):
    """Refuse each login, and end the connection with that answer or leave this to the client."""
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            key = None
            while key != SASL_AUTHENTICATE and (size := stream.read(4)):
                request = stream.read(*struct.unpack(">i", size))
                key, version, number = struct.unpack(">hhi", request[:8])
                answer = struct.pack(">i", number) + body(key, version)
                if key == SASL_AUTHENTICATE and ends:
                    # The segment waits for what follows: the end.
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                connection.sendall(struct.pack(">i", len(answer)) + answer)
            if not ends:
                stream.read()


class Reasons(logging.Handler):
    def emit(self, record):
        if found := re.search("Bootstrap connection .* failed: (.*) [(]", record.getMessage()):
            self.found.add(re.sub("^.*(?=SaslAuthenticationFailedError)", "", found[1]))


reasons = Reasons()
logging.getLogger("kafka").addHandler(reasons)
logging.getLogger("kafka").propagate = False
seen = []
for what, ends in (("with the end", True), ("alone", False)):
    reasons.found = set()
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener, ends), daemon=True).start()
    try:
        KafkaAdminClient(
            bootstrap_servers=f"127.0.0.1:{listener.getsockname()[1]}",
            bootstrap_timeout_ms=5000,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_plain_username="someone",
            sasl_plain_password="wrong",
        )
        raised = "nothing"
    except KafkaError as error:
        raised = type(error).__name__
    logged = " and ".join(sorted(reasons.found))
    seen.append((logged, raised))
    print(f"answer {what}: log {logged}, raised {raised}")
sys.exit(
    seen
    != [
        ("KafkaConnectionError: socket disconnected", "KafkaTimeoutError"),
        ("SaslAuthenticationFailedError: wrong password", "KafkaTimeoutError"),
    ]
)
PY
timeout 120 venv/bin/python -u try.py
