"""What the documents and the status page show is run as it stands, and its output looked at.

Which commands these are, and what they print, says ../proofs.py.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from functools import partial

import pandas
import pytest
from _pytest.mark.structures import ParameterSet
from hosts import PAGE, ROOT, UIS, UNIT_GROUPS, Target, host_running

from ..direct import DIRECT
from ..documents import commands
from ..proofs import JOURNAL_LINE, Changes, Reads, as_here, row_of
from ..variables import HostVariables, deploy_arguments
from ..waiting import wait_for

SECONDS = 60
SLOW_SECONDS = 600


def shown(kind: type[Reads]) -> list[ParameterSet]:
    """Return the commands of rows of a kind, those that are the same here once."""
    seen, found = set(), []
    for command in commands():
        row = row_of(command.text)
        if type(row) is kind and isinstance(row, Reads):
            here = as_here(row, command.text, "NAME", "HOST")
            if here not in seen:
                seen.add(here)
                marks = [pytest.mark.slow] if isinstance(row, Changes) and row.slow else []
                found.append(pytest.param(row, command.text, id=str(command), marks=marks))
    return found


def surroundings() -> dict[str, str]:
    """The variables of a person's shell: neither make's nor testinfra's."""
    left_out = ("MAKE", "MFLAGS", "ANSIBLE_SSH_EXTRA_ARGS", "ANSIBLE_INVENTORY", "ENVIRONMENT")
    return {name: it for name, it in os.environ.items() if not name.startswith(left_out)}


def prints(command: list[str], pattern: str, seconds: float, follows: bool = False) -> str:
    """Run a command and return what it printed, in which the pattern is.

    One that follows is ended as Ctrl-C does, when the pattern has come.
    """
    begun, said = time.monotonic(), ""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            while time.monotonic() < begun + seconds:
                if select.select([process.stdout], [], [], 1)[0]:
                    part = os.read(process.stdout.fileno(), 65536)
                    said += part.decode(errors="replace")
                    if not part:
                        break
                if follows and re.search(pattern, said):
                    os.killpg(process.pid, signal.SIGINT)
                    process.wait(10)
                    return said
            else:
                pytest.fail(f"{shlex.join(command)} did not end within {seconds:g} s:\n{said}")
            code = process.wait(10)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert code == 0, f"{shlex.join(command)} ended with {code}:\n{said}"
    assert re.search(pattern, said), f"{shlex.join(command)} printed:\n{said}"
    return said


def run(row: Reads, text: str, target: Target, seconds: float) -> None:
    """Run a command of a document where a person would, and look at what it prints."""
    if row.several and len(target.hosts) == 1:
        pytest.skip("on one host nothing is elected")
    named = re.search(r"\bUNIT=(\S+)", text)
    unit = row.at or (named[1] if named else "")
    if unit in UNIT_GROUPS and not target.groups[UNIT_GROUPS[unit]]:
        pytest.skip(f"no host has a unit {unit}")
    written = (ROOT / "inventories" / target.name / "environment.tfvars").read_text(
        encoding="utf-8"
    )
    if "terraform/local" in row.pattern and not re.search(r'^target += "local"', written, re.M):
        pytest.skip("the hosts are not those of terraform/local")
    command = as_here(row, text, target.name, next(iter(target.hosts)))
    command = command.replace("{given}", shlex.join(deploy_arguments()))
    on_host = row.at and target.ssh(host_running(target, row.at), command)
    prints(on_host or ["bash", "-c", command], row.prints, seconds, row.follows)


@pytest.mark.verify
@pytest.mark.parametrize(("row", "text"), shown(Reads))
def test_what_reads_prints_what_it_should(
    row: Reads, text: str, target: Target, patience: float
) -> None:
    run(row, text, target, SECONDS * patience)


@pytest.mark.deploy
@pytest.mark.parametrize(("row", "text"), shown(Changes))
def test_what_brings_about_a_state_finds_it_there(
    row: Changes, text: str, target: Target, patience: float
) -> None:
    run(row, text, target, SLOW_SECONDS * patience)


@pytest.fixture(scope="module")
def page(target: Target, patience: float) -> str:
    """The status page."""
    return prints(["make", "status", f"NAME={target.name}"], "Logs", SECONDS * patience)


@pytest.mark.verify
def test_the_status_pages_commands_show_the_journals(page: str, patience: float) -> None:
    by_ssh = re.search(r"^Logs +(ssh .*)$", page, re.MULTILINE)
    by_make = re.search(r"^ +or: (make .*)$", page, re.MULTILINE)
    assert by_ssh
    assert by_make
    prints(["bash", "-c", by_ssh[1]], "Kafka broker", SECONDS * patience)
    prints(["bash", "-c", by_make[1]], JOURNAL_LINE, SECONDS * patience, follows=True)


@pytest.mark.verify
def test_the_status_pages_addresses_answer(page: str, variables: HostVariables) -> None:
    named = re.findall(r"^Web UI +(.+) \(.+\): (https?://[^\s,]+)", page, re.MULTILINE)
    assert (PAGE in dict(named)) == variables["pipeline_monitoring"]
    addresses = [address for name, address in named if name != PAGE]
    assert len(addresses) == len(UIS)
    if "by make tunnel" in page:
        # See below.
        assert addresses == [f"https://localhost:{port}" for _, port in UIS.values()]
        return
    for address in addresses:
        assert "Spark" in fetch(address)


def fetch(address: str, ca: str = "") -> str:
    """Return what a web address answers; by a certificate of this CA, where there is one."""
    if not ca:
        with DIRECT.open(address, timeout=30) as answer:
            return str(answer.read().decode())
    trusted = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca))
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusted)
    with direct.open(address, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.mark.verify
def test_the_readmes_python_reads_the_tables_that_the_status_page_names(page: str) -> None:
    here = re.search(r"^ +here: (\S+)/\{parquet,csv\}$", page, re.MULTILINE)
    assert here, page
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    reads = re.findall(r"^    (pandas\.read_\w+\(\".*\"\))$", readme, re.MULTILINE)
    assert len(reads) == 2
    for read in reads:
        there = read.replace('"data/output/', f'"{ROOT / here[1]}/')
        assert len(eval(there, {"pandas": pandas})) > 0


@pytest.mark.verify
def test_the_tunnel_leads_to_the_web_uis(
    target: Target, variables: HostVariables, patience: float
) -> None:
    ca = f"{variables['certificates_store']}/ca.pem" if variables["pipeline_security"] else ""
    start = "https" if ca else "http"
    ports = [port for _, port in UIS.values()]
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                pytest.skip(f"port {port} of this machine is taken, which a tunnel needs")
    with subprocess.Popen(
        ["make", "tunnel", f"NAME={target.name}"],
        cwd=ROOT,
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as tunnel:
        try:
            for port in ports:
                wait_for(
                    f"localhost:{port} answers",
                    partial(fetch, f"{start}://127.0.0.1:{port}", ca),
                    lambda answer: "Spark" in answer,
                    SECONDS * patience,
                )
        finally:
            os.killpg(tunnel.pid, signal.SIGINT)
            said, _ = tunnel.communicate(timeout=10)
    assert [f"{start}://localhost:{port}" in said for port in ports] == [True] * len(ports), said
