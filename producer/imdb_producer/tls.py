"""TLS to a server, looked at before a client library is: what is wrong, by name, and what to do.

Client libraries give the same time-out for a file that is missing, a certificate of another CA and
a server that is away. imdb-standby has this module too, by a link.
"""

from __future__ import annotations

import _ssl
import os
import pwd
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

#: What OpenSSL says of a server's certificate (X509_V_ERR_*), in words.
_REFUSALS = {
    9: "is not valid yet: compare the clocks of both hosts (timedatectl)",
    10: "has ended: renew it there, and if that was done, compare the clocks of both hosts "
    "(timedatectl)",
    62: "is for another host: it must name {host} among its subjectAltName",
    64: "is for another host: it must name {host} among its subjectAltName",
}
_MADE_BY = "role certificates writes it"


class TlsError(Exception):
    """The message says what is wrong and what to do."""


class TlsFileError(TlsError):
    """A file of this host cannot be used."""


class AwayError(TlsError):
    """Nobody answers there."""


class UntrustedError(TlsError):
    """One of the two ends does not take the other, or it does not speak TLS."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The CAs that are trusted, and the certificate that is shown, if any.

    Both are PEM files; that of the certificate has its private key too. `settings` name them for
    messages.
    """

    ca: str
    certificate: str = ""
    settings: tuple[str, str] = ("", "")

    def context(self) -> ssl.SSLContext:
        """Read the files.

        Raises:
            TlsFileError: one of them is missing, closed to this user, no PEM, or has ended.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        name = f"{self.settings[0]}={self.ca!r}"
        _see_that_it_is_readable(name, self.ca)
        try:
            context.load_verify_locations(self.ca)
        except OSError as error:
            raise TlsFileError(
                f"{name}: holds no certificate in PEM format. Name the file with the CA that "
                f"signed the servers' certificates ({_MADE_BY})."
            ) from error
        cas = context.get_ca_certs()
        if not cas:
            raise TlsFileError(f"{name}: holds no certificate of a CA. Name the file that does.")
        # While one CA follows another there are both.
        _see_that_it_is_valid(name, max(cas, key=lambda it: _seconds(it, "notAfter")))
        if self.certificate:
            self._load_certificate(context)
        return context

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        name = f"{self.settings[1]}={self.certificate!r}"
        _see_that_it_is_readable(name, self.certificate)
        try:
            # A key with a passphrase would be asked for on the terminal.
            context.load_cert_chain(self.certificate, password=lambda: "")
            found = _ssl._test_decode_cert(self.certificate)  # type: ignore[attr-defined]
        except OSError as error:
            raise TlsFileError(
                f"{name}: holds no certificate with its private key, in PEM format and without a "
                f"passphrase: {getattr(error, 'reason', None) or error}. Name the file with both "
                f"({_MADE_BY})."
            ) from error
        _see_that_it_is_valid(name, found)

    def connect(self, host: str, port: int, seconds: float) -> ssl.SSLSocket:
        """Connect to a server that this host trusts.

        Raises:
            TlsFileError: see `context`.
            AwayError, UntrustedError: it answers not at all, or not as it should.
        """
        context = self.context()
        place = f"{host}:{port}"
        plain = _connect(host, port, seconds)
        try:
            return context.wrap_socket(plain, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise UntrustedError(
                f"The certificate of {place} {self._refusal(error, host)}."
            ) from error
        except TimeoutError as error:
            plain.close()
            raise AwayError(f"{place} does not answer within {seconds:.0f} s") from error
        except OSError as error:
            plain.close()
            raise self.refused(place, error) from error

    def _refusal(self, error: ssl.SSLCertVerificationError, host: str) -> str:
        said = _REFUSALS.get(error.verify_code)
        if said is not None:
            return said.format(host=host)
        return (
            f"is of a CA that is not in {self.ca} ({error.verify_message}): see that "
            f"{self.settings[0]} names the CA that signed it"
        )

    def refused(self, place: str, error: OSError) -> UntrustedError:
        """Say why a server ended a connection. By TLS 1.3 that may come after the handshake."""
        reason = getattr(error, "reason", None) or ""
        if "ALERT" not in reason:
            return UntrustedError(
                f"{place} does not speak TLS ({reason or error}): see that the port is that of a "
                "listener with TLS."
            )
        alert = reason.rpartition("ALERT_")[2].lower().replace("_", " ")
        if "version" in alert or "handshake failure" in alert:
            return UntrustedError(
                f"{place} and this host have no version or cipher of TLS in common ({alert})."
            )
        shown = self.certificate or "none"
        return UntrustedError(
            f"{place} does not take this host's certificate ({alert}). It was shown: {shown}. "
            "Name one of a CA that the server trusts, which has not ended there either."
        )


def speaks_tls(host: str, port: int, seconds: float) -> bool:
    """Say whether a server answers to TLS, whoever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connect(host, port, seconds) as plain, context.wrap_socket(plain):
            return True
    except (TlsError, OSError) as error:
        return "ALERT" in (getattr(error, "reason", None) or "")


