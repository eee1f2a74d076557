"""Progress in a real ZooKeeper: a producer goes on where another was, and notices another."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, SessionExpiredError
from kazoo.security import ACL, OPEN_ACL_UNSAFE, Id

from imdb_producer.errors import AccessError, OvertakenError, StateError, StoreError
from imdb_producer.progress import Progress, ProgressFile
from imdb_producer.send import FLUSH_RECORDS
from imdb_producer.shared_progress import SharedProgress
from imdb_producer.tls import Tls, kazoo_settings

from .broker import Broker, SecuredBroker, cut_off_port, wait_until
from .test_real_broker import PATIENCE, Setting

PROGRESS = Progress("data", "topic", "batch", 5, 10)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A node of the test's own."""
    return f"/tests/{tmp_path.name}"


@pytest.fixture
def stores(broker: Broker, path: str, tmp_path: Path) -> Iterator[tuple[SharedProgress, ...]]:
    """Those of two hosts."""
    opened = tuple(
        SharedProgress(broker.zookeeper_address, path, ProgressFile(tmp_path / f"{host}.json"))
        for host in ("one", "two")
    )
    yield opened
    for store in opened:
        store.close()


def test_what_one_host_saves_the_other_loads(stores: tuple[SharedProgress, ...]) -> None:
    one, two = stores
    assert one.load() is None
    one.save(PROGRESS)
    one.save(PROGRESS)
    assert two.load() == PROGRESS


def test_a_host_that_was_overtaken_cannot_save(stores: tuple[SharedProgress, ...]) -> None:
    one, two = stores
    one.save(PROGRESS)
    two.load()
    later = Progress("data", "topic", "batch", 7, 10)
    two.save(later)
    with pytest.raises(OvertakenError, match="it has taken over"):
        one.save(PROGRESS)
    assert two.load() == later


def test_a_session_that_has_ended_is_followed_by_another(
    monkeypatch: pytest.MonkeyPatch, stores: tuple[SharedProgress, ...]
) -> None:
    one, _ = stores
    one.save(PROGRESS)
    ask, failures = one._client.get_async, [SessionExpiredError(), ConnectionLoss()]

    def expired(*arguments: object, **more: object) -> object:
        if failures:
            raise failures.pop()
        return ask(*arguments, **more)

    monkeypatch.setattr(one._client, "get_async", expired)
    assert one.load() == PROGRESS
    assert failures == []


def test_two_that_begin_at_once_do_not_both_go_on(stores: tuple[SharedProgress, ...]) -> None:
    one, two = stores
    assert (one.load(), two.load()) == (None, None)
    one.save(PROGRESS)
    with pytest.raises(OvertakenError):
        two.save(Progress("data", "topic", "batch", 0, 10))


def test_progress_of_one_host_is_taken_over(
    broker: Broker, path: str, tmp_path: Path, stores: tuple[SharedProgress, ...]
) -> None:
    ProgressFile(tmp_path / "one.json").save(PROGRESS)
    one, two = stores
    assert two.load() is None
    assert one.load() == PROGRESS
    assert two.load() == PROGRESS
    assert not (tmp_path / "one.json").exists()


def test_what_a_host_once_kept_alone_is_of_no_use_once_it_is_shared(
    stores: tuple[SharedProgress, ...], tmp_path: Path
) -> None:
    one, two = stores
    two.save(PROGRESS)
    ProgressFile(tmp_path / "one.json").save(Progress("older", "topic", "batch", 10, 10))
    assert one.load() == PROGRESS
    assert not (tmp_path / "one.json").exists()


def test_progress_is_for_those_who_may_use_what_is_above_it(
    secured_zookeeper: SecuredBroker, path: str, tmp_path: Path
) -> None:
    ca, address = secured_zookeeper.ca, secured_zookeeper.secured_zookeeper_address
    tls = {
        name: Tls(str(ca), str(secured_zookeeper.authority.certificate(name)))
        for name in ("kafka", "imdb-producer", "imdb-streaming")
    }
    operator = KazooClient(address, **kazoo_settings(tls["kafka"]))
    operator.start(60)
    rights = [ACL(31, Id("auth", "")), ACL(15, Id("x509", "CN=imdb-producer"))]
    operator.create(path, b"", acl=rights, makepath=True)

    def store(name: str, host: str) -> SharedProgress:
        before = ProgressFile(tmp_path / f"{host}.json")
        return SharedProgress(address, f"{path}/movies", before, tls[name])

    one, two = store("imdb-producer", "one"), store("imdb-producer", "two")
    stranger = store("imdb-streaming", "three")
    try:
        one.save(PROGRESS)
        one.save(PROGRESS)
        assert two.load() == PROGRESS
        assert set(operator.get_acls(f"{path}/movies")[0]) == set(operator.get_acls(path)[0])
        with pytest.raises(AccessError, match=f"refuses this host at {path}/movies"):
            stranger.load()
        # As nodes were left that had no rights yet: they are given by the operator.
        operator.set_acls(f"{path}/movies", OPEN_ACL_UNSAFE)
        assert stranger.load() == PROGRESS
        one.save(PROGRESS)
    finally:
        for each in (one, two, stranger):
            each.close()
        operator.stop()
        operator.close()


