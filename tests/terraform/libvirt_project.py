"""terraform/libvirt as an operator uses it, with hosts of the tests' own (name vmtest)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "terraform/libvirt"
NAME = "vmtest"
HOST = f"{NAME}-1"
URI = "qemu:///system"

# Under emulation, on a machine that has other things to do.
TERRAFORM_SECONDS = 1500
PLAYBOOK_SECONDS = 2700
SSH_SECONDS = 300

NEEDED = {
    "terraform": "HashiCorp's Terraform",
    "libvirtd": "Debian package libvirt-daemon-system",
    "virsh": "Debian package libvirt-clients",
    "qemu-system-x86_64": "Debian package qemu-system-x86",
    "mkisofs": "Debian package genisoimage",
    "xsltproc": "Debian package xsltproc",
}


def missing_tools() -> str:
    """Return what to install before these tests can run, or nothing."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [f"{tool} ({of})" for tool, of in NEEDED.items() if not shutil.which(tool, path=path)]
    if missing:
        return f"needs {', '.join(missing)}. TARGET=libvirt tools/setup installs what Debian has."
    return ""


def run(
    *command: str, seconds: float, code: int = 0, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command in the checkout; fail with what it said unless it exits with the code."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == code, f"{' '.join(command)}:\n{done.stdout[-6000:]}"
    return done.stdout


@contextmanager
def daemon() -> Iterator[None]:
    """Have a libvirt daemon: the one that runs, else one for as long as this takes."""
    runs = subprocess.run(
        ["tools/libvirtd", "status"], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    if runs.returncode == 0:
        yield
        return
    run("tools/libvirtd", "start", seconds=120)
    try:
        yield
    finally:
        run("tools/libvirtd", "stop", seconds=120)


def virsh(*arguments: str) -> str:
    """Ask libvirt."""
    return run("virsh", "-q", "-c", URI, *arguments, seconds=60)


def ssh(command: str) -> str:
    """Run a command on the host."""
    config = str(ROOT / "inventories" / NAME / ".ssh/config")
    return run("ssh", "-F", config, HOST, command, seconds=SSH_SECONDS)


def playbook_up_to(play: str, folder: Path) -> Path:
    """Write the site's own plays, up to the named one, as a playbook."""
    plays = yaml.safe_load((ROOT / "ansible/site.yml").read_text())
    names = [it["name"] for it in plays]
    wanted = plays[: names.index(play) + 1]
    for it in wanted:
        if "ansible.builtin.import_playbook" in it:
            file = it["ansible.builtin.import_playbook"]
            it["ansible.builtin.import_playbook"] = str(ROOT / "ansible" / file)
    path = folder / "part.yml"
    path.write_text(yaml.safe_dump(wanted, sort_keys=False))
    return path


class Project:
    """The root and its state."""

    # What its runs may delete: the tests' host holds nothing that anybody misses.
    delete_data = NAME

    def __init__(self) -> None:
        """Have the provider, and a working folder."""
        shown = subprocess.run(
            ["tools/providers", "libvirt"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        assert shown.returncode == 0, shown.stderr
        self._config = shown.stdout.strip()
        # Terraform takes a workspace by its folder.
        (ROOT / "inventories" / NAME).mkdir(exist_ok=True)
        self._terraform("init")

    def _terraform(self, command: str, *arguments: str, code: int = 0) -> str:
        named = ("-var", f"name={NAME}") if command != "init" else ()
        return run(
            "terraform",
            f"-chdir={TERRAFORM}",
            command,
            "-input=false",
            "-no-color",
            *named,
            *arguments,
            seconds=TERRAFORM_SECONDS,
            code=code,
            environment={
                "TF_CLI_CONFIG_FILE": self._config,
                "TF_WORKSPACE": NAME,
                "TF_VAR_delete_data": self.delete_data,
            },
        )

    def apply(self, *arguments: str) -> str:
        """Apply without asking."""
        return self._terraform("apply", "-auto-approve", *arguments)

    def destroy(self) -> str:
        """Destroy without asking."""
        return self._terraform("destroy", "-auto-approve")

    def nothing_to_do(self) -> None:
        """Assert that a further plan is empty."""
        self._terraform("plan", "-detailed-exitcode")

    def refused(self, *arguments: str) -> str:
        """Return what a plan says that must fail, as one line: Terraform wraps it."""
        return " ".join(self._terraform("plan", *arguments, code=1).split())

    def domain(self) -> str:
        """Return the name of the host's virtual machine."""
        names = [it for it in virsh("list", "--all", "--name").split() if it.startswith(f"{HOST}-")]
        assert len(names) == 1, names
        return names[0]
