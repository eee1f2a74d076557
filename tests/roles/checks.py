"""What the tests of several roles look at on a host."""

from __future__ import annotations

import json
import re
from typing import Any

from testinfra.host import Host

from ..variables import HostVariables
from ..waiting import wait_for


def patience(variables: HostVariables) -> float:
    """Return by how much every wait is longer: emulated hosts are slow."""
    return 6 if variables["host_emulated"] else 1


def listens(host: Host, address: str, port: int, seconds: float = 30) -> None:
    """Wait until a port takes connections; tried on the host, by the address that others use."""
    command = f"timeout 5 bash -c '</dev/tcp/{address}/{port}'"
    wait_for(
        f"{address}:{port} takes a connection",
        lambda: host.run(command),
        lambda answer: bool(answer.rc == 0),
        seconds,
    )


def is_up(host: Host, unit: str) -> None:
    """Assert that a unit is active and comes back with the host."""
    service = host.service(unit)
    assert service.is_running, f"{unit} is not active"
    assert service.is_enabled, f"{unit} is not enabled: it would not come back after a reboot"


def is_installed(host: Host, unit: str) -> bool:
    """Say whether systemd knows a unit of just this name.

    testinfra's `service(...).exists` is true for the mere beginning of a unit's name.
    """
    state = host.check_output("systemctl show --property=LoadState --value -- %s", unit)
    return str(state) != "not-found"


def has_user(host: Host, name: str, number: int) -> None:
    """Assert that a service's user is there with its number, group and no login."""
    user = host.user(name)
    assert (user.uid, user.gid, user.group) == (number, number, name)
    assert user.shell in {"/usr/sbin/nologin", "/bin/false"}


def runs_as(host: Host, unit: str, name: str) -> None:
    """Assert that a unit's main process belongs to a user."""
    pid = host.check_output("systemctl show --property=MainPID --value %s", unit)
    assert host.check_output("ps -o user:32= -p %s", pid) == name


def owns(host: Host, folder: str, name: str) -> None:
    """Assert that a data folder belongs to its service and is closed to writes by others."""
    with host.sudo():
        file = host.file(folder)
        assert file.is_directory
        assert (file.user, file.group) == (name, name)
        assert file.mode & 0o022 == 0, f"{folder} may be written by others: {file.mode:o}"


def is_kept_from(host: Host, path: str, name: str) -> None:
    """Assert that a service cannot change its own configuration."""
    with host.sudo():
        file = host.file(path)
        assert file.exists, f"{path} is missing"
        assert file.user == "root", f"{path} belongs to {file.user}"
        assert not file.mode & 0o002, f"{path} may be written by everyone: {file.mode:o}"
        assert file.group != name or not file.mode & 0o020, f"{path} may be written by {name}"


def is_confined(host: Host, *units: str) -> None:
    """Assert that systemd judges each sandbox as tight: 3.0 of 10 or better.

    Those of these units, and of all others whose files begin with Ansible's banner: none can be
    forgotten. And that these units leave no core dump, which would hold passwords and keys.
    """
    of_roles = "cd /etc/systemd/system && grep -l '^# Ansible managed' *.service"
    found = host.check_output(of_roles).split()
    assert {f"{unit}.service" for unit in units} <= set(found)
    judge = "systemd-analyze security --no-pager --threshold=30"
    judged = host.run(
        f'for unit in {" ".join(found)}; do shown=$({judge} $unit) || echo $unit "$shown"; done'
    )
    assert judged.stdout == ""
    for unit in units:
        limit = host.check_output("systemctl show --property=LimitCORE --value %s", unit)
        assert limit == "0", f"{unit} may leave what it has in memory on disk: {limit}"


def ends_without_memory(host: Host, unit: str, policy: str = "stop") -> None:
    """Assert that a JVM whose heap is full ends, and what the kernel's choice of a process ends.

    Executors are not looked at: Spark ends them itself, after it has freed what it can.
    """
    assert host.check_output("systemctl show --property=OOMPolicy --value %s", unit) == policy
    processes = host.check_output(
        f"for group in $(grep -lsF /{unit}.service /proc/[0-9]*/cgroup); do "
        "tr '\\0' ' ' <${group%cgroup}cmdline 2>/dev/null; echo; done"
    )
    jvms = [
        line
        for line in processes.splitlines()
        if "/bin/java " in line and "CoarseGrainedExecutorBackend" not in line
    ]
    assert jvms, processes
    assert [line for line in jvms if "-XX:+ExitOnOutOfMemoryError" not in line] == []


def runs_native_code(host: Host, unit: str) -> None:
    """Assert that a unit may run what it unpacks in its /tmp, however the host mounts its own."""
    assert host.check_output("systemctl show --property=ExecPaths --value %s", unit) == "/tmp"
    pid = host.check_output("systemctl show --property=MainPID --value %s", unit)
    if pid != "0":
        with host.sudo():
            mounts = host.check_output("cat /proc/%s/mounts", pid).splitlines()
        options = [line.split()[3].split(",") for line in mounts if line.split()[1] == "/tmp"]
        assert options, mounts
        assert "noexec" not in options[-1]


