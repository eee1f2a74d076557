"""For who runs the hosts: what they are short of, what runs on them, and what ends soon."""

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
    dashboard,
    increase,
    number,
    rate,
    thresholds,
)

_HERE = 'instance=~"$instance"'
_DAY = 86400


def build() -> Dashboard:
    """Return the dashboard."""
    board = dashboard(
        "hosts",
        "IMDb pipeline: hosts",
        "What the hosts are short of, what runs on them, and what ends soon.",
    )
    board.with_variable(choice("instance", "Host", 'label_values(up{job="node"}, instance)'))
    _now(board)
    _processors_and_memory(board)
    _disks_and_network(board)
    _units(board)
    _watching(board)
    return board


def _now(board: Dashboard) -> None:
    board.with_row(Row("Now"))
    for title, query, description, unit, colours in (
        (
            "Hosts that answer",
            'sum(up{job="node"}) / count(up{job="node"})',
            "Share of all hosts, whichever are chosen above.",
            SHARE,
            thresholds(RED, (1, GREEN)),
        ),
        (
            "Units that failed",
            f'sum(node_systemd_unit_state{{state="failed", {_HERE}}})',
            "Units of the pipeline that systemd has given up.",
            "short",
            thresholds(GREEN, (1, RED)),
        ),
        (
            "Least free on a disk",
            f"min(node_filesystem_avail_bytes{{{_HERE}}} / node_filesystem_size_bytes{{{_HERE}}})",
            "Share of the fullest disk.",
            SHARE,
            thresholds(RED, (0.05, ORANGE), (0.2, GREEN)),
        ),
        (
            "Least memory available",
            f"min({_memory()})",
            "Share of the host that has least.",
            SHARE,
            thresholds(RED, (0.05, ORANGE), (0.1, GREEN)),
        ),
        (
            "Ended for want of memory",
            f"sum(node_vmstat_oom_kill{{{_HERE}}})",
            "Processes that the kernel has ended since the hosts began.",
            "short",
            thresholds(GREEN, (1, ORANGE)),
        ),
        (
            "First certificate ends in",
            f"min(imdb_certificate_end_timestamp_seconds{{{_HERE}}}) - time()",
            "No number where the pipeline is not secured. A deployment renews what ends soon.",
            SECONDS,
            thresholds(RED, (7 * _DAY, ORANGE), (21 * _DAY, GREEN)),
        ),
    ):
        board.with_panel(number(title, query, description, unit=unit, colours=colours))


def _memory() -> str:
    return f"node_memory_MemAvailable_bytes{{{_HERE}}} / node_memory_MemTotal_bytes{{{_HERE}}}"


def _processors_and_memory(board: Dashboard) -> None:
    board.with_row(Row("Processors and memory"))
    idle = rate(f'node_cpu_seconds_total{{mode="idle", {_HERE}}}')
    cores = f'count by (instance) (node_cpu_seconds_total{{mode="idle", {_HERE}}})'
    board.with_panel(
        chart(
            "Processors busy",
            {"{{instance}}": f"1 - avg by (instance) ({idle})"},
            "Share of all cores.",
            unit=SHARE,
            most=1,
        )
    )
    board.with_panel(
        chart(
            "Load for each core",
            {"{{instance}}": f"sum by (instance) (node_load5{{{_HERE}}}) / {cores}"},
            "Above 1 processes wait for a core, or for the disk.",
        )
    )
    board.with_panel(
        chart(
            "Memory available",
            {"{{instance}}": _memory()},
            "Share that the kernel could give without swapping.",
            unit=SHARE,
            most=1,
        )
    )
    board.with_panel(
        chart(
            "Clock",
            {
                "{{instance}}": f"node_time_seconds{{{_HERE}}}"
                f" - timestamp(node_time_seconds{{{_HERE}}})"
            },
            "Seconds that a host's clock is ahead of that of Prometheus.",
            unit=SECONDS,
            least=None,
        )
    )


def _disks_and_network(board: Dashboard) -> None:
    board.with_row(Row("Disks and network"))
    board.with_panel(
        chart(
            "Disk used",
            {
                "{{instance}} {{mountpoint}}": f"1 - node_filesystem_avail_bytes{{{_HERE}}}"
                f" / node_filesystem_size_bytes{{{_HERE}}}"
            },
            "Share of each file system.",
            unit=SHARE,
            most=1,
        )
    )
    board.with_panel(
        chart(
            "Disk busy",
            {"{{instance}} {{device}}": rate(f"node_disk_io_time_seconds_total{{{_HERE}}}")},
            "Share of the time with requests in flight. Local hosts see their machine's disks.",
            unit=SHARE,
        )
    )
    board.with_panel(
        chart(
            "Read and written",
            {
                "{{instance}} read": _by_host("node_disk_read_bytes_total"),
                "{{instance}} written": _by_host("node_disk_written_bytes_total"),
            },
            "Bytes a second of all disks.",
            unit=BYTES_RATE,
        )
    )
    board.with_panel(
        chart(
            "Network",
            {
                "{{instance}} received": _by_host("node_network_receive_bytes_total", _OUTSIDE),
                "{{instance}} sent": _by_host("node_network_transmit_bytes_total", _OUTSIDE),
            },
            "Bytes a second, without what a host sends to itself.",
            unit=BYTES_RATE,
        )
    )


_OUTSIDE = ', device!="lo"'


def _by_host(counter: str, labels: str = "") -> str:
    return f"sum by (instance) ({rate(f'{counter}{{{_HERE}{labels}}}')})"


def _units(board: Dashboard) -> None:
    board.with_row(Row("Units"))
    board.with_panel(
        chart(
            "Units that run",
            {
                "{{instance}} {{name}}": "max by (instance, name) "
                f'(node_systemd_unit_state{{state="active", {_HERE}}})'
            },
            "1 for a unit that is active, as a producer is that has sent everything.",
            most=1,
        )
    )
    board.with_panel(
        chart(
            "Ended for want of memory",
            {"{{instance}}": increase(f"node_vmstat_oom_kill{{{_HERE}}}")},
            "Processes that the kernel has ended; its log says which.",
        )
    )


def _watching(board: Dashboard) -> None:
    board.with_row(Row("Prometheus"))
    board.with_panel(
        chart(
            "Scrapes",
            {"{{job}}": "max by (job) (scrape_duration_seconds)"},
            "Time that the slowest scrape of each job took.",
            unit=SECONDS,
        )
    )
    board.with_panel(
        chart(
            "Samples",
            {"samples": f"sum({rate('prometheus_tsdb_head_samples_appended_total')})"},
            "Numbers a second that are kept.",
            unit=RATE,
            width=6,
        )
    )
    board.with_panel(
        chart(
            "Kept on disk",
            {"blocks": "sum(prometheus_tsdb_storage_blocks_bytes)"},
            "0 for the first hours; prometheus_retention_mb bounds it.",
            unit=BYTES,
            width=6,
        )
    )
