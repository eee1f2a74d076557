"""A running pipeline of several hosts: every unit on every host, and who is away when."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from hosts import HostsError, Target, run
from status import collect

STATE = "ActiveState,InvocationID"

It = TypeVar("It")


def invocations(target: Target) -> dict[tuple[str, str], tuple[str, str]]:
    """Return the state and the invocation of each unit on each host: another one was restarted."""
    found = {}
    for host in target.hosts:
        for unit in target.units(host):
            text = run(target, host, "systemctl", "show", f"--property={STATE}", unit)
            values = dict(line.split("=", 1) for line in text.splitlines() if line)
            found[host, unit] = (values["ActiveState"], values["InvocationID"])
    return found


def restarted(
    before: dict[tuple[str, str], tuple[str, str]], after: dict[tuple[str, str], tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return the hosts and units that were started anew in between."""
    return {key for key in after if after[key][1] != before[key][1]}


def active_units(state: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the hosts and units that are active, of what tools/status.py has collected."""
    return {
        (host, unit)
        for host, found in state["hosts"].items()
        for unit, it in found["units"].items()
        if it["ActiveState"] == "active"
    }


def unsettled(target: Target, active: set[tuple[str, str]]) -> list[str]:
    """Look at everything and return what is not as it must be, in words.

    Args:
        target: the hosts.
        active: the hosts and units that must be active.
    """
    state = collect(target)
    hosts, brokers = state["hosts"], state["brokers"] or {}
    wrong = [f"{host}: {found['error']}" for host, found in hosts.items() if found["error"]]
    wrong += [f"{unit} on {host} is not up" for host, unit in active - active_units(state)]
    followers = [
        found["ensemble"]["synced_followers"]
        for found in hosts.values()
        if (found["ensemble"] or {}).get("role") == "leader"
    ]
    if followers != [len(target.groups["zookeeper"]) - 1]:
        wrong.append(f"followers in sync of each leader of ZooKeeper: {followers}")
    if len(brokers.get("up", [])) != len(target.groups["kafka"]) or (
        brokers["under_replicated"] or brokers["offline"]
    ):
        wrong.append(f"brokers: {brokers}")
    workers = [
        len(found["master"]["workers"])
        for found in hosts.values()
        if (found["master"] or {}).get("role") == "alive"
    ]
    if workers != [len(target.groups["spark_worker"])]:
        wrong.append(f"workers of each leading master: {workers}")
    return wrong


class Watch(Generic[It]):
    """Looks at several all the time, and notes the most that were away at one moment."""

    def __init__(self, several: Sequence[It], there: Callable[[It], bool]) -> None:
        """Begin to watch these; `there` looks at one."""
        self._several, self._there = several, there
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self.most_away: list[It] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            away = [it for it in self._several if not self._there(it)]
            if len(away) > len(self.most_away):
                self.most_away = away
            time.sleep(0.1)


def is_active(target: Target, unit: tuple[str, str]) -> bool:
    """Return whether a unit of a host is active; its ports may be closed to this machine."""
    host, name = unit
    command = ("systemctl", "show", "--property=ActiveState", "--value", name)
    try:
        return run(target, host, *command).strip() == "active"
    except HostsError:
        return False


def accepts(address: tuple[str, int]) -> bool:
    """Return whether a port takes a connection."""
    try:
        with socket.create_connection(address, timeout=3):
            return True
    except OSError:
        return False
