"""What is sent after a crash, a finished run, a new dump, another topic: by a fake broker."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from imdb_producer import refused, resume
from imdb_producer.delivered import Delivered
from imdb_producer.errors import BusyError, StateError, TooManyRefusedError
from imdb_producer.lock import exclusive
from imdb_producer.outbox import write_outbox
from imdb_producer.progress import Progress, ProgressFile
from imdb_producer.records import Message
from imdb_producer.refused import Refusal, RefusedFile
from imdb_producer.resume import Resumption

SEED = int(os.environ.get("TEST_SEED", random.randrange(2**32)))
TOPIC = "cluster/imdb-movies/1"
#: As the clock says, in milliseconds since 1970.
VERSION = 1_800_000_000_000


def message(number: int, version: int = 0) -> Message:
    return Message(b"tt%07d" % number, b'{"v":%d}' % version, b"%064x" % (number * 1000 + version))


def data_set(count: int, changed: int = 0) -> list[Message]:
    """So many movies, of which the first `changed` are of another version."""
    return [message(number, int(number < changed)) for number in range(count)]


class Topic:
    """A topic, and runs of the producer that end when they are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received: list[bytes] = []
        #: The versions that came, one after the other.
        self.versions: list[int] = []
        self.name = TOPIC
        self.limit = 0
        self.refuses: set[bytes] = set()

    def run(
        self,
        messages: list[Message],
        *,
        name: str = "data",
        crash_after: int | None = None,
        keep_every: int = 10,
        resend: str = "",
        finish: bool = True,
        host: str = "",
    ) -> int:
        """Send; give how many were sent. A crash comes after so many of them.

        Hosts with a name share their progress and nothing else.
        """

        def prepare() -> Iterator[Message]:
            return iter(messages)

        store = None
        if host:
            self.folder.mkdir(exist_ok=True)
            store = ProgressFile(self.folder / "shared.json")
        resumption = Resumption(self.folder / host, store)
        try:
            outbox, progress = resumption.begin(name, self.name, resend, prepare, self.limit)
            sent = 0
            for position, it in enumerate(outbox.messages(progress.position), progress.position):
                if sent == crash_after:
                    return sent
                if it.key in self.refuses:
                    resumption.set_aside([Refusal(it, "TooLarge")], self.limit)
                else:
                    self.received.append(it.event_id)
                    self.versions.append(int(it.version))
                sent += 1
                if (position + 1) % keep_every == 0:
                    resumption.advance(position + 1)
            resumption.advance(progress.total)
            if finish:
                resumption.finish()
            return sent
        finally:
            resumption.close()

    def aside(self) -> list[bytes]:
        path = self.folder / "refused.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["key"].encode() for line in lines]

    def missing(self, messages: list[Message]) -> set[bytes]:
        return {it.event_id for it in messages} - set(self.received)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the clock to so many milliseconds after VERSION."""

    def set_to(milliseconds: int) -> None:
        now = (VERSION + milliseconds) * 1_000_000
        monkeypatch.setattr(resume, "time", SimpleNamespace(time_ns=lambda: now))

    set_to(0)
    return set_to


@pytest.fixture
def topic(tmp_path: Path, clock: Callable[[int], None]) -> Topic:
    return Topic(tmp_path / "state")


def test_a_finished_data_set_is_not_sent_again(topic: Topic) -> None:
    assert topic.run(data_set(100)) == 100
    assert topic.run(data_set(100)) == 0
    assert topic.run(data_set(100)) == 0


def test_after_a_crash_it_goes_on_after_the_last_that_was_kept(topic: Topic) -> None:
    topic.run(data_set(100), crash_after=37)
    assert topic.run(data_set(100)) == 70
    assert topic.missing(data_set(100)) == set()
    assert len(topic.received) == 107


def test_a_new_dump_sends_what_is_new_or_changed(topic: Topic) -> None:
    topic.run(data_set(100))
    topic.received.clear()
    new = data_set(110, changed=5)
    assert topic.run(new, name="new") == 15
    assert set(topic.received) == {it.event_id for it in new[:5] + new[100:]}


def test_a_new_dump_in_the_midst_sends_the_rest_and_what_has_changed(topic: Topic) -> None:
    topic.run(data_set(100), crash_after=52)
    new = data_set(100, changed=5)
    assert topic.run(new, name="new") == 55
    assert topic.missing(new) == set()


def test_a_movie_that_changes_back_is_sent_again(topic: Topic) -> None:
    for version in (0, 1, 0):
        assert topic.run([message(1, version)], name=f"version {version}") == 1


def test_all_of_a_data_set_have_one_version_also_after_a_crash(
    topic: Topic, clock: Callable[[int], None]
) -> None:
    topic.run(data_set(100), crash_after=37)
    clock(500)
    topic.run(data_set(100))
    assert set(topic.versions) == {VERSION}


def test_each_data_set_has_a_higher_version_whatever_the_clock_says(
    topic: Topic, clock: Callable[[int], None]
) -> None:
    for now, resend in ((0, ""), (0, ""), (-9_000, ""), (70_000, ""), (70_000, "again")):
        clock(now)
        topic.run(data_set(10, changed=len(topic.versions) % 7), name=f"{now}", resend=resend)
        topic.run(data_set(11), name=f"{now} and one more")
    assert topic.versions == sorted(topic.versions)
    assert len(set(topic.versions)) >= 6


def test_version_does_not_go_back_when_what_was_kept_is_lost_or_found_again(
    topic: Topic, clock: Callable[[int], None]
) -> None:
    topic.run(data_set(10))
    kept = {path: path.read_bytes() for path in topic.folder.iterdir()}
    for path in kept:
        path.unlink()
    clock(1_000)
    topic.run(data_set(10))
    for path, content in kept.items():
        path.write_bytes(content)
    clock(2_000)
    topic.run(data_set(10, changed=1), name="new")
    assert topic.versions == [VERSION] * 10 + [VERSION + 1_000] * 10 + [VERSION + 2_000]


def test_data_set_that_was_begun_without_a_version_is_gone_on_with(topic: Topic) -> None:
    topic.run(data_set(100), crash_after=37)
    path = topic.folder / "progress.json"
    progress = json.loads(path.read_bytes())
    del progress["version"]
    path.write_text(json.dumps(progress))
    topic.versions.clear()
    assert topic.run(data_set(100), crash_after=20) == 20
    assert json.loads(path.read_bytes())["version"] == VERSION
    assert topic.run(data_set(100)) == 50
    assert set(topic.versions) == {VERSION}


def test_records_that_are_others_than_before_have_a_version_of_their_own(
    topic: Topic, clock: Callable[[int], None]
) -> None:
    topic.run(data_set(100), crash_after=37)
    for path in topic.folder.glob("outbox*"):
        path.unlink()
    clock(1_000)
    topic.run(data_set(100, changed=1))
    assert topic.versions[37:] == [VERSION + 1_000] * 100


def test_resending_is_done_once_for_each_request(topic: Topic) -> None:
    topic.run(data_set(100))
    assert topic.run(data_set(100), resend="monday") == 100
    assert topic.run(data_set(100), resend="monday") == 0
    assert topic.run(data_set(100), resend="tuesday", crash_after=50) == 50
    assert topic.run(data_set(100), resend="tuesday") == 50
    assert topic.run(data_set(100)) == 0


def test_another_topic_gets_everything(topic: Topic) -> None:
    topic.run(data_set(100))
    topic.name = "cluster/imdb-movies/2"
    assert topic.run(data_set(100)) == 100
    assert topic.run(data_set(100)) == 0


def test_another_host_goes_on_where_the_first_was(topic: Topic) -> None:
    topic.run(data_set(100), host="one", crash_after=37)
    assert topic.run(data_set(100), host="two") == 70
    assert topic.run(data_set(100), host="one") == 0
    assert topic.missing(data_set(100)) == set()


@pytest.mark.parametrize("anew", ["another topic", "resend"])
def test_another_host_does_not_go_by_what_an_earlier_topic_had(topic: Topic, anew: str) -> None:
    topic.run(data_set(100), host="two")
    topic.received.clear()
    if anew == "resend":
        request = "monday"
    else:
        topic.name, request = "cluster/imdb-movies/2", ""
    topic.run(data_set(100), host="one", resend=request, crash_after=37)
    assert topic.run(data_set(100), host="two", resend=request) == 70
    assert topic.missing(data_set(100)) == set()


def test_movie_that_changed_on_another_host_and_changes_back_is_sent_again(topic: Topic) -> None:
    for version, host in enumerate(["one", "two", "one"]):
        assert topic.run([message(1, version % 2)], name=f"{version}", host=host) == 1


def test_hosts_that_take_turns_send_the_difference_where_they_know_it(topic: Topic) -> None:
    topic.run(data_set(100), host="one", crash_after=50)
    topic.run(data_set(100), host="two")
    # Both have had the records and know what became of them.
    for host, count in (("one", 110), ("two", 120)):
        sent = topic.run(data_set(count), name=f"{count}", host=host)
        assert sent == (10 if host == "one" else 120)
    assert topic.missing(data_set(120)) == set()


def test_another_host_does_not_go_by_what_an_earlier_topic_refused(topic: Topic) -> None:
    topic.refuses = {b"tt0000090"}
    topic.run(data_set(100), host="two")
    topic.refuses, topic.name = set(), "cluster/imdb-movies/2"
    topic.received.clear()
    topic.run(data_set(100), host="one", crash_after=37)
    topic.run(data_set(100), host="two")
    assert topic.missing(data_set(100)) == set()


def test_lost_records_are_prepared_again_and_gone_on_with(topic: Topic) -> None:
    topic.run(data_set(100), crash_after=37)
    for path in topic.folder.glob("outbox*"):
        path.unlink()
    assert topic.run(data_set(100)) == 70


def test_lost_records_that_cannot_be_told_any_more_are_sent_from_the_start(topic: Topic) -> None:
    topic.run(data_set(100), crash_after=37)
    for path in topic.folder.glob("outbox*"):
        path.unlink()
    other = data_set(90)
    assert topic.run(other) == 90
    assert topic.missing(other) == set()


def test_a_finished_run_leaves_little_behind(topic: Topic) -> None:
    topic.run(data_set(100))
    assert sorted(path.name for path in topic.folder.iterdir()) == [
        "delivered.sqlite",
        "progress.json",
    ]


def test_a_run_that_was_cut_off_at_its_end_leaves_little_behind(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All is noted, and the disk is not given back yet.
    with monkeypatch.context() as cut_off:
        cut_off.setattr(Resumption, "_remove_outboxes", lambda _self, keep: None)
        topic.run(data_set(100))
    assert list(topic.folder.glob("outbox*"))
    assert topic.run(data_set(100)) == 0
    assert list(topic.folder.glob("outbox*")) == []


def test_whatever_happens_in_whatever_order_nothing_is_lost(tmp_path: Path) -> None:
    print(f"TEST_SEED={SEED}")
    generator = random.Random(SEED)
    for trial in range(30):
        hosts = [""] if trial % 2 else ["one", "two", "three"]
        topic = Topic(tmp_path / str(trial))
        current = data_set(40)
        latest: dict[bytes, bytes] = {}
        resend = ""
        for step in range(12):
            if generator.random() < 0.4:
                current = data_set(generator.randrange(20, 60), generator.randrange(20))
                generator.shuffle(current)
            name = str([it.event_id for it in current])
            crash = generator.choice([None, generator.randrange(60)])
            resend = f"{step}" if generator.random() < 0.1 else resend
            before = len(topic.received)
            topic.run(
                current,
                name=name,
                crash_after=crash,
                resend=resend,
                finish=generator.random() < 0.8,
                host=generator.choice(hosts),
            )
            sent = {it.event_id: it.key for it in current}
            latest |= {sent[it]: it for it in topic.received[before:]}
            if crash is None:
                wrong = [it.key for it in current if latest.get(it.key) != it.event_id]
                assert wrong == [], f"seed {SEED}, trial {trial}, step {step}"


@pytest.fixture
def refusing(topic: Topic) -> Topic:
    """A topic that takes 100 movies but for two."""
    topic.limit = 1000
    topic.refuses = {b"tt0000010", b"tt0000020"}
    assert topic.run(data_set(100)) == 100
    assert topic.aside() == sorted(topic.refuses)
    assert len(topic.received) == 98
    return topic


def test_what_was_refused_is_not_sent_again(refusing: Topic) -> None:
    assert refusing.run(data_set(100)) == 0
    assert refusing.run(data_set(110), name="new") == 10
    assert refusing.aside() == sorted(refusing.refuses)


@pytest.mark.parametrize("crash_after", [None, 0, 1])
def test_a_larger_limit_sends_what_was_refused(refusing: Topic, crash_after: int | None) -> None:
    refusing.limit, refusing.refuses = 2000, {b"tt0000020"}
    refusing.run(data_set(100), crash_after=crash_after, keep_every=1)
    refusing.run(data_set(100))
    assert refusing.missing(data_set(100)) == {message(20).event_id}
    assert refusing.aside() == [b"tt0000020"]
    assert refusing.run(data_set(100)) == 0


def test_a_larger_limit_counts_in_the_midst_of_sending_too(topic: Topic) -> None:
    topic.limit, topic.refuses = 1000, {b"tt0000010"}
    topic.run(data_set(100), crash_after=50)
    topic.limit, topic.refuses = 2000, set()
    assert topic.run(data_set(100)) == 51
    assert topic.missing(data_set(100)) == set()
    assert len(topic.received) == 100


@pytest.mark.parametrize("limit", [0, 500, 1000])
def test_another_limit_does_not(refusing: Topic, limit: int) -> None:
    refusing.limit = limit
    assert refusing.run(data_set(100)) == 0


def test_resending_sends_what_was_refused(refusing: Topic) -> None:
    refusing.refuses = set()
    assert refusing.run(data_set(100), resend="monday") == 100
    assert refusing.missing(data_set(100)) == set()
    assert refusing.aside() == []


def test_a_movie_that_has_changed_is_tried_again(refusing: Topic) -> None:
    refusing.refuses = {b"tt0000020"}
    new = data_set(100, changed=11)
    assert refusing.run(new, name="new") == 11
    assert refusing.missing(new) == {message(20).event_id}
    assert refusing.aside() == [b"tt0000020"]


def test_refused_records_do_not_hinder_that_the_rest_is_told(topic: Topic) -> None:
    topic.refuses = {b"tt0000010"}
    topic.run(data_set(100), crash_after=50)
    for path in topic.folder.glob("outbox*"):
        path.unlink()
    assert topic.run(data_set(100)) == 50


def test_more_than_can_be_kept_aside_end_the_run(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused, "MOST_RECORDS", 5)
    topic.limit, topic.refuses = 1000, {it.key for it in data_set(100)}
    for _ in range(2):
        with pytest.raises(TooManyRefusedError, match=r"max\.message\.bytes is 1,000.*start again"):
            topic.run(data_set(100), keep_every=1)
        assert len(topic.aside()) == 6
    topic.limit, topic.refuses = 2000, set()
    topic.run(data_set(100))
    assert topic.missing(data_set(100)) == set()


def test_too_many_bytes_end_the_run_too(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "MOST_BYTES", 50)
    topic.refuses = {b"tt0000010"}
    with pytest.raises(TooManyRefusedError, match=r"max\.message\.bytes is not known"):
        topic.run(data_set(100))


def test_what_was_refused_is_kept_whole(refusing: Topic) -> None:
    line = json.loads((refusing.folder / "refused.jsonl").read_text().splitlines()[0])
    sent = message(10)
    assert (line["key"].encode(), line["value"].encode()) == (sent.key, sent.value)
    assert line["event_id"].encode() == sent.event_id
    headers = b"event_id" + sent.event_id + b"movie_version" + b"%d" % VERSION
    assert line["bytes"] == len(sent.key + sent.value + headers)
    assert (line["limit"], line["reason"]) == (1000, "TooLarge")


@pytest.mark.parametrize("content", [b"{", b"[]\n", b"{}\n", b'{"key": 1}\n', b"\xff\n"])
def test_a_damaged_file_of_what_was_refused_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "refused.jsonl"
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"refused\.jsonl.* cannot be read: .* remove it"):
        RefusedFile(path)


def test_what_was_refused_and_cannot_be_kept_stops_the_run(tmp_path: Path) -> None:
    kept = RefusedFile(tmp_path / "missing" / "refused.jsonl")
    with pytest.raises(StateError, match=r"Cannot write .*refused\.jsonl: .* would be lost"):
        kept.add([Refusal(message(1), "TooLarge")], "batch", 0)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"position": 1}', b"\xff", b'"text"'],
)
def test_progress_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "progress.json"
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"progress\.json cannot be read: .* remove it"):
        ProgressFile(path).load()


def test_a_position_beyond_the_end_is_named(tmp_path: Path) -> None:
    store = ProgressFile(tmp_path / "progress.json")
    store.save(Progress("data", TOPIC, "batch", 11, 10))
    with pytest.raises(StateError, match="position 11 of 10"):
        store.load()


def test_progress_is_the_same_when_it_is_loaded(tmp_path: Path) -> None:
    store = ProgressFile(tmp_path / "progress.json")
    assert store.load() is None
    progress = Progress("data", TOPIC, "batch", 5, 10, "monday")
    store.save(progress)
    assert store.load() == progress
    assert [it.name for it in tmp_path.iterdir()] == ["progress.json"]
    assert json.loads((tmp_path / "progress.json").read_bytes())["position"] == 5


def test_progress_that_cannot_be_kept_is_named(tmp_path: Path) -> None:
    store = ProgressFile(tmp_path / "missing" / "progress.json")
    with pytest.raises(StateError, match=r"Cannot write .*progress\.json"):
        store.save(Progress("data", TOPIC, "batch", 5, 10))


def test_a_damaged_note_of_what_was_delivered_is_named(tmp_path: Path) -> None:
    path = tmp_path / "delivered.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StateError, match=r"delivered\.sqlite.* cannot be used"):
        Delivered(path)


def test_noting_is_all_or_nothing(tmp_path: Path) -> None:
    delivered = Delivered(tmp_path / "delivered.sqlite")

    def broken() -> Iterator[Message]:
        yield from data_set(20_000)
        raise sqlite3.OperationalError("planted")

    with pytest.raises(StateError, match="planted"):
        delivered.note(broken(), [], VERSION)
    assert len(delivered) == delivered.version == 0
    delivered.close()


def test_messages_come_out_of_the_box_as_they_went_in(tmp_path: Path) -> None:
    messages = [
        Message(b"tt1", '{"t":"東京 \\t \\"quoted\\""}'.encode(), b"0" * 64),
        *data_set(10),
    ]
    outbox = write_outbox(tmp_path, messages)
    assert [it._replace(version=b"") for it in outbox.messages()] == messages
    assert [it.key for it in outbox.messages(3, 5)] == [it.key for it in messages[3:5]]
    assert outbox.total == 11


def test_a_box_that_is_gone_is_named(tmp_path: Path) -> None:
    outbox = write_outbox(tmp_path, data_set(3))
    outbox.path.unlink()
    with pytest.raises(StateError, match="No such file"):
        list(outbox.messages())


def test_an_interrupted_preparation_leaves_nothing_that_could_be_sent(tmp_path: Path) -> None:
    def cut_short() -> Iterator[Message]:
        yield from data_set(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_outbox(tmp_path, cut_short())
    assert list(tmp_path.iterdir()) == []


def test_a_second_producer_is_told_why_it_may_not(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        exclusive(lock, "sends"),
        pytest.raises(BusyError, match=rf"process {os.getpid()}\) sends in "),
        exclusive(lock, "sends"),
    ):
        pytest.fail("both hold the lock")
    with exclusive(lock, "sends"):
        assert lock.read_text() == f"{os.getpid()}\n"
