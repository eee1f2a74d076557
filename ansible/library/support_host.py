#!/usr/bin/python
"""Ansible module: what a host has for a support bundle, packed, without secrets that it knows."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.support_redact import Redactor, secrets_in
from ansible.module_utils.support_sources import (
    COMMANDS,
    CONFIGURATION,
    OPTIONAL,
    SECRET_FILES,
    SECRET_SETTINGS,
    STATE_FILES,
    SYSTEM_UNITS,
    Lines,
    Said,
    matching,
    read_file,
    run,
    tail,
    unit_files,
    unit_states,
)

DOCUMENTATION = r"""
module: support_host
short_description: Pack journals, settings and states of a host for a support bundle
description:
  - Writes nothing on the host. The pack is in what it returns, and its size is bounded.
  - Secrets that the host's own files hold are taken out of it, as is what looks like one. Whoever
    keeps the pack takes out the secrets that are not on the host.
  - With I(threads) each JVM writes its stacks into its journal, as it does for SIGQUIT.
  - In check mode it takes nothing, and says what it would take.
author: imdb-pipeline
options:
  since:
    description: From when on journals are taken, as C(journalctl --since) has it.
    type: str
    default: 2 hours ago
  megabytes:
    description: Most MiB that the pack holds, before it is compressed.
    type: int
    default: 16
  threads:
    description: Whether to take the stacks of all threads of the JVMs.
    type: bool
    default: false
  prometheus_port:
    description: Port of Prometheus on this host, for the metrics of the last hour; 0 is none.
    type: int
    default: 0
  seconds:
    description: Seconds after which nothing more is taken.
    type: int
    default: 120
"""
EXAMPLES = r"""
- name: Take what the host says of itself
  support_host:
    since: 6 hours ago
  register: taken
"""
RETURN = r"""
content:
  description: The pack, a tar archive by gzip in base64; empty in check mode.
  type: str
  returned: always
would_take:
  description: What is taken, in words.
  type: list
  returned: always
refused:
  description: What is wrong with an argument, so that nothing was taken; empty if nothing is.
  type: str
  returned: always
"""

#: Shares of the whole that the parts may have at most.
JOURNALS, METRICS = 0.6, 0.2
#: Most bytes of one file or one command's output.
PIECE = 512 * 1024
COMMAND_SECONDS = 20
METRICS_SECONDS, METRICS_STEP = 3600, 60
# The hosts' own network needs no proxy, whatever their environment says.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Pack:
    """Files in memory, never more bytes in all than a limit."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.left = limit
        self.end = time.monotonic() + seconds
        self.files: dict[str, bytes] = {}
        self.notes: list[dict[str, Any]] = []
        self.redactor = Redactor([])
        self.facts: dict[str, Any] = {"host_time": time.time()}

    def seconds(self, most: float = COMMAND_SECONDS) -> float:
        """How long the next thing may take."""
        return min(most, self.end - time.monotonic())

    def add(
        self, name: str, text: bytes, cut: int = 0, problem: str = "", settings: bool = False
    ) -> None:
        """Add a file, without secrets; its earliest lines are left out where it is too large."""
        clean = self.redactor.text(text.decode(errors="replace"), settings).encode()
        kept = tail(clean, self.left)
        cut += len(clean) - len(kept)
        if kept:
            self.files[name] = kept
            self.left -= len(kept)
        if cut or problem:
            self.notes.append({"file": name, "cut": cut, "problem": self.redactor.text(problem)})

    def run(self, name: str, command: list[str], limit: int = PIECE, each: Any = None) -> Said:
        """Add what a command prints."""
        if self.seconds() <= 0:
            said = Said(b"", problem="there was no time left for it")
        else:
            said = run(command, limit, self.seconds(), each)
        self.add(name, said.text, said.cut, said.problem)
        return said

    def part(self, name: str, take: Callable[..., None], *arguments: Any) -> None:
        """Take a part; where that fails, as it may on a broken host, say so and go on."""
        try:
            take(self, *arguments)
        except Exception as error:
            self.add(name, b"", problem=f"{type(error).__name__}: {error}")

    def archive(self) -> bytes:
        """The whole, as a tar archive by gzip."""
        told = {
            "notes": self.notes,
            "limit": self.limit,
            "taken": self.limit - self.left,
            **self.facts,
        }
        files = self.files | {"host.json": json.dumps(self.redactor.data(told), indent=1).encode()}
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
                archive.addfile(entry, io.BytesIO(content))
        return packed.getvalue()


