"""What a support bundle takes from a host, and how: each piece bounded in size and time."""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Files that roles write and that are taken. What is not named here is not taken.
CONFIGURATION = (
    "/etc/zookeeper/zoo.cfg",
    "/etc/zookeeper/log4j.properties",
    "/etc/zookeeper/metrics.yml",
    "/etc/kafka/server.properties",
    "/etc/kafka/log4j.properties",
    "/etc/kafka/log4j2.properties",
    "/etc/kafka/cluster.properties",
    "/etc/kafka/metrics.yml",
    "/etc/spark/spark-defaults.conf",
    "/etc/spark/spark-env.sh",
    "/etc/spark/log4j2.properties",
    "/etc/imdb-streaming/streaming.env",
    "/etc/imdb-producer/producer.env",
    "/etc/imdb-standby/standby.env",
    "/etc/imdb-dashboard/settings.json",
    "/etc/imdb-exporters/nginx.conf",
    "/etc/imdb-prometheus/prometheus.yml",
    "/etc/imdb-prometheus/settings.yml",
    "/etc/imdb-firewall.nft",
    "/etc/sysctl.d/90-pipeline.conf",
    "/etc/systemd/journald.conf.d/50-pipeline.conf",
    "/etc/apt/apt.conf.d/90-imdb-updates",
    "/etc/needrestart/conf.d/imdb-pipeline.conf",
    "/etc/systemd/system/nftables.service.d/imdb-firewall.conf",
    "/etc/tmpfiles.d/kafka.conf",
    "/etc/os-release",
)
#: Files that are read for the secrets in them, to find these elsewhere, and are not taken.
SECRET_SETTINGS = (
    "/etc/kafka/secrets.properties",
    "/etc/kafka/admin.properties",
    "/etc/imdb-prometheus/alertmanager.yml",
)
#: The same, where all of a file is one secret.
SECRET_FILES = ("/etc/imdb-producer/passwords/*", "/etc/imdb-streaming/passwords/*")
#: Units of the pipeline, by the names of their files.
UNIT_FILES = "/etc/systemd/system"
UNITS = ("zookeeper.*", "kafka.*", "spark-master.*", "spark-worker.*", "imdb-*.*")
UNIT_KINDS = (".service", ".timer")
#: Units of the system whose journals are taken.
SYSTEM_UNITS = ("systemd-timesyncd", "chrony", "systemd-journald", "systemd-oomd", "nftables")
#: What programs of the pipeline say of themselves, and the ends of the host's certificates.
STATE_FILES = (
    "/run/imdb-*/status.json",
    "/run/imdb-*/standby.json",
    "/run/imdb-*/metrics.prom",
    "/run/imdb-certificates.prom",
)
#: Commands, each with the file that its output goes to. None shows arguments of processes, which
#: may hold anything.
COMMANDS = {
    "system/uname.txt": ["uname", "-a"],
    "system/uptime.txt": ["uptime"],
    "system/clock.txt": ["timedatectl", "show"],
    "system/clock-source.txt": ["timedatectl", "show-timesync", "--all"],
    "system/disks.txt": ["df", "-PTh", "-x", "tmpfs", "-x", "devtmpfs"],
    "system/inodes.txt": ["df", "-Pi", "-x", "tmpfs", "-x", "devtmpfs"],
    "system/mounts.txt": ["findmnt", "--list", "-o", "TARGET,SOURCE,FSTYPE,SIZE,USED,AVAIL,USE%"],
    "system/folders.txt": [
        *("du", "-xsh", "/var/lib/kafka", "/var/lib/zookeeper", "/var/lib/spark"),
        *("/var/lib/imdb-producer", "/var/lib/imdb-prometheus", "/var/log/journal", "/opt"),
    ],
    "system/memory.txt": ["free", "-m"],
    "system/meminfo.txt": ["cat", "/proc/meminfo"],
    "system/pressure.txt": [
        "grep",
        "-H",
        "",
        "/proc/pressure/cpu",
        "/proc/pressure/io",
        "/proc/pressure/memory",
    ],
    "system/processes.txt": [
        *("ps", "-eo", "pid,ppid,user:20,stat,pcpu,pmem,rss,nlwp,etimes,comm", "--sort=-rss"),
    ],
    "system/sockets.txt": ["ss", "-s"],
    "system/listening.txt": ["ss", "-Hltn"],
    "system/addresses.txt": ["ip", "-br", "address"],
    "system/routes.txt": ["ip", "route"],
    "system/firewall.txt": ["nft", "list", "table", "inet", "imdb_pipeline"],
    "system/failed-units.txt": [
        "systemctl",
        "list-units",
        "--failed",
        "--all",
        "--no-pager",
        "--plain",
    ],
    "system/timers.txt": ["systemctl", "list-timers", "--all", "--no-pager"],
    "system/journal-size.txt": ["journalctl", "--disk-usage"],
    "system/crashes.txt": ["coredumpctl", "list", "--no-pager", "--no-legend"],
    "versions/packages.txt": [
        *("dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture} ${db:Status-Abbrev}\n"),
        *(
            "openjdk-*",
            "systemd",
            "python3",
            "linux-image-*",
            "nginx*",
            "prometheus*",
            "nftables",
            "openssl",
            "libc6",
        ),
    ],
    "versions/java.txt": ["java", "-version"],
    "versions/python.txt": ["python3", "--version"],
    "zookeeper/mntr.txt": ["/usr/local/bin/zookeeper-ask", "mntr"],
}
#: Of these there may be none on a host.
OPTIONAL = ("/usr/local/bin/zookeeper-ask", "coredumpctl", "java", "nft", "du", "grep")

