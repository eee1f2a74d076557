"""Whether a broker lets this host in: looked at by itself, as a client library does not tell.

kafka-python ends in the same time-out for a wrong password, a certificate of another CA and a
broker that is away, and tells the reason, if at all, in its log.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from kafka.errors import for_code
from kafka.net.sasl import register_sasl_mechanism
from kafka.net.sasl.scram import SaslMechanismScram, ScramClient
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from imdb_producer.client import DELIVERY_TIMEOUT_MS, unreachable
from imdb_producer.errors import AccessError, ConfigError, CredentialsError, ProducerError
from imdb_producer.security import MECHANISM, Security
from imdb_producer.tls import AwayError, TlsError, TlsFileError, speaks_tls, split_address

log = logging.getLogger(__name__)

#: Seconds that one broker may take to answer.
_ANSWER = 5.0
#: Seconds without an acknowledgement after which it looks why.
_STALL = 3.0
#: Seconds between two attempts.
_POLL = 1.0
#: Seconds for which a password or a right may be unknown to a broker that has just been told.
GRACE = 5.0


class _Scram(SaslMechanismScram):  # type: ignore[misc]  # kafka-python has no types
    """Takes the password from its file at each authentication: it may have been changed since."""

    def __init__(self, **config: Any) -> None:
        password = config["sasl_plain_password"]
        if isinstance(password, Security):
            password = password.password()
        super().__init__(**config | {"sasl_plain_password": password})


register_sasl_mechanism(MECHANISM, _Scram, overwrite=True)


def kafka_python_settings(security: Security) -> dict[str, object]:
    """Give kafka-python's settings."""
    if not security.enabled:
        return {}
    return {
        "security_protocol": security.protocol,
        "ssl_cafile": security.cafile,
        "sasl_mechanism": MECHANISM,
        "sasl_plain_username": security.username,
        "sasl_plain_password": security,
    }


def wait_for_access(
    bootstrap_servers: Sequence[str], security: Security, timeout: float, pause: float = _POLL
) -> None:
    """Wait until one of the brokers lets this host in.

    What may pass is waited for: a broker that is away, and a certificate, for it is the broker's.
    The reason is logged once.

    Raises:
        ConfigError: a file of this host cannot be used.
        CredentialsError: the brokers do not take user and password.
        TopicError: no broker answers in time.
        AccessError: none in time that this host trusts.
    """
    deadline = time.monotonic() + timeout
    refused = told = None
    while True:
        error = find_obstacle(bootstrap_servers, security)
        now = time.monotonic()
        if error is None:
            return
        if isinstance(error, ConfigError):
            raise error
        if isinstance(error, CredentialsError):
            refused = refused or now
            if now - refused >= min(GRACE, timeout):
                raise error
        elif now >= deadline:
            raise error
        if isinstance(error, AccessError) and str(error) != told:
            told = str(error)
            log.warning("%s Waiting for up to %.0f s", error, deadline - now)
        time.sleep(pause)


def find_obstacle(bootstrap_servers: Sequence[str], security: Security) -> ProducerError | None:
    """Say why no broker lets this host in; None if one does."""
    found: list[ProducerError] = []
    for address in bootstrap_servers:
        try:
            _log_in(address, security)
        except ProducerError as error:
            found.append(error)
        except TlsFileError as error:
            return ConfigError(str(error))
        except AwayError as error:
            found.append(unreachable(bootstrap_servers, error))
        except TlsError as error:
            found.append(AccessError(f"{error} Nothing was sent."))
        else:
            return None
    # What says most: a broker that is away may be well.
    kinds = [CredentialsError, ConfigError, AccessError, ProducerError]
    return next(it for kind in kinds for it in found if isinstance(it, kind))


class StallWatch:
    """Says once why nothing is acknowledged any more, where no client lets on."""

    def __init__(self, bootstrap_servers: Sequence[str], security: Security) -> None:
        """Prepare; nothing is asked yet."""
        self._bootstrap_servers = bootstrap_servers
        self._security = security
        self._acknowledged = 0
        self._since = time.monotonic()
        self._told = False

    def look(self, handed_over: int, acknowledged: int) -> None:
        """Take how far it is; called often."""
        now = time.monotonic()
        if acknowledged != self._acknowledged or handed_over == acknowledged:
            self._acknowledged, self._since, self._told = acknowledged, now, False
        elif self._security.enabled and not self._told and now - self._since >= _STALL:
            self._told = True
            # Sending must be able to stop meanwhile.
            threading.Thread(target=self._tell, daemon=True).start()

    def _tell(self) -> None:
        obstacle = find_obstacle(self._bootstrap_servers, self._security)
        if obstacle is not None:
            log.warning(
                "%s What is to be sent waits for %d s; the files are read anew meanwhile.",
                obstacle,
                DELIVERY_TIMEOUT_MS // 1000,
            )


def asks_for_tls(bootstrap_servers: Sequence[str]) -> str:
    """Give the first broker at whose port TLS is spoken, empty if there is none."""
    return next(
        (it for it in bootstrap_servers if speaks_tls(*split_address(it), seconds=_ANSWER)), ""
    )


def _log_in(address: str, security: Security) -> None:
    """Connect by TLS and authenticate, as a client does."""
    password = security.password()
    host, port = split_address(address)
    with security.tls.connect(host, port, _ANSWER) as connection:
        ask = _asking(connection, security)
        scram = ScramClient(security.username, password, MECHANISM)
        try:
            answer = ask(SaslHandshakeRequest(version=1, mechanism=MECHANISM))
            if answer.error_code:
                raise AccessError(
                    f"{address} does not know the mechanism {MECHANISM}, but {answer.mechanisms}: "
                    "see that the port is that of the listener for clients. Nothing was sent."
                )
            scram.process_server_first_message(_authenticate(ask, scram.first_message(), security))
            scram.process_server_final_message(_authenticate(ask, scram.final_message(), security))
        except ssl.SSLError as error:
            raise security.tls.refused(address, error) from error
        except OSError as error:
            raise AwayError(f"{address} ended the connection: {error.strerror or error}") from error
        except (LookupError, ValueError) as error:
            # Without the password it cannot sign what it answers.
            raise AccessError(
                f"{address} does not know the password of {security.username} either ({error}): it "
                "may not be the broker. Nothing was sent."
            ) from error


def _authenticate(ask: Callable[[Any], Any], token: bytes, security: Security) -> bytes:
    answer = ask(SaslAuthenticateRequest(version=1, auth_bytes=token))
    if answer.error_code:
        raise wrong_credentials(security, answer.error_message or for_code(answer.error_code))
    return bytes(answer.auth_bytes)


def wrong_credentials(security: Security, said: object) -> CredentialsError:
    """Make the error of a user or a password that the brokers do not take."""
    return CredentialsError(
        f"Kafka does not take the user {security.username} with the password in "
        f"{security.password_file}: {said}. See that KAFKA_SASL_USERNAME names a user that the "
        "brokers know, and that the file holds the password that they have."
    )


def _asking(connection: ssl.SSLSocket, security: Security) -> Callable[[Any], Any]:
    """Give a function that sends a request and returns the answer."""
    protocol = KafkaProtocol(client_id=f"imdb-producer-{security.username}")

    def ask(request: Any) -> Any:
        protocol.send_request(request)
        connection.sendall(protocol.send_bytes())
        while True:
            received = connection.recv(4096)
            if not received:
                raise ConnectionResetError("it was closed")
            if answers := protocol.receive_bytes(received):
                return answers[0][1]

    return ask
