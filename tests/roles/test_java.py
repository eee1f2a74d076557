"""The Java runtime."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

from ..variables import HostVariables

testinfra_hosts = ["ansible://zookeeper", "ansible://kafka", "ansible://spark_worker"]
pytestmark = pytest.mark.verify


def test_package_is_installed(host: Host, variables: HostVariables) -> None:
    assert host.package(variables["java_package"]).is_installed


def test_runtime_is_of_a_supported_version(host: Host, variables: HostVariables) -> None:
    shown = host.run(f"{variables['java_home']}/bin/java -version")
    match = re.search(r'version "(\d+)', shown.stderr)
    assert match, shown
    assert int(match[1]) in variables["java_supported_versions"]
