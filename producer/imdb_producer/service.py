"""The service's run: download, prepare, wait for the topic, send."""

from __future__ import annotations

import logging
from itertools import islice

from imdb_producer.client import Client, KafkaPythonClient, wait_for_topic
from imdb_producer.config import Config
from imdb_producer.download import fetch, open_lines
from imdb_producer.errors import DataError
from imdb_producer.pacing import Pacer
from imdb_producer.prepare import Counts, read_movies, read_ratings
from imdb_producer.records import Message, to_message
from imdb_producer.redact import redacted
from imdb_producer.send import Progress, Sender
from imdb_producer.status import Reporter, Status, notify_socket
from imdb_producer.stop import Stop, StopRequested

log = logging.getLogger(__name__)

#: Seconds to close the client when everything is acknowledged, and when something is not.
_CLOSE_SECONDS = 5.0
_ABANDON_SECONDS = 0.1


def run(config: Config, stop: Stop) -> None:
    """Send every record of the two dumps once, or as many as fit before a stop.

    Raises:
        ProducerError: what went wrong; the status file then says `failed`.
    """
    status = Status(basics=redacted(config.basics_url), ratings=redacted(config.ratings_url))
    reporter = Reporter(status, config.status_file, notify_socket())
    try:
        with stop.interruptible():
            messages = prepare_messages(config)
            reporter.state("preparing", total=len(messages))
            client = connect(config)
        _send(client, messages, config, stop, reporter)
    except StopRequested:
        log.info("Stopped before the first record was sent")
    except BaseException:
        reporter.state("failed")
        raise


def prepare_messages(config: Config) -> list[Message]:
    """Download both dumps and make the messages, in the order of title.basics.

    Raises:
        SourceError, DataError: see download and prepare.
    """
    ratings_file = fetch(config.ratings_url, config.cache_dir, "title.ratings")
    basics_file = fetch(config.basics_url, config.cache_dir, "title.basics")

    rating_counts = Counts()
    with open_lines(ratings_file) as lines:
        ratings = read_ratings(lines, config.min_votes, rating_counts)
    _log_loaded("title.ratings", rating_counts)

    movie_counts = Counts()
    with open_lines(basics_file) as lines:
        records = read_movies(lines, ratings, movie_counts)
        messages = [to_message(record) for record in islice(records, config.limit)]
        # Beyond the cap the rest is read too, so that the counts tell of the whole dump.
        for _ in records:
            pass
    _log_loaded("title.basics", movie_counts)

    if not messages:
        raise DataError(
            f"No movie is left to send: {movie_counts}. Check that BASICS_URL and RATINGS_URL "
            f"are of the same data set, and MIN_VOTES ({config.min_votes})."
        )
    capped = "" if config.limit is None else f" (PRODUCER_LIMIT is {config.limit})"
    log.info("Prepared %d records%s", len(messages), capped)
    return messages


def connect(config: Config) -> Client:
    """Wait for the topic, then make the client.

    Raises:
        TopicError: broker or topic did not become ready in time.
    """
    partitions = wait_for_topic(config.bootstrap_servers, config.topic)
    log.info("Topic %s is ready with partitions: %s", config.topic, partitions)
    return KafkaPythonClient(config.bootstrap_servers, config.topic)


def _send(
    client: Client, messages: list[Message], config: Config, stop: Stop, reporter: Reporter
) -> None:
    def report(progress: Progress) -> None:
        reporter.counts(progress.sent, progress.failed, progress.rate)

    sender = Sender(client, Pacer(config.messages_per_second), stop, report, total=len(messages))
    complete = False
    reporter.state("sending")
    try:
        complete = sender.send_all(messages)
    finally:
        report(sender.progress)
        client.close(_CLOSE_SECONDS if complete else _ABANDON_SECONDS)
    if complete:
        reporter.state("finished")
        log.info("Finished: all %d records are delivered", len(messages))
    else:
        reporter.state("sending")
        log.info("Stopped: %d of %d records are delivered", sender.progress.sent, len(messages))


def _log_loaded(dump: str, counts: Counts) -> None:
    log.info("Loaded %d rows of %s: %s", counts.read, dump, counts)
    for example in counts.examples:
        log.warning("Malformed row of %s passed over: %s", dump, example)
    if counts.malformed > len(counts.examples):
        log.warning(
            "%d more malformed rows of %s passed over",
            counts.malformed - len(counts.examples),
            dump,
        )