def split_address(address: str) -> tuple[str, int]:
    """Give host and port of host:port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _connect(host: str, port: int, seconds: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=seconds)
    except OSError as error:
        raise AwayError(f"{host}:{port}: {error.strerror or error}") from error


def _see_that_it_is_readable(name: str, path: str) -> None:
    try:
        with open(path, "rb"):  # noqa: PTH123 - pathlib would take an empty name for a folder
            return
    except FileNotFoundError as error:
        raise TlsFileError(f"{name}: there is no such file ({_MADE_BY}).") from error
    except OSError as error:
        raise TlsFileError(
            f"{name}: cannot be read: {error.strerror}. Make it readable for the user {_user()}."
        ) from error


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _see_that_it_is_valid(name: str, certificate: Mapping[str, object]) -> None:
    now = time.time()
    if _seconds(certificate, "notAfter") <= now:
        raise TlsFileError(
            f"{name}: its certificate has ended on {certificate['notAfter']}. Renew it "
            f"({_MADE_BY}), or set this host's clock (timedatectl)."
        )
    if _seconds(certificate, "notBefore") > now:
        raise TlsFileError(
            f"{name}: its certificate is not valid before {certificate['notBefore']}. Set this "
            "host's clock (timedatectl)."
        )


def _seconds(certificate: Mapping[str, object], end: str) -> float:
    return ssl.cert_time_to_seconds(str(certificate[end]))


# ZooKeeper asks for a certificate by TLS 1.3: only an answer tells that it took this one.
_QUESTION = b"srvr"


def ask_zookeeper(servers: str, tls: Tls, seconds: float) -> None:
    """See that one of ZooKeeper's servers trusts this host, and the other way round.

    Raises:
        TlsFileError: a file of this host cannot be used.
        AwayError: none answers; what only one of them has may pass.
        UntrustedError: all that answer refuse, or are refused.
    """
    away: TlsError | None = None
    refused: TlsError | None = None
    for address in servers.split(","):
        host, port = split_address(address)
        try:
            with tls.connect(host, port, seconds) as connection:
                try:
                    connection.sendall(_QUESTION)
                    connection.recv(64)
                except TimeoutError as error:
                    raise AwayError(f"{address} does not answer within {seconds:.0f} s") from error
                except OSError as error:
                    raise tls.refused(address, error) from error
                return
        except AwayError as error:
            away = error
        except UntrustedError as error:
            refused = error
    raise refused or away or AwayError(servers)


def kazoo_settings(tls: Tls | None) -> dict[str, object]:
    """Give kazoo's settings. Without `keyfile` it would show no certificate, and not say so."""
    if tls is None:
        return {}
    return {
        "use_ssl": True,
        "certfile": tls.certificate,
        "keyfile": tls.certificate,
        "ca": tls.ca,
        "check_hostname": True,
    }
