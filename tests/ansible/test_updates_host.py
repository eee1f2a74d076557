"""What a host has to update, to restart and to boot anew: by apt, kernel and processes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .modules import load

updates = load("roles/updates/library/updates_host.py", "updates_host")

SIMULATION = """\
NOTE: This is only a simulation!
Reading package lists...
The following packages have been kept back:
  held-one held-two
  held-three
The following NEW packages will be installed:
  linux-image-6.1.0-40-amd64
The following packages will be upgraded:
  libssl3 linux-image-amd64
Inst libssl3 [3.0.15-1] (3.0.17-1 Debian:12.12/stable, Debian-Security:12/stable-security [amd64])
Inst java:amd64 [17.0.1-1] (17.0.2-1 Debian-Security:12/stable-security [all]) []
Inst linux-image-6.1.0-40-amd64 (6.1.153-1 Debian:12.12/stable [amd64])
Inst linux-image-amd64 [6.1.1-1] (6.1.153-1 Debian:12.12/stable [amd64])
Inst backport [1] (2~bpo12 Debian Backports:12/stable-backports [amd64])
Inst foreign [1.0] (1.1 packages.example.net [amd64])
Inst alike [1.0] (1.1 Debian-Security-Not:1/x [amd64])
Conf libssl3 (3.0.17-1 Debian:12.12/stable [amd64])
"""
LABELS = ["Debian", "Debian-Security"]


def test_updates_of_installed_packages_are_taken_by_the_label_of_their_archive() -> None:
    taken, left = updates.choose(updates.updates_in(SIMULATION), LABELS)
    assert [(it.name, it.installed, it.version) for it in taken] == [
        ("libssl3", "3.0.15-1", "3.0.17-1"),
        ("java:amd64", "17.0.1-1", "17.0.2-1"),
        ("linux-image-amd64", "6.1.1-1", "6.1.153-1"),
    ]
    assert left == [
        "backport 2~bpo12 (from Debian Backports:12/stable-backports)",
        "foreign 1.1 (from packages.example.net)",
        "alike 1.1 (from Debian-Security-Not:1/x)",
    ]


def test_packages_that_are_kept_back_are_told() -> None:
    assert updates.kept_back_in(SIMULATION) == ["held-one", "held-two", "held-three"]
    assert updates.kept_back_in("Reading package lists...\n") == []


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Processes by number, unit and what they have mapped."""
    java = "7f00-7f01 r-xp 00000000 08:01 11 /usr/lib/jvm/java-17/lib/server/libjvm.so"
    processes = {
        1: ("init.scope", "7f00-7f01 r-xp 00000000 08:01 9 /usr/lib/systemd/systemd (deleted)"),
        11: ("system.slice/kafka.service", java),
        12: ("system.slice/kafka.service", f"{java} (deleted)"),
        21: ("system.slice/zookeeper.service", f"{java} (deleted)"),
        # Its data, not its code.
        22: ("system.slice/spark-master.service", java.replace("r-xp", "r--p") + " (deleted)"),
        # What it has unpacked itself, and what an administrator has put there.
        23: (
            "system.slice/spark-worker.service",
            "7f00-7f01 r-xp 00000000 08:01 11 /tmp/libzstd.so (deleted)\n"
            "7f00-7f01 r-xp 00000000 08:01 12 /usr/local/lib/x.so (deleted)\n"
            "7f00-7f01 r-xp 00000000 00:00 0 [vdso]\n7f00-7f01 rwxp 00000000 00:00 0",
        ),
        31: ("system.slice/ssh.service", "7f0-7f1 r-xp 0 08:01 3 /lib/libssl.so.3 (deleted)"),
        32: ("user.slice/user-0.slice/session-1.scope", "7-8 r-xp 0 8:1 3 /usr/bin/x (deleted)"),
        33: ("system.slice/dbus.service/sub", "7-8 r-xp 0 8:1 3 /usr/bin/dbus-daemon (deleted)"),
    }
    for number, (group, maps) in processes.items():
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "cgroup").write_text(f"0::/{group}\n")
        (folder / "maps").write_text(f"{maps}\n")
    # One that ends while it is looked at.
    (tmp_path / "41").mkdir()
    return tmp_path


