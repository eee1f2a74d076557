"""A running pipeline from the operator's side: its hosts, its units, and the tools that make it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hosts import ROOT, HostsError, Target, host_running, run

from ..variables import HostVariables, Variables, deploy_arguments
from ..waiting import wait_for

PLAYBOOK_SECONDS = 600
TERRAFORM_SECONDS = 300

# systemd's message for "a unit has started", see systemd.journal-fields(7).
STARTED = "39f53479d3a045ac8e11786248231fbf"

# Every file's name, rights and owner, and every content: users and units are files too.
LISTING = (
    "sudo find /etc /opt /usr /var/lib -xdev -printf '%p %M %U:%G %l\\n' | sort; "
    "sudo find /etc /opt /usr/local -xdev -type f -exec sha256sum '{}' + | sort -k 2"
)

_RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)"
    r"\s+failed=(?P<failed>\d+)",
    re.MULTILINE,
)
_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?P<name>.*)\] \**$")


@dataclass(frozen=True)
class PlaybookRun:
    """What a run of ansible-playbook did."""

    exit_code: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        """How many changes the recap counts for each host."""
        return {match["host"]: int(match["changed"]) for match in _RECAP.finditer(self.output)}

    @property
    def changed_tasks(self) -> list[str]:
        """The names of the tasks and handlers that changed something."""
        names, task = [], ""
        for line in self.output.splitlines():
            if match := _TASK.match(line):
                task = match["name"]
            elif line.startswith("changed:"):
                names.append(task)
        return names

    @property
    def end(self) -> str:
        """The last lines of the output."""
        return "\n".join(self.output.splitlines()[-60:])


def run_playbook(
    *arguments: str,
    playbook: str = "site.yml",
    inventories: Sequence[Path] = (),
    environment: dict[str, str] | None = None,
    seconds: float = PLAYBOOK_SECONDS,
) -> PlaybookRun:
    """Run a playbook as the operator does, with what the pipeline was deployed with.

    Args:
        arguments: more arguments of ansible-playbook.
        playbook: which of ansible/.
        inventories: in place of the running pipeline's.
        environment: variables to set for it.
        seconds: the most that it may take.
    """
    variables = _plain_environment()
    if inventories:
        variables["ANSIBLE_INVENTORY"] = ",".join(str(path) for path in inventories)
    done = subprocess.run(
        ["ansible-playbook", f"ansible/{playbook}", *deploy_arguments(), *arguments],
        cwd=ROOT,
        env=variables | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    return PlaybookRun(done.returncode, done.stdout)


def cut_off_after(
    task: str, *arguments: str, playbook: str = "site.yml", seconds: float = PLAYBOOK_SECONDS
) -> None:
    """Run a playbook of ansible/ and kill it, hard, as soon as it has come to a task.

    It must have come there within so many seconds.
    """
    with subprocess.Popen(
        ["ansible-playbook", f"ansible/{playbook}", *deploy_arguments(), *arguments],
        cwd=ROOT,
        env=_plain_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as play:
        assert play.stdout is not None
        watchdog = threading.Timer(seconds, os.killpg, (play.pid, signal.SIGKILL))
        watchdog.start()
        try:
            said = []
            for line in play.stdout:
                said.append(line)
                if line.startswith(f"TASK [{task}]"):
                    break
            else:
                pytest.fail(f"the play never came to {task!r}:\n{''.join(said[-60:])}")
        finally:
            watchdog.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(play.pid, signal.SIGKILL)


def _plain_environment() -> dict[str, str]:
    variables = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    variables.pop("ANSIBLE_SSH_EXTRA_ARGS", None)  # testinfra's, see ../conftest.py
    return variables


def terraform(command: str, name: str, *arguments: str) -> str:
    """Apply or destroy the local hosts of an environment, as the operator does; return the output.

    The tests' hosts hold nothing that anybody misses: their data may be deleted.
    """
    environment = os.environ | {"TF_WORKSPACE": name, "TF_VAR_delete_data": name}
    # Terraform takes a workspace by its folder.
    (ROOT / "inventories" / name).mkdir(exist_ok=True)
    written = ROOT / "inventories" / name / "environment.tfvars"
    inputs = [f"-var-file={written}"] if written.exists() else []
    done = subprocess.run(
        [
            "terraform",
            f"-chdir={ROOT / 'terraform' / 'local'}",
            command,
            "-input=false",
            "-auto-approve",
            "-no-color",
            *inputs,
            f"-var=name={name}",
            *arguments,
        ],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TERRAFORM_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"terraform {command} of {name} failed:\n{done.stdout}"
    return done.stdout


@dataclass(frozen=True)
class Unit:
    """A unit as systemd sees it at one moment.

    Two are the same if it was not started in between: its program may have ended by itself, as a
    producer's that is through.
    """

    active: str
    sub: str = field(compare=False)
    main_pid: int = field(compare=False)
    invocation: str = field(repr=False)
    active_since: str


def unit_state(target: Target, unit: str) -> Unit:
    """Return a unit's state."""
    names = "ActiveState,SubState,MainPID,InvocationID,ActiveEnterTimestamp"
    text = run(target, host_running(target, unit), "systemctl", "show", f"--property={names}", unit)
    values = dict(line.split("=", 1) for line in text.splitlines() if line)
    return Unit(
        active=values["ActiveState"],
        sub=values["SubState"],
        main_pid=int(values["MainPID"]),
        invocation=values["InvocationID"],
        active_since=values["ActiveEnterTimestamp"],
    )


