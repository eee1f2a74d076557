"""Certificates of a host: closed to others, signed by the CA, for the host's names."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from typing import Any

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from ..waiting import wait_for
from .checks import is_confined

METRICS = "/run/imdb-certificates.prom"

testinfra_hosts = ["ansible://all"]
pytestmark = pytest.mark.verify


@pytest.fixture(autouse=True)
def certificates_are_there(variables: HostVariables) -> None:
    """Leave out pipelines without security."""
    with suppress(KeyError):  # a scenario of the role's own knows no pipeline
        if not variables["pipeline_security"]:
            pytest.skip("pipeline_security is false")


def path(variables: HostVariables, name: str, ending: str = "pem") -> str:
    """Return a file of the role's."""
    return f"{variables['certificates_folder']}/{name}.{ending}"


def endings(service: dict[str, Any]) -> list[str]:
    """Return the endings of the files that a service has."""
    return ["pem", "p12"] if service.get("pkcs12") else ["pem"]


def x509(host: Host, file: str, *options: str) -> str:
    """Return what openssl says of the first certificate in a file."""
    with host.sudo():
        return str(
            host.check_output(shlex.join(["openssl", "x509", "-noout", *options, "-in", file]))
        )


def test_each_certificate_is_for_root_and_its_service(host: Host, variables: HostVariables) -> None:
    for service in variables["certificates_services"]:
        for ending in endings(service):
            with host.sudo():
                file = host.file(path(variables, service["name"], ending))
                assert (file.mode, file.uid, file.gid) == (0o640, 0, service["gid"])


def test_each_is_signed_by_the_ca_for_the_service_at_its_names(
    host: Host, variables: HostVariables
) -> None:
    authority = path(variables, "ca")
    for service in variables["certificates_services"]:
        file = path(variables, service["name"])
        with host.sudo():
            for purpose in ("sslserver", "sslclient"):
                host.check_output(f"openssl verify -purpose {purpose} -CAfile {authority} {file}")
        assert x509(host, file, "-subject") == f"subject=CN = {service['name']}"
        held = x509(host, file, "-ext", "subjectAltName")
        for name in variables["certificates_names"]:
            assert f":{name}" in held


def test_each_lasts_as_long_as_asked(host: Host, variables: HostVariables) -> None:
    for service in variables["certificates_services"]:
        days = int(variables["certificates_renew_days"])
        x509(host, path(variables, service["name"]), "-checkend", str(days * 86400))


def test_each_private_key_is_of_its_certificate(host: Host, variables: HostVariables) -> None:
    for service in variables["certificates_services"]:
        file = path(variables, service["name"])
        with host.sudo():
            public = host.check_output(f"openssl pkey -pubout -in {file}")
            # The kind that Kafka reads.
            assert host.file(file).content_string.startswith("-----BEGIN PRIVATE KEY-----")
        assert public == x509(host, file, "-pubkey")


def test_a_file_in_pkcs12_format_holds_the_same(host: Host, variables: HostVariables) -> None:
    password = shlex.quote(f"pass:{variables['certificates_pkcs12_password']}")
    for service in variables["certificates_services"]:
        if not service.get("pkcs12"):
            continue
        file = path(variables, service["name"], "p12")
        with host.sudo():
            opened = host.check_output(f"openssl pkcs12 -nodes -passin {password} -in {file}")
            written = host.file(path(variables, service["name"])).content_string
        assert sorted(blocks(opened)) == sorted(blocks(written))


def blocks(text: str) -> list[str]:
    """Return the keys and certificates in a text."""
    return re.findall(r"-----BEGIN.*?-----END", text, re.DOTALL)


def test_all_of_them_can_be_read_by_everybody_without_their_keys(
    host: Host, variables: HostVariables
) -> None:
    public = host.file(path(variables, "certificates"))
    assert public.mode == 0o644
    assert "PRIVATE" not in public.content_string
    for service in variables["certificates_services"]:
        _, _, named = public.content_string.partition(f"\n# {service['name']}\n")
        with host.sudo():
            own = host.file(path(variables, service["name"])).content_string
        assert blocks(named)[0] in own


def test_their_ends_are_told_at_once_and_daily(host: Host, variables: HostVariables) -> None:
    timer = host.service("imdb-certificates.timer")
    assert timer.is_running
    assert timer.is_enabled
    told = wait_for(
        "what tells the ends has run since the certificates were made",
        lambda: host.run(f"find {METRICS} -newer {path(variables, 'certificates')}").stdout,
        bool,
        30,
    )
    assert told.strip() == METRICS
    shown = host.file(METRICS)
    assert (shown.mode, shown.uid) == (0o644, 0)
    lines = shown.content_string.splitlines()
    assert [line for line in lines if not line.startswith(("# ", "imdb_certificate"))] == []
    for name in ["ca", *(it["name"] for it in variables["certificates_services"])]:
        end = x509(host, path(variables, name), "-enddate").removeprefix("notAfter=")
        moment = host.check_output("date --date=%s +%%s", end)
        assert re.search(rf'{{name="{name}",.*}} {moment}$', shown.content_string, re.MULTILINE)


def test_who_tells_their_ends_can_read_no_key(host: Host) -> None:
    is_confined(host, "imdb-certificates")
    unit = "systemctl show imdb-certificates.service --value --property"
    assert host.check_output(f"{unit}=DynamicUser") == "yes"
    assert host.check_output(f"{unit}=CapabilityBoundingSet") == ""
    assert host.check_output(f"{unit}=SupplementaryGroups") == ""


def test_the_journal_warns_of_those_that_end_soon_and_of_no_others(
    host: Host, variables: HostVariables
) -> None:
    with host.sudo():
        host.check_output("systemctl start imdb-certificates.service && journalctl --sync")
        run = host.check_output(
            "systemctl show --property=InvocationID --value imdb-certificates.service"
        )
        warned = host.check_output(
            f"journalctl --quiet --output=cat --priority=warning _SYSTEMD_INVOCATION_ID={run}"
        )
    names = [it["name"] for it in variables["certificates_services"]]
    # A certificate lasts longer than it is warned of, but for a scenario of the role's own.
    days = int(variables["certificates_warn_days"])
    soon = names if days > int(variables["certificates_valid_days"]) else []
    assert re.findall(r"^The certificate of (\S+) .* ends on", warned, re.MULTILINE) == sorted(soon)


def test_node_exporter_is_given_them_where_it_is(host: Host, variables: HostVariables) -> None:
    folder = host.file(variables["certificates_metrics_folder"])
    given = host.file(f"{variables['certificates_metrics_folder']}/imdb-certificates.prom")
    assert given.exists == folder.exists
    if folder.exists:
        assert given.linked_to == METRICS


def test_no_host_has_the_key_of_the_ca(host: Host, variables: HostVariables) -> None:
    services = variables["certificates_services"]
    with host.sudo():
        held = host.check_output(f"ls {variables['certificates_folder']}").split()
    assert sorted(held) == sorted(
        [
            "ca.pem",
            "certificates.pem",
            *(f"{it['name']}.{end}" for it in services for end in endings(it)),
        ]
    )
    assert "PRIVATE" not in host.file(path(variables, "ca")).content_string
