"""The dashboards for Grafana, one for each audience, as code."""

from grafana_dashboards import hosts, kafka, overview, spark

#: Each module's `build` gives one dashboard; the key is the name of its file.
DASHBOARDS = {
    "overview": overview.build,
    "kafka": kafka.build,
    "spark": spark.build,
    "hosts": hosts.build,
}
