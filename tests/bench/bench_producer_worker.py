"""What the benchmark measures, each in a process of its own; see bench_producer."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sample_data

if TYPE_CHECKING:
    from imdb_producer.security import Security

MIN_VOTES = 1000


def pandas(folder: str) -> None:
    """The original's method, written anew: whole files as strings, merge, filter, iterate.

    With quoting off, as else it would lose rows.
    """
    import csv

    import pandas as pd

    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(
            Path(folder) / name,
            sep="\t",
            dtype=str,
            quoting=csv.QUOTE_NONE,
            keep_default_na=False,
            na_values=["\\N"],
        )

    basics, ratings = read(sample_data.BASICS_FILE), read(sample_data.RATINGS_FILE)
    df = basics.merge(ratings, on="tconst", how="inner")
    df["startYear"] = pd.to_numeric(df["startYear"], errors="coerce")
    df["runtimeMinutes"] = pd.to_numeric(df["runtimeMinutes"], errors="coerce")
    df["averageRating"] = pd.to_numeric(df["averageRating"], errors="coerce")
    df["numVotes"] = pd.to_numeric(df["numVotes"], errors="coerce")
    df = df[(df["titleType"] == "movie") & df["startYear"].notna() & (df["numVotes"] >= MIN_VOTES)]
    records = 0
    row: Any
    for row in df.itertuples(index=False):
        runtime = row.runtimeMinutes
        json.dumps(
            {
                "tconst": row.tconst,
                "primaryTitle": row.primaryTitle,
                "startYear": int(row.startYear),
                "runtimeMinutes": None if pd.isna(runtime) else int(runtime),
                "genres": [] if pd.isna(row.genres) else row.genres.split(","),
                "averageRating": float(row.averageRating),
                "numVotes": int(row.numVotes),
            }
        )
        records += 1
    print(len(basics), records)


def prepared(target: str) -> None:
    """The command `prepare`."""
    from imdb_producer.cli import main

    sys.exit(main(["prepare", target]))


def without_isal(target: str) -> None:
    """The same, with nothing but what Python brings to unpack."""
    sys.modules["isal"] = None  # type: ignore[assignment]
    prepared(target)


def messages(path: str, count: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Give key, value and event id of so many messages, those of a file over and over."""
    from imdb_producer.records import event_id

    lines = Path(path).read_bytes().splitlines()
    made = [(json.loads(it)["tconst"].encode(), it, event_id(it).encode()) for it in lines]
    return islice(cycle(made), count)


def security() -> Security:
    """Give the login that the environment names, as the service's settings do."""
    from imdb_producer.security import Security

    names = {
        "protocol": "KAFKA_SECURITY_PROTOCOL",
        "username": "KAFKA_SASL_USERNAME",
        "password_file": "KAFKA_SASL_PASSWORD_FILE",
        "cafile": "KAFKA_SSL_CAFILE",
    }
    return Security(**{key: os.environ[name] for key, name in names.items() if name in os.environ})


def bare(address: str, topic: str, path: str, count: str) -> None:
    """The client's loop alone: the same settings, keys, values and headers."""
    from kafka import KafkaProducer

    from imdb_producer.access import kafka_python_settings
    from imdb_producer.kafka_python import SETTINGS

    login = kafka_python_settings(security())
    producer = KafkaProducer(bootstrap_servers=address, **SETTINGS, **login)
    ready = list(messages(path, int(count)))
    start, cpu = time.perf_counter(), time.process_time()
    for key, value, event_id in ready:
        producer.send(
            topic, value, key, [("event_id", event_id), ("movie_version", b"1764500000000")]
        )
    producer.flush()
    print(time.perf_counter() - start, time.process_time() - cpu)
    producer.close()


def ours(
    client_name: str, address: str, topic: str, path: str, count: str, rate: str = "0"
) -> None:
    """What the service does once it has prepared: from the outbox on, with progress kept."""
    import tempfile

    from imdb_producer.factory import make_client
    from imdb_producer.pacing import Pacer
    from imdb_producer.records import Message
    from imdb_producer.resume import Resumption
    from imdb_producer.send import Sender
    from imdb_producer.status import Reporter, Status, StatusFile
    from imdb_producer.stop import Stop

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        resumption = Resumption(Path(folder))
        outbox, progress = resumption.begin(
            "data", topic, "", lambda: (Message(*it) for it in messages(path, int(count)))
        )
        status = Status("basics", "ratings", total=progress.total)
        reporter = Reporter(status, [StatusFile(Path(folder) / "status.json")])
        client = make_client(client_name, [address], topic, security())
        pacer = Pacer(float(rate))
        sender = Sender(
            client,
            pacer,
            Stop(),
            report=lambda it: reporter.counts(
                it.sent, it.failed, it.rate, it.handed_over, it.retries
            ),
            keep=resumption.advance,
            set_aside=lambda refusals: resumption.set_aside(refusals, 0),
            reread=outbox.messages,
            total=progress.total,
        )
        start, cpu = time.perf_counter(), time.process_time()
        assert sender.send_all(outbox.messages())
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        if float(rate):
            print(pacer.rate(), (int(count) - 1) / pacer.rate())
        else:
            print(seconds, cpu)
        client.close(5)
        resumption.close()


def main() -> None:
    """Do what the first argument says with the others."""
    what, *arguments = sys.argv[1:]
    if what == "pace":
        address, topic, path, rate, count = arguments
        ours("kafka-python", address, topic, path, count, rate)
    elif what.startswith("ours-"):
        ours(what.removeprefix("ours-"), *arguments)
    elif what == "bare":
        bare(*arguments)
    else:
        {"pandas": pandas, "without-isal": without_isal}[what](*arguments)


if __name__ == "__main__":
    main()
