"""One leader among several hosts: an ephemeral node in ZooKeeper that bears its name.

The node lives as long as its owner's session. Who finds it there waits for its end; who makes it
leads. ZooKeeper ends the session of a host that is dead, cut off or paused for longer than the
session's time-out, and then another leads. The old one may not know that yet: what must not happen
twice has to be fenced where it happens.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
)
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.states import KazooState, ZnodeStat

from imdb_standby.tls import AwayError, Tls, UntrustedError, ask_zookeeper, kazoo_settings
from imdb_standby.znodes import NO_RIGHT, REFUSED, make_node

log = logging.getLogger(__name__)

#: Seconds between two attempts to reach ZooKeeper, at most.
_RETRY_SECONDS = 2.0
#: Seconds that a call may take, and between two attempts.
_CALL_SECONDS = 10.0
_PAUSE_SECONDS = 0.2
#: Seconds that a server may take to say whether it takes this host's certificate.
_ANSWER_SECONDS = 5.0
#: Servers that may be asked for a connection in vain while a session lasts.
_CONNECTIONS_A_SESSION = 6


class UnreachableError(Exception):
    """No server of ZooKeeper answers, or not to this host; the message says which were asked."""


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


class Election:
    """This host's part in an election. Used by one thread."""

    def __init__(
        self, servers: str, path: str, name: str, session_seconds: float, tls: Tls | None = None
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            servers: host:port[,host:port...] of ZooKeeper.
            path: the node, of one election; those above it are made, and all have the rights of
                what is above them.
            name: this host's name, for the others.
            session_seconds: after so long without a sign of life another host leads. ZooKeeper
                grants two of its ticks at least, and its maxSessionTimeout at most.
            tls: files for TLS; None for none.
        """
        self._servers = servers
        self._tls = tls
        self._path = path
        self._name = name
        self.lost = threading.Event()
        self.changed = threading.Event()
        self._leads = False
        self._client = KazooClient(
            servers,
            timeout=session_seconds,
            handler=_Handler(),
            connection_retry={"max_tries": -1, "max_delay": _RETRY_SECONDS},
            # What it tells of each attempt is told once, here.
            logger=_quiet(),
            **kazoo_settings(tls),
        )
        self._client.add_listener(self._on_state)

    def connect(self, seconds: float) -> None:
        """Begin a session.

        Raises:
            TlsFileError: a file for TLS cannot be used.
            UnreachableError: no server answered in time, or none takes this host, or is trusted.
        """
        self._see_that_one_answers()
        try:
            self._client.start(seconds)
        except KazooTimeoutError:
            self.close()
            raise UnreachableError(
                f"No ZooKeeper server answers at {self._servers} within {seconds:g} s. Are they up "
                "(journalctl -u zookeeper there), and is their port open to this host?"
            ) from None

    def _see_that_one_answers(self) -> None:
        """kazoo tells neither a wrong file nor a wrong certificate from a server that is away."""
        if self._tls is None:
            return
        try:
            ask_zookeeper(self._servers, self._tls, _ANSWER_SECONDS)
        except UntrustedError as error:
            self.close()
            raise UnreachableError(f"ZooKeeper: {error}") from error
        except AwayError as error:
            log.debug("It is waited for: %s", error)

    def run_for_it(self) -> str:
        """Try to lead; return the name of who leads now: this host's own, if it does.

        `changed` is set when it is worth trying again.

        Raises:
            UnreachableError: ZooKeeper did not answer in time.
        """
        try:
            while True:
                self.changed.clear()
                self.lost.clear()
                with contextlib.suppress(NodeExistsError):
                    make_node(
                        self._ask, self._client, self._path, self._name.encode(), ephemeral=True
                    )
                found = self._look(watched=True)
                if found is None:  # it ended just now
                    continue
                leader, stat = found
                # An answer may have been lost on its way: the node may be ours from before.
                session = self._client.client_id
                self._leads = session is not None and stat.ephemeralOwner == session[0]
                return leader
        except (KazooException, KazooTimeoutError) as error:
            raise self._unreachable(error) from error

    def leader(self, seconds: float) -> str:
        """Return who leads, waiting for somebody to; empty if nobody did in time.

        Raises:
            UnreachableError: ZooKeeper did not answer in time.
        """
        end = time.monotonic() + seconds
        try:
            while (found := self._look(watched=False)) is None:
                if time.monotonic() >= end:
                    return ""
                time.sleep(0.2)
        except (KazooException, KazooTimeoutError) as error:
            raise self._unreachable(error) from error
        return found[0]

    @property
    def leads(self) -> bool:
        """Whether this host leads, as far as it knows."""
        return self._leads and not self.lost.is_set()

    def close(self) -> None:
        """End the session: if this host led, another may lead at once."""
        # It is no news that this session ends.
        self._client.remove_listener(self._on_state)
        self._client.stop()
        self._client.close()

    def _unreachable(self, error: Exception) -> UnreachableError:
        reason = f"does not answer: {type(error).__name__} {error}"
        if isinstance(error, REFUSED):
            reason = NO_RIGHT.format(path=self._path)
        return UnreachableError(f"ZooKeeper at {self._servers} {reason}")

    def _look(self, *, watched: bool) -> tuple[str, ZnodeStat] | None:
        watch = self._on_event if watched else None
        try:
            data, stat = self._ask(self._client.get_async, self._path, watch=watch)
        except NoNodeError:
            return None
        return data.decode(), stat

    def _ask(self, call: Callable[..., Any], *arguments: object, **more: object) -> Any:
        """Ask ZooKeeper, again where the connection is lost meanwhile; in bounded time.

        What waits for a connection may still be done when there is one.
        """
        end = time.monotonic() + _CALL_SECONDS
        while True:
            left = max(0.1, end - time.monotonic())
            try:
                return call(*arguments, **more).get(timeout=left)
            except (ConnectionLoss, OperationTimeoutError):
                if time.monotonic() >= end:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def _on_event(self, _event: object) -> None:
        self.changed.set()

    def _on_state(self, state: str) -> None:
        """Called by kazoo's thread: must not wait."""
        if state == KazooState.SUSPENDED:
            log.warning("ZooKeeper at %s is away", self._servers)
        elif state == KazooState.LOST:
            log.warning("The session with ZooKeeper has ended")
            self.lost.set()
        else:
            log.info("Connected to ZooKeeper at %s", self._servers)
        self.changed.set()


def _quiet() -> logging.Logger:
    logger = logging.getLogger("imdb_standby.kazoo")
    logger.setLevel(logging.ERROR)
    return logger
