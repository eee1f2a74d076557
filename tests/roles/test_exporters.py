"""The metrics of a host at one port: which, for whom, and how its services are confined."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from ..waiting import wait_for
from .checks import has_user, is_confined, is_kept_from, is_up, runs_as

testinfra_hosts = ["ansible://all"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("imdb-exporters")]

UNITS = ("imdb-exporters", "imdb-node-exporter")
SETTINGS = "/etc/imdb-exporters/nginx.conf"
#: Prints the status and the body of an answer, or what became of the attempt.
ASK = """
import ssl, sys, urllib.error, urllib.request as r
url, ca, certificate = sys.argv[1:]
context = ssl.create_default_context(cafile=ca) if ca else None
if certificate:
    context.load_cert_chain(certificate)
opener = r.build_opener(r.ProxyHandler({}), *([r.HTTPSHandler(context=context)] if ca else []))
try:
    answer = opener.open(url, timeout=12)
    print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
except (OSError, r.http.client.HTTPException) as error:
    print("refused", error)
"""


@pytest.fixture(autouse=True)
def metrics_are_served(variables: HostVariables) -> None:
    """Leave out pipelines without monitoring."""
    with suppress(KeyError):  # a scenario of the role's own knows no pipeline
        if not variables["pipeline_monitoring"]:
            pytest.skip("pipeline_monitoring is false")


def ask(host: Host, variables: HostVariables, path: str, service: str = "prometheus") -> str:
    """Return what a path answers to who has the certificate of a service; with none to nobody."""
    secured = variables["exporters_certificate"]
    address = variables["exporters_address"]
    if address == "0.0.0.0":
        address = variables["host_address"]
    url = f"{'https' if secured else 'http'}://{address}:{variables['exporters_port']}/{path}"
    ca = variables["exporters_ca"]
    certificate = f"{ca.rpartition('/')[0]}/{service}.pem" if secured and service else ""
    with host.sudo():
        return str(host.check_output("python3 -c %s %s %s %s", ASK, url, ca, certificate))


@pytest.fixture
def asked_by_prometheus(host: Host, variables: HostVariables) -> None:
    """Leave out secured hosts that have no certificate of Prometheus."""
    ca = variables["exporters_ca"]
    if ca and not host.file(f"{ca.rpartition('/')[0]}/prometheus.pem").exists:
        pytest.skip("the certificate of Prometheus is on another host")


@pytest.mark.parametrize("unit", UNITS)
def test_service_runs_at_boot_as_its_user(host: Host, variables: HostVariables, unit: str) -> None:
    is_up(host, unit)
    has_user(host, variables["exporters_user"], variables["exporters_uid"])
    runs_as(host, unit, variables["exporters_user"])


@pytest.mark.usefixtures("asked_by_prometheus")
def test_the_host_tells_of_itself_and_of_its_units(host: Host, variables: HostVariables) -> None:
    said = ask(host, variables, "node")
    assert said.startswith("200 ")
    for name in ("memory_MemAvailable_bytes", "time_seconds", "vmstat_oom_kill"):
        assert re.search(rf"^node_{name} ", said, re.MULTILINE), name
    assert re.search(r'^node_filesystem_avail_bytes{.*mountpoint="/"', said, re.MULTILINE)
    for unit in variables["exporters_units"]:
        assert f'node_systemd_unit_state{{name="{unit}"' in said


@pytest.mark.usefixtures("asked_by_prometheus")
def test_sources_are_served_or_told_to_be_down(host: Host, variables: HostVariables) -> None:
    said = {it["path"]: ask(host, variables, it["path"]) for it in variables["exporters_sources"]}
    answers = {path: text.split()[0] for path, text in said.items()}
    # Prometheus answers so where it is asked for nothing.
    queries = {path for path in answers if path.startswith("prometheus-query")}
    assert {answers.pop(path) for path in queries} <= {"400", "502"}
    assert set(answers.values()) <= {"200", "502", "504"}, answers
    assert "200" in answers.values() or not answers
    assert answers.get("nobody", "502") == "502"
    assert ask(host, variables, "").startswith("404")


def test_a_file_of_metrics_is_served(host: Host, variables: HostVariables) -> None:
    planted = [it["path"] for it in variables["exporters_textfiles"] if it["name"] == "planted"]
    if not planted:
        pytest.skip("the scenario default plants a file")
    with host.sudo():
        host.check_output("echo planted_metric 7 >%s; chmod 0644 %s", planted[0], planted[0])
    wait_for(
        "it is served",
        lambda: ask(host, variables, "node"),
        lambda said: "planted_metric 7" in said,
        30,
    )


def test_who_has_no_certificate_is_told_nothing(host: Host, variables: HostVariables) -> None:
    if not variables["exporters_certificate"]:
        pytest.skip("metrics are served in the clear")
    assert "node_" not in ask(host, variables, "node", service="")
    # Neither is who has that of another service.
    for other in ("kafka", "zookeeper"):
        file = f"{variables['exporters_ca'].rpartition('/')[0]}/{other}.pem"
        if variables["exporters_clients"] and host.file(file).exists:
            assert ask(host, variables, "node", service=other).startswith("403")


def test_nothing_else_listens_for_others(host: Host, variables: HostVariables) -> None:
    with host.sudo():
        found = host.check_output("ss -Hltnp")
    for line in found.splitlines():
        if re.search(r'"(nginx|prometheus-node)', line):
            address, _, port = line.split()[3].rpartition(":")
            own = port == str(variables["exporters_port"])
            assert own or address == "127.0.0.1", line


def test_debians_own_services_do_not_run(host: Host) -> None:
    for unit in ("nginx", "prometheus-node-exporter"):
        assert not host.service(unit).is_running


def test_settings_are_not_its_own_to_change(host: Host, variables: HostVariables) -> None:
    is_kept_from(host, SETTINGS, variables["exporters_user"])


def test_is_confined(host: Host) -> None:
    is_confined(host, *UNITS)
