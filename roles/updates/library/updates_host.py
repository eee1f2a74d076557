#!/usr/bin/python
"""Ansible module: what a host has to update, to restart and to boot anew; takes the packages."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: updates_host
short_description: Debian's updates of a host, and what runs with something older
description:
  - Says which packages have an update in the archives with one of the labels, which services still
    run with libraries or programs that were replaced, and whether the host asks for a reboot.
  - Takes the packages with I(take). Held packages and those of other archives are left, and told.
  - Restarts nothing. In check mode it takes nothing, and writes no lists of apt's.
author: imdb-pipeline
options:
  labels:
    description: Labels of the archives that packages are taken from, as C(apt-cache policy) has it.
    type: list
    elements: str
    default: [Debian, Debian-Security]
  units:
    description: Services of the pipeline, in the order in which they restart.
    type: list
    elements: str
    default: []
  other_units:
    description: Services that may restart at any time.
    type: list
    elements: str
    default: []
  refresh:
    description: Whether to fetch apt's lists first.
    type: bool
    default: false
  take:
    description: Whether to install the packages.
    type: bool
    default: false
"""
EXAMPLES = r"""
- name: See what there is to do
  updates_host:
    units: [zookeeper, kafka]
    refresh: true
  register: found
"""
RETURN = r"""
steps:
  description: What there is to do, in words; empty if there is nothing.
  type: list
  returned: always
left:
  description: What is left alone, in words.
  type: list
  returned: always
stale:
  description: Those of the units that run with something that was replaced, in their order.
  type: list
  returned: always
stale_others:
  description: The same of the other units.
  type: list
  returned: always
active:
  description: Those of the units and the other units that are active.
  type: list
  returned: always
reboot:
  description: Why the host asks for a reboot; empty if it does not.
  type: str
  returned: always
"""

INSTALL = re.compile(
    r"^Inst (?P<name>\S+) (?:\[(?P<installed>[^\]]*)\] )?"
    r"\((?P<version>\S+) (?P<source>.*?) ?\[\S+\]\)"
)
UNIT = re.compile(r"/([^/]+)\.service(?:/|$)")
# What dpkg puts programs and libraries into.
PROGRAMS = re.compile(r"^/(usr/(?!local/)|lib|bin/|sbin/)")
FLAVOUR = re.compile(r"^[0-9][^-]*(?:-[0-9]+)?-")
QUIET = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
# Settings that were changed on the host stay as they are.
KEEP = ["--force-confdef", "--force-confold"]
APT_GET = [
    *("apt-get", "--quiet", "--yes", "--option=DPkg::Lock::Timeout=300"),
    *(f"--option=Dpkg::Options::={it}" for it in KEEP),
]


class UpdateError(Exception):
    """An update that cannot be had; says why."""


@dataclass
class Update:
    """A newer version of a package."""

    name: str
    installed: str
    version: str
    source: str

    @property
    def labels(self) -> set[str]:
        """The labels of the archives that have it; none for one without a label."""
        return {part.rpartition(":")[0] for part in self.source.split(", ")}


@dataclass
class Stale:
    """Services that run with something that was replaced."""

    units: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)


