"""A support bundle of the running pipeline: what is in it, what is not, and what stays as it is."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import vault
from hosts import ROOT, Target, host_running, run
from kafka import KafkaProducer

from ..variables import HostVariables
from ..waiting import wait_for
from .deployment import PlaybookRun, as_root, run_playbook, status_of, unit_states
from .messages import Connection, canonical, movie
from .tables import Tables
from .test_wire import secret_texts
from .wire import seen

SHORTEST = 6
# A line of the brokers' settings.
BROKER = "inter.broker.listener.name="
MIB = 1024 * 1024
#: Where Ansible, a tool or a careless script would leave something.
FOLDERS = "/etc /usr ~root /home /tmp /var/tmp /srv"


@dataclass(frozen=True)
class Bundle:
    """A bundle that was made."""

    made: PlaybookRun
    archive: Path
    #: The whole as a tar archive that is not compressed.
    plain: Path
    files: dict[str, str]

    def of(self, host: str, name: str) -> str:
        """Return a file of a host."""
        return self.files[f"hosts/{host}/{name}"]

    def told(self, host: str) -> dict[str, Any]:
        """Return what a host says of itself."""
        found: dict[str, Any] = json.loads(self.of(host, "host.json"))
        return found

    def shows(self, texts: set[bytes]) -> list[bytes]:
        """Return what of some texts can be read in it."""
        return sorted(seen(texts, self.plain))


def made(folder: Path, *arguments: str) -> Bundle:
    """Make a bundle of the running pipeline."""
    done = run_playbook(f"-esupport_folder={folder}/support", *arguments, playbook="support.yml")
    assert done.exit_code == 0, done.end
    (archive,) = (folder / "support").iterdir()
    plain = folder / "plain.tar"
    plain.write_bytes(gzip.decompress(archive.read_bytes()))
    files = {}
    with tarfile.open(fileobj=io.BytesIO(plain.read_bytes())) as opened:
        for entry in opened:
            if (inner := opened.extractfile(entry)) is not None:
                files[entry.name.partition("/")[2]] = inner.read().decode()
    return Bundle(done, archive, plain, files)


@pytest.fixture(scope="module")
def bundle(
    target: Target, finished: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """A bundle with its defaults, once all is in the tables."""
    return made(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def secrets(variables: HostVariables, target: Target) -> dict[bytes, str]:
    """All secrets of the environment; none of one in the clear."""
    if not variables["pipeline_security"]:
        return {}
    folder = ROOT / "inventories" / target.name
    held = vault.read(vault.secrets_file(folder), vault.vault_of(folder))
    return secret_texts(held, Path(variables["certificates_store"]))


@pytest.mark.verify
def test_it_has_what_tells_of_each_host(target: Target, bundle: Bundle) -> None:
    assert bundle.archive.stat().st_mode & 0o777 == 0o600
    for host in target.hosts:
        told = bundle.told(host)
        for unit in target.units(host):
            assert told["units"][f"{unit}.service"]["ActiveState"] == "active"
            assert bundle.of(host, f"journal/{unit}.log")
            assert "[Service]" in bundle.of(host, f"files/etc/systemd/system/{unit}.service")
        assert told["filesystems"]
        assert told["memory_kb"]["MemAvailable"] > 0
        assert told["releases"]
        assert " PID " in bundle.of(host, "system/processes.txt")
    kafka, job = target.host_of("kafka"), host_running(target, "imdb-streaming")
    settings = bundle.of(kafka, "files/etc/kafka/server.properties")
    assert BROKER in settings
    assert "imdb_streaming_" in bundle.of(job, "metrics/imdb-streaming-now.prom")


@pytest.mark.verify
def test_its_index_finds_nothing_wrong_with_services_that_are_well(
    target: Target, bundle: Bundle
) -> None:
    health = json.loads(bundle.files["health.json"])
    assert health == {"problems": [], "not_checked": "", "silent": {}}
    assert "<h2>What looks wrong</h2>" in bundle.files["index.html"]
    assert bundle.archive.name in bundle.made.output
    for said in ("does not run", " failed (", "is not there", "health check"):
        assert said not in bundle.made.output.partition("Say what looks wrong")[2]
    status = json.loads(bundle.files["status.json"])
    assert sorted(status["hosts"]) == sorted(target.hosts)
    assert "genres" not in status


@pytest.mark.verify
def test_no_secret_is_in_it(bundle: Bundle, secrets: dict[bytes, str]) -> None:
    assert [secrets[it] for it in bundle.shows({it for it in secrets if len(it) >= SHORTEST})] == []


@pytest.mark.verify
def test_no_title_and_no_id_of_a_movie_is_in_it(bundle: Bundle, tables: Tables) -> None:
    silver = tables.read_silver(["tconst", "primaryTitle", "event_id"])
    assert len(silver) > 100
    texts = {str(it).encode() for column in silver for it in silver[column]}
    assert bundle.shows({it for it in texts if len(it) >= SHORTEST}) == []
    # What would be found is found.
    assert bundle.shows({BROKER.encode()}) == [BROKER.encode()]


@pytest.mark.verify
def test_nothing_on_the_hosts_is_changed(target: Target, tmp_path: Path) -> None:
    before = {host: run(target, host, "date +%s.%N").strip() for host in target.hosts}
    states = unit_states(target)
    again = made(tmp_path, "-esupport_host_mb=1", "-esupport_threads=true")
    assert set(again.made.changed.values()) == {0}, again.made.changed_tasks
    assert unit_states(target) == states
    for host, at in before.items():
        found = run(target, host, f"sudo find {FOLDERS} -xdev -type f -newermt @{at}", timeout=120)
        assert found == ""
        # No more than was asked for, beside what it says of itself.
        sizes = {
            name: len(text.encode())
            for name, text in again.files.items()
            if name.startswith(f"hosts/{host}/") and not name.endswith("/host.json")
        }
        assert sum(sizes.values()) <= MIB, sizes
    kafka = target.host_of("kafka")
    (threads,) = (it for it in again.files if it.startswith(f"hosts/{kafka}/threads/kafka-"))
    assert "Full thread dump" in again.files[threads]


@pytest.mark.verify
def test_check_mode_says_what_it_would_take_and_takes_nothing(
    target: Target, tmp_path: Path
) -> None:
    folder = f"-esupport_folder={tmp_path}/support"
    done = run_playbook(folder, "--check", playbook="support.yml")
    assert done.exit_code == 0, done.end
    assert "journals since 2 hours ago of " in done.output
    assert not (tmp_path / "support").exists()


@pytest.mark.verify
@pytest.mark.slow
def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    since = "-e{'support_since': 'the other day'}"
    done = run_playbook(f"-esupport_folder={tmp_path}/support", since, playbook="support.yml")
    assert done.exit_code != 0
    assert "'the other day' is no time that journalctl knows" in done.output
    assert not (tmp_path / "support").exists()


@pytest.mark.faults
def test_what_is_broken_is_named_and_what_is_malformed_stays_away(
    target: Target, connection: Connection, topic: str, tmp_path: Path, patience: float
) -> None:
    known = int(status_of(target, "imdb-streaming")["dead_letters"])
    record = movie(time.time_ns() // 1_000_000 * 100) | {"primaryTitle": "Planted in a dead letter"}
    values: list[Callable[[], bytes]] = [
        lambda: canonical(record)[:-5],
        lambda: canonical(record | {"startYear": "Planted in a year"}),
        lambda: b"\t".join([str(record["tconst"]).encode(), b"movie", b"Planted in a row"]),
    ]
    producer = KafkaProducer(**connection, acks="all")
    try:
        for make in values:
            producer.send(topic, key=str(record["tconst"]).encode(), value=make()).get(timeout=60)
    finally:
        producer.close(timeout=10)
    wait_for(
        "the job has counted them",
        lambda: int(status_of(target, "imdb-streaming")["dead_letters"]),
        lambda count: count >= known + len(values),
        120 * patience,
    )
    unit = "imdb-streaming-compact.timer"
    as_root(target, "imdb-streaming", "systemctl", "stop", unit)
    try:
        found = made(tmp_path)
    finally:
        as_root(target, "imdb-streaming", "systemctl", "start", unit)
    assert f"unit {unit} does not run since" in found.made.output
    assert f"unit {unit} does not run since" in found.files["index.html"]
    assert found.shows({b"Planted in", str(record["tconst"]).encode()}) == []
