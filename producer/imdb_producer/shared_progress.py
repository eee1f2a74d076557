"""Progress in ZooKeeper: for producers of several hosts, of which one sends at a time.

The one that takes over goes on where the other was. Each write says which write it follows, so that
a producer that was paused meanwhile, and does not know it, cannot set the progress back: its next
write is refused, and it ends.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler

from imdb_producer.errors import AccessError, ConfigError, OvertakenError, StoreError
from imdb_producer.progress import Progress, ProgressFile, parse_progress
from imdb_producer.tls import (
    AwayError,
    Tls,
    TlsFileError,
    UntrustedError,
    ask_zookeeper,
    kazoo_settings,
)
from imdb_producer.znodes import NO_RIGHT, REFUSED, make_node

log = logging.getLogger(__name__)

#: Seconds that ZooKeeper may take to answer, attempts with it. Nothing is sent meanwhile.
_PATIENCE = 60.0
#: Seconds between two attempts.
_PAUSE = 0.2
#: Servers that may be asked for a connection in vain while a session lasts.
_CONNECTIONS_A_SESSION = 6
#: Seconds that a server may take to say whether it takes this host's certificate.
_ANSWER = 5.0


def _see_that_one_answers(servers: str, tls: Tls) -> None:
    """kazoo tells neither a wrong file nor a wrong certificate from a server that is away."""
    try:
        ask_zookeeper(servers, tls, _ANSWER)
    except TlsFileError as error:
        raise ConfigError(str(error)) from error
    except UntrustedError as error:
        raise AccessError(f"ZooKeeper: {error}") from error
    except AwayError as error:
        log.debug("It is waited for: %s", error)


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """Asks the next server after a part of the session.

    kazoo waits for a connection as long as a session lasts: where the first it asks is cut off,
    the session ends although others would answer.
    """

    def create_connection(self, *arguments: Any, timeout: float, **more: Any) -> socket.socket:
        """See `kazoo.interfaces.IHandler`; `timeout` is the session's, in seconds."""
        connection: socket.socket = super().create_connection(
            *arguments, timeout=timeout / _CONNECTIONS_A_SESSION, **more
        )
        return connection


class SharedProgress:
    """Progress in a node of ZooKeeper."""

    def __init__(
        self, servers: str, path: str, before: ProgressFile, tls: Tls | None = None
    ) -> None:
        """Connect.

        Args:
            servers: host:port[,host:port...].
            path: the node; those above it are made, and all have the rights of what is above them.
            before: where this host kept it before; taken over if the node is not there, and removed
                once it is: later than that nobody may go by it.
            tls: files for TLS; None for none.

        Raises:
            ConfigError: one of these files cannot be used.
            StoreError: no server answers.
            AccessError: none that takes this host, and that this host trusts.
        """
        if tls is not None:
            _see_that_one_answers(servers, tls)
        self._servers = servers
        self._path = path
        self._before = before
        self._version = -1
        logger = logging.getLogger("imdb_producer.kazoo")
        logger.setLevel(logging.ERROR)
        self._client = KazooClient(
            servers,
            timeout=10.0,
            handler=_Handler(),
            connection_retry={"max_tries": -1, "max_delay": 2.0},
            logger=logger,
            **kazoo_settings(tls),
        )
        try:
            self._client.start(_PATIENCE)
        except KazooTimeoutError as error:
            self.close()
            raise self._unreachable("no answer") from error

    def load(self) -> Progress | None:
        """See `ProgressStore.load`."""
        try:
            content, stat = self._ask(self._client.get_async, self._path)
        except NoNodeError:
            progress = self._before.load()
            if progress is not None:
                log.info("Taking over the progress that this host has kept alone")
                self.save(progress)
                self._before.remove()
            return progress
        self._version = stat.version
        self._before.remove()
        return parse_progress(
            content,
            f"{self._path} of ZooKeeper at {self._servers}",
            "Restore it, or delete it (sudo zkCli.sh)",
        )

    def save(self, progress: Progress) -> None:
        """See `ProgressStore.save`.

        Raises:
            OvertakenError: another producer has written since.
            StoreError: ZooKeeper does not answer.
        """
        content = json.dumps(asdict(progress)).encode()
        try:
            if self._version < 0:
                make_node(self._ask, self._client, self._path, content)
                self._version = 0
            else:
                stat = self._ask(self._client.set_async, self._path, content, self._version)
                self._version = stat.version
        except (BadVersionError, NodeExistsError, NoNodeError) as error:
            self._accept_own(content, error)

    def close(self) -> None:
        """End the session."""
        with suppress(KazooException, KazooTimeoutError):
            self._client.stop()
            self._client.close()

    def _accept_own(self, content: bytes, error: Exception) -> None:
        """A write whose answer was lost is found there when it is tried again."""
        try:
            found, stat = self._ask(self._client.get_async, self._path)
        except NoNodeError:
            found = None
        if found != content:
            raise OvertakenError(
                f"Another producer has written the progress in {self._path} of ZooKeeper at "
                f"{self._servers} since this one did: it has taken over. This one ends."
            ) from error
        self._version = stat.version

    def _ask(self, call: Callable[..., Any], *arguments: object, **more: object) -> Any:
        """Ask ZooKeeper, again where the connection is lost meanwhile; in bounded time."""
        end = time.monotonic() + _PATIENCE
        while True:
            left = max(0.1, end - time.monotonic())
            try:
                return call(*arguments, **more).get(timeout=left)
            # A session that has ended, as after a pause, is followed by another; the node stays.
            except (ConnectionLoss, OperationTimeoutError, SessionExpiredError) as error:
                if time.monotonic() >= end:
                    raise self._unreachable(type(error).__name__) from error
                time.sleep(_PAUSE)
            except (BadVersionError, NodeExistsError, NoNodeError):
                raise
            except REFUSED as error:
                reason = NO_RIGHT.format(path=self._path)
                raise AccessError(f"ZooKeeper at {self._servers} {reason}.") from error
            except (KazooException, KazooTimeoutError) as error:
                raise self._unreachable(f"{type(error).__name__} {error}".strip()) from error

    def _unreachable(self, reason: str) -> StoreError:
        return StoreError(
            f"ZooKeeper at {self._servers}, which keeps how far sending has come, does not answer "
            f"within {_PATIENCE:g} s: {reason}. Check PROGRESS_SERVERS and that it is up "
            "(journalctl -u zookeeper there). The next run goes on where this one was."
        )