def unit_states(target: Target) -> dict[str, Unit]:
    """Return the state of every unit of the pipeline that has a host."""
    return {unit: unit_state(target, unit) for unit in units(target)}


def units(target: Target) -> list[str]:
    """Return the units that the hosts run, in the order of the data."""
    found = {unit for host in target.hosts for unit in target.units(host)}
    return [unit for unit in UNITS if unit in found]


UNITS = ["zookeeper", "kafka", "spark-master", "spark-worker", "imdb-streaming", "imdb-producer"]


def status_of(target: Target, unit: str) -> dict[str, Any]:
    """Return what one of our two programs says of itself, in its status file."""
    text = run(target, host_running(target, unit), "cat", f"/run/{unit}/status.json")
    status: dict[str, Any] = json.loads(text)
    return status


def asked(target: Target, host: str, unit: str) -> dict[str, Any]:
    """Return what a host's Spark master or worker says of itself, asked where it is always open."""
    answer: dict[str, Any] = json.loads(run(target, host, f"{unit}-ask"))
    return answer


def variables_now(target: Target) -> HostVariables:
    """Return the variables of the first broker's host, as knobs and secrets are now."""
    inventories = os.environ["ANSIBLE_INVENTORY"].split(",")
    return Variables(inventories).of(target.groups["kafka"][0])


# Prints what a web address answers; hosts have no curl.
_FETCH = """
import ssl, sys, urllib.request as r
trusted = ssl.create_default_context(cafile=sys.argv[2] if len(sys.argv) > 2 else None)
direct = r.build_opener(r.ProxyHandler({}), r.HTTPSHandler(context=trusted))
print(direct.open(sys.argv[1], timeout=10).read().decode())
"""


def web_page(target: Target, variables: HostVariables, host: str, port: str, path: str) -> str:
    """Return a page of a web UI of Spark's, asked on its host: secured, it is for that one alone.

    Args:
        target: the hosts.
        variables: of any host.
        host: that of the UI.
        port: the name of the variable of its port.
        path: the page's.
    """
    url = f"http://{target.hosts[host]['host_address']}:{variables[port]}{path}"
    arguments = [url]
    if variables["pipeline_security"]:
        arguments = [f"https://127.0.0.1:{variables[port]}{path}", str(variables["pipeline_ca"])]
    return run(target, host, "python3", "-", *arguments, stdin=_FETCH)


def as_root(target: Target, unit: str, *command: str, seconds: float = 60) -> str:
    """Run a command as root on a unit's host and return what it printed."""
    return run(target, host_running(target, unit), "sudo", *command, timeout=seconds)


def comes_back(target: Target, unit: str, before: Unit, seconds: float) -> Unit:
    """Wait until a unit is active again, started anew since `before` was seen."""
    return wait_for(
        f"{unit} comes back by itself",
        lambda: unit_state(target, unit),
        lambda now: now.active == "active" and now.invocation not in {"", before.invocation},
        seconds,
    )


def starts_since(target: Target, unit: str, moment: float) -> int:
    """Return how often systemd has started a unit since a moment (seconds of the epoch)."""
    text = as_root(
        target,
        unit,
        "journalctl",
        "--quiet",
        "--no-pager",
        "--output=cat",
        f"--since=@{moment:.0f}",
        f"MESSAGE_ID={STARTED}",
        f"UNIT={unit}.service",
    )
    return len(text.splitlines())


def restarts_just(
    target: Target, variable: str, value: str, restarted: set[str], patience: float
) -> PlaybookRun:
    """Deploy with a value and assert that these units were started anew, once, and no other."""
    before, since = unit_states(target), time.time()
    deployed = run_playbook("-e", f"{variable}='{value}'")
    assert deployed.exit_code == 0, deployed.end
    assert "\n+++ " not in deployed.output, "it shows differences that nobody asked for"
    after = wait_for(
        "every unit is active",
        lambda: unit_states(target),
        lambda units: all(unit.active == "active" for unit in units.values()),
        60 * patience,
    )
    changed = {unit for unit, state in after.items() if state.invocation != before[unit].invocation}
    assert changed == restarted, deployed.changed_tasks
    starts = {unit: starts_since(target, unit, since) for unit in restarted}
    assert starts == dict.fromkeys(restarted, 1)
    return deployed


def boot_id(target: Target, host: str) -> str:
    """Return what tells one boot of a host from another."""
    return run(target, host, "cat", "/proc/sys/kernel/random/boot_id", timeout=10).strip()


def answers(target: Target, host: str) -> str:
    """Return the state that systemd gives a host, or why there is none."""
    try:
        return run(target, host, "systemctl is-system-running || true", timeout=10).strip()
    except HostsError as error:
        return str(error)
