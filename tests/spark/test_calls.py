"""Who may call the job's program: the driver's JVM, and no other user of the host."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

#: How the JVM calls a function of Python's, a word a line: its number, its method, and the end.
CALL = b"c\np0\n__sizeof__\ne\n"


@pytest.fixture
def batches(spark: SparkSession, tmp_path: Path) -> Iterator[list[int]]:
    """The ids of batches that foreachBatch was called with, of a query that has had one."""
    found: list[int] = []

    def note(rows: DataFrame, batch_id: int) -> None:
        found.append(batch_id)

    query: StreamingQuery = (
        spark.readStream.format("rate")
        .load()
        .writeStream.option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .foreachBatch(note)
        .start()
    )
    try:
        assert query.awaitTermination(60)
        yield found
    finally:
        query.stop()


def answer(spark: SparkSession, words: bytes) -> bytes:
    """What the program answers to who connects and says some words."""
    server = spark.sparkContext._gateway._callback_server
    assert server.server_socket.getsockname()[0] == "127.0.0.1"
    with socket.create_connection(server.server_socket.getsockname(), timeout=30) as connection:
        connection.sendall(words)
        try:
            return connection.recv(4096)
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("words", [CALL, b"A\nanother-password\ne\n" + CALL], ids=["none", "wrong"])
def test_who_does_not_know_the_password_is_not_answered(
    spark: SparkSession, batches: list[int], words: bytes
) -> None:
    assert batches == [0]
    assert answer(spark, words) in (b"", b"!xn\n")


def test_who_knows_it_is_answered(spark: SparkSession, batches: list[int]) -> None:
    password = spark.sparkContext._gateway.gateway_parameters.auth_token
    assert answer(spark, f"A\n{password}\ne\n".encode()) == b"!yv\n"