def test_what_is_no_progress_names_the_node(stores: tuple[SharedProgress, ...], path: str) -> None:
    one, two = stores
    one.save(PROGRESS)
    one._client.set(path, b"{}")
    with pytest.raises(StateError, match=f"{path} of ZooKeeper at .* cannot be read"):
        two.load()


def test_servers_that_are_cut_off_leave_time_for_another(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, path: str, tmp_path: Path
) -> None:
    # Asked in the order given, the one that answers last, within less than one session.
    monkeypatch.setattr("kazoo.protocol.connection.random.shuffle", lambda _servers: None)
    monkeypatch.setattr("imdb_producer.shared_progress._PATIENCE", 8.0)
    with cut_off_port() as one, cut_off_port() as two:
        servers = f"127.0.0.1:{one},127.0.0.1:{two},{broker.zookeeper_address}"
        store = SharedProgress(servers, path, ProgressFile(tmp_path / "one.json"))
        store.save(PROGRESS)
        assert store.load() == PROGRESS
        store.close()


def test_no_zookeeper_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("imdb_producer.shared_progress._PATIENCE", 1.0)
    with pytest.raises(StoreError, match=r"ZooKeeper at 127\.0\.0\.1:1, .* does not answer"):
        SharedProgress("127.0.0.1:1", "/tests/none", ProgressFile(tmp_path / "one.json"))


def test_a_producer_that_was_paused_ends_when_another_has_taken_over(
    broker: Broker, tmp_path: Path
) -> None:
    setting = Setting(broker, tmp_path, titles=6000)
    shared = {"PROGRESS_SERVERS": broker.zookeeper_address, "MSGS_PER_SEC": "1000"}
    with setting.started(**shared) as paused:
        setting.wait_for_sent(1500)
        paused.send_signal(signal.SIGSTOP)
        # Longer than any pause of a producer that is well.
        time.sleep(6)
        # As on another host: nothing but ZooKeeper tells it of the first.
        other = {"CACHE_DIR": str(tmp_path / "other"), "STATUS_FILE": ""}
        with setting.started(**shared | other) as successor:
            wait_until(
                "the other sends",
                lambda: len(set(broker.event_ids(setting.topic))) > 2500,
                90,
            )
            paused.send_signal(signal.SIGCONT)
            _, said = paused.communicate(timeout=60)
            assert paused.returncode == 1
            assert "it has taken over" in said
            _, said = successor.communicate(timeout=120)
            assert successor.returncode == 0, said
            assert "of them are delivered" in said
    times = Counter(broker.event_ids(setting.topic))
    assert set(times) == setting.expected()
    # What the one had sent and not yet noted, and what it sent before it noticed.
    assert times.total() - len(times) <= 2 * FLUSH_RECORDS


def test_a_standby_that_prepared_ahead_goes_on_without_reading_the_dumps(
    broker: Broker, tmp_path: Path
) -> None:
    setting = Setting(broker, tmp_path, titles=6000)
    shared = {"PROGRESS_SERVERS": broker.zookeeper_address, "MSGS_PER_SEC": "100"}
    # As on another host.
    standby = {**shared, "CACHE_DIR": str(tmp_path / "other"), "STATUS_FILE": ""}
    with setting.started(**shared) as leader:
        setting.wait_for_sent(200)
        said = subprocess.run(
            setting.command("prepare", "--ahead"),
            env=setting.environment | standby,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stderr
        assert f"Prepared {setting.kept} records ahead" in said
        assert leader.poll() is None
        leader.kill()
    done = setting.run(**standby | {"MSGS_PER_SEC": "0"})
    assert done.returncode == 0, done.stderr
    assert f"Taking the {setting.kept} records that were prepared ahead" in done.stderr
    assert "of them are delivered" in done.stderr
    assert "Loaded " not in done.stderr
    times = Counter(broker.event_ids(setting.topic))
    assert set(times) == setting.expected()
    assert times.total() - len(times) <= FLUSH_RECORDS
