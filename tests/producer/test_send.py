"""Sending: counted by acknowledgement, flushed in time, stopped without loss."""

from __future__ import annotations

import logging
import time

import pytest

from imdb_producer import send
from imdb_producer.errors import DeliveryError
from imdb_producer.pacing import Pacer
from imdb_producer.records import Message
from imdb_producer.refused import Refusal
from imdb_producer.send import Counters, Sender
from imdb_producer.stop import Stop

from .fakes import FakeClient

#: A rate that is never waited for.
FAST = 1e9


def messages(count: int) -> list[Message]:
    return [Message(b"tt%07d" % number, b"{}", b"%064x" % number) for number in range(count)]


class Run:
    """A sender with its surroundings."""

    def __init__(self, client: FakeClient, total: int, rate: float = FAST) -> None:
        self.client = client
        self.stop = Stop()
        self.reports: list[Counters] = []
        self.messages = messages(total)
        self.kept: list[int] = []
        self.aside: list[Refusal] = []
        self.sender = Sender(
            client,
            Pacer(rate),
            self.stop,
            report=self.reports.append,
            keep=self.kept.append,
            set_aside=self.aside.extend,
            reread=lambda start, stop: self.messages[start:stop],
            total=total,
        )

    def __call__(self) -> bool:
        return self.sender.send_all(self.messages)


@pytest.mark.parametrize("total", [1, 499, 500, 501, 1200])
def test_all_messages_are_sent_in_order_and_acknowledged(total: int) -> None:
    client = FakeClient()
    run = Run(client, total)
    assert run()
    assert client.sent == run.messages
    assert run.sender.counters.sent == total


def test_at_most_500_messages_go_unflushed() -> None:
    client = FakeClient()
    assert Run(client, 1200)()
    assert client.flushes == [500, 500, 200]


def test_the_buffer_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "BUFFER_BYTES", 20)
    client = FakeClient()
    assert Run(client, 25)()
    # A message has 2 bytes of value.
    assert client.flushes == [10, 10, 5]


def test_each_500_messages_are_logged_once_they_are_acknowledged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "imdb_producer")
    assert Run(FakeClient(), 1200)()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" (")[0] for line in lines] == [
        "sent 500 messages of 1200",
        "sent 1000 messages of 1200",
        "sent 1200 messages of 1200",
    ]


def test_what_is_not_acknowledged_is_not_counted() -> None:
    client = FakeClient(silent=True)
    run = Run(client, 3)

    def stop_at_once() -> None:
        run.stop.request()
        run.stop.seconds_since = lambda: send.STOP_SECONDS  # type: ignore[method-assign]

    client.on_flush = stop_at_once
    assert not run()
    assert run.sender.counters.sent == 0
    assert run.kept == []


def test_a_slow_acknowledgement_is_waited_for() -> None:
    client = FakeClient(silent=True)

    def wake_up() -> None:
        client.silent = len(client.flushes) < 3

    client.on_flush = wake_up
    assert Run(client, 3)()
    assert client.flushes == [3, 3, 3]


def test_a_failed_delivery_is_an_error_that_names_the_cause() -> None:
    client = FakeClient(errors={b"tt0000003": TimeoutError("expired after 120 s")})
    run = Run(client, 10)
    with pytest.raises(DeliveryError, match="TimeoutError: expired after 120 s") as caught:
        run()
    assert "did not take 1 records" in str(caught.value)
    assert run.sender.counters.failed == 1


def test_a_failure_ends_the_sending_before_the_next_flush() -> None:
    client = FakeClient(errors={b"tt0000006": OSError("no broker")})

    def fail(_: Message) -> None:
        client.results = len(client.sent)
        time.sleep(0.12)

    client.on_send = fail
    run = Run(client, 100)
    with pytest.raises(DeliveryError, match="no broker"):
        run()
    assert len(client.sent) == 7


