"""A host of the cluster made wrong for a while: a small disk that fills, a wrong clock.

Each comes with its own end: a timer on the host, so that a test that dies leaves nothing behind.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator
from contextlib import contextmanager

from hosts import Target, run

from ..waiting import wait_for

#: Where the small disk is, and what fills it.
DISK, FILLER = "/run/small-disk", "filler"
#: What the small disk has beside the broker's data.
SPARE_MB = 256
#: By when the host itself puts everything right.
LIMIT_SECONDS = 1800

CLOCK_AHEAD_SECONDS = 300
FAKETIME = "/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketime.so.1"


def shell(target: Target, host: str, script: str, seconds: float = 120) -> str:
    """Run a script as root on a host and return what it printed."""
    return run(target, host, f"sudo sh -ec {shlex.quote(script)}", timeout=seconds)


def _end_by_itself(target: Target, host: str, script: str) -> None:
    shell(
        target,
        host,
        f"systemd-run --quiet --on-active={LIMIT_SECONDS} --unit=right-again"
        f" sh -c {shlex.quote(script)}",
    )


def _right_again(target: Target, host: str, script: str, seconds: float) -> None:
    shell(target, host, script, seconds)
    shell(target, host, "systemctl stop right-again.timer")


@contextmanager
def small_disk(target: Target, host: str, data: str, patience: float) -> Generator[None]:
    """Give a broker a disk of its own that has little room; restarts it, here and at the end.

    In the end the broker has its old folder, and fetches from the others what came meanwhile.

    Args:
        target: the hosts.
        host: the broker's.
        data: the broker's folder.
        patience: by how much waits are longer.
    """
    back = (
        f"systemctl stop kafka; for it in {data} {DISK}; do"
        " if mountpoint -q $it; then umount $it; fi; done;"
        f" rmdir {DISK}; systemctl start kafka"
    )
    seconds = 240 * patience
    _end_by_itself(target, host, back)
    try:
        shell(
            target,
            host,
            f"systemctl stop kafka; size=$(($(du -sm {data} | cut -f 1) + {SPARE_MB}));"
            f" mkdir {DISK}; mount -t tmpfs -o size=${{size}}m small-disk {DISK};"
            f" chown --reference={data} {DISK}; chmod --reference={data} {DISK};"
            f" cp -a {data}/. {DISK}; mount --bind {DISK} {data}; systemctl start kafka",
            seconds,
        )
        yield
    finally:
        _right_again(target, host, back, seconds)


def fill(target: Target, host: str, data: str) -> None:
    """Fill the small disk to its last byte."""
    # dd ends when the disk is full, which is what is wanted, and says so by its exit code.
    script = f"mountpoint -q {data}; ! dd if=/dev/zero of={data}/{FILLER} bs=1M 2>/dev/null"
    shell(target, host, script)


def free(target: Target, host: str, data: str) -> None:
    """Make room on the small disk again."""
    shell(target, host, f"rm {data}/{FILLER}")


def install_clock(target: Target, host: str) -> None:
    """Have libfaketime on a host."""
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq libfaketime >/dev/null"
    shell(target, host, f"{install} || {{ apt-get update -qq; {install}; }}", 300)


def remove_clock(target: Target, host: str) -> None:
    """Take libfaketime off a host."""
    shell(target, host, "DEBIAN_FRONTEND=noninteractive apt-get purge -qq libfaketime >/dev/null")


def set_clock(target: Target, host: str, unit: str, patience: float) -> None:
    """Restart a unit with a clock that is ahead, and see that it is."""
    folder = f"/run/systemd/system/{unit}.service.d"
    _end_by_itself(target, host, _clock_back(unit))
    environment = (
        f"LD_PRELOAD={FAKETIME} FAKETIME=+{CLOCK_AHEAD_SECONDS}"
        " DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
    )
    shell(
        target,
        host,
        f'mkdir -p {folder}; echo "[Service]\nEnvironment={environment}" >{folder}/clock.conf;'
        f" systemctl daemon-reload; systemctl restart {unit}",
        240 * patience,
    )
    wait_for(
        f"{unit} has another clock",
        lambda: shell(
            target,
            host,
            f"pid=$(systemctl show -P MainPID {unit}); grep -c libfaketime /proc/$pid/maps;"
            f" echo $(($(env {environment} date +%s) - $(date +%s)))",
        ).split(),
        lambda said: int(said[0]) > 0 and abs(int(said[1]) - CLOCK_AHEAD_SECONDS) < 2,
        30 * patience,
    )


def right_clock(target: Target, host: str, unit: str, patience: float) -> None:
    """Restart a unit with the right clock."""
    _right_again(target, host, _clock_back(unit), 240 * patience)


def _clock_back(unit: str) -> str:
    return (
        f"rm -r /run/systemd/system/{unit}.service.d; systemctl daemon-reload;"
        f" systemctl restart {unit}"
    )