def own_secrets() -> list[str]:
    """The secrets that the files of this host hold."""
    found: list[str] = []
    for path in (*CONFIGURATION, *SECRET_SETTINGS, *settings_of_units()):
        try:
            text = read_file(path, PIECE).decode(errors="replace")
        except OSError:  # this host has no such file
            continue
        found += secrets_in(text)
        if path in SECRET_SETTINGS:
            # An address that alerts are posted to is a secret as a whole.
            found += [
                line.partition("url:")[2].strip(" \"'")
                for line in text.splitlines()
                if "url:" in line
            ]
    for pattern in SECRET_FILES:
        for path in matching(pattern):
            found.append(read_file(path, PIECE).decode(errors="replace").strip())
    return [it for it in found if not it.startswith("/")]


def settings_of_units() -> list[str]:
    """The files of units, and those that were added to them."""
    units = unit_files()
    added = [path for unit in units for path in sorted(Path(f"{unit}.d").glob("*.conf"))]
    return [str(path) for path in (*units, *added)]


def take_files(pack: Pack) -> None:
    """Settings, units with what was added to them, and what programs say of themselves."""
    for path in (*CONFIGURATION, *settings_of_units()):
        take_file(pack, path, settings=True)
    for pattern in STATE_FILES:
        for path in matching(pattern):
            take_file(pack, path)


def take_file(pack: Pack, path: str, settings: bool = False) -> None:
    """One file, if it is there."""
    try:
        text = read_file(path, PIECE)
        more = max(0, Path(path).stat().st_size - PIECE)
    except FileNotFoundError:
        return
    except OSError as error:
        pack.add(f"files{path}", b"", problem=str(error))
        return
    pack.add(f"files{path}", text, more, settings=settings)


def take_journals(pack: Pack, since: str) -> None:
    """Journals of the pipeline's units, of some of the system's, of the kernel and of systemd."""
    ours = [path.name for path in unit_files() if path.suffix == ".service"]
    asked = {"kernel": ["--dmesg"], "systemd": ["--priority=warning", "_PID=1"]}
    asked |= {name.removesuffix(".service"): ["--unit", name] for name in (*SYSTEM_UNITS, *ours)}
    room = int(pack.limit * JOURNALS)
    errors, killed = {}, []
    for number, (name, chosen) in enumerate(asked.items()):
        # What one leaves of its share is for those after it: the services come last.
        share = room // (len(asked) - number)
        before = pack.left
        lines = Lines()
        journal = [
            "journalctl",
            "--quiet",
            "--no-pager",
            "--no-hostname",
            "--output=short-iso",
            "--since",
            since,
        ]
        pack.run(f"journal/{name}.log", [*journal, *chosen], share, lines.take)
        room -= before - pack.left
        lines.take(b"\n")
        # Those of systemd's own are in the journals of the units that they are about.
        if lines.count and name != "systemd":
            errors[name] = lines.summary()
        killed += lines.killed
    pack.facts |= {"errors": errors, "killed": sorted(set(killed))}


def take_states(pack: Pack) -> None:
    """States of units, and what can be said in figures."""
    names = [path.name for path in unit_files()]
    try:
        pack.facts["units"] = unit_states(names, pack.seconds())
        pack.facts["failed"] = [
            line.split()[0]
            for line in subprocess.run(
                [
                    "systemctl",
                    "list-units",
                    "--failed",
                    "--all",
                    "--plain",
                    "--no-legend",
                    "--no-pager",
                ],
                capture_output=True,
                text=True,
                timeout=pack.seconds(),
                check=True,
            ).stdout.splitlines()
            if line.strip()
        ]
    except (OSError, subprocess.SubprocessError) as error:
        pack.add("system/units.json", b"", problem=f"systemd does not answer: {error}")
    pack.facts["filesystems"] = filesystems(pack)
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    pack.facts["memory_kb"] = {
        name: int(memory[name].split()[0])
        for name in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
        if name in memory
    }
    pack.facts["load"], pack.facts["processors"] = os.getloadavg(), os.cpu_count()
    pack.facts["uptime_seconds"] = float(Path("/proc/uptime").read_text().split()[0])
    pack.facts["reboot_required"] = Path("/run/reboot-required").exists()
    pack.facts["releases"] = {
        link.parent.name: link.readlink().name
        for link in sorted(Path("/opt").glob("*/current"))
        if link.is_symlink()
    }


