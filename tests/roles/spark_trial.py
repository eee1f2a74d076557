"""Run on a host, as root, by the tests of role spark_worker: run an application and look at it.

Usage: python3 - USER MASTER ADDRESS MARKER URL... < spark_trial.py. Prints as JSON how many rows
the application counted, whether the marker in its rows passed ADDRESS so that it could be read,
where Spark's secret was to be seen meanwhile, and the links by which the pages would end it.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

APPLICATION = """
import sys, time
from pyspark.sql import SparkSession
context = SparkSession.builder.appName("trial").getOrCreate().sparkContext
carried = [(number % 3, sys.argv[1] + str(number)) for number in range(300)]
counted = context.parallelize(carried, 2).groupByKey(2).collect()
print("counted", sum(len(rows) for _, rows in counted), flush=True)
time.sleep(15)
"""
EXECUTOR = r"[^\0]+/bin/java\0.*CoarseGrainedExecutorBackend\0"
DIRECT = urllib.request.ProxyHandler({})


def listen(address: str, marker: bytes, found: dict[str, int], done: threading.Event) -> None:
    """Count the bytes of an address that pass the loopback interface, and the markers in them."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3)) as wire:
        wire.bind(("lo", 0))
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        wire.settimeout(0.5)
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                packet = wire.recv(1 << 17)
                # Behind 14 bytes of Ethernet: the source's address is at 12 of IPv4's header.
                if packet[26:30] == socket.inet_aton(address):
                    found["bytes"] += len(packet)
                    found["markers"] += packet.count(marker)


def secret() -> str:
    """Return Spark's secret; empty if it has none."""
    settings = Path("/etc/spark/spark-defaults.conf").read_text(encoding="utf-8")
    found = re.search(r"^spark\.authenticate\.secret +(\S+)$", settings, re.MULTILINE)
    return found[1] if found else ""


def command_lines() -> dict[str, str]:
    """Return what every process was started with, by its folder in /proc."""
    lines = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # Those that have ended meanwhile.
        with contextlib.suppress(OSError):
            lines[str(path)] = path.read_text(encoding="utf-8", errors="replace")
    return lines


def page(url: str) -> str:
    """Return what a page answers, or the error."""
    context = ssl.create_default_context()
    # Whether it is the right one is asked elsewhere.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(DIRECT, urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=10) as answer:
            return str(answer.read().decode(errors="replace"))
    except (OSError, urllib.error.HTTPError) as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """Run the application."""
    user, master, address, marker, *urls = sys.argv[1:]
    found = {"bytes": 0, "markers": 0}
    done = threading.Event()
    listener = threading.Thread(target=listen, args=(address, marker.encode(), found, done))
    listener.start()
    said: list[str] = []
    shown: dict[str, str] = {}
    with tempfile.NamedTemporaryFile("w", suffix=".py", dir="/var/tmp") as program:
        program.write(APPLICATION)
        program.flush()
        Path(program.name).chmod(0o644)
        command = ["runuser", "-u", user, "--", "timeout", "300", "spark-submit"]
        command += ["--master", master, "--executor-memory", "512m", program.name, marker]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
        ) as run:
            assert run.stdout
            for line in run.stdout:
                said.append(line)
                if line.startswith("counted "):
                    shown = {url: page(url) for url in urls} | command_lines()
    done.set()
    listener.join()
    counted = [int(line.split()[1]) for line in said if line.startswith("counted ")]
    answer = {
        "counted": counted[0] if counted else 0,
        "wire": found,
        "secret_in": [where for where, text in shown.items() if secret() and secret() in text],
        "executors": sum(bool(re.match(EXECUTOR, it, re.DOTALL)) for it in shown.values()),
        "kill_links": sum(shown[url].count("/kill/") for url in urls if url in shown),
        "pages": {url: shown[url][:100] for url in urls if url in shown},
        "said": "".join(said)[-2000:],
    }
    json.dump(answer, sys.stdout)


main()