def test_services_whose_code_was_replaced_are_told_in_their_order(proc: Path) -> None:
    units = ["zookeeper", "kafka", "spark-master", "spark-worker"]
    stale = updates.stale_in(proc, units, ["ssh", "cron"])
    assert (stale.units, stale.others, stale.unnamed) == (["zookeeper", "kafka"], ["ssh"], ["dbus"])


@pytest.mark.parametrize(
    ("running", "installed", "newest"),
    [
        ("6.1.0-9-amd64", ["6.1.0-9-amd64", "6.1.0-40-amd64"], "6.1.0-40-amd64"),
        ("6.1.0-40-amd64", ["6.1.0-9-amd64", "6.1.0-40-amd64"], ""),
        # Another flavour is another's choice.
        ("6.1.0-9-cloud-arm64", ["6.1.0-9-cloud-arm64", "6.1.0-40-arm64"], ""),
        ("6.12.9+deb13-amd64", ["6.12.41+deb13-amd64"], "6.12.41+deb13-amd64"),
        ("6.12.41+deb13-cloud-amd64", ["6.12.57+deb13-amd64", "6.12.41+deb13-cloud-amd64"], ""),
        # A kernel that came by no package.
        ("6.9.1-mine", [], ""),
    ],
)
def test_a_newer_kernel_of_the_same_flavour_asks_for_a_reboot(
    running: str, installed: list[str], newest: str
) -> None:
    assert updates.newer_kernel(running, installed) == newest


def reason(root: Path, contained: bool = False, since_install: float = -60) -> str:
    """Return why a host asks for a reboot that has started that long before its kernel came."""
    (root / "boot").mkdir(exist_ok=True)
    image = root / "boot/vmlinuz-6.1.0-9-amd64"
    image.touch()
    now = image.stat().st_ctime
    started = now - since_install
    said: str = updates.reboot_reason(
        root, "6.1.0-9-amd64", contained, time.time() - started, time.time()
    )
    return said


def test_a_host_asks_for_a_reboot_by_its_file_or_its_kernel(tmp_path: Path) -> None:
    assert reason(tmp_path) == ""
    # Under the same name; the host was started a minute before.
    assert "installed anew" in reason(tmp_path, since_install=60)
    assert reason(tmp_path, contained=True, since_install=60) == ""
    (tmp_path / "boot/vmlinuz-6.1.0-40-amd64").touch()
    assert "6.1.0-40-amd64 is installed" in reason(tmp_path)
    # A container has its machine's kernel, and may be asked for a reboot all the same.
    assert reason(tmp_path, contained=True) == ""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/reboot-required").touch()
    assert reason(tmp_path, contained=True) == "/run/reboot-required"
    (tmp_path / "run/reboot-required.pkgs").write_text("libc6\ndbus\nlibc6\n")
    assert reason(tmp_path) == "/run/reboot-required: dbus, libc6"


def test_what_there_is_to_do_is_told() -> None:
    update = updates.Update("libssl3", "1", "2", "Debian:12.1/stable")
    stale = updates.Stale(["kafka"], ["ssh"], ["dbus"])
    assert updates.steps([], False, updates.Stale(), "") == []
    # Of dbus nothing is done.
    assert updates.steps([], False, updates.Stale(unnamed=["dbus"]), "") == []
    assert updates.steps([update], True, stale, "") == [
        "end an installation that was cut off",
        "update libssl3 1 -> 2 (Debian:12.1/stable)",
        "restart kafka, which runs with something older",
        "restart ssh, which runs with something older",
        "restart or reboot as these ask for",
    ]
    # A reboot restarts all of them.
    assert updates.steps([], False, stale, "kernel") == ["reboot: kernel"]
