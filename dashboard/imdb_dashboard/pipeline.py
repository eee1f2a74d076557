"""What Prometheus says of each part of the pipeline, in the order of the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from imdb_dashboard.prometheus import Alert, Prometheus, Sample

#: It always fires, to prove that alerts arrive.
ALWAYS = "Watchdog"
#: Seconds that the charts go back, and between two of their points.
SPAN, STEP = 3600, 60

#: All single numbers at once: of Spark's, which tells hundreds, those that are shown.
_NUMBERS = (
    '{__name__=~"up|imdb_(producer|streaming)_[a-z_]+|kafka_(controller_[a-z_]+'
    "|partitions_[a-z_]+)|metrics_master_(alive)?[wW]orkers_Value"
    '|metrics_executor_totalCores(_[a-z]+)?|node_systemd_unit_state"'
    ', job!~"prometheus|alertmanager"}'
)
_TOPIC_RATE = 'sum(rate(kafka_topic_messages_in_total{{topic="{topic}"}}[1m]))'
_LAG = "max(imdb_streaming_lag_messages)"
_PRODUCER_RATE = "sum(rate(imdb_producer_position[1m]))"
#: Parts that an alert is about, by the beginning of its name.
_PARTS_OF_ALERTS = (
    ("ImdbProducer", "producer"),
    ("Kafka", "topic"),
    ("Zookeeper", "topic"),
    ("ImdbStreaming", "job"),
    ("Spark", "job"),
)
_UNITS = {"imdb-producer": "producer", "kafka": "topic", "zookeeper": "topic"}

OK, WARNING, BAD, UNKNOWN = "ok", "warning", "bad", "unknown"


@dataclass(frozen=True)
class Part:
    """A part of the flow: its state as a colour and a word, and what is known of it."""

    key: str
    title: str
    colour: str
    state: str
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Group:
    """Hosts that do the same: how many of them answer, of how many; 0 where that is not known."""

    title: str
    up: int
    wanted: int
    missing: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class PipelineState:
    """What Prometheus says."""

    parts: tuple[Part, ...]
    groups: tuple[Group, ...]
    alerts: tuple[Alert, ...]
    #: Whether the alert that always fires does.
    is_watched: bool
    #: Moments and values of an hour: messages a second into the topic, and messages of lag.
    topic_rate: tuple[tuple[float, float], ...]
    lag: tuple[tuple[float, float], ...]


class Numbers:
    """Samples, by their names."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        """Sort them."""
        self._by_name: dict[str, list[Sample]] = {}
        for sample in samples:
            self._by_name.setdefault(sample.name, []).append(sample)

    def all(self, metric: str, /, **labels: str) -> list[Sample]:
        """Return the samples of a name that have these labels."""
        return [
            it
            for it in self._by_name.get(metric, ())
            if all(it.labels.get(label) == value for label, value in labels.items())
        ]

    def most(self, metric: str, /, **labels: str) -> float | None:
        """Return the largest, None if there is none."""
        return max((it.value for it in self.all(metric, **labels)), default=None)

    def sum(self, metric: str, /, **labels: str) -> float | None:
        """Return the sum, None if there is nothing to add."""
        found = [it.value for it in self.all(metric, **labels)]
        return sum(found) if found else None

    def answering(self, job: str) -> tuple[int, int, tuple[str, ...]]:
        """Return how many of a job's targets answer, of how many, and which do not."""
        targets = self.all("up", job=job)
        missing = tuple(sorted(it.labels.get("instance", "?") for it in targets if not it.value))
        return len(targets) - len(missing), len(targets), missing

    def unit_states(self, unit: str) -> set[str]:
        """Return the states that systemd tells of a unit, on all hosts."""
        found = self.all("node_systemd_unit_state", name=f"{unit}.service")
        return {it.labels["state"] for it in found if it.value}


def ask(prometheus: Prometheus, topic: str) -> PipelineState:
    """Return how the pipeline is.

    Raises:
        SourceError: Prometheus does not answer.
    """
    numbers = Numbers(prometheus.query(_NUMBERS))
    alerts = prometheus.alerts()
    in_topic = _first(prometheus.query(_TOPIC_RATE.format(topic=topic)))
    sent = _first(prometheus.query(_PRODUCER_RATE))
    now = time.time() // STEP * STEP
    span = (now - SPAN, now, STEP)
    told = tuple(it for it in alerts if it.name != ALWAYS)
    worst = _worst_by_part(told)
    parts = (
        _dump(numbers),
        _producer(numbers, sent),
        _topic(numbers, topic, in_topic),
        _job(numbers),
    )
    return PipelineState(
        parts=tuple(_with_alerts(part, worst) for part in parts),
        groups=tuple(_groups(numbers)),
        alerts=told,
        is_watched=len(told) < len(alerts),
        topic_rate=tuple(prometheus.query_range(_TOPIC_RATE.format(topic=topic), *span)),
        lag=tuple(prometheus.query_range(_LAG, *span)),
    )


def _first(samples: list[Sample]) -> float | None:
    return samples[0].value if samples else None


def _worst_by_part(alerts: Iterable[Alert]) -> dict[str, str]:
    found: dict[str, str] = {}
    for alert in alerts:
        part = next((part for start, part in _PARTS_OF_ALERTS if alert.name.startswith(start)), "")
        if part and alert.severity in ("critical", "warning"):
            colour = BAD if (alert.severity, alert.state) == ("critical", "firing") else WARNING
            found[part] = BAD if BAD in (colour, found.get(part)) else colour
    return found


