"""What the dashboards are made of: panels of one size and style, over one Prometheus."""

from __future__ import annotations

from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as Chart
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

#: By which the dashboards find one another.
TAG = "imdb-pipeline"
#: The data source that is chosen at the top of a dashboard.
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
#: Columns of a dashboard, and the sizes of panels in it.
COLUMNS = 24
STAT_HEIGHT, CHART_HEIGHT = 4, 8
GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"

# Grafana's names of units.
COUNT = "short"
RATE = "cps"
SECONDS = "s"
BYTES = "bytes"
BYTES_RATE = "Bps"
SHARE = "percentunit"


def rate(series: str) -> str:
    """Return how much a counter grows a second, over a time that fits the scrapes."""
    return f"rate({series}[$__rate_interval])"


def increase(series: str) -> str:
    """Return how much a counter has grown, over a time that fits the scrapes."""
    return f"increase({series}[$__rate_interval])"


def dashboard(name: str, title: str, description: str) -> Dashboard:
    """Return a dashboard without panels, with links to the others."""
    return (
        Dashboard(title)
        .uid(f"imdb-{name}")
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            DashboardLink("IMDb pipeline")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
        )
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )


def choice(name: str, label: str, query: str) -> QueryVariable:
    """Return a variable: any of the values that a query gives, or all."""
    return (
        QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def thresholds(first: str, *steps: tuple[float, str]) -> ThresholdsConfig:
    """Return colours: the first, and from each value on the one that is given with it."""
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps(
            [
                Threshold(value=None, color=first),
                *(Threshold(value, color) for value, color in steps),
            ]
        )
    )


def _query() -> Dataquery:
    # As Grafana itself saves it: of the panel's own data source a reader need not know.
    return Dataquery().datasource(SOURCE)


def number(
    title: str,
    query: str,
    description: str,
    *,
    unit: str = COUNT,
    colours: ThresholdsConfig | None = None,
    legend: str = "",
    name_only: bool = False,
    width: int = 4,
) -> Stat:
    """Return a number of now; with a legend, one for each series."""
    panel = (
        Stat()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(STAT_HEIGHT)
        .span(width)
        .thresholds(colours or thresholds(BLUE))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query().ref_id("A").expr(query).legend_format(legend or title).instant())
    )
    if name_only:
        panel.text_mode(BigValueTextMode.NAME)
    elif legend:
        panel.text_mode(BigValueTextMode.VALUE_AND_NAME)
    return panel


def chart(
    title: str,
    queries: dict[str, str],
    description: str,
    *,
    unit: str = COUNT,
    least: float | None = 0,
    most: float | None = None,
    stacked: bool = False,
    width: int = 12,
) -> Chart:
    """Return lines over time; the keys of the queries are the legends of their series."""
    panel = (
        Chart()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(CHART_HEIGHT)
        .span(width)
        .fill_opacity(40 if stacked else 8)
        .line_width(1)
        .legend(
            VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if least is not None:
        panel.min(least)
    if most is not None:
        panel.max(most)
    if stacked:
        panel.stacking(StackingConfig().mode(StackingMode.NORMAL))
    for letter, (legend, query) in zip("ABCDEFGH", queries.items(), strict=False):
        panel.with_target(_query().ref_id(letter).expr(query).legend_format(legend).range())
    return panel


def heap(job: str, labels: str) -> Chart:
    """Return what a service's JVM has in its heap."""
    chosen = f'{{job="{job}", area="heap", {labels}}}'
    return chart(
        "Heap",
        {
            "{{instance}} used": f"jvm_memory_used_bytes{chosen}",
            "{{instance}} at most": f"jvm_memory_max_bytes{chosen}",
        },
        "Memory of the JVM's heap.",
        unit=BYTES,
    )


def collections(job: str, labels: str) -> Chart:
    """Return for how long a service's JVM stands still to collect garbage."""
    spent = rate(f'jvm_gc_collection_seconds_sum{{job="{job}", {labels}}}')
    return chart(
        "Garbage collection",
        {"{{instance}}": f"sum by (instance) ({spent})"},
        "Share of the time that the JVM spends on it.",
        unit=SHARE,
    )
