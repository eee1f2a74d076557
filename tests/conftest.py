"""Markers, and which running pipeline the tests look at (see README.md)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .producer.broker import Broker, SecuredBroker

ROOT = Path(__file__).resolve().parent.parent

MARKERS = [
    "verify: reads from a running pipeline and changes nothing",
    "deploy: runs ansible-playbook",
    "faults: kills, stops or cuts something of a running pipeline",
    "secured: tries ports of a running pipeline that is secured, and changes its credentials",
    "switch: leads a running pipeline from the clear to secured and back",
    "restore: loses all hosts of a running pipeline, and restores them from a backup",
    "cluster: runs playbooks on a running pipeline of several hosts, and stops some of them",
    "libvirt: makes a virtual machine, emulated where there is no KVM: many minutes",
    "molecule: is about a role's own molecule scenario, not a pipeline",
    "removal: takes everything off the hosts of a running pipeline",
    "unit(name): is about this systemd unit; a failure shows the end of its journal",
]


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real broker, for all tests that need one and do not stop it."""
    # Not for tests that need none: it imports the Kafka client.
    from .producer.broker import Broker

    broker = Broker(tmp_path_factory.mktemp("broker"))
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.fixture(scope="session")
def secured_zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """A real ZooKeeper with a port for TLS; its Kafka may not be started."""
    from .producer.broker import SecuredBroker

    broker = SecuredBroker(tmp_path_factory.mktemp("secured-broker"))
    try:
        broker.start_zookeeper()
        yield broker
    finally:
        broker.close()


@pytest.fixture(scope="session")
def secured_broker(secured_zookeeper: SecuredBroker) -> SecuredBroker:
    """A real broker that lets nobody in without a login, whose rights are ACLs."""
    secured_zookeeper.start()
    return secured_zookeeper


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run of pipeline/test_chaos.py be repeated, and be smaller; let a table be written."""
    group = parser.getgroup("chaos", "pipeline/test_chaos.py")
    group.addoption("--chaos-seed", type=int, help="what its kills and messages are drawn from")
    group.addoption("--chaos-kills", type=int, default=35, help="how many kills (35)")
    group.addoption("--chaos-records", type=int, default=100_000, help="how many messages (100000)")
    group = parser.getgroup("ports", "pipeline/test_ports.py")
    group.addoption("--write-ports", action="store_true", help="write docs/security-ports.md")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; let tests and the tools that they run find the same pipeline."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    # The Kafka client reads its schemas by a way that Python is about to drop.
    config.addinivalue_line("filterwarnings", "ignore:.*_text is deprecated:DeprecationWarning")
    # ENVIRONMENT names it, else the last of ANSIBLE_INVENTORY does (make sets it).
    inventories = os.environ.get("ANSIBLE_INVENTORY", "")
    target = (
        os.environ.get("ENVIRONMENT") or Path(inventories.split(",")[-1]).parent.name or "local"
    )
    os.environ["ENVIRONMENT"] = target
    os.environ["ANSIBLE_INVENTORY"] = ",".join(
        str(ROOT / "inventories" / folder / "hosts.yml") for folder in ("pipeline", target)
    )
    # Of its secrets, if it has any, as make takes it.
    password = ROOT / "inventories" / target / ".vault-password"
    if password.exists():
        os.environ.setdefault("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    # One connection for all that testinfra asks a host, where Ansible keeps its own.
    sockets = Path.home() / ".ansible" / "cp"
    sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["ANSIBLE_SSH_EXTRA_ARGS"] = f"-o ControlPath={sockets}/%C"
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