def test_stopping_flushes_what_is_out_and_sends_no_more() -> None:
    client = FakeClient()
    run = Run(client, 100)
    client.on_send = lambda _: run.stop.request() if len(client.sent) == 7 else None
    assert not run()
    assert len(client.sent) == 7
    assert run.sender.counters.sent == 7


def test_stopping_does_not_wait_for_the_next_turn() -> None:
    client = FakeClient()
    run = Run(client, 2, rate=0.01)
    client.on_send = lambda _: run.stop.request()
    start = time.monotonic()
    assert not run()
    assert time.monotonic() - start < 1
    assert run.sender.counters.sent == 1


def test_stopping_waits_for_a_silent_broker_only_so_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(send, "STOP_SECONDS", 0.2)
    client = FakeClient(silent=True)
    run = Run(client, 100)
    client.on_send = lambda _: run.stop.request() if len(client.sent) == 7 else None
    start = time.monotonic()
    assert not run()
    assert 0.2 <= time.monotonic() - start < 1
    assert "7 records unacknowledged" in caplog.text


def test_giving_up_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(send, "STOP_SECONDS", 0.05)
    client = FakeClient(silent=True)
    run = Run(client, 600)
    client.on_flush = run.stop.request
    assert not run()
    assert caplog.text.count("unacknowledged") == 1


def test_progress_is_reported_while_waiting_for_the_next_turn() -> None:
    run = Run(FakeClient(), 2, rate=1.5)
    assert run()
    assert len(run.reports) >= 4


def test_messages_are_paced() -> None:
    run = Run(FakeClient(), 21, rate=100)
    start = time.monotonic()
    assert run()
    assert time.monotonic() - start >= 0.2
    assert run.sender.counters.rate == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("rate", [FAST, 0])
def test_a_refused_record_is_set_aside_and_all_others_are_sent_once_and_in_order(
    rate: float,
) -> None:
    client = FakeClient(refuses={b"tt0000004", b"tt0000099"})
    run = Run(client, 100, rate)
    assert run()
    assert [it.message.key for it in run.aside] == [b"tt0000004", b"tt0000099"]
    assert {it.reason for it in run.aside} == {"TooLarge"}
    assert sorted(client.topic) == [it for it in run.messages if it.key not in client.refuses]
    assert run.kept[-1] == 100
    assert (run.sender.counters.sent, run.sender.counters.refused) == (100, 2)
    # What is sent once more keeps the time of its first attempt.
    again = [time for time in client.times if time is not None]
    assert again == [1003, 1004, 1005, 1099]


def test_a_movie_that_comes_twice_keeps_its_order() -> None:
    client = FakeClient(refuses={b"tt0000001"})
    run = Run(client, 9)
    newer = run.messages[8]._replace(key=b"tt0000002")
    run.messages[8] = newer
    assert run()
    of_the_movie = [it for it in client.topic if it.key == b"tt0000002"]
    # The newer was in the topic when the older came; it follows once more, as the same event.
    assert of_the_movie == [newer, run.messages[2], newer]


def test_refused_records_are_kept_aside_before_they_count_as_done() -> None:
    client = FakeClient(refuses={b"tt0000001"})
    run = Run(client, 3)

    def fail(_: list[Refusal]) -> None:
        raise OSError("disk full")

    run.sender._set_aside = fail
    with pytest.raises(OSError, match="disk full"):
        run()
    assert run.kept == []


def test_a_stop_in_the_midst_of_refusals_keeps_what_is_through() -> None:
    client = FakeClient(refuses={b"tt0000002"})
    run = Run(client, 6)

    def stop(message: Message) -> None:
        # The second time, alone: behind the refused one, whose result came.
        if message.key == b"tt0000001" and len(client.sent) > 6:
            client.silent = True
            run.stop.request()
            run.stop.seconds_since = lambda: send.STOP_SECONDS  # type: ignore[method-assign]

    client.on_send = stop
    assert not run()
    assert run.kept == [1]
    assert run.aside == []
