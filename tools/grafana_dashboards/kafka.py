"""For who runs Kafka and ZooKeeper: replicas, the topic, the brokers' load, the ensemble."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana_dashboards.panels import (
    BYTES,
    BYTES_RATE,
    GREEN,
    ORANGE,
    RATE,
    RED,
    SECONDS,
    SHARE,
    chart,
    choice,
    collections,
    dashboard,
    heap,
    increase,
    number,
    rate,
    thresholds,
)

_HERE = 'instance=~"$instance"'
_TOPIC = 'topic=~"$topic"'
_NONE = thresholds(GREEN, (1, RED))


def build() -> Dashboard:
    """Return the dashboard."""
    board = dashboard(
        "kafka",
        "IMDb pipeline: Kafka and ZooKeeper",
        "Replicas, the topic, the brokers' load, and the ensemble.",
    )
    board.with_variable(
        choice("instance", "Host", 'label_values(up{job=~"kafka|zookeeper"}, instance)')
    )
    board.with_variable(choice("topic", "Topic", "label_values(kafka_partition_end_offset, topic)"))
    _replicas(board)
    _topic(board)
    _load(board)
    _zookeeper(board)
    return board


def _replicas(board: Dashboard) -> None:
    board.with_row(Row("Brokers and replicas"))
    for title, query, description, colours in (
        (
            "Brokers that answer",
            'sum(up{job="kafka"})',
            "Of all hosts, whichever are chosen above, as the next ones.",
            thresholds(RED, (1, GREEN)),
        ),
        (
            "Controllers",
            "sum(kafka_controller_active)",
            "One broker must be the controller.",
            thresholds(RED, (1, GREEN), (2, RED)),
        ),
        (
            "Partitions offline",
            "sum(kafka_controller_offline_partitions)",
            "They have no leader: nobody can write to them or read them.",
            _NONE,
        ),
        (
            "Under min ISR",
            "sum(kafka_partitions_under_min_isr)",
            "Partitions that take no writes, as too few replicas are in sync.",
            _NONE,
        ),
        (
            "Under-replicated",
            "sum(kafka_partitions_under_replicated)",
            "Partitions with replicas that are not in sync.",
            thresholds(GREEN, (1, ORANGE)),
        ),
        (
            "Log folders offline",
            "sum(kafka_log_dirs_offline)",
            "Folders of data that brokers have given up.",
            _NONE,
        ),
    ):
        board.with_panel(number(title, query, description, colours=colours))
    board.with_panel(
        chart(
            "Partitions by broker",
            {
                "{{instance}} leads": f"kafka_partitions_led{{{_HERE}}}",
                "{{instance}} holds": f"kafka_partitions{{{_HERE}}}",
            },
            "Partitions that each broker leads, and those of which it has a replica.",
        )
    )
    board.with_panel(
        chart(
            "ISR shrinks",
            {"{{instance}}": increase(f"kafka_isr_shrinks_total{{{_HERE}}}")},
            "Times that replicas fell out of sync. A restart of a broker is seen here.",
        )
    )


def _by_topic(counter: str) -> str:
    return f"sum by (topic) ({rate(f'{counter}{{{_HERE}, {_TOPIC}}}')})"


def _by_partition(gauge: str) -> str:
    # Of the replicas, that which knows most.
    return f"max by (topic, partition) ({gauge}{{{_TOPIC}}})"


def _topic(board: Dashboard) -> None:
    board.with_row(Row("Topic"))
    board.with_panel(
        chart(
            "Messages in",
            {"{{topic}}": _by_topic("kafka_topic_messages_in_total")},
            "Messages a second that the brokers took in.",
            unit=RATE,
        )
    )
    board.with_panel(
        chart(
            "Bytes in and out",
            {
                "{{topic}} in": _by_topic("kafka_topic_bytes_in_total"),
                "{{topic}} out": _by_topic("kafka_topic_bytes_out_total"),
            },
            "Bytes a second from producers and to consumers, compressed as they are sent.",
            unit=BYTES_RATE,
        )
    )
    board.with_panel(
        chart(
            "Messages kept",
            {
                "{{topic}} {{partition}}": f"{_by_partition('kafka_partition_end_offset')}"
                f" - {_by_partition('kafka_partition_start_offset')}"
            },
            "Offsets from the first message to the last, by partition. Retention makes it fall.",
        )
    )
    board.with_panel(
        chart(
            "Size on disk",
            {
                "{{instance}} {{topic}}": "sum by (instance, topic) "
                f"(kafka_partition_bytes{{{_HERE}, {_TOPIC}}})"
            },
            "Bytes of all replicas on a broker.",
            unit=BYTES,
        )
    )


def _load(board: Dashboard) -> None:
    board.with_row(Row("Load of the brokers"))
    board.with_panel(
        chart(
            "Idle threads",
            {
                "{{instance}} requests": f"kafka_request_handler_idle_ratio{{{_HERE}}}",
                "{{instance}} network": f"kafka_network_processor_idle_ratio{{{_HERE}}}",
            },
            "Share of the time without work. Below 20 % a broker is near its limit.",
            unit=SHARE,
            most=1,
        )
    )
    board.with_panel(
        chart(
            "Requests, 99th percentile",
            {"{{instance}} {{request}}": f"kafka_request_p99_seconds{{{_HERE}}}"},
            "A fetch waits on purpose until there is something to give.",
            unit=SECONDS,
        )
    )
    board.with_panel(heap("kafka", _HERE))
    board.with_panel(collections("kafka", _HERE))


def _zookeeper(board: Dashboard) -> None:
    board.with_row(Row("ZooKeeper"))
    board.with_panel(
        number(
            "Servers that serve",
            "count(zookeeper_role) or vector(0)",
            "A server that elects has no role, and serves nobody.",
            colours=thresholds(RED, (1, GREEN)),
        )
    )
    board.with_panel(
        number(
            "Roles",
            f"zookeeper_role{{{_HERE}}}",
            "What each server is: leader, follower, or standalone where it is the only one.",
            legend="{{instance}} {{role}}",
            name_only=True,
            width=8,
        )
    )
    board.with_panel(
        number(
            "Requests that wait",
            "sum(zookeeper_outstanding_requests)",
            "Of all servers. Most often it is the disk that they wait for.",
            colours=thresholds(GREEN, (10, RED)),
        )
    )
    board.with_panel(
        number(
            "Nodes",
            "max(zookeeper_nodes)",
            "Nodes that the ensemble holds.",
        )
    )
    board.with_panel(
        number(
            "Connections",
            "sum(zookeeper_connections)",
            "Connections of clients to all servers.",
        )
    )
    board.with_panel(
        chart(
            "Packets",
            {
                "{{instance}} received": rate(f"zookeeper_packets_received_total{{{_HERE}}}"),
                "{{instance}} sent": rate(f"zookeeper_packets_sent_total{{{_HERE}}}"),
            },
            "Packets a second, health checks among them.",
            unit=RATE,
        )
    )
    board.with_panel(
        chart(
            "Latency",
            {
                "{{instance}} average": f"zookeeper_request_latency_average_seconds{{{_HERE}}}",
                "{{instance}} longest": f"zookeeper_request_latency_max_seconds{{{_HERE}}}",
            },
            "Time that a request took, since the server began.",
            unit=SECONDS,
        )
    )
    board.with_panel(heap("zookeeper", _HERE))
    board.with_panel(collections("zookeeper", _HERE))
