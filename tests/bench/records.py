"""Generated movies, and many of them into a topic fast, by Kafka's own console producer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .brokers import Broker, java

GENRES = [
    ["Drama"],
    ["Comedy", "Romance"],
    ["Action", "Crime", "Thriller"],
    [],
    ["Documentary"],
    ["Adventure", "Sci-Fi"],
    ["Horror", "Mystery"],
]

#: So many titles; more events than that are changes of their votes, rating and genres.
TITLES = 200_000

#: As the producer sends by default.
CODEC = "gzip"


def movie(number: int) -> dict[str, Any]:
    """Return the movie of an event, another for each number."""
    title = number % TITLES
    return {
        "averageRating": round(1 + number % 90 / 10, 1),
        "genres": GENRES[(title + number // TITLES) % len(GENRES)],
        "numVotes": 1000 + number,
        "primaryTitle": f"The Generated Title {title} of Many \u00e9\u4e2d",
        "runtimeMinutes": 60 + number % 120,
        "startYear": 1900 + title % 120,
        "tconst": f"tt{title:08d}",
    }


def encoded(number: int) -> bytes:
    """Return the message's value, as the producer writes it: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        movie(number), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def _lines(first: int, count: int) -> Iterator[bytes]:
    """Give the console producer's lines: headers, key and value of each message."""
    genres = [
        json.dumps(names, separators=(",", ":"), ensure_ascii=False).encode() for names in GENRES
    ]
    for start in range(first, first + count, 1000):
        block = []
        for number in range(start, min(start + 1000, first + count)):
            title = number % TITLES
            # The same as encoded(number), which a test sees to, in a tenth of the time.
            value = (
                b'{"averageRating":%d.%d,"genres":%b,"numVotes":%d,'
                b'"primaryTitle":"The Generated Title %d of Many \xc3\xa9\xe4\xb8\xad",'
                b'"runtimeMinutes":%d,"startYear":%d,"tconst":"tt%08d"}'
            ) % (
                1 + number % 90 // 10,
                number % 10,
                genres[(title + number // TITLES) % len(GENRES)],
                1000 + number,
                title,
                60 + number % 120,
                1900 + title % 120,
                title,
            )
            digest = hashlib.sha256(value).hexdigest().encode()
            version = 1_764_500_000_000 + number // TITLES
            block.append(
                b"event_id:%b,movie_version:%d\ttt%08d\t%b\n" % (digest, version, title, value)
            )
        yield b"".join(block)


def fill(broker: Broker, topic: str, folder: Path, first: int, count: int) -> None:
    """Put the movies of the numbers from `first` on into a topic.

    Raises:
        RuntimeError: They did not all arrive.
    """
    before = sum(broker.end_offsets(topic).values())
    log4j = folder / "console.properties"
    log4j.write_text("log4j.rootLogger=ERROR\n")
    command = [
        *java("kafka", "512m", log4j),
        "kafka.tools.ConsoleProducer",
        f"--bootstrap-server={broker.bootstrap}",
        f"--topic={topic}",
        f"--compression-codec={CODEC}",
        "--batch-size=32768",
        "--max-memory-bytes=134217728",
        "--producer-property=linger.ms=100",
        "--property=parse.headers=true",
        "--property=parse.key=true",
    ]
    log = folder / "console.log"
    with log.open("wb") as said:
        sender = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True
        )
        assert sender.stdin is not None
        try:
            # A sender that has ended by itself says why in its log.
            with contextlib.suppress(BrokenPipeError):
                for block in _lines(first, count):
                    sender.stdin.write(block)
                sender.stdin.close()
            exit_code = sender.wait(120)
        finally:
            sender.kill()
    arrived = sum(broker.end_offsets(topic).values()) - before
    if exit_code != 0 or arrived != count:
        raise RuntimeError(
            f"{arrived} of {count} messages came into {topic}; the console producer ended with "
            f"{exit_code}:\n{log.read_text()[-2000:]}"
        )
