"""The network of local hosts, in namespaces: a machine, a host on it, and an outside world."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "terraform/local/scripts"
BRIDGE = "imdb-0badcafe"
FORWARD = "/proc/sys/net/ipv4/ip_forward"
# What firewalls do to what is forwarded: Docker and ufw by iptables' chain, others by their own.
DOCKER = """
table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }
table ip nat { chain POSTROUTING {
    type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 masquerade
} ; }
"""
DROPPING = "table inet mine { chain shut { type filter hook forward priority 10; drop; }; }"

LISTEN = """
import socket
server = socket.create_server(("", 8000))
print(flush=True)
while True:
    connection, (address, _) = server.accept()
    connection.sendall(address.encode())
    connection.close()
"""
CONNECT = """
import socket
connection = socket.create_connection(("198.51.100.2", 8000), timeout=2)
print(connection.recv(100).decode())
"""


class Namespace:
    """A process with a network and mounts of its own, and what runs beside it."""

    def __init__(self, stack: ExitStack) -> None:
        """Start it; it ends with the stack."""
        started = (
            "mount --make-rprivate / && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run &&"
            "echo && exec sleep 300"
        )
        self.stack = stack
        self.pid = self.begin(["unshare", "--net", "--mount", "sh", "-c", started])
        self.run("ip link set lo up")

    def begin(self, command: list[str]) -> int:
        """Start what says by a line that it is ready."""
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        assert process.stdout is not None
        self.stack.callback(process.stdout.close)
        assert process.stdout.readline() == b"\n", command
        return process.pid

    def enter(self, *command: str) -> list[str]:
        """Return the command line that runs a command here."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", *command]

    def call(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run shell commands here; the result has both outputs in one."""
        return subprocess.run(
            self.enter("bash", "-euc", script),
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    def run(self, script: str, **variables: str) -> str:
        """Run shell commands here that must succeed."""
        done = self.call(script, **variables)
        assert done.returncode == 0, done.stdout
        return done.stdout


class Machine(Namespace):
    """A machine with a host, and a server outside that nothing of ours configures."""

    def __init__(self, stack: ExitStack, state: Path) -> None:
        """Make all three, and no network of ours yet."""
        super().__init__(stack)
        self.state = state
        self.host = Namespace(stack)
        outside = Namespace(stack)
        self.run(
            f"ip link add outside type veth peer name outside0 netns {outside.pid};"
            "ip link set outside up;"
            "ip addr add 198.51.100.1/24 dev outside; ip route add default via 198.51.100.2;"
            f"echo 0 >{FORWARD}"
        )
        outside.run("ip link set outside0 up; ip addr add 198.51.100.2/24 dev outside0")
        outside.begin(outside.enter(sys.executable, "-c", LISTEN))

    def network(
        self, command: str, subnet: str = "10.200.1.0/24"
    ) -> subprocess.CompletedProcess[str]:
        """Run network.sh."""
        return self.call(
            f"'{SCRIPTS}/network.sh' {command}",
            LOCAL_ID=BRIDGE.removeprefix("imdb-"),
            LOCAL_BRIDGE=BRIDGE,
            LOCAL_SUBNET=subnet,
            LOCAL_STATE=str(self.state),
            LOCAL_GENERATION="1",
        )

    def up(self) -> None:
        """Make the hosts' network and put the host on it."""
        done = self.network("up")
        assert done.returncode == 0, done.stdout
        self.run(
            f"ip link add vb-host type veth peer name host0 netns {self.host.pid};"
            f"ip link set vb-host up master {BRIDGE}"
        )
        self.host.run(
            "ip link set host0 up; ip addr add 10.200.1.10/24 dev host0;"
            "ip route add default via 10.200.1.1"
        )

    def down(self) -> str:
        """Remove the network; return what was said."""
        done = self.network("down")
        assert done.returncode == 0, done.stdout
        return done.stdout

    def repair(self) -> None:
        """Do what make does before each apply."""
        done = self.network("repair")
        assert done.returncode == 0, done.stdout

    def load(self, rules: str) -> None:
        """Load rules of somebody else's."""
        self.run(f"nft -f - <<'RULES'\n{rules}\nRULES")

    def rules(self) -> str:
        """Return all rules of the machine."""
        return self.run("nft list ruleset")

    def reaches(self) -> bool:
        """Say whether the host reaches the server outside, which must see the machine's address."""
        done = self.host.call(f"{sys.executable} -c '{CONNECT}'")
        assert done.returncode or done.stdout.strip() == "198.51.100.1", done.stdout
        return done.returncode == 0


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine(stack, tmp_path / "state")


def test_a_host_reaches_the_outside_and_nothing_stays_behind(machine: Machine) -> None:
    before = machine.rules()
    machine.up()
    assert machine.reaches()
    assert machine.down() == ""
    assert machine.rules() == before
    assert machine.run(f"cat {FORWARD}") == "0\n"
    assert machine.run("ip -br link show type bridge; ls -A /run/imdb-pipeline") == "lock\n"
    assert not machine.state.exists()


@pytest.mark.parametrize("rules", [DOCKER, DROPPING], ids=["docker", "nftables"])
def test_a_firewall_that_was_there_lets_the_hosts_through(machine: Machine, rules: str) -> None:
    machine.load(rules)
    before = machine.rules()
    machine.up()
    assert machine.reaches()
    machine.down()
    assert machine.rules() == before


def test_iptables_that_closes_later_lets_the_hosts_through(machine: Machine) -> None:
    machine.up()
    machine.load(DOCKER)
    assert machine.reaches()
    machine.down()
    assert BRIDGE not in machine.rules()
    assert "policy drop" in machine.rules()


@pytest.mark.parametrize(
    "disturb",
    ["nft flush ruleset", f"echo 0 >{FORWARD}", f"nft -f - <<<'{DROPPING}'"],
    ids=["flushed", "not forwarding", "nftables"],
)
def test_repair_lets_the_hosts_through_again(machine: Machine, disturb: str) -> None:
    machine.up()
    machine.run(disturb)
    assert not machine.reaches()
    machine.repair()
    assert machine.reaches()
    rules = sorted(machine.rules().splitlines())
    machine.repair()
    assert sorted(machine.rules().splitlines()) == rules, "a second repair changes something"


def test_a_firewall_that_lets_nobody_change_it_is_named(machine: Machine) -> None:
    chain = "chain inet corp shut { type filter hook forward priority 0 ; policy drop ; }"
    machine.begin(
        machine.enter(
            "bash",
            "-c",
            # A table that is owned goes with its owner.
            "exec 3> >(nft -i >/dev/null); echo 'add table inet corp { flags owner; }' >&3;"
            f"echo 'add {chain}' >&3; until nft list table inet corp 2>&1 | grep -q drop; do"
            " sleep 0.1; done; echo; exec sleep 300",
        )
    )
    done = machine.network("up")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(
        "Warning: the firewall of this machine that owns the nftables table corp"
    )
    assert f"goes to {BRIDGE}" in done.stdout


def test_repair_without_hosts_does_nothing(machine: Machine) -> None:
    machine.repair()
    assert machine.rules() == ""
    assert machine.run(f"cat {FORWARD}") == "0\n"


@pytest.mark.parametrize(
    ("since", "name"),
    [
        ("ip link add docker0 type bridge", "the bridge docker0"),
        (f"nft -f - <<<'{DOCKER}'", "NAT in the nftables table nat"),
    ],
    ids=["bridge", "nat"],
)
def test_forwarding_stays_on_for_who_came_since(machine: Machine, since: str, name: str) -> None:
    machine.up()
    machine.run(since)
    told = machine.down()
    assert "net.ipv4.ip_forward stays 1" in told
    assert name in told
    assert machine.run(f"cat {FORWARD}") == "1\n"


def test_forwarding_goes_off_beside_who_never_had_it(machine: Machine) -> None:
    machine.run("ip link add br0 type bridge")
    machine.up()
    assert machine.down() == ""
    assert machine.run(f"cat {FORWARD}") == "0\n"


@pytest.mark.parametrize(
    ("taken", "pool"),
    [
        (["10.200.0.0/16"], "10."),
        (["10.0.0.0/8"], "172."),
        (["10.0.0.0/8", "172.16.0.0/12"], "192.168."),
    ],
)
def test_the_advice_for_a_subnet_that_is_taken_is_free(
    machine: Machine, taken: list[str], pool: str
) -> None:
    for network in taken:
        machine.run(f"ip route add {network} dev outside")
    refused = machine.network("check")
    assert refused.returncode == 1
    assert (
        f"the subnet 10.200.1.0/24 is taken on this machine: {taken[0]} on outside"
        in refused.stdout
    )
    advice = refused.stdout.strip().rpartition("-var subnet=")[2]
    assert advice.startswith(pool)
    accepted = machine.network("check", advice)
    assert accepted.returncode == 0, accepted.stdout


def test_a_route_of_another_table_takes_a_subnet_too(machine: Machine) -> None:
    machine.run("ip route add 10.0.0.0/8 dev outside table 52")
    assert "10.0.0.0/8 on outside" in machine.network("check").stdout


def test_a_vpn_that_takes_everything_leaves_subnets(machine: Machine) -> None:
    machine.run("ip route add 0.0.0.0/1 dev outside; ip route add 128.0.0.0/1 dev outside")
    assert machine.network("check").returncode == 0


def test_without_a_free_subnet_the_refusal_says_so(machine: Machine) -> None:
    machine.run(
        "for it in 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16; do ip route add $it dev outside; done"
    )
    assert "and so is every other private one" in machine.network("check").stdout
