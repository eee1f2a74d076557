"""Nodes of ZooKeeper, read by its client protocol: a host has no library for it.

Module kafka_users imports this; the template of kafka-check-data includes it as it stands.
"""

import socket
import ssl
import struct

GET_DATA, GET_CHILDREN, CLOSE = 4, 8, -11
NO_NODE = -101
REASONS = {-102: "the certificate's subject has no right to read it"}


class CertificateError(OSError):
    """A file of certificates that is missing, closed or of another form."""


def receive(connection):
    """Return one packet: four bytes of length, then the payload."""

    def exactly(count):
        data = b""
        while len(data) < count:
            chunk = connection.recv(count - len(data))
            if not chunk:
                raise ConnectionError("ZooKeeper closed the connection")
            data += chunk
        return data

    return exactly(struct.unpack(">i", exactly(4))[0])


def exchange(connection, kind, path):
    """Return what follows the header of the answer about a znode, None if there is none."""
    hello = struct.pack(">iqiqi16s?", 0, 0, 10000, 0, 16, b"", False)
    name = path.encode()
    request = struct.pack(f">iii{len(name)}s?", 1, kind, len(name), name, False)
    for packet in (hello, request):
        connection.sendall(struct.pack(">i", len(packet)) + packet)
    receive(connection)
    answer = receive(connection)
    close = struct.pack(">ii", 2, CLOSE)
    connection.sendall(struct.pack(">i", len(close)) + close)
    error = struct.unpack_from(">iqi", answer)[2]
    if error == NO_NODE:
        return None
    if error:
        raise OSError(f"{path}: {REASONS.get(error, f'error {error}')}")
    return answer[16:]


def tls(certificate, ca):
    """Return how to connect by TLS; CertificateError if a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(certificate)
    except OSError as error:
        raise CertificateError(f"{certificate} or {ca} cannot be used: {error}") from error
    return context


def ask(server, kind, path, context=None):
    """Return the answer of one server, by TLS if there is a context; OSError if it gives none."""
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        if context is None:
            return exchange(plain, kind, path)
        with context.wrap_socket(plain, server_hostname=host) as secured:
            return exchange(secured, kind, path)


def ask_any(connect, kind, name, certificate="", ca=""):
    """Return the answer of the first server that gives one; OSError with all reasons if none does.

    connect is Kafka's zookeeper.connect: servers, and the path that a name begins below.
    """
    context = tls(certificate, ca) if certificate else None
    servers, slash, root = connect.partition("/")
    reasons = []
    for server in servers.split(","):
        try:
            return ask(server.strip(), kind, (slash + root).rstrip("/") + name, context)
        except OSError as error:
            reasons.append(f"{server}: {error}")
    raise OSError("; ".join(reasons))


def read_znode(connect, name, certificate="", ca=""):
    """Return the content of a znode as bytes, None if there is none."""
    answer = ask_any(connect, GET_DATA, name, certificate, ca)
    if answer is None:
        return None
    length = struct.unpack_from(">i", answer)[0]
    return answer[4 : 4 + max(length, 0)]


def children(connect, name, certificate="", ca=""):
    """Return the names of the znodes below one, none if it is not there."""
    answer = ask_any(connect, GET_CHILDREN, name, certificate, ca)
    names, at = [], 4
    for _ in range(struct.unpack_from(">i", answer)[0] if answer else 0):
        length = struct.unpack_from(">i", answer, at)[0]
        names.append(answer[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return names
