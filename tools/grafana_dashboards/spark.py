"""For who runs the streaming job: its batches, what feeds it, and what it runs on."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana_dashboards.panels import (
    BYTES,
    GREEN,
    ORANGE,
    RATE,
    RED,
    SECONDS,
    SHARE,
    chart,
    dashboard,
    number,
    rate,
    thresholds,
)

_ANY_IS_BAD = thresholds(GREEN, (1, RED))
_ANY_IS_STRANGE = thresholds(GREEN, (1, ORANGE))


def build() -> Dashboard:
    """Return the dashboard."""
    board = dashboard(
        "spark",
        "IMDb pipeline: Spark and the job",
        "The job's batches, what feeds it, and what it runs on.",
    )
    _job(board)
    _batches(board)
    _producer(board)
    _cluster(board)
    return board


def _job(board: Dashboard) -> None:
    board.with_row(Row("The job"))
    for title, query, description, unit, colours in (
        (
            "Last batch ended",
            "time() - max(imdb_streaming_last_success_timestamp_seconds)",
            "So long ago. An idle job ends no batch.",
            SECONDS,
            thresholds(GREEN),
        ),
        (
            "Lag",
            "max(imdb_streaming_lag_messages)",
            "Messages in the topic that the job has not read yet.",
            "short",
            thresholds(GREEN),
        ),
        (
            "Dead letters",
            "max(imdb_streaming_dead_letters_total)",
            "Messages that broke the contract, since the run began.",
            "short",
            _ANY_IS_STRANGE,
        ),
        (
            "Duplicates",
            "max(imdb_streaming_duplicates_total)",
            "Messages that were sent again and became no rows, since the run began.",
            "short",
            thresholds(GREEN),
        ),
        (
            "Stale",
            "max(imdb_streaming_stale_total)",
            "Messages older than what their movie had, since the run began.",
            "short",
            _ANY_IS_STRANGE,
        ),
        (
            "Lost",
            "max(imdb_streaming_lost_messages_total)",
            "Messages that were gone before they were read, and that somebody accepted.",
            "short",
            _ANY_IS_BAD,
        ),
    ):
        board.with_panel(number(title, query, description, unit=unit, colours=colours))


def _batches(board: Dashboard) -> None:
    board.with_row(Row("Batches"))
    board.with_panel(
        chart(
            "Messages and rows",
            {
                "messages read": f"sum({rate('imdb_streaming_input_rows_total')})",
                "rows written": f"sum({rate('imdb_streaming_written_rows_total')})",
                "the last batch managed": "max(imdb_streaming_processed_rows_per_second)",
            },
            "A second. What a batch manages must stay above what comes in.",
            unit=RATE,
        )
    )
    board.with_panel(
        chart(
            "Time",
            {
                "last batch took": "max(imdb_streaming_batch_duration_seconds)",
                "batch in flight runs for": "max(imdb_streaming_batch_running_seconds)",
                "oldest message waits": "max(imdb_streaming_lag_seconds)",
            },
            "A batch must take less than the trigger interval, or the lag grows.",
            unit=SECONDS,
        )
    )
    board.with_panel(
        chart(
            "What the last batch held",
            {
                "rows written": "max(imdb_streaming_batch_written_rows)",
                "dead letters": "max(imdb_streaming_batch_dead_letters)",
                "duplicates": "max(imdb_streaming_batch_duplicates)",
                "stale": "max(imdb_streaming_batch_stale)",
            },
            "Messages, by what became of them.",
            stacked=True,
        )
    )
    board.with_panel(
        chart(
            "Movies that the job remembers",
            {"{{instance}}": "imdb_streaming_index_bytes"},
            "Memory in the driver for the last version of each movie. It grows with their number.",
            unit=BYTES,
        )
    )


def _producer(board: Dashboard) -> None:
    board.with_row(Row("The producer"))
    board.with_panel(
        number(
            "State",
            "max by (state) (imdb_producer_state) == 1",
            "What it does now, or how it ended.",
            legend="{{state}}",
            name_only=True,
        )
    )
    board.with_panel(
        number(
            "Delivered",
            "max(imdb_producer_position) / max(imdb_producer_records)",
            "Share of the data set that the brokers have acknowledged.",
            unit=SHARE,
        )
    )
    board.with_panel(
        number(
            "Kept aside",
            "max(imdb_producer_kept_aside)",
            "Records that the broker refused: docs/producer.md says what to do.",
            colours=_ANY_IS_BAD,
        )
    )
    board.with_panel(
        chart(
            "Records",
            {
                "acknowledged": f"sum({rate('imdb_producer_position')})",
                "sent once more": f"sum({rate('imdb_producer_retries_total')})",
            },
            "A second.",
            unit=RATE,
        )
    )


def _cluster(board: Dashboard) -> None:
    board.with_row(Row("Spark"))
    board.with_panel(
        number(
            "Masters that answer",
            'sum(up{job="spark-master"})',
            "One leads, the others wait.",
            colours=thresholds(RED, (1, GREEN)),
        )
    )
    board.with_panel(
        number(
            "Workers registered",
            "max(metrics_master_aliveWorkers_Value)",
            "With the master that leads.",
            colours=thresholds(RED, (1, GREEN)),
        )
    )
    board.with_panel(
        number(
            "Applications",
            "max(metrics_master_apps_Value)",
            "One is the job.",
            colours=thresholds(RED, (1, GREEN)),
        )
    )
    board.with_panel(
        chart(
            "Cores of the workers",
            {
                "{{instance}} used": "metrics_worker_coresUsed_Value",
                "{{instance}} free": "metrics_worker_coresFree_Value",
            },
            "What executors have, and what is left.",
            stacked=True,
        )
    )
    board.with_panel(
        chart(
            "Tasks of the executors",
            {
                "{{executor_id}} active": "sum by (executor_id) (metrics_executor_activeTasks)",
                "failed, all": "sum(metrics_executor_failedTasks_total)",
            },
            "Tasks that run, and those that have failed since the job began.",
        )
    )
    board.with_panel(
        chart(
            "Garbage collection of the executors",
            {
                "{{executor_id}}": "sum by (executor_id) "
                f"({rate('metrics_executor_totalGCTime_seconds_total')})"
            },
            "Share of the time, over all their tasks. Spark counts the driver among them.",
            unit=SHARE,
        )
    )
    board.with_panel(
        chart(
            "Heap of the executors",
            {"{{executor_id}}": "sum by (executor_id) (metrics_executor_JVMHeapMemory_bytes)"},
            "Memory of their JVMs' heaps at its highest.",
            unit=BYTES,
        )
    )
