"""What updates do by themselves on a host: no reboot, and no restart of the pipeline."""

from __future__ import annotations

import re
import shlex

import pytest
from testinfra.host import Host

from ..variables import HostVariables

testinfra_hosts = ["ansible://all"]
pytestmark = pytest.mark.verify

NEEDRESTART = "/etc/needrestart/conf.d/imdb-pipeline.conf"
#: Prints for each service what needrestart is told: 0 is to leave it, nothing is its own choice.
OVERRIDES = """
our %nrconf; do shift; die $@ if $@;
for my $unit (@ARGV) {
    my @said = map { $nrconf{override_rc}{$_} } grep { $unit =~ /$_/ } keys %{$nrconf{override_rc}};
    print "$unit @said\\n";
}
"""


def apt_settings(host: Host) -> dict[str, list[str]]:
    """Return apt's settings as it puts them together."""
    found: dict[str, list[str]] = {}
    for line in host.check_output("apt-config dump").splitlines():
        name, _, value = line.removesuffix(";").partition(" ")
        found.setdefault(name.removesuffix("::"), []).append(value.strip('"'))
    return found


def test_no_host_reboots_by_itself(host: Host) -> None:
    assert apt_settings(host)["Unattended-Upgrade::Automatic-Reboot"] == ["false"]


def test_java_is_never_installed_unattended(host: Host, variables: HostVariables) -> None:
    refused = apt_settings(host)["Unattended-Upgrade::Package-Blacklist"]
    for name in variables["updates_attended_packages"]:
        # unattended-upgrades takes them for regular expressions, from a name's beginning on.
        assert any(re.match(it, f"{name}17-jre-headless") for it in refused if it), name
    assert not any(re.match(it, "openssl") for it in refused if it)


def test_needrestart_restarts_no_service_of_the_pipeline(
    host: Host, variables: HostVariables
) -> None:
    units = [f"{unit}.service" for unit in variables["updates_units"]]
    command = ("perl", "-e", OVERRIDES, NEEDRESTART, *units, "other.service")
    said = host.check_output(shlex.join(command))
    assert said.splitlines() == [*(f"{unit} 0" for unit in units), "other.service "]


def test_security_updates_alone_are_installed_unattended(
    host: Host, variables: HostVariables
) -> None:
    settings = apt_settings(host)
    if not variables["updates_unattended"]:
        assert "APT::Periodic::Unattended-Upgrade" not in settings
        return
    assert host.package("unattended-upgrades").is_installed
    assert settings["APT::Periodic::Unattended-Upgrade"] == ["1"]
    patterns = [it for it in settings["Unattended-Upgrade::Origins-Pattern"] if it]
    assert [it for it in patterns if "label=Debian-Security" not in it] == []
    assert len(patterns) == 1
    with host.sudo():
        said = host.check_output("unattended-upgrade --dry-run --debug 2>&1")
    assert re.search(r"Allowed origins are: .*Debian-Security", said)
