#!/usr/bin/env bash
# kazoo 2.11.0, TLS: a client that is given certfile alone, a PEM file with the certificate and its private key, presents no
# certificate at all, and says nothing. Python's ssl takes such a file (keyfile is optional there); kazoo loads it only
# if keyfile is given too (handlers/utils.py, create_tcp_connection). A ZooKeeper that asks for certificates, as it does by
# default, refuses such a client in the handshake, and what kazoo raises is a timeout.
# Here a server of Python's own says what was presented.
# Seen:
#   certfile:              no certificate
#   certfile and keyfile:  CN=client
# Needs python3 and openssl. Ends with 1 if that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kazoo==2.11.0
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out certificate.pem -days 2 \
    -subj /CN=client -addext subjectAltName=IP:127.0.0.1 2>/dev/null
cat key.pem certificate.pem >both.pem

cat >try.py <<'PY'
import logging
import queue
import socket
import ssl
import threading

from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError

logging.disable(logging.CRITICAL)
listener = socket.create_server(("127.0.0.1", 0))
address = "127.0.0.1:%d" % listener.getsockname()[1]
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain("both.pem")
server.load_verify_locations("certificate.pem")
server.verify_mode = ssl.CERT_OPTIONAL
presented = queue.Queue()


def serve():
    while True:
        connection = listener.accept()[0]
        with server.wrap_socket(connection, server_side=True) as secured:
            shown = secured.getpeercert()
            presented.put("CN=" + shown["subject"][0][0][1] if shown else "no certificate")


threading.Thread(target=serve, daemon=True).start()
seen = []
for label, more in (("certfile", {}), ("certfile and keyfile", {"keyfile": "both.pem"})):
    client = KazooClient(address, use_ssl=True, ca="certificate.pem", certfile="both.pem", **more)
    try:
        client.start(timeout=5)
    except KazooTimeoutError:
        # This server is none of ZooKeeper's.
        pass
    client.stop()
    seen.append(presented.get(timeout=10))
    while not presented.empty():
        presented.get()
    print(f"{label + ':':<22} {seen[-1]}")
raise SystemExit(seen != ["no certificate", "CN=client"])
PY
timeout 120 venv/bin/python try.py