def writes_only(host: Host, name: str, *folders: str) -> None:
    """Assert that outside of its folders a user may write just what everybody may."""
    pruned = " -o ".join(f"-path {folder}" for folder in ("/dev", "/proc", "/sys", *folders))
    # /tmp and the like: for everybody, and each keeps what is his.
    pruned += " -o -type d -perm -1002"
    found = f"find / \\( {pruned} \\) -prune -o -writable \\( -type f -o -type d \\) -print"
    with host.sudo(name):
        # What it may not enter it cannot write.
        left = host.run(f"cd / && {found} 2>/dev/null").stdout.split()
    assert not left, f"{name} may write {left}"


def is_closed(host: Host, path: str) -> None:
    """Assert that a file that may hold a secret is read by root and one group alone."""
    with host.sudo():
        file = host.file(path)
        assert file.mode & 0o037 == 0, f"{path} may be read by others: {file.mode:o}"


def environment(host: Host, path: str) -> dict[str, str]:
    """Return the variables of a unit's environment file."""
    with host.sudo():
        lines = host.file(path).content_string.splitlines()
    pairs = (line.split("=", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {name: value.strip('"') for name, value in pairs}


def properties(host: Host, path: str) -> dict[str, str]:
    """Return the settings of a file of `name=value` lines."""
    with host.sudo():
        lines = host.file(path).content_string.splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def fetch(host: Host, url: str, ca: str = "") -> str:
    """Return what a web address answers, asked on the host (which has no curl)."""
    script = (
        "import ssl, sys, urllib.request as r; "
        "trusted = ssl.create_default_context(cafile=sys.argv[2] or None); "
        "direct = r.build_opener(r.ProxyHandler({}), r.HTTPSHandler(context=trusted)); "
        "print(direct.open(sys.argv[1], timeout=10).read().decode())"
    )
    return str(host.check_output(f"python3 -c '{script}' %s %s", url, ca))


def fetch_json(host: Host, url: str) -> dict[str, Any]:
    """Return the JSON that a web address answers, asked on the host."""
    answer: dict[str, Any] = json.loads(fetch(host, url))
    return answer


def asked(host: Host, unit: str) -> dict[str, Any]:
    """Return what this host's Spark master or worker says of itself, by its web UI."""
    answer: dict[str, Any] = json.loads(host.check_output("timeout 30 %s-ask", unit))
    return answer


def web_ui(variables: HostVariables, role: str) -> str:
    """Return the address of a web UI of Spark's as the host itself has it."""
    port = variables[f"{role}_webui_port"]
    if variables[f"{role}_webui_certificate"]:
        return f"https://127.0.0.1:{port}"
    return f"http://{variables['host_address']}:{port}"


def shows_itself_to_its_host_alone(host: Host, variables: HostVariables, role: str) -> None:
    """Assert that a web UI answers by TLS, on the loopback address, and nothing else shows it."""
    port, address = variables[f"{role}_webui_port"], variables["host_address"]
    pid = host.check_output("systemctl show --property=MainPID --value %s", role.replace("_", "-"))
    with host.sudo():
        lines = host.check_output("ss --no-header --listening --tcp --numeric --processes")
    held = re.findall(rf"^LISTEN +\d+ +\d+ +(\S+?):(\d+) .*pid={pid},", lines, re.MULTILINE)
    found = {(where.strip("[]").removeprefix("::ffff:"), int(number)) for where, number in held}
    # One is for Spark's other processes; none of the rest is to be reached from elsewhere.
    others = {number for where, number in found if where != "127.0.0.1"}
    assert others == {int(variables[f"{role}_port"])}, found
    assert ("127.0.0.1", int(port)) in found
    redirects = found - {("127.0.0.1", int(port)), (address, int(variables[f"{role}_port"]))}
    for path in ("/", "/json/"):
        # At most an alert of TLS's, and nothing by the address that others use.
        assert "HTTP" not in without_tls(host, "127.0.0.1", port, path)
        assert without_tls(host, address, port, path) == ""
        for where, number in redirects:
            head, _, body = without_tls(host, where, number, path).partition("\r\n\r\n")
            assert (head.split()[1], body) == ("302", ""), head


def without_tls(host: Host, address: str, port: int, path: str) -> str:
    """Return what a port answers to a request for a page without TLS."""
    command = f"timeout 20 python3 -c '{PLAIN}' %s {port} %s"
    return str(host.run(command, address, path).stdout)


def keeps_to_itself(host: Host, variables: HostVariables, unit: str) -> None:
    """Assert that Spark's secret is in no place that others may look at."""
    role = unit.replace("-", "_")
    with host.sudo():
        places = host.check_output(
            f"systemctl cat {unit}; systemctl show {unit}; journalctl --unit={unit}; "
            "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"
        )
    assert f"Description=Spark {unit.removeprefix('spark-')}" in places
    for path in ("/", "/json/", "/metrics/json/"):
        places += fetch(host, web_ui(variables, role) + path, variables[f"{role}_webui_ca"])
    assert variables["spark_secret"] not in places
    assert (variables["spark_ui_certificate_password"] or variables["spark_secret"]) not in places


# Prints what a port answers to a request without TLS.
PLAIN = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as it:
    it.settimeout(5)
    it.sendall(f"GET {sys.argv[3]} HTTP/1.0\\r\\n\\r\\n".encode())
    sys.stdout.write(b"".join(iter(lambda: it.recv(65536), b"")).decode(errors="replace"))
"""
