"""The program against a real broker: killed, cut off, started twice; nothing is lost."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sample_data
from kafka import KafkaConsumer

from imdb_producer.errors import RefusedError
from imdb_producer.records import Message
from imdb_producer.send import FLUSH_RECORDS, WINDOW_RECORDS
from imdb_producer.topic import wait_for_topic

from ..direct import DIRECT
from .broker import Broker, free_port, wait_until

SEED = int(os.environ.get("TEST_SEED", random.randrange(2**32)))
#: Seconds within which a start, on a busy machine, leads to the first acknowledgement.
PATIENCE = 90


class Setting:
    """A data set, a topic of its own, and the program's settings."""

    def __init__(self, broker: Broker, folder: Path, titles: int, **topic: str) -> None:
        self.broker = broker
        self.folder = folder
        self.topic = f"movies-{folder.name}"[:200]
        broker.make_topic(self.topic, settings=topic)
        self.kept = self.generate(titles, seed=1)
        self.status_file = folder / "status.json"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KAFKA_BOOTSTRAP_SERVERS": broker.address,
            "KAFKA_TOPIC": self.topic,
            "BASICS_URL": (folder / sample_data.BASICS_FILE).as_uri(),
            "RATINGS_URL": (folder / sample_data.RATINGS_FILE).as_uri(),
            "CACHE_DIR": str(folder / "cache"),
            "STATUS_FILE": str(self.status_file),
        }

    def generate(self, titles: int, seed: int) -> int:
        return sample_data.generate(self.folder, titles, seed, kept_share=0.9).kept

    def lengthen(self, numbers: Iterable[int], size: int) -> list[str]:
        """Give some of the movies titles that cannot be compressed; give their tconst."""
        made = subprocess.run(
            self.command("prepare", "-"),
            env=self.environment,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        keys = [json.loads(line)["tconst"] for line in made.stdout.splitlines()]
        chosen = [keys[number] for number in numbers]
        path = self.folder / sample_data.BASICS_FILE
        generator = random.Random(size)
        lines = []
        for line in gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True):
            fields = line.split("\t")
            if fields[0] in chosen:
                fields[2] = base64.b85encode(generator.randbytes(size * 4 // 5)).decode()
            lines.append("\t".join(fields))
        path.write_bytes(gzip.compress("".join(lines).encode()))
        return chosen

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "imdb_producer", *options]

    def expected(self) -> set[str]:
        """The event ids of the data set, as `prepare` makes the records."""
        made = subprocess.run(
            self.command("prepare", "-"),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=True,
        )
        from imdb_producer.records import event_id

        return {event_id(line) for line in made.stdout.splitlines()}

    @contextmanager
    def started(self, *options: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
        self.status_file.unlink(missing_ok=True)
        process = subprocess.Popen(
            self.command("run", *options),
            env=self.environment | settings,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate(timeout=PATIENCE)

    def run(self, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command("run", *options),
            env=self.environment | settings,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def status(self) -> dict[str, float]:
        try:
            content: dict[str, float] = json.loads(self.status_file.read_text())
        except FileNotFoundError:
            return {"handed_over": 0, "sent": 0, "resumed_at": 0}
        return content

    def wait_for_sent(self, number: int) -> None:
        wait_until(f"{number} sent", lambda: self.status()["handed_over"] >= number, PATIENCE)


@pytest.fixture
def setting(broker: Broker, tmp_path: Path) -> Setting:
    return Setting(broker, tmp_path, titles=3000)


def kills_lose_nothing(setting: Setting, kills: int, rate: str, window: int, client: str) -> None:
    """Kill the program at random moments, let it end, and look at the topic."""
    print(f"TEST_SEED={SEED}")
    generator = random.Random(SEED)
    settings = {"MSGS_PER_SEC": rate, "KAFKA_CLIENT": client}
    for _ in range(kills):
        with setting.started(**settings) as process:
            # In the midst of sending, or at any moment before.
            if generator.random() < 0.9:
                setting.wait_for_sent(1)
            time.sleep(generator.uniform(0, 1.5 if float(rate) else 0.05))
            assert process.poll() is None, "it was through before it could be killed"
            process.send_signal(signal.SIGKILL)
    last = setting.run(**settings)
    assert last.returncode == 0, last.stderr
    times = Counter(setting.broker.event_ids(setting.topic))
    assert set(times) == setting.expected()
    assert times.total() - len(times) <= kills * window


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_kills_lose_nothing_and_double_what_was_in_flight(
    broker: Broker, tmp_path: Path, client: str
) -> None:
    setting = Setting(broker, tmp_path, titles=12_000)
    kills_lose_nothing(setting, 2, "2000", FLUSH_RECORDS, client)


@pytest.mark.slow
def test_20_kills_at_2000_a_second(broker: Broker, tmp_path: Path) -> None:
    setting = Setting(broker, tmp_path, titles=100_000)
    kills_lose_nothing(setting, 20, "2000", FLUSH_RECORDS, "kafka-python")


@pytest.mark.slow
@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_kills_at_full_speed(broker: Broker, tmp_path: Path, client: str) -> None:
    # More than librdkafka sends while five are killed.
    setting = Setting(broker, tmp_path, titles=1_000_000)
    kills_lose_nothing(setting, 5, "0", WINDOW_RECORDS, client)


def refused_in(setting: Setting) -> list[dict[str, Any]]:
    path = setting.folder / "cache" / "state" / setting.topic / "refused.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(
    ("client", "rate"), [("kafka-python", "0"), ("kafka-python", "2000"), ("confluent", "0")]
)
def test_records_that_the_broker_refuses_are_kept_aside_and_the_others_are_sent(
    broker: Broker, tmp_path: Path, client: str, rate: str
) -> None:
    setting = Setting(broker, tmp_path, titles=3000, max_message_bytes="20000")
    first, last = 100, setting.kept - 1
    keys = setting.lengthen([first, first + 1, 500, last], size=30_000)
    settings = {"MSGS_PER_SEC": rate, "KAFKA_CLIENT": client}
    done = setting.run(**settings)
    assert done.returncode == 4, done.stderr
    expected = setting.expected()
    kept = refused_in(setting)
    assert [it["key"] for it in kept] == keys
    assert all(it["limit"] == 20_000 and 30_000 < it["bytes"] < 31_000 for it in kept)
    assert all(json.loads(it["value"])["tconst"] == it["key"] for it in kept)
    # Each once.
    refused = {it["event_id"] for it in kept}
    assert sorted(broker.event_ids(setting.topic)) == sorted(expected - refused)
    for key in keys:
        named = rf"refuses record {key}, 30\d\d\d bytes.*max\.message\.bytes is 20,000: .*T\w*LARGE"
        assert re.search(named, done.stderr, re.IGNORECASE)
    assert f"{setting.kept - 4} records are delivered. The broker has refused 4" in done.stderr
    status = setting.status()
    assert (status["sent"], status["refused"], status["failed"]) == (setting.kept - 4, 4, 0)


def test_what_was_refused_is_sent_when_the_topic_takes_it_and_not_before(
    broker: Broker, tmp_path: Path
) -> None:
    setting = Setting(broker, tmp_path, titles=300, max_message_bytes="20000")
    setting.lengthen([3, 4], size=30_000)
    file = setting.folder / "metrics.prom"
    settings = {"MSGS_PER_SEC": "0", "METRICS_FILE": str(file)}
    assert setting.run(**settings).returncode == 4
    assert "imdb_producer_refused_total 2.0" in file.read_text()
    sent = broker.event_ids(setting.topic)
    # Neither by a restart nor by a new dump.
    again = setting.run(**settings)
    assert again.returncode == 4
    assert "Nothing to send" in again.stderr
    assert "imdb_producer_kept_aside 2.0" in file.read_text()
    settings["PRODUCER_LIMIT"] = str(setting.kept)
    other = setting.run(**settings)
    assert other.returncode == 4
    assert "refuses record" not in other.stderr
    assert setting.status()["refused"] == len(refused_in(setting)) == 2
    assert broker.event_ids(setting.topic) == sent

    broker.set_topic(setting.topic, max_message_bytes="40000")
    raised = setting.run(**settings)
    assert raised.returncode == 0, raised.stderr
    assert "max.message.bytes is 40,000): sending 2 that it refused" in raised.stderr
    assert refused_in(setting) == []
    assert sorted(broker.event_ids(setting.topic)) == sorted(setting.expected())


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_time_that_the_broker_does_not_take_ends_the_run_and_names_the_clocks(
    broker: Broker, tmp_path: Path, client: str
) -> None:
    # Every time is too old for it, as those of a host whose clock is behind.
    setting = Setting(broker, tmp_path, titles=300, message_timestamp_before_max_ms="1")
    done = setting.run(MSGS_PER_SEC="0", KAFKA_CLIENT=client)
    assert done.returncode == 1, done.stderr
    assert "compare it with the broker's" in done.stderr
    assert refused_in(setting) == []


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_record_that_the_client_itself_finds_too_large_is_refused_too(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    from imdb_producer import confluent, kafka_python
    from imdb_producer.factory import make_client

    monkeypatch.setitem(kafka_python.SETTINGS, "max_request_size", 2000)
    monkeypatch.setitem(confluent.SETTINGS, "message.max.bytes", 2000)
    topic = f"client-limit-{client}"
    broker.make_topic(topic)
    messages = [
        Message(b"tt%d" % it, b"x" * (3000 if it == 1 else 10), b"%064x" % it, b"1")
        for it in range(3)
    ]
    it = make_client(client, [broker.address], topic)
    for message in messages:
        it.send(message)
    wait_until("all have results", lambda: it.flush(1) or it.idle())  # type: ignore[func-returns-value]
    with pytest.raises(RefusedError) as caught:
        it.acknowledged()
    given_up = it.take_back(messages[caught.value.acknowledged :])
    assert [messages[caught.value.acknowledged + one.place].key for one in given_up] == [b"tt1"]
    assert re.search("too ?large", given_up[0].reason, re.IGNORECASE)
    it.close(5)
    assert sorted(broker.event_ids(topic)) == [f"{number:064x}" for number in (0, 2)]


def test_finished_it_sends_no_more_and_a_new_dump_sends_the_difference(setting: Setting) -> None:
    assert setting.run(MSGS_PER_SEC="0").returncode == 0
    again = setting.run(MSGS_PER_SEC="0")
    assert "Nothing to send: this data set is delivered" in again.stderr
    assert len(setting.broker.event_ids(setting.topic)) == setting.kept
    before = setting.expected()
    # The same titles, and some more.
    setting.generate(3100, seed=1)
    assert setting.run(MSGS_PER_SEC="0").returncode == 0
    after = setting.expected()
    assert len(after - before) > 50
    assert sorted(setting.broker.event_ids(setting.topic)) == sorted(before | after)


def test_a_topic_made_anew_gets_everything(setting: Setting) -> None:
    assert setting.run(MSGS_PER_SEC="0").returncode == 0
    setting.broker.delete_topic(setting.topic)

    def gone() -> bool:
        consumer = KafkaConsumer(bootstrap_servers=setting.broker.address)
        try:
            return setting.topic not in consumer.topics()
        finally:
            consumer.close()

    wait_until("the topic is gone", gone)
    setting.broker.make_topic(setting.topic)
    anew = setting.run(MSGS_PER_SEC="0")
    assert "the topic is another one than before" in anew.stderr
    assert set(setting.broker.event_ids(setting.topic)) == setting.expected()


def test_a_second_producer_says_why_it_refuses(setting: Setting) -> None:
    with setting.started(MSGS_PER_SEC="10") as first:
        setting.wait_for_sent(1)
        second = setting.run(STATUS_FILE="")
        assert second.returncode == 3
        assert f"Another producer (process {first.pid}) is at work in " in second.stderr
        assert "systemctl stop imdb-producer" in second.stderr
        assert first.poll() is None


def test_sigterm_flushes_and_ends_with_0(setting: Setting) -> None:
    with setting.started(MSGS_PER_SEC="200") as process:
        setting.wait_for_sent(100)
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    match = re.search(r"Stopped: (\d+) of \d+ records are delivered", said)
    assert match, said
    # All that was handed over was waited for: not one is sent twice.
    assert len(setting.broker.event_ids(setting.topic)) == int(match[1])
    assert setting.run(MSGS_PER_SEC="0").returncode == 0
    assert sorted(setting.broker.event_ids(setting.topic)) == sorted(setting.expected())


def test_numbers_are_served_while_it_sends(setting: Setting) -> None:
    port = free_port()
    file = setting.folder / "metrics.prom"
    with setting.started(
        MSGS_PER_SEC="200", METRICS_PORT=str(port), METRICS_FILE=str(file), LOG_FORMAT="json"
    ) as process:
        setting.wait_for_sent(300)
        text = DIRECT.open(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
    numbers = dict(re.findall(r"^imdb_producer_(\w+) ([0-9.e+-]+)$", text, re.MULTILINE))
    assert float(numbers["sent_total"]) >= float(numbers["acknowledged_total"]) > 0
    assert float(numbers["records"]) == setting.kept
    assert float(numbers["failed_total"]) == float(numbers["retries_total"]) == 0
    assert float(numbers["rate"]) > 0
    assert float(numbers["data_set_age_seconds"]) >= 0
    assert 'imdb_producer_state{state="sending"} 1.0' in text
    assert 'imdb_producer_state{state="stopped"} 1.0' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644
    lines = [json.loads(line) for line in said.splitlines()]
    assert {"time", "level", "logger", "message"} == set(lines[0])
    assert any(line["message"].startswith("Prepared") for line in lines)


def test_both_clients_take_the_same_partitions(broker: Broker, tmp_path: Path) -> None:
    from imdb_producer.factory import make_client

    places = []
    for name in ("kafka-python", "confluent"):
        topic = f"partitions-{name}"
        broker.make_topic(topic)
        assert wait_for_topic([broker.address], topic).partitions == (0, 1, 2)
        client = make_client(name, [broker.address], topic)
        for number in range(200):
            client.send(Message(b"tt%07d" % number, b"{}", b"%064x" % number, b"1"))
        client.flush(30)
        assert client.acknowledged() == 200
        client.close(5)
        consumer = KafkaConsumer(
            topic, bootstrap_servers=broker.address, auto_offset_reset="earliest"
        )
        found: dict[bytes, tuple[int, list[tuple[str, bytes]]]] = {}
        wait_until("all are read", lambda c=consumer, f=found: _read(c, f) == 200)  # type: ignore[misc]
        consumer.close()
        places.append(found)
    assert places[0] == places[1]


def _read(consumer: KafkaConsumer, found: dict[bytes, tuple[int, list[tuple[str, bytes]]]]) -> int:
    for records in consumer.poll(timeout_ms=500).values():
        for it in records:
            found[it.key] = (it.partition, list(it.headers))
    return len(found)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_broker_away_for_60_seconds_loses_nothing_and_keeps_nobody_busy(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, client: str
) -> None:
    # Of its own: it is taken away.
    broker = Broker(tmp_path_factory.mktemp("broker"))
    try:
        broker.start()
        setting = Setting(broker, tmp_path, titles=30_000)
        with setting.started(MSGS_PER_SEC="1000", KAFKA_CLIENT=client) as process:
            setting.wait_for_sent(2000)
            broker.stop_kafka()
            before = cpu_seconds(process.pid)
            time.sleep(60)
            busy = cpu_seconds(process.pid) - before
            assert process.poll() is None
            broker.start()
            _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert busy < 15, f"{busy:.1f} s of CPU in 60 s of waiting"
        times = Counter(broker.event_ids(setting.topic))
        assert set(times) == setting.expected()
        # What the broker had taken and could not acknowledge may come twice, when its memory of
        # the producer is older than its data: never more than was in flight.
        assert times.total() - len(times) <= FLUSH_RECORDS
    finally:
        broker.close()
