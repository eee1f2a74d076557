"""A running pipeline goes from the clear to secured and back, while messages flow; none is lost.

For a pipeline of one or several hosts that is in the clear, whose environment says
`pipeline_security: false` in its knobs, and whose producer has more to send than both ways take.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hosts import ROOT, Target, run

from .deployment import cut_off_after, run_playbook, unit_states, variables_now
from .flowing import Progress, arrive_once, report
from .tables import Tables

pytestmark = pytest.mark.switch

#: Three deployments with all restarts, on a machine that does other things too.
SECONDS = 2700
#: Every file's name, rights and owner, and every content.
LISTING = (
    "sudo find /etc /usr/local -xdev -printf '%p %M %U:%G %l\\n' | sort; "
    "sudo find /etc /usr/local -xdev -type f -exec sha256sum '{}' + | sort -k 2"
)
#: What Debian's package of the firewall brings, which stays.
PACKAGED = re.compile(r"nftables|/etc/ld\.so\.cache")


@pytest.fixture
def folder() -> Path:
    """The environment's settings."""
    return ROOT / "inventories" / os.environ["ENVIRONMENT"] / "group_vars/all"


def ask_for(folder: Path, secured: bool) -> None:
    """Let the environment's knobs say what pipeline_security is, as the operator does."""
    knobs = folder / "knobs.yml"
    line, text = f"pipeline_security: {str(secured).lower()}", knobs.read_text(encoding="utf-8")
    assert text.count("\npipeline_security: ") == 1
    knobs.write_text(re.sub(r"(?m)^pipeline_security: .*$", line, text), encoding="utf-8")


