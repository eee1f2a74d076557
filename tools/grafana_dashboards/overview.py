"""For everybody: whether the movies arrive, how fast, and what is wrong."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana_dashboards.panels import (
    COUNT,
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

_ALWAYS_UP = 'job=~"node|zookeeper|kafka|spark-master|spark-worker"'
_LED = 'job=~"imdb-streaming|spark-driver|spark-executors"'


def build() -> Dashboard:
    """Return the dashboard."""
    board = dashboard(
        "overview",
        "IMDb pipeline: overview",
        "Whether the movies arrive, how fast, and what is wrong.",
    )
    _now(board)
    _flow(board)
    _parts(board)
    return board


def _now(board: Dashboard) -> None:
    board.with_row(Row("Now"))
    board.with_panel(
        number(
            "Movies in silver_movies",
            "max(imdb_streaming_silver_rows)",
            "Rows of the table, each a version of a movie.",
        )
    )
    board.with_panel(
        number(
            "Into the topic",
            f"sum({rate('kafka_topic_messages_in_total')})",
            "Messages a second that the brokers took in.",
            unit=RATE,
        )
    )
    board.with_panel(
        number(
            "Lag",
            "max(imdb_streaming_lag_messages)",
            "Messages in the topic that the job has not read yet.",
        )
    )
    board.with_panel(
        number(
            "Oldest waits for",
            "max(imdb_streaming_lag_seconds)",
            "For how long at most one of these messages has waited; 0 for none.",
            unit=SECONDS,
            colours=thresholds(GREEN, (60, ORANGE), (120, RED)),
        )
    )
    board.with_panel(
        number(
            "Dead letters",
            "max(imdb_streaming_dead_letters_total)",
            "Messages that broke the contract, since the run began: see the table dead_letters.",
            colours=thresholds(GREEN, (1, ORANGE)),
        )
    )
    board.with_panel(
        number(
            "Alerts that fire",
            'count(ALERTS{alertstate="firing", severity!="info"}) or vector(0)',
            "Critical ones and warnings; docs/runbook.md says what to do about each.",
            colours=thresholds(GREEN, (1, RED)),
        )
    )


def _flow(board: Dashboard) -> None:
    board.with_row(Row("The flow"))
    board.with_panel(
        chart(
            "From the producer to the table",
            {
                "acknowledged to the producer": f"sum({rate('imdb_producer_position')})",
                "into the topic": f"sum({rate('kafka_topic_messages_in_total')})",
                "read by the job": f"sum({rate('imdb_streaming_input_rows_total')})",
                "written to silver_movies": f"sum({rate('imdb_streaming_written_rows_total')})",
            },
            "Messages a second at each step. The job works in batches, so its lines are stairs.",
            unit=RATE,
        )
    )
    board.with_panel(
        chart(
            "Lag",
            {"messages not read yet": "max(imdb_streaming_lag_messages)"},
            "Saw teeth are right: it grows until the next batch.",
        )
    )
    board.with_panel(
        chart(
            "Time",
            {
                "oldest message waits": "max(imdb_streaming_lag_seconds)",
                "last batch took": "max(imdb_streaming_batch_duration_seconds)",
            },
            "A batch must take less than the trigger interval, or the lag grows.",
            unit=SECONDS,
        )
    )
    board.with_panel(
        chart(
            "Delivered of the data set",
            {
                "delivered": "max(imdb_producer_position)",
                "to be delivered": "max(imdb_producer_records)",
            },
            "Records of the data set that the brokers have acknowledged, and all of it.",
        )
    )


def _parts(board: Dashboard) -> None:
    board.with_row(Row("The parts"))
    board.with_panel(
        number(
            "Answer",
            f"sum by (job) (up{{{_ALWAYS_UP}}}) / count by (job) (up{{{_ALWAYS_UP}}})",
            "Share of the hosts, servers, brokers, masters and workers whose metrics answer.",
            unit=SHARE,
            legend="{{job}}",
            colours=thresholds(RED, (0.5, ORANGE), (1, GREEN)),
            width=12,
        )
    )
    board.with_panel(
        number(
            "The job answers",
            f"max by (job) (up{{{_LED}}})",
            "1 for what answers on some host: of several hosts one leads.",
            legend="{{job}}",
            colours=thresholds(RED, (1, GREEN)),
            width=8,
        )
    )
    board.with_panel(
        number(
            "The producer",
            "max by (state) (imdb_producer_state) == 1",
            "Its present state.",
            legend="{{state}}",
            name_only=True,
        )
    )
    board.with_panel(
        chart(
            "Alerts that fire",
            {"{{severity}}": 'count by (severity) (ALERTS{alertstate="firing"})'},
            "By severity. One of severity info, the Watchdog, always fires.",
            unit=COUNT,
            width=24,
        )
    )
