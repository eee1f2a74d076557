"""Certificates of a host: closed to others, signed by the CA, for the host's names."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from typing import Any

import pytest
from testinfra.host import Host

from ..variables import HostVariables

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


def test_no_host_has_the_key_of_the_ca(host: Host, variables: HostVariables) -> None:
    services = variables["certificates_services"]
    with host.sudo():
        held = host.check_output(f"ls {variables['certificates_folder']}").split()
    assert sorted(held) == sorted(
        ["ca.pem", *(f"{it['name']}.{end}" for it in services for end in endings(it))]
    )
    assert "PRIVATE" not in host.file(path(variables, "ca")).content_string