def _with_alerts(part: Part, worst: dict[str, str]) -> Part:
    """Give a part the colour of its worst alert, if its own is better."""
    order = (UNKNOWN, OK, WARNING, BAD)
    colour = max(part.colour, worst.get(part.key, UNKNOWN), key=order.index)
    return Part(part.key, part.title, colour, part.state, part.facts)


def _dump(numbers: Numbers) -> Part:
    age, records = (
        numbers.most("imdb_producer_data_set_age_seconds"),
        numbers.most("imdb_producer_records"),
    )
    facts = _facts(("age", age, duration), ("records", records, whole))
    if records is None:
        return Part("dump", "Dump", UNKNOWN, "not told of", facts)
    return Part("dump", "Dump", OK, "read", facts)


def _producer(numbers: Numbers, sent: float | None) -> Part:
    facts = _facts(
        ("sent", numbers.sum("imdb_producer_position"), whole),
        ("of", numbers.most("imdb_producer_records"), whole),
        ("rate", sent, rate),
        ("kept aside", numbers.sum("imdb_producer_kept_aside") or None, whole),
    )
    states = {it.labels["state"] for it in numbers.all("imdb_producer_state") if it.value}
    if "failed" in states or "failed" in numbers.unit_states("imdb-producer"):
        return Part("producer", "Producer", BAD, "failed", facts)
    for state in ("sending", "preparing", "finished", "stopped"):
        if state in states:
            colour = WARNING if state == "stopped" else OK
            return Part("producer", "Producer", colour, state, facts)
    return Part("producer", "Producer", UNKNOWN, "not told of", facts)


def _topic(numbers: Numbers, topic: str, in_topic: float | None) -> Part:
    up, wanted, _ = numbers.answering("kafka")
    offline = numbers.most("kafka_controller_offline_partitions")
    behind = numbers.sum("kafka_partitions_under_replicated")
    facts = _facts(
        ("rate", in_topic, rate),
        ("brokers", f"{up} of {wanted}" if wanted else None, str),
        ("offline", offline or None, whole),
        ("under-replicated", behind or None, whole),
    )
    title = f"Topic {topic}"
    if not wanted:
        return Part("topic", title, UNKNOWN, "not told of", facts)
    if up == 0 or offline:
        return Part("topic", title, BAD, "no broker" if up == 0 else "partitions offline", facts)
    if up < wanted or behind:
        return Part(
            "topic", title, WARNING, "broker down" if up < wanted else "replicas lag", facts
        )
    return Part("topic", title, OK, "in order", facts)


def _job(numbers: Numbers) -> Part:
    up, wanted, _ = numbers.answering("imdb-streaming")
    lag, waits = (
        numbers.most("imdb_streaming_lag_messages"),
        numbers.most("imdb_streaming_lag_seconds"),
    )
    facts = _facts(
        ("lag", lag, whole),
        ("waits", waits, duration),
        ("rate", numbers.most("imdb_streaming_input_rows_per_second"), rate),
        ("batch", numbers.most("imdb_streaming_batch_duration_seconds"), duration),
    )
    if not wanted:
        return Part("job", "Streaming job", UNKNOWN, "not told of", facts)
    if up == 0:
        return Part("job", "Streaming job", BAD, "down", facts)
    running = numbers.most("imdb_streaming_batch_running_seconds")
    return Part("job", "Streaming job", OK, "batch under way" if running else "waits", facts)


def _groups(numbers: Numbers) -> Iterable[Group]:
    titles = (
        ("node", "Hosts"),
        ("zookeeper", "ZooKeeper servers"),
        ("kafka", "Kafka brokers"),
        ("spark-master", "Spark masters"),
        ("spark-worker", "Spark workers"),
    )
    in_need = numbers.sum("kafka_partitions_under_replicated")
    alive = numbers.most("metrics_master_aliveWorkers_Value")
    notes: dict[str, str] = {}
    if in_need is not None:
        notes["kafka"] = (
            "all replicas in sync" if not in_need else f"{in_need:.0f} partitions lack replicas"
        )
    if alive is not None:
        notes["spark-worker"] = f"{alive:.0f} registered"
    for job, title in titles:
        up, wanted, missing = numbers.answering(job)
        if wanted:
            yield Group(title, up, wanted, missing, notes.get(job, ""))
    cores = [
        it
        for name in ("metrics_executor_totalCores", "metrics_executor_totalCores_total")
        for it in numbers.all(name)
        if it.labels.get("executor_id") != "driver"
    ]
    if cores or numbers.all("up", job="spark-executors"):
        note = f"{sum(it.value for it in cores):.0f} cores"
        yield Group("Executors", len(cores), 0, (), note)


Format = Callable[[float], str]


def _facts(
    *facts: tuple[str, float | str | None, Callable[..., str]],
) -> tuple[tuple[str, str], ...]:
    return tuple((name, say(value)) for name, value, say in facts if value is not None)


def whole(value: float) -> str:
    """Return a whole number with thousands separated."""
    return f"{value:,.0f}"


def rate(value: float) -> str:
    """Return a number of things a second."""
    return f"{value:,.0f}/s" if value >= 100 else f"{value:,.1f}/s"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
