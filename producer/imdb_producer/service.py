"""The service's run: wait for the topic, download, prepare, send what the topic does not have."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from imdb_producer.access import StallWatch, find_obstacle
from imdb_producer.ahead import find_prepared, read_prepared
from imdb_producer.bar import Bar
from imdb_producer.client import Client
from imdb_producer.config import Config
from imdb_producer.dataset import DataSet, fetch_data_set, read_messages
from imdb_producer.errors import (
    ConfigError,
    CredentialsError,
    DeliveryError,
    ProducerError,
)
from imdb_producer.factory import make_client, open_store
from imdb_producer.lock import AT_WORK, RUN_LOCK, exclusive
from imdb_producer.metrics import Metrics
from imdb_producer.notify import Systemd
from imdb_producer.outbox import Outbox
from imdb_producer.pacing import Pacer
from imdb_producer.progress import Progress
from imdb_producer.records import Message
from imdb_producer.redact import redacted
from imdb_producer.refused import Refusal
from imdb_producer.resume import Resumption
from imdb_producer.send import Counters, Sender
from imdb_producer.status import Reporter, Sink, Status, StatusFile, last_error_in
from imdb_producer.stop import Stop, StopRequested
from imdb_producer.topic import TOPIC_TIMEOUT, Topic, wait_for_topic

log = logging.getLogger(__name__)

#: The exit code when all is through and the broker has refused some of it.
SOME_REFUSED = 4
#: Seconds within which the broker tells its limit, once it has refused a record.
_LIMIT_SECONDS = 10.0
#: Seconds to close the client when everything is acknowledged, and when something is not.
_CLOSE_SECONDS = 5.0
_ABANDON_SECONDS = 0.1


def run(config: Config, stop: Stop) -> int:
    """Send every record that the topic does not have, or as many as fit before a stop.

    Returns:
        the exit code: 0, or SOME_REFUSED.

    Raises:
        ProducerError: what went wrong; the status file then says `failed`.
    """
    with exclusive(config.cache_dir / RUN_LOCK, AT_WORK):
        systemd = Systemd.of()
        reporter = make_reporter(config, systemd)
        try:
            return _run(config, stop, reporter, systemd)
        except StopRequested:
            log.info("Stopped before the first record was sent")
            reporter.state("stopped")
            return 0
        except BaseException as error:
            reporter.failed(error)
            raise


def make_reporter(config: Config, systemd: Systemd) -> Reporter:
    """Make what tells of the run, to everybody who is to know.

    Raises:
        ConfigError: the status file or the metrics file cannot be written, or no port be opened.
    """
    status = Status(
        basics=redacted(config.basics),
        ratings=redacted(config.ratings),
        last_error=last_error_in(config.status_file),
    )
    status_file = [StatusFile(config.status_file)] if config.status_file else []
    metrics = Metrics(config.metrics_port, config.metrics_address, config.metrics_file)
    files: list[tuple[str, Path | None, Sink]] = [
        *(("STATUS_FILE", config.status_file, it) for it in status_file),
        ("METRICS_FILE", config.metrics_file, metrics),
    ]
    for name, path, sink in files:
        try:
            sink.publish(status)
        except OSError as error:
            raise ConfigError(
                f"{name}={str(path)!r}: cannot be written: {error.strerror or error}. "
                "Name a file in a folder that the service may write to, or leave it empty."
            ) from error
    return Reporter(status, [*status_file, systemd, metrics, Bar(sys.stderr)])


def _run(config: Config, stop: Stop, reporter: Reporter, systemd: Systemd) -> int:
    with stop.interruptible():
        topic = ready_topic(config)
        # From here on it is the dumps that take their time, which nobody has to wait for.
        systemd.ready()
        data_set = fetch_data_set(config, reporter.activity)
        reporter.status.data_modified = data_set.modified
        resumption = open_resumption(config)
    with closing(resumption):
        with stop.interruptible():
            outbox, progress = _begin(config, data_set, topic, resumption, reporter)
            client = None if progress.finished else connect(config)
        if client is not None and not _send(
            client, outbox, progress, config, stop, reporter, resumption
        ):
            return 0
        resumption.finish()
        reporter.state("finished")
        return _tell_the_end(progress, resumption)


def _tell_the_end(progress: Progress, resumption: Resumption) -> int:
    """Log what became of the records; give the exit code."""
    refused = resumption.refused
    if not refused:
        log.info("Finished: all %d records are delivered", progress.total)
        return 0
    log.warning(
        "Finished: %d records are delivered. The broker has refused %d, which are kept aside in "
        "%s. To send them, raise the topic's max.message.bytes (kafka_topic_config of the role "
        "kafka_topic) and start the producer again; or send everything again (RESEND, --resend).",
        progress.total - len(refused.of(progress.batch)),
        len(refused),
        refused.path,
    )
    return SOME_REFUSED


def ready_topic(config: Config) -> Topic:
    """Wait for the topic.

    Raises:
        TopicError: broker or topic did not become ready in time.
    """
    topic = wait_for_topic(config.bootstrap_servers, config.topic, TOPIC_TIMEOUT, config.security)
    log.info("Topic %s is ready with partitions: %s", config.topic, list(topic.partitions))
    return topic


def limit_now(config: Config) -> int:
    """Ask for the topic's `max.message.bytes`, which may have changed; 0 if it is not known."""
    try:
        return wait_for_topic(
            config.bootstrap_servers, config.topic, _LIMIT_SECONDS, config.security
        ).limit
    except ProducerError as error:
        log.warning("%s", error)
        return 0


