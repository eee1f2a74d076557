"""The gates: what is whole passes, and what is not is told with its host."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import probe
import pytest

from ..producer.bad_server import serving
from ..producer.broker import SecuredBroker
from ..producer.proxy import proxying
from ..waiting import wait_for
from .modules import load, load_utility

kafka_admin = load_utility("kafka_admin")
gates = load("roles/gates/library/pipeline_gates.py", "pipeline_gates")

SERVERS = [{"host": f"core-{n}", "address": f"10.0.0.{n}:2181"} for n in (1, 2, 3)]
BROKERS = [{"host": f"core-{n}", "id": n, "address": f"10.0.0.{n}:9092"} for n in (1, 2, 3)]
FOLLOWER = {"zk_server_state": "follower"}
LEADER = {"zk_server_state": "leader", "zk_synced_followers": "2"}


def texts(look: Any) -> list[str]:
    return [problem["text"] for problem in look.problems]


def ensemble(monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> Any:
    """Look at servers that answer so."""
    by_address = dict(zip((it["address"] for it in SERVERS), answers, strict=True))

    def answer(address: str, _word: str, _by: Any) -> Any:
        said = by_address[address]
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(gates, "four_letter_word", answer)
    look = gates.Look()
    gates.look_at_zookeeper(look, SERVERS)
    return look


def test_an_ensemble_that_is_whole_passes_and_its_leader_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = ensemble(monkeypatch, [FOLLOWER, LEADER, FOLLOWER])
    assert texts(look) == []
    assert look.found["leader"] == "core-2"


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([OSError("refused"), LEADER, FOLLOWER], "ZooKeeper on core-1 does not answer: refused"),
        ([{}, LEADER, FOLLOWER], "ZooKeeper on core-1 serves nobody: it has no quorum"),
        ([FOLLOWER, LEADER | {"zk_synced_followers": "1"}, FOLLOWER], "1 followers in sync of 2"),
        ([LEADER, LEADER, FOLLOWER], "2 leaders: core-1, core-2"),
        ([FOLLOWER, FOLLOWER, FOLLOWER], "0 leaders: none"),
    ],
)
def test_what_an_ensemble_lacks_is_told(
    monkeypatch: pytest.MonkeyPatch, answers: list[Any], told: str
) -> None:
    assert any(told in text for text in texts(ensemble(monkeypatch, answers)))


def brokers(
    monkeypatch: pytest.MonkeyPatch,
    up: list[int],
    rows: list[dict[str, Any]],
    absent: tuple[int, ...] = (),
    mute: int = 0,
) -> Any:
    """Look at brokers that are up and have a topic of these partitions; one may not answer."""
    seen = kafka_admin.Metadata(
        {n: (f"10.0.0.{n}", 9092, None) for n in up}, up[-1], {"t": dict(enumerate(rows))}
    )

    def metadata(self: Any, topics: list[str] | None = None) -> Any:
        if topics is None:
            return seen
        if mute and self.servers == [f"10.0.0.{mute}:9092"]:
            raise TimeoutError("timed out")
        return seen

    monkeypatch.setattr(gates.Cluster, "metadata", metadata)
    look = gates.Look()
    gates.look_at_kafka(look, BROKERS, list(absent), {})
    return look


def row(leader: int, *in_sync: int) -> dict[str, Any]:
    return {"leader": leader, "replicas": [1, 2, 3], "isr": list(in_sync)}


def test_brokers_that_are_whole_pass_and_their_controller_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = brokers(monkeypatch, [1, 2, 3], [row(1, 1, 2, 3)])
    assert texts(look) == []
    assert look.found["controller"] == "core-3"


def test_a_broker_that_is_down_is_named_with_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    look = brokers(monkeypatch, [1, 3], [row(1, 1, 3), row(3, 3, 1)])
    assert texts(look) == [
        "broker 2 on core-2 is not up",
        "broker 2 on core-2 is out of sync in 2 partitions: t-0, t-1",
    ]
    assert {problem["host"] for problem in look.problems} == {"core-2"}


def test_a_broker_that_is_up_for_the_others_alone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    look = brokers(monkeypatch, [1, 2, 3], [row(1, 1, 2, 3)], mute=2)
    assert texts(look) == ["broker 2 on core-2 does not answer: timed out"]


def test_a_partition_without_leader_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    look = brokers(monkeypatch, [1, 2, 3], [row(-1, 1, 2, 3)])
    assert texts(look) == ["partition t-0 has no leader; replicas on [1, 2, 3]"]


def test_nothing_is_expected_of_a_broker_that_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "BROKERS", [BROKERS[0], BROKERS[2]])
    assert texts(brokers(monkeypatch, [1, 3], [row(1, 1, 3)], absent=(2,))) == []
    assert texts(brokers(monkeypatch, [1, 3], [row(1, 1)], absent=(2,))) != []


def test_a_secured_broker_is_asked_by_a_login_and_a_wrong_one_is_told_once(
    secured_broker: SecuredBroker,
) -> None:
    broker = [{"host": "core-1", "id": 1, "address": secured_broker.address}]
    look = gates.Look()
    gates.look_at_kafka(look, broker, [], dict(secured_broker.security))
    assert (texts(look), look.found["controller"]) == ([], "core-1")

    def look_with_a_wrong_password() -> Any:
        look = gates.Look()
        gates.look_at_kafka(look, broker, [], secured_broker.login(secured_broker.USER, "wrong"))
        return look

    look = wait_for(
        "the broker's answer comes before the end of the connection",
        look_with_a_wrong_password,
        lambda look: look.final,
        30,
        every=0,
    )
    (told,) = texts(look)
    assert told.endswith("refuses user kafka or the password")


def spark(
    monkeypatch: pytest.MonkeyPatch, mute: str = "", by_host: bool = False, **pages: Any
) -> Any:
    """Look at two masters and two workers, by their pages or as their hosts have asked them.

    One of them may not answer.
    """
    leader = {
        "status": "ALIVE",
        "workers": [{"host": f"10.0.1.{n}", "state": "ALIVE"} for n in (1, 2)],
    }
    said = {"master-1": {"status": "STANDBY"}, "master-2": leader} | pages

    def page(address: str) -> Any:
        if address == mute:
            raise TimeoutError("timed out")
        return said.get(address, {})

    def answer(host: str) -> dict[str, Any]:
        item = {"host": host, "unit": f"spark-{host.partition('-')[0]}"}
        if host == mute:
            return {"item": item, "rc": 1, "stdout": "", "stderr": "timed out"}
        return {"item": item, "rc": 0, "stdout": json.dumps(said.get(host, {})), "stderr": ""}

    monkeypatch.setattr(gates, "page", page)
    look = gates.Look()
    names = ("master-1", "master-2", "worker-1", "worker-2")
    answers = [answer(name) for name in names] if by_host else []
    masters = [{"host": name, "address": name} for name in ("master-1", "master-2")]
    workers = [
        {"host": f"worker-{n}", "address": f"10.0.1.{n}", "page": f"worker-{n}"} for n in (1, 2)
    ]
    gates.look_at_spark(look, masters, workers, answers)
    return look


@pytest.mark.parametrize("by_host", [False, True])
def test_spark_that_is_whole_passes_and_its_leader_is_named(
    monkeypatch: pytest.MonkeyPatch, by_host: bool
) -> None:
    look = spark(monkeypatch, by_host=by_host)
    assert texts(look) == []
    assert look.found["master"] == "master-2"


@pytest.mark.parametrize("by_host", [False, True])
@pytest.mark.parametrize(
    ("mute", "told"),
    [
        ("master-1", "the Spark master on master-1 does not answer: timed out"),
        ("master-2", "0 Spark masters lead, not one"),
        ("worker-2", "the Spark worker on worker-2 does not answer: timed out"),
    ],
)
def test_a_part_of_spark_that_does_not_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, mute: str, told: str, by_host: bool
) -> None:
    assert told in texts(spark(monkeypatch, mute, by_host))


def job(tmp_path: Path, age: float, limit: int = -1, **query: Any) -> Any:
    """Look at a job that has said this so many seconds ago."""
    then = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    said = {"updated_at": then, "query": query}
    path = tmp_path / "status.json"
    path.write_text(json.dumps(said))
    look = gates.Look()
    gates.look_at_job(look, "edge-1", str(path), 120, limit)
    return look


def test_an_idle_job_passes(tmp_path: Path) -> None:
    look = job(tmp_path, 1, limit=0, lag=0, at="2026-01-01T00:00:00+00:00")
    assert texts(look) == []
    assert look.found["lag"] == 0


def test_a_job_that_has_read_nothing_yet_is_told(tmp_path: Path) -> None:
    look = job(tmp_path, 1, lag=None, at="2026-01-01T00:00:00+00:00")
    assert "has read nothing since its start" in texts(look)[0]
    assert look.found["lag"] == -1


def test_a_silent_job_is_told(tmp_path: Path) -> None:
    assert "has said nothing for" in texts(job(tmp_path, 60, lag=0, at=None))[0]


def test_a_job_that_stands_still_with_messages_to_read_is_told(tmp_path: Path) -> None:
    look = job(tmp_path, 1, lag=5, at="2026-01-01T00:00:00+00:00")
    assert "messages to read and no batch since 2026-01-01" in texts(look)[0]


def test_a_job_that_lags_too_much_is_told(tmp_path: Path) -> None:
    now = datetime.now(UTC).isoformat()
    assert texts(job(tmp_path, 1, limit=100, lag=100, at=now)) == []
    assert "101 messages behind" in texts(job(tmp_path, 1, limit=100, lag=101, at=now))[0]


def test_a_job_without_a_word_is_told(tmp_path: Path) -> None:
    look = gates.Look()
    gates.look_at_job(look, "edge-1", str(tmp_path / "none.json"), 120, -1)
    assert "says nothing of itself" in texts(look)[0]


@pytest.mark.parametrize("ask", ["gates", "probe"])
def test_a_web_ui_is_not_asked_by_a_proxy_of_the_environment(
    ask: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = {"status": "ALIVE", "workers": []}
    with serving(json.dumps(said).encode()) as ui, proxying() as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        address = ui.url.split("/")[2]
        if ask == "gates":
            assert gates.page(address) == said
        else:
            unit = tmp_path / "unit"
            host, port = address.split(":")
            unit.write_text(f"ExecStart=x --host {host} --webui-port {port}\n")
            monkeypatch.setattr(probe, "MASTER_UNIT", unit)
            assert probe.master() == {"role": "alive", "workers": []}
        assert (len(ui.asked), proxy.asked) == (1, [])


def test_a_master_whose_web_ui_has_tls_is_asked_by_its_own_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unit, ask = tmp_path / "unit", tmp_path / "ask"
    unit.write_text("ExecStart=x -Dspark.ssl.standalone.port=8080 --host a --webui-port 0\n")
    monkeypatch.setattr(probe, "MASTER_UNIT", unit)
    monkeypatch.setattr(probe, "MASTER_ASK", str(ask))
    assert "FileNotFoundError" in probe.master()["error"]
    worker = {"host": "b", "state": "ALIVE"}
    ask.write_text(f"#!/bin/sh\necho '{json.dumps({'status': 'STANDBY', 'workers': [worker]})}'\n")
    ask.chmod(0o755)
    assert probe.master() == {"role": "standby", "workers": ["b"]}
    ask.write_text("#!/bin/sh\nexit 1\n")
    assert "CalledProcessError" in probe.master()["error"]
