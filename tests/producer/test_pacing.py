"""The rate, on a clock that the test turns."""

from __future__ import annotations

from itertools import pairwise

import pytest

from imdb_producer.pacing import Pacer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def send(pacer: Pacer, clock: Clock, messages: int, cost: float = 0.0) -> list[float]:
    """Send messages that take `cost` seconds each; give the times of sending."""
    times = []
    for _ in range(messages):
        clock.now += pacer.delay()
        clock.now += cost
        pacer.sent()
        times.append(clock.now)
    return times


@pytest.mark.parametrize("rate", [0.5, 1, 10, 100, 1000, 5000])
def test_the_rate_is_the_one_asked_for(rate: float) -> None:
    clock = Clock()
    pacer = Pacer(rate, clock)
    times = send(pacer, clock, 2001)
    assert (len(times) - 1) / (times[-1] - times[0]) == pytest.approx(rate, rel=1e-6)
    assert pacer.rate() == pytest.approx(rate, rel=1e-6)


def test_the_time_that_sending_takes_does_not_lower_the_rate() -> None:
    clock = Clock()
    times = send(Pacer(10, clock), clock, 1001, cost=0.09)
    assert 1000 / (times[-1] - times[0]) == pytest.approx(10, rel=1e-3)


def test_a_slow_first_message_is_not_caught_up() -> None:
    clock = Clock()
    pacer = Pacer(10, clock)
    first = send(pacer, clock, 1, cost=0.7)[0]
    assert send(pacer, clock, 10)[-1] - first == pytest.approx(1)


def test_a_short_delay_is_caught_up() -> None:
    clock = Clock()
    pacer = Pacer(10, clock)
    start = send(pacer, clock, 10)[0]
    clock.now += 0.8
    assert send(pacer, clock, 90)[-1] - start == pytest.approx(9.9)


def test_a_long_stall_is_forgotten_without_a_burst() -> None:
    clock = Clock()
    pacer = Pacer(10, clock)
    send(pacer, clock, 10)
    clock.now += 60
    times = send(pacer, clock, 11)
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps == pytest.approx([0.1] * 10)


def test_zero_means_at_once() -> None:
    clock = Clock()
    pacer = Pacer(0, clock)
    assert send(pacer, clock, 1000) == [1000.0] * 1000


@pytest.mark.parametrize("messages", [0, 1])
def test_there_is_no_rate_of_fewer_than_two(messages: int) -> None:
    clock = Clock()
    pacer = Pacer(10, clock)
    send(pacer, clock, messages)
    assert pacer.rate() == 0
