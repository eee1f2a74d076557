"""Passwords, certificates and the CA change while messages flow; what was cut off is gone on with.

For a pipeline of one or several hosts that is secured, and whose producer has more to send than a
rotation takes.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rotation
import vault
from hosts import ROOT, Target, run

from ..variables import HostVariables
from .deployment import cut_off_after, run_playbook, status_of, unit_states, variables_now
from .flowing import Progress, arrive_once, report
from .tables import Tables

pytestmark = pytest.mark.secured

#: Three deployments with all restarts, on a machine that does other things too.
SECONDS = 2700
#: Answers which of the users given as JSON, name and password, may log in.
LOG_IN = """
import json, logging, sys
sys.path.insert(0, "/opt/kafka-python/current/lib")
import kafka
logging.disable(logging.CRITICAL)
may = []
for name, password in json.load(sys.stdin):
    try:
        kafka.KafkaAdminClient(
            bootstrap_servers=sys.argv[1],
            security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username=name, sasl_plain_password=password, ssl_cafile=sys.argv[2],
            bootstrap_timeout_ms=5000,
        ).close()
        may.append(name)
    except kafka.errors.KafkaError:
        pass
print(json.dumps(may))
"""


@pytest.fixture
def folder() -> Path:
    """The environment's."""
    return ROOT / "inventories" / os.environ["ENVIRONMENT"]


def held(folder: Path) -> dict[str, Any]:
    return vault.read(vault.secrets_file(folder), vault.vault_of(folder))


def logins(secrets: dict[str, Any]) -> list[tuple[str, str]]:
    """Each user's name that is in use, and its password."""
    named = {
        "kafka": "brokers",
        "admin": "operator",
        "producer": "producer",
        "streaming": "streaming",
    }
    suffix = secrets.get("secret_users_suffix", "")
    return [(f"{it}{suffix}", secrets[f"secret_kafka_{name}"]) for it, name in named.items()]


def may_log_in(target: Target, variables: HostVariables, users: list[tuple[str, str]]) -> list[str]:
    """The names of those users whom the brokers let in."""
    command = [
        "python3",
        "-c",
        LOG_IN,
        variables["pipeline_bootstrap_servers"],
        variables["kafka_ca"],
    ]
    said = run(
        target,
        target.host_of("kafka"),
        *map(shlex.quote, command),
        stdin=json.dumps(users),
        timeout=180,
    )
    found: list[str] = json.loads(said)
    return found


def test_all_is_rotated_while_messages_flow(
    target: Target,
    variables: HostVariables,
    folder: Path,
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    assert status_of(target, "imdb-producer")["state"] == "sending"
    before, ca = held(folder), (folder / ".certificates/ca.pem").read_bytes()
    assert may_log_in(target, variables, logins(before)) == [it for it, _ in logins(before)]

    # Brokers have gone over to new users and trust two CAs, job and producer have not.
    cut_off_after(
        "kafka_topic : Topic | Make or change imdb-movies",
        "-e",
        "rotate=all",
        playbook="rotate.yml",
        seconds=SECONDS,
    )
    begun = held(folder)
    assert begun["pipeline_rotation"]["left"] == rotation.KINDS["all"]
    assert may_log_in(target, variables, logins(before)) == [it for it, _ in logins(before)]

    refused = run_playbook("-e", "rotate=spark", playbook="rotate.yml")
    assert refused.exit_code != 0
    assert "-e rotate=all" in " ".join(refused.output.split()), refused.end

    began, since = time.monotonic(), time.time()
    with Progress(target) as progress:
        done = run_playbook("-e", "rotate=all", playbook="rotate.yml", seconds=SECONDS)
    assert done.exit_code == 0, done.end
    report("rotated", target, progress, began, since, record_property, say)
    after = held(folder)
    assert after["pipeline_rotation"] == {}
    assert {name: after[name] for name in vault.NAMES} == {
        name: begun[name] for name in vault.NAMES
    }
    assert [name for name in vault.NAMES if after[name] == before[name]] == []
    assert not rotation.Rotation(folder, folder / ".certificates").copy.exists()

    old = [(name, password) for name, _ in logins(after) for _, password in logins(before)]
    users = [*logins(before), *old, *logins(after)]
    assert may_log_in(target, variables, users) == [name for name, _ in logins(after)]
    assert (folder / ".certificates/ca.pem").read_bytes() != ca
    for host in target.hosts:
        trusted = run(target, host, "sudo", "cat", variables["kafka_ca"])
        assert trusted.encode() == (folder / ".certificates/ca.pem").read_bytes()
    for group, name in (("spark_worker", "streaming"), ("producer", "producer")):
        for host in target.groups[group]:
            kept = run(target, host, "sudo", "ls", f"/etc/imdb-{name}/passwords").split()
            assert kept == [f"{name}{after['secret_users_suffix']}"]


def test_what_is_rotated_is_deployed(target: Target) -> None:
    before = unit_states(target)
    again = run_playbook()
    assert again.exit_code == 0, again.end
    assert again.changed == dict.fromkeys(target.hosts, 0), again.changed_tasks
    assert unit_states(target) == before


def test_check_mode_says_what_there_is_to_do_and_does_nothing(target: Target, folder: Path) -> None:
    before, secrets = unit_states(target), vault.secrets_file(folder).read_bytes()
    check = run_playbook("--check", "-e", "rotate=ca", playbook="rotate.yml")
    assert check.exit_code == 0, check.end
    assert "ca-trust, ca-sign, ca-forget" in " ".join(check.output.split())
    assert unit_states(target) == before
    assert vault.secrets_file(folder).read_bytes() == secrets


def test_every_message_is_there_once(
    target: Target, tables: Tables, request: pytest.FixtureRequest
) -> None:
    arrive_once(target, variables_now(target), tables, request)
    assert run_playbook().exit_code == 0