def run(*command: str, accept: tuple[int, ...] = (0,)) -> str:
    """Return what a command prints that ends with one of these codes. Raises UpdateError."""
    done = subprocess.run(
        command,
        env=os.environ | QUIET,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in accept:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise UpdateError(f"{' '.join(command)} failed:\n{said}")
    return done.stdout


def updates_in(simulation: str) -> list[Update]:
    """Return the updates of installed packages that apt-get has simulated."""
    found = (INSTALL.match(line) for line in simulation.splitlines())
    return [Update(**it.groupdict()) for it in found if it and it["installed"] is not None]


def kept_back_in(simulation: str) -> list[str]:
    """Return the packages that apt-get has simulated to keep back."""
    _, found, rest = simulation.partition("have been kept back:\n")
    lines = itertools.takewhile(lambda line: line.startswith("  "), rest.splitlines())
    return " ".join(lines).split() if found else []


def choose(updates: list[Update], labels: list[str]) -> tuple[list[Update], list[str]]:
    """Return the updates that are taken, and in words those that are left."""
    taken = [it for it in updates if it.labels & set(labels)]
    left = [f"{it.name} {it.version} (from {it.source})" for it in updates if it not in taken]
    return taken, left


def stale_in(proc: Path, units: list[str], other_units: list[str]) -> Stale:
    """Return the services with a process that has mapped a program or library that is gone.

    A package's update renames the new file over the old one, which the process keeps.
    """
    names = set()
    for folder in proc.glob("[0-9]*"):
        try:
            unit = UNIT.search((folder / "cgroup").read_text())
            if unit and any(is_gone(line) for line in (folder / "maps").read_text().splitlines()):
                names.add(unit[1])
        except OSError:
            # It has ended.
            continue
    return Stale(
        [unit for unit in units if unit in names],
        [unit for unit in other_units if unit in names],
        sorted(names - set(units) - set(other_units)),
    )


def is_gone(mapping: str) -> bool:
    """Return whether a line of a process's maps is code of a file that is gone."""
    fields = mapping.split(maxsplit=5)
    return (
        len(fields) == 6
        and "x" in fields[1]
        and fields[5].endswith(" (deleted)")
        and bool(PROGRAMS.match(fields[5]))
    )


def newer_kernel(running: str, installed: list[str]) -> str:
    """Return the newest installed kernel of the running one's flavour; empty if that one runs."""

    def order(release: str) -> list[tuple[int, int | str]]:
        parts = re.split(r"([0-9]+)", release)
        return [(1, int(part)) if part.isdigit() else (0, part) for part in parts]

    flavour = FLAVOUR.sub("", running)
    alike = [it for it in installed if FLAVOUR.sub("", it) == flavour]
    newest = max([*alike, running], key=order)
    return "" if newest == running else newest


def reboot_reason(root: Path, running: str, contained: bool, uptime: float, now: float) -> str:
    """Return why a host asks for a reboot; empty if it does not.

    Args:
        root: the host's root folder.
        running: the release of the kernel that runs.
        contained: whether the host is a container, whose kernel is its machine's.
        uptime: seconds since it has started.
        now: seconds of the epoch.
    """
    if (root / "run/reboot-required").exists():
        try:
            packages = sorted(set((root / "run/reboot-required.pkgs").read_text().split()))
        except OSError:
            packages = []
        return f"/run/reboot-required{': ' if packages else ''}{', '.join(packages)}"
    if contained:
        return ""
    images = {it.name.removeprefix("vmlinuz-"): it for it in (root / "boot").glob("vmlinuz-*")}
    if newer := newer_kernel(running, sorted(images)):
        return f"kernel {newer} is installed, {running} runs"
    # The same name, and what is in it is new.
    if running in images and images[running].stat().st_ctime > now - uptime:
        return f"kernel {running} was installed anew since it was started"
    return ""


def is_unfinished() -> bool:
    """Return whether an installation was cut off."""
    audit = run("dpkg", "--audit", accept=(0, 1))
    return bool(audit.strip() or list(Path("/var/lib/dpkg/updates").glob("[0-9]*")))


def finish() -> None:
    """End an installation that was cut off. Raises UpdateError."""
    # What has not all that it needs yet, apt brings.
    run("dpkg", *KEEP, "--configure", "--pending", accept=(0, 1))
    run(*APT_GET, "--fix-broken", "install")


def simulate(refresh: bool, check_mode: bool) -> str:
    """Return what apt-get would do, by lists that are fetched first if asked.

    In check mode these are kept elsewhere. Raises UpdateError.
    """
    look = ["--simulate", "--with-new-pkgs", "upgrade"]
    fetch = ["--quiet", "--error-on=any", "update"]
    if not refresh:
        return run("apt-get", *look)
    if not check_mode:
        run(*APT_GET, *fetch)
        return run("apt-get", *look)
    with tempfile.TemporaryDirectory(prefix="updates-") as folder:
        own = [f"--option=Dir::State::Lists={folder}", "--option=APT::Sandbox::User=root"]
        own += ["--option=Dir::Cache::pkgcache=", "--option=Dir::Cache::srcpkgcache="]
        run("apt-get", *own, *fetch)
        return run("apt-get", *own, *look)


def take(updates: list[Update]) -> None:
    """Install updates. Raises UpdateError."""
    automatic = run("apt-mark", "showauto", *(it.name for it in updates)).split()
    named = [f"{it.name}={it.version}" for it in updates]
    run(*APT_GET, "--only-upgrade", "--no-remove", "install", *named)
    # They were named here, and are still nobody's wish.
    if automatic:
        run("apt-mark", "auto", *automatic)


def active_of(units: list[str]) -> list[str]:
    """Return those of some services that are active."""
    command = ["systemctl", "is-active", *(f"{unit}.service" for unit in units)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.split()
    return [unit for unit, state in zip(units, said, strict=True) if state == "active"]


def steps(updates: list[Update], unfinished: bool, stale: Stale, reboot: str) -> list[str]:
    """Return what there is to do, in words."""
    said = ["end an installation that was cut off"] if unfinished else []
    said += [f"update {it.name} {it.installed} -> {it.version} ({it.source})" for it in updates]
    if reboot:
        return [*said, f"reboot: {reboot}"]
    said += [f"restart {unit}, which runs with something older" for unit in stale.units]
    said += [f"restart {unit}, which runs with something older" for unit in stale.others]
    return [*said, "restart or reboot as these ask for"] if updates else said


def main() -> None:
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "labels": names | {"default": ["Debian", "Debian-Security"]},
            "units": names,
            "other_units": names,
            "refresh": {"type": "bool", "default": False},
            "take": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given, check_mode = module.params, module.check_mode
    try:
        unfinished = is_unfinished()
        if unfinished and given["take"] and not check_mode:
            finish()
        try:
            simulation = simulate(given["refresh"], check_mode)
        except UpdateError:
            # Until it is ended, apt may have no answer.
            if not unfinished or given["take"]:
                raise
            simulation = ""
        chosen, left = choose(updates_in(simulation), given["labels"])
        if chosen and given["take"] and not check_mode:
            take(chosen)
    except UpdateError as error:
        module.fail_json(msg=str(error))
    detect = ["systemd-detect-virt", "--container", "--quiet"]
    contained = subprocess.run(detect, check=False).returncode == 0
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    reboot = reboot_reason(Path("/"), os.uname().release, contained, uptime, time.time())
    stale = stale_in(Path("/proc"), given["units"], given["other_units"])
    module.exit_json(
        changed=given["take"] and (unfinished or bool(chosen)),
        steps=steps(chosen, unfinished, stale, reboot),
        left=left
        + [f"{name} (held, or it needs others to go)" for name in kept_back_in(simulation)]
        + [f"{name}, which runs with something older until it restarts" for name in stale.unnamed],
        stale=stale.units,
        stale_others=stale.others,
        active=active_of(given["units"] + given["other_units"]),
        reboot=reboot,
    )


if __name__ == "__main__":
    main()