def filesystems(pack: Pack) -> list[dict[str, Any]]:
    """Mounted file systems with room for files, and how full they are."""
    found = []
    # A server of NFS that does not answer holds up whoever asks: the host's own come first.
    for chosen in (["--local"], ["-t", "nfs", "-t", "nfs4"]):
        command = [
            "df",
            "--block-size=1",
            "--output=fstype,size,avail,pcent,ipcent,target",
            *chosen,
        ]
        said = run(command, PIECE, max(1, pack.seconds()))
        for line in said.text.decode(errors="replace").splitlines()[1:]:
            fields = line.split(None, 5)
            # Not what it says of those that it cannot ask, nor those of the system's own.
            if len(fields) < 6 or not fields[3].endswith("%"):
                continue
            kind, size, free, used, inodes, mount = fields
            if mount.startswith(("/run", "/dev", "/sys", "/proc")):
                continue
            found.append(
                {
                    "mount": mount,
                    "kind": kind,
                    "bytes": int(size),
                    "free": int(free),
                    "used_percent": int(used.rstrip("%")),
                    "inodes_percent": int(inodes.rstrip("%")) if inodes != "-" else 0,
                }
            )
    return found


def take_commands(pack: Pack) -> None:
    """What commands of the system say."""
    for name, command in COMMANDS.items():
        if command[0] in OPTIONAL and not shutil.which(command[0]):
            continue
        said = pack.run(name, command)
        # A container has the clock of its machine, and cannot know who sets it.
        in_container = Path("/run/systemd/container").exists()
        if name == "system/clock.txt" and not said.problem and not in_container:
            clock = dict(it.split("=", 1) for it in said.text.decode().splitlines() if "=" in it)
            pack.facts["clock_synchronized"] = clock.get("NTPSynchronized") == "yes"


def take_metrics(pack: Pack, port: int) -> None:
    """The last hour by Prometheus where it is on this host, and what the programs serve now."""
    for unit, path in (("imdb-streaming", "streaming.env"), ("imdb-producer", "producer.env")):
        if not serves_metrics(pack, unit):
            continue
        settings = read_file(f"/etc/{unit}/{path}", PIECE).decode(errors="replace")
        pairs = dict(line.split("=", 1) for line in settings.splitlines() if "=" in line)
        address = pairs.get("METRICS_ADDRESS", "").strip('"') or "127.0.0.1"
        number = pairs.get("METRICS_PORT", "0").strip('"')
        if number != "0":
            name = f"metrics/{unit}-now.prom"
            take_page(pack, name, f"http://{address}:{number}/metrics", lambda text: text)
    if not port:
        return
    url = f"http://127.0.0.1:{port}/api/v1"
    take_page(pack, "metrics/alerts.json", f"{url}/alerts", lambda text: text)
    try:
        alerts = json.loads(pack.files.get("metrics/alerts.json", b"{}"))["data"]["alerts"]
        pack.facts["alerts"] = [it for it in alerts if it["labels"].get("alertname") != "Watchdog"]
        with DIRECT.open(f"{url}/label/job/values", timeout=max(1, pack.seconds())) as answer:
            jobs = json.load(answer)["data"]
    except (OSError, ValueError, KeyError) as error:
        pack.add("metrics", b"", problem=f"Prometheus does not answer: {error}")
        return
    room = int(pack.limit * METRICS)
    now = int(time.time())
    for number, job in enumerate(sorted(jobs)):
        asked = {
            "query": json.dumps(job).join(("{job=", "}")),
            "start": now - METRICS_SECONDS,
            "end": now,
            "step": METRICS_STEP,
        }
        share = room // (len(jobs) - number)
        before = pack.left
        page = f"{url}/query_range?{urllib.parse.urlencode(asked)}"
        take_page(pack, f"metrics/last-hour-{Path(job).name}.txt", page, as_lines, share)
        room -= before - pack.left


def serves_metrics(pack: Pack, unit: str) -> bool:
    """Whether a program runs here: it has not ended, and this is not a host that is a standby."""
    state = pack.facts.get("units", {}).get(f"{unit}.service", {})
    try:
        role = json.loads(read_file(f"/run/{unit}/standby.json", PIECE))["role"]
    except (OSError, ValueError, KeyError):  # there are no other hosts for it
        role = "leads"
    return state.get("SubState") == "running" and role == "leads"


def take_page(
    pack: Pack, name: str, url: str, form: Callable[[bytes], bytes], share: int = PIECE
) -> None:
    """What a program serves on this host."""
    if pack.seconds() <= 0:
        pack.add(name, b"", problem="there was no time left for it")
        return
    try:
        with DIRECT.open(url, timeout=pack.seconds()) as answer:
            text = form(answer.read(64 * PIECE))
    except (OSError, ValueError, KeyError) as error:
        pack.add(name, b"", problem=str(error))
        return
    kept = text if len(text) <= share else b"".join(text[:share].rpartition(b"\n")[:2])
    pack.add(name, kept, len(text) - len(kept))