#: These end so where a part of what was asked for is not on the host.
PARTIAL = ("du", "dpkg-query", "timedatectl")

#: Lines of journals that tell of something wrong.
WRONG = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL|SEVERE|OutOfMemoryError)\b|Failed with result|Traceback \(most"
    r"|: Error: "
)
KILLED = re.compile(
    r"Out of memory|oom-kill|oom_reaper|invoked oom-killer|killed by the OOM killer"
)
STAMP = re.compile(r"^(?P<at>\d{4}-\d\d-\d\dT\S+) (?:\S+: )?(?P<text>.*)$")
#: Most kinds of messages that are told apart, and that are shown.
KINDS, SHOWN, WIDTH = 500, 3, 240


def matching(pattern: str) -> list[str]:
    """The files of an absolute pattern that are there."""
    return sorted(str(path) for path in Path("/").glob(pattern.lstrip("/")))


def read_file(path: str, limit: int) -> bytes:
    """The first bytes of a file. Raises OSError."""
    with Path(path).open("rb") as file:
        return file.read(limit)


@dataclass
class Said:
    """What a command has printed."""

    text: bytes
    #: Bytes of it that were left out, the earliest first.
    cut: int = 0
    #: Why it is not all, or nothing; empty if it is.
    problem: str = ""


def run(command: list[str], limit: int, seconds: float, each: Any = None) -> Said:
    """Run a command and return the last of its output, which is never held whole.

    each: is called with each piece of the output as it comes.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                "LC_ALL": "C",
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            },
        )
    except OSError as error:
        return Said(b"", problem=f"{command[0]}: {error.strerror}")
    assert process.stdout is not None
    kept: deque[bytes] = deque()
    held = total = 0
    end = time.monotonic() + seconds
    late = False
    with process, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = end - time.monotonic()
            if left <= 0 or not selector.select(left):
                late = True
                process.kill()
                break
            chunk = process.stdout.read1(65536)
            if not chunk:
                break
            if each:
                each(chunk)
            total += len(chunk)
            held += len(chunk)
            kept.append(chunk)
            while held - len(kept[0]) >= limit:
                held -= len(kept.popleft())
    text = tail(b"".join(kept), limit)
    problem = ""
    if late:
        problem = f"{command[0]} was ended after {seconds:.0f} s"
    elif process.returncode and not (process.returncode == 1 and command[0] in PARTIAL):
        problem = f"{command[0]} ended with {process.returncode}"
    return Said(text, total - len(text), problem)


def tail(text: bytes, limit: int) -> bytes:
    """The last whole lines of a text that are no more bytes than a limit."""
    if len(text) <= limit:
        return text
    last = text[-limit:] if limit > 0 else b""
    return last.partition(b"\n")[2]


@dataclass
class Lines:
    """Counts what is wrong in a journal while it is read, all of it, however much is kept."""

    count: int = 0
    first: str = ""
    last: str = ""
    killed: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    rest: bytes = b""

    def take(self, chunk: bytes) -> None:
        """Look at the next piece of a journal."""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        for line in lines:
            self.look_at(line.decode(errors="replace"))

    def look_at(self, line: str) -> None:
        """Look at one line."""
        if KILLED.search(line) and len(self.killed) < 20:
            self.killed.append(line[:WIDTH])
        if not WRONG.search(line):
            return
        self.count += 1
        match = STAMP.match(line)
        if match:
            self.first = self.first or match["at"]
            self.last = match["at"]
        text = match["text"] if match else line.strip()
        kind = re.sub(r"[0-9a-f]{8,}|\d+", "N", text)[:WIDTH]
        if kind in self.kinds or len(self.kinds) < KINDS:
            self.kinds[kind] += 1
            self.examples[kind] = text[:WIDTH]

    def summary(self) -> dict[str, Any]:
        """What was counted."""
        return {
            "count": self.count,
            "first": self.first,
            "last": self.last,
            "examples": [
                [many, self.examples[kind]] for kind, many in self.kinds.most_common(SHOWN)
            ],
        }


def unit_files(folder: str = UNIT_FILES) -> list[Path]:
    """The files of the pipeline's units on this host."""
    found = {
        path
        for pattern in UNITS
        for path in Path(folder).glob(pattern)
        if path.suffix in UNIT_KINDS
    }
    return sorted(found)


def unit_states(names: list[str], seconds: float) -> dict[str, dict[str, str]]:
    """What systemd says of units, by name. Raises OSError, subprocess.SubprocessError."""
    if not names:
        return {}
    wanted = (
        "Id,LoadState,ActiveState,SubState,Result,UnitFileState,NRestarts,ExecMainStatus,ExecMainCode,"
        "StateChangeTimestamp,ActiveEnterTimestamp,MainPID,MemoryCurrent,TasksCurrent,Type"
    )
    said = subprocess.run(
        ["systemctl", "show", "--property", wanted, "--", *names],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=True,
    ).stdout
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in said.split("\n\n")
        if block.strip()
    ]
    return {block["Id"]: block for block in blocks if "Id" in block}