def open_resumption(config: Config) -> Resumption:
    """Open what is kept of earlier runs.

    Raises:
        StateError: it cannot be read or written.
        StoreError, AccessError: ZooKeeper, which keeps a part of it, does not answer, or not to
            this host.
    """
    folder = config.cache_dir / "state" / config.topic
    return Resumption(folder, open_store(folder, config))


def _reason_of(error: DeliveryError, config: Config) -> ProducerError:
    """Find out why nothing was taken: the client does not tell that it was not let in."""
    if not config.security.enabled:
        return error
    obstacle = find_obstacle(config.bootstrap_servers, config.security)
    if obstacle is not None:
        return obstacle
    try:
        wait_for_topic(config.bootstrap_servers, config.topic, _LIMIT_SECONDS, config.security)
    except CredentialsError as reason:
        return reason
    except ProducerError:
        log.debug("The topic is not ready", exc_info=True)
    return error


def connect(config: Config) -> Client:
    """Make the client.

    Raises:
        TopicError: no broker answers.
        ConfigError: the client is not installed.
    """
    return make_client(config.kafka_client, config.bootstrap_servers, config.topic, config.security)


def _begin(
    config: Config, data_set: DataSet, topic: Topic, resumption: Resumption, reporter: Reporter
) -> tuple[Outbox, Progress]:
    """Find out what is to be sent, and tell it."""
    kept = 0

    def prepare() -> Iterator[Message]:
        nonlocal kept
        ahead = find_prepared(config, data_set)
        messages = (
            read_messages(data_set, reporter.activity)
            if ahead is None
            else read_prepared(ahead, reporter.activity)
        )
        for message in messages:
            kept += 1
            yield message

    outbox, progress = resumption.begin(
        data_set.fingerprint, topic.identity, config.resend, prepare, topic.limit
    )
    refused = len(resumption.refused.of(progress.batch))
    remarks = [] if config.limit is None else [f"PRODUCER_LIMIT is {config.limit}"]
    if kept > progress.total:
        remarks.append(f"of {kept}; the others are delivered as they are")
    if progress.position - refused:
        remarks.append(f"{progress.position - refused} of them are delivered")
    if refused:
        remarks.append(f"{refused} of them were refused")
    log.info("Prepared %d records%s", progress.total, f" ({', '.join(remarks)})" if remarks else "")
    if progress.finished and progress.total:
        log.info("Nothing to send: this data set is delivered. RESEND (--resend) sends it again")
    status = reporter.status
    status.total = progress.total
    status.sent = status.resumed_at = progress.position - refused
    status.refused = len(resumption.refused)
    reporter.publish()
    return outbox, progress


def _send(
    client: Client,
    outbox: Outbox,
    progress: Progress,
    config: Config,
    stop: Stop,
    reporter: Reporter,
    resumption: Resumption,
) -> bool:
    """Send the rest; say whether it was all."""
    refused_before = len(resumption.refused.of(progress.batch))

    watch = StallWatch(config.bootstrap_servers, config.security)

    def report(counters: Counters) -> None:
        watch.look(counters.handed_over, counters.sent - progress.position)
        reporter.counts(
            counters.sent - refused_before - counters.refused,
            counters.failed,
            counters.rate,
            counters.handed_over,
            counters.retries,
            counters.refused,
        )

    def set_aside(refusals: list[Refusal]) -> None:
        resumption.set_aside(refusals, limit_now(config))

    sender = Sender(
        client,
        Pacer(config.msgs_per_sec),
        stop,
        report=report,
        keep=resumption.advance,
        set_aside=set_aside,
        reread=outbox.messages,
        total=progress.total,
        position=progress.position,
    )
    complete = False
    reporter.state("sending")
    try:
        complete = sender.send_all(outbox.messages(progress.position))
    except DeliveryError as error:
        raise _reason_of(error, config) from error
    finally:
        report(sender.counters)
        client.close(_CLOSE_SECONDS if complete else _ABANDON_SECONDS)
    if not complete:
        reporter.state("stopped")
        log.info("Stopped: %d of %d records are delivered", reporter.status.sent, progress.total)
    return complete
