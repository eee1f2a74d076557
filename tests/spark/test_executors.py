"""A job without executors: when it gives up, and when it waits on."""

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from imdb_streaming import jvm
from imdb_streaming.executors import (
    ASKING_EVERY_SECONDS,
    ASKING_SECONDS,
    ExecutorsLostError,
    ExecutorWatch,
)

LIMIT = 60


class Clock:
    """Seconds that the test lets pass, and the executors that there are."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.executors = 0
        self.asked = 0

    def watch(self) -> ExecutorWatch:
        return ExecutorWatch(lambda: self.executors, LIMIT, self.ask, lambda: self.now)

    def ask(self) -> None:
        self.asked += 1


def test_executors_that_are_lost_for_too_long_end_the_job() -> None:
    clock = Clock()
    watch = clock.watch()
    clock.executors = 1
    watch.check()
    clock.executors = 0
    clock.now += LIMIT
    watch.check()
    clock.now += 1
    with pytest.raises(ExecutorsLostError, match=r"no executor for 60 s.*spark-worker"):
        watch.check()


def test_an_executor_that_comes_back_in_time_is_waited_for() -> None:
    clock = Clock()
    watch = clock.watch()
    for executors in (1, 0, 1, 0):
        clock.executors = executors
        watch.check()
        clock.now += LIMIT - 1


def test_a_job_that_never_had_an_executor_waits_for_a_worker() -> None:
    clock = Clock()
    watch = clock.watch()
    for _ in range(3):
        watch.check()
        clock.now += 10 * LIMIT


def test_the_master_is_asked_for_another_in_place_of_one_that_has_gone() -> None:
    clock = Clock()
    watch = clock.watch()
    for executors, asked in (
        (0, 0),
        (1, 0),
        (2, 0),
        (1, 1),
        (1, 2),
        (2, 2),
        (2, 2),
        (0, 3),
        (1, 3),
    ):
        clock.executors = executors
        watch.check()
        assert clock.asked == asked
        clock.now += ASKING_EVERY_SECONDS


def test_the_master_is_not_asked_more_often_or_for_longer_than_is_of_use() -> None:
    clock = Clock()
    watch = clock.watch()
    clock.executors = 2
    watch.check()
    clock.executors = 1
    for _ in range(10 * int(ASKING_SECONDS)):
        watch.check()
        clock.now += 0.5
    assert clock.asked == int(ASKING_SECONDS / ASKING_EVERY_SECONDS) + 1


def test_why_java_failed_is_told_in_a_line(spark: SparkSession) -> None:
    assert spark._jvm
    with pytest.raises(Py4JJavaError) as raised:
        spark._jvm.java.lang.Class.forName("tests.Absent")
    assert len(str(raised.value).splitlines()) > 5
    assert jvm.reason(raised.value) == "java.lang.ClassNotFoundException: tests.Absent"
    assert jvm.reason(ConnectionError("gone")) == "gone"