def nodes_that_are_others(target: Target, own: bool) -> list[str]:
    """Nodes in ZooKeeper that are not their owners' alone, or not everybody's."""
    found = variables_now(target)
    connect = f"{target.hosts[target.groups['zookeeper'][0]]['host_address']}:2281"
    folder = ROOT / "roles/kafka"
    given = {
        "connect": connect,
        "own": own,
        "others": found["kafka_zookeeper_others"],
        "certificate": found["kafka_certificate"],
        "ca": found["kafka_ca"],
    }
    done = subprocess.run(
        [
            *("ansible", target.groups["kafka"][0], "--become", "--check", "--one-line"),
            *("--module-name", "kafka_znode_rights", "--args", json.dumps(given)),
        ],
        cwd=ROOT,
        env=os.environ
        | {
            "ANSIBLE_LIBRARY": str(folder / "library"),
            "ANSIBLE_MODULE_UTILS": str(folder / "module_utils"),
            "ANSIBLE_NOCOLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    nodes: list[str] = json.loads(done.stdout.partition(" => ")[2])["nodes"]
    return nodes


def files_of(target: Target) -> dict[str, list[str]]:
    """Settings and programs of each host."""
    return {
        host: [
            line
            for line in run(target, host, LISTING, timeout=120).splitlines()
            if not PACKAGED.search(line)
        ]
        for host in target.hosts
    }


def settings(target: Target, group: str, path: str) -> list[str]:
    """A file of each host of a group."""
    return [run(target, host, "sudo", "cat", path) for host in target.groups[group]]


@pytest.fixture(scope="module")
def before(target: Target) -> dict[str, list[str]]:
    """What is on the hosts before they are secured."""
    return files_of(target)


def test_a_deployment_alone_is_refused_and_names_the_command(target: Target, folder: Path) -> None:
    states = unit_states(target)
    ask_for(folder, secured=True)
    try:
        refused = run_playbook()
    finally:
        ask_for(folder, secured=False)
    assert refused.exit_code != 0
    name = os.environ["ENVIRONMENT"]
    assert f"make switch-security NAME={name}" in " ".join(refused.output.split()), refused.end
    assert unit_states(target) == states


def test_check_mode_says_the_phases_and_changes_nothing(target: Target, folder: Path) -> None:
    states = unit_states(target)
    ask_for(folder, secured=True)
    try:
        check = run_playbook("--check", playbook="switch_security.yml")
    finally:
        ask_for(folder, secured=False)
    assert check.exit_code == 0, check.end
    assert "Would deploy the phases: both, inside, secured" in " ".join(check.output.split())
    assert unit_states(target) == states
    assert not (folder / "switch.yml").exists()


def test_what_was_cut_off_stands_in_the_environment(
    target: Target, folder: Path, before: dict[str, list[str]]
) -> None:
    assert before
    ask_for(folder, secured=True)
    # Brokers have both listeners by then, and nobody has gone over. The next test goes on.
    cut_off_after(
        "kafka_topic : Topic | Make or change imdb-movies",
        playbook="switch_security.yml",
        seconds=SECONDS,
    )
    record = yaml.safe_load((folder / "switch.yml").read_text(encoding="utf-8"))
    assert record == {"pipeline_switch": {"phase": "both", "towards": "secured"}}
    rotated = run_playbook("-e", "rotate=spark", playbook="rotate.yml")
    assert rotated.exit_code != 0
    assert "A switch to secured was begun" in " ".join(rotated.output.split()), rotated.end


def test_it_is_secured_while_messages_flow(
    target: Target,
    folder: Path,
    before: dict[str, list[str]],
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    assert before
    ask_for(folder, secured=True)
    began, since = time.monotonic(), time.time()
    with Progress(target) as progress:
        done = run_playbook(playbook="switch_security.yml", seconds=SECONDS)
    assert done.exit_code == 0, done.end
    report("secured", target, progress, began, since, record_property, say)

    assert not (folder / "switch.yml").exists()
    for text in settings(target, "kafka", "/etc/kafka/server.properties"):
        assert "ANONYMOUS" not in text
        assert "PLAINTEXT:" not in text
    for text in settings(target, "zookeeper", "/etc/zookeeper/zoo.cfg"):
        assert "\nclientPort=" not in text
        assert "portUnification=true" not in text
        assert ("\nsslQuorum=true" in text) == (len(target.groups["zookeeper"]) > 1)
    assert nodes_that_are_others(target, own=True) == []
    nothing_is_left_to_do(target)


def test_it_goes_back_while_messages_flow(
    target: Target,
    folder: Path,
    before: dict[str, list[str]],
    record_property: Callable[[str, object], None],
    say: Callable[[str], None],
) -> None:
    ask_for(folder, secured=False)
    began, since = time.monotonic(), time.time()
    with Progress(target) as progress:
        done = run_playbook(playbook="switch_security.yml", seconds=SECONDS)
    assert done.exit_code == 0, done.end
    report("in the clear", target, progress, began, since, record_property, say)

    assert not (folder / "switch.yml").exists()
    for text in settings(target, "kafka", "/etc/kafka/server.properties"):
        assert "authorizer" not in text
    for path in ("/", "/imdb-pipeline", "/spark", "/brokers"):
        asked = f"sudo zkCli.sh getAcl {path} 2>/dev/null"
        said = run(target, target.groups["zookeeper"][0], asked, timeout=120)
        assert "'world,'anyone\n: cdrwa" in said
        assert "x509" not in said
    nothing_is_left_to_do(target)
    assert files_of(target) == before


def nothing_is_left_to_do(target: Target) -> None:
    """A deployment and another switch change nothing."""
    states = unit_states(target)
    for playbook in ("site.yml", "switch_security.yml"):
        again = run_playbook(playbook=playbook)
        assert again.exit_code == 0, again.end
        assert again.changed == dict.fromkeys(target.hosts, 0), again.changed_tasks
    assert unit_states(target) == states


def test_every_message_is_there_once(
    target: Target, tables: Tables, request: pytest.FixtureRequest
) -> None:
    arrive_once(target, variables_now(target), tables, request)