def as_lines(answer: bytes) -> bytes:
    """An answer of Prometheus as text: a series a line, with a value for each step."""
    series = json.loads(answer)["data"]["result"]
    every = sorted({at for it in series for at, _ in it["values"]})
    lines = [
        f"# from {every[0]:.0f} to {every[-1]:.0f}, every {METRICS_STEP} s"
        if every
        else "# nothing"
    ]
    for it in series:
        labels = dict(it["metric"])
        name, values = labels.pop("__name__", ""), dict(map(tuple, it["values"]))
        shown = ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(labels.items()))
        lines.append(f"{name}{{{shown}}} {' '.join(values.get(at, '-') for at in every)}")
    return ("\n".join(lines) + "\n").encode()


def jvms() -> dict[int, str]:
    """JVMs of the pipeline's units whose output goes to the journal, each with its unit."""
    names = [path.name for path in unit_files() if path.suffix == ".service"]
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            groups = (process / "cgroup").read_text().splitlines()
            unit = next((it for it in names if any(f"/{it}" in group for group in groups)), "")
            command = (process / "cmdline").read_bytes().split(b"\0")
            is_java = (process / "exe").readlink().name == "java"
            # Executors write into files of the worker's, which are not taken.
            to_journal = str((process / "fd/1").readlink()).startswith("socket:")
        except OSError:  # it has ended
            continue
        # With these a JVM ends by the signal.
        ends = {b"-Xrs", b"-XX:+ReduceSignalUsage"} & set(command)
        if unit and is_java and to_journal and not ends:
            found[int(process.name)] = unit
    return found


def take_threads(pack: Pack) -> None:
    """The stacks of all threads of the JVMs: each prints them, and goes on."""
    asked = {}
    for pid, unit in sorted(jvms().items()):
        asked[pid] = (unit, int(time.time()))
        os.kill(pid, signal.SIGQUIT)
    if asked:
        time.sleep(2)
    for pid, (unit, at) in asked.items():
        command = [
            "journalctl",
            "--quiet",
            "--no-pager",
            "--output=cat",
            f"--since=@{at}",
            f"_PID={pid}",
        ]
        pack.run(f"threads/{unit.removesuffix('.service')}-{pid}.txt", command)


def would_take(given: dict[str, Any]) -> list[str]:
    """What is taken from this host, in words."""
    units = [path.name for path in unit_files() if path.suffix == ".service"]
    files = [path for path in CONFIGURATION if Path(path).exists()]
    told = [
        f"journals since {given['since']} of {', '.join(units)}",
        f"journals of the kernel, of systemd's warnings and of {', '.join(SYSTEM_UNITS)}",
        f"files without their secrets: {', '.join(files)}, and the files of these units",
        f"what these say: {', '.join(' '.join(command[:2]) for command in COMMANDS.values())}",
        "metrics of the job and the producer",
    ]
    if given["prometheus_port"]:
        told.append("metrics of the last hour, by Prometheus")
    if given["threads"]:
        told.append("stacks of threads, for which each JVM gets SIGQUIT")
    return [*told, f"no more than {given['megabytes']} MiB in all"]


def wrong_since(since: str) -> str:
    """What is wrong with the time from which on journals are asked for; empty if nothing is."""
    said = run(["journalctl", "--quiet", "--lines=0", "--since", since], PIECE, COMMAND_SECONDS)
    if "parse timestamp" in said.text.decode(errors="replace"):
        return f"'{since}' is no time that journalctl knows"
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "since": {"type": "str", "default": "2 hours ago"},
            "megabytes": {"type": "int", "default": 16},
            "threads": {"type": "bool", "default": False},
            "prometheus_port": {"type": "int", "default": 0},
            "seconds": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    given = module.params
    told = {"changed": False, "content": "", "would_take": would_take(given)}
    refused = wrong_since(given["since"])
    if refused or module.check_mode:
        module.exit_json(refused=refused, **told)
    # What the host is there for comes first.
    os.nice(19)
    pack = Pack(given["megabytes"] * 1024 * 1024, given["seconds"])
    pack.facts["name"] = socket.gethostname()
    pack.redactor = Redactor(own_secrets())
    pack.part("states", take_states)
    pack.part("files", take_files)
    if given["threads"]:
        pack.part("threads", take_threads)
    pack.part("journal", take_journals, given["since"])
    pack.part("metrics", take_metrics, given["prometheus_port"])
    pack.part("system", take_commands)
    pack.facts["seconds"] = round(given["seconds"] - pack.seconds(given["seconds"]), 1)
    told["content"] = base64.b64encode(pack.archive()).decode()
    module.exit_json(refused="", **told)


if __name__ == "__main__":
    main()
