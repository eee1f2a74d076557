"""terraform/libvirt for real: a virtual machine, by KVM where it works and emulated elsewhere.

The tests build on each other, in their order: one host is made, deployed, cut off, replaced and
removed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .inventories import GROUPS, check_inventory
from .libvirt_project import (
    HOST,
    NAME,
    PLAYBOOK_SECONDS,
    ROOT,
    Project,
    daemon,
    missing_tools,
    playbook_up_to,
    run,
    ssh,
    virsh,
)

pytestmark = pytest.mark.libvirt

TOPIC = "libvirt-test"
# Their roles are deployed; the whole pipeline on an emulated host takes half an hour.
TESTED = ["common", "java", "zookeeper", "kafka", "kafka_topic"]


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """The root with one host of every group, removed at the end whatever happens."""
    if why := missing_tools():
        pytest.fail(why, pytrace=False)
    with daemon():
        project = Project()
        try:
            project.apply()
            yield project
        finally:
            project.destroy()


@pytest.fixture(scope="module")
def domain(project: Project) -> str:
    """The virtual machine's name; it has the host's and the id of this checkout's hosts."""
    name = project.domain()
    assert re.fullmatch(rf"{HOST}-[0-9a-f]{{8}}", name)
    return name


def id_of(domain: str) -> str:
    """Return what all that belongs to these hosts is named by."""
    return f"imdb-{domain.rpartition('-')[2]}"


def test_the_host_is_found_as_the_inventory_says(project: Project) -> None:
    variables = check_inventory(ROOT / "inventories" / NAME / "hosts.yml", {HOST: GROUPS})
    assert ssh("hostname").strip() == HOST
    assert variables[HOST]["host_address"] in ssh("ip -4 -o address show scope global")
    assert int(ssh("nproc")) == variables[HOST]["host_cpus"]
    kind = ssh("systemd-detect-virt").strip()
    assert (kind == "qemu") == variables[HOST]["host_emulated"], kind


def test_a_second_plan_is_empty(project: Project) -> None:
    project.nothing_to_do()


def test_the_system_disk_has_grown_to_its_size(project: Project) -> None:
    size = int(ssh("df --output=size -B1 / | tail -n 1"))
    assert size > 18 * 1024**3


def test_data_disks_are_apart_and_found_by_names_that_stay(project: Project) -> None:
    variables = check_inventory(ROOT / "inventories" / NAME / "hosts.yml", {HOST: GROUPS})
    volumes = {it["path"]: it["device"] for it in variables[HOST]["host_volumes"]}
    assert set(volumes) == {"/var/lib/kafka", "/var/lib/zookeeper"}
    devices = {ssh(f"readlink -f {device}").strip() for device in volumes.values()}
    assert len(devices) == 2
    assert ssh("findmnt -no SOURCE /").strip() not in devices


def test_another_kind_of_image_is_refused(project: Project) -> None:
    said = project.refused("-var", "image=https://images.example/debian-12.qcow2")
    assert "-replace=libvirt_volume.base" in said


def test_disks_of_another_size_are_refused(project: Project) -> None:
    assert "A data disk is never made anew" in project.refused("-var", "data_disk_gb=30")


def test_ansible_deploys_zookeeper_kafka_and_the_topic(project: Project, tmp_path: Path) -> None:
    run(
        "ansible-playbook",
        str(playbook_up_to("The topic", tmp_path)),
        seconds=PLAYBOOK_SECONDS,
        environment=pipeline(),
    )
    for path in ("/var/lib/kafka", "/var/lib/zookeeper"):
        assert ssh(f"findmnt -no FSTYPE --mountpoint {path}").strip() == "xfs"


@pytest.mark.parametrize("role", TESTED)
def test_the_roles_tests_pass_on_the_host(project: Project, role: str) -> None:
    run(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "verify",
        f"tests/roles/test_{role}.py",
        seconds=900,
        environment=pipeline(),
    )


def test_a_host_that_was_cut_off_comes_back_with_its_data(project: Project, domain: str) -> None:
    kafka = "sudo -u kafka env HOME=/tmp"
    broker = "--bootstrap-server $(hostname -I | cut -d ' ' -f 1):9092"
    ssh(f"{kafka} kafka-topics.sh {broker} --create --topic {TOPIC}")
    ssh(f"echo kept | {kafka} kafka-console-producer.sh {broker} --topic {TOPIC}")
    # The broker acknowledges from memory; a cut would lose what the disk has not got yet.
    ssh("sudo sync")
    virsh("destroy", domain)

    project.apply()

    project.nothing_to_do()
    ssh("sudo timeout 280 bash -c 'until systemctl is-active -q kafka; do sleep 2; done'")
    read = f"kafka-console-consumer.sh {broker} --topic {TOPIC} --from-beginning --max-messages 1"
    assert "kept" in ssh(f"{kafka} timeout 110 {read}")


def test_a_replaced_system_keeps_the_data_disks(project: Project, domain: str) -> None:
    ssh("echo mine | sudo tee /var/lib/zookeeper/mark /var/mark >/dev/null")
    before = virsh("domuuid", domain)

    project.apply("-replace=libvirt_volume.base")

    assert virsh("domuuid", domain) != before
    assert ssh("sudo ls /var/mark 2>&1 || true").strip().endswith("No such file or directory")
    variables = check_inventory(ROOT / "inventories" / NAME / "hosts.yml", {HOST: GROUPS})
    device = next(
        it["device"] for it in variables[HOST]["host_volumes"] if it["path"].endswith("zookeeper")
    )
    mark = ssh(f"sudo mount {device} /mnt && sudo cat /mnt/mark; sudo umount /mnt")
    assert mark.strip() == "mine"
    project.nothing_to_do()


def test_destroy_leaves_nothing(project: Project, domain: str) -> None:
    project.destroy()
    for what in ("list --all", "net-list --all", "pool-list --all"):
        assert id_of(domain) not in virsh(*what.split())
        assert domain not in virsh(*what.split())
    assert not Path("/sys/class/net", id_of(domain)).exists()
    assert not Path("/var/lib/imdb-pipeline", id_of(domain)).exists()
    left = {path.name for path in (ROOT / "inventories" / NAME).iterdir()}
    assert left <= {"terraform.tfstate", "terraform.tfstate.backup"}


def pipeline() -> dict[str, str]:
    """Return the environment in which Ansible and testinfra see these hosts."""
    inventories = (ROOT / "inventories" / folder / "hosts.yml" for folder in ("pipeline", NAME))
    return {
        "ENVIRONMENT": NAME,
        "ANSIBLE_INVENTORY": ",".join(str(path) for path in inventories),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
