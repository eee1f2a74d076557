"""What test_ports.py and test_wire.py run on: places to try ports from, and what clients have."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import vault
from hosts import ROOT, Target

from ..certificates import Ca
from ..variables import HostVariables
from .places import Bridge, Place, bridge_of, place_of, stranger
from .port_cases import Means
from .tables import Tables


@pytest.fixture(scope="session")
def bridge(target: Target) -> Bridge:
    """The bridge of the environment's hosts."""
    return bridge_of(target)


@pytest.fixture(scope="session")
def away(bridge: Bridge) -> Generator[Place]:
    """A host that is in no group."""
    with stranger(bridge, 0) as place:
        yield place


@pytest.fixture(scope="session")
def places(target: Target, tables: Tables) -> dict[str, Place]:
    """The hosts, as places."""
    return {host: place_of(target, tables, host) for host in target.hosts}


@pytest.fixture(scope="session")
def held_secrets(target: Target) -> dict[str, Any]:
    """The environment's secrets."""
    folder = ROOT / "inventories" / os.environ["ENVIRONMENT"]
    return vault.read(vault.secrets_file(folder), vault.vault_of(folder))


@pytest.fixture(scope="session")
def store(variables: HostVariables) -> Path:
    """The folder of the CA, and of the hosts' keys and certificates."""
    assert variables["pipeline_security"], "this is for a pipeline that is secured"
    return Path(variables["certificates_store"])


def pem_of(store: Path, host: str, service: str, folder: Path) -> Path:
    """Write the key and the certificate of a service of a host into one file, and return it."""
    path = folder / f"{host}-{service}.pem"
    path.touch(mode=0o600)
    parts = ((store / host / f"{service}.{it}").read_bytes() for it in ("key", "crt"))
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture(scope="session")
def means(
    target: Target,
    variables: HostVariables,
    held_secrets: dict[str, Any],
    store: Path,
    topic: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Means:
    """What clients have."""
    folder = tmp_path_factory.mktemp("means")
    suffix = held_secrets.get("secret_users_suffix", "")
    named = {"admin": "operator", "producer": "producer", "streaming": "streaming"}
    holders = {"imdb-producer": "producer", "kafka": "kafka"}
    if variables["pipeline_monitoring"]:
        holders["prometheus"] = "monitoring"
    certificates = {
        service: pem_of(store, target.groups[group][0], service, folder)
        for service, group in holders.items()
    }
    addresses = [host["host_address"] for host in target.hosts.values()]
    other = Ca(folder / "another", "CA of imdb-pipeline").certificate("kafka", *addresses)
    key = folder / "another-key"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(make, check=True, timeout=30)
    access = target.ssh_config.parent
    ssh = [
        *("-F", "none", "-oStrictHostKeyChecking=yes", "-oIdentitiesOnly=yes"),
        *(f'-oUserKnownHostsFile="{access}/known_hosts"', "-oIdentityAgent=none"),
    ]
    return Means(
        ca=str(store / "ca.pem"),
        certificates=certificates | {"another CA": other},
        logins={
            user: (f"{user}{suffix}", held_secrets[f"secret_kafka_{name}"])
            for user, name in named.items()
        },
        spark_secret=held_secrets["secret_spark"],
        ssh={
            "nothing": [*ssh, "-oPubkeyAuthentication=no"],
            "another key": [*ssh, "-i", str(key)],
            "key": [*ssh, "-i", str(access / "id_ed25519")],
        },
        topic=topic,
    )
