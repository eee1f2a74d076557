"""What executors of the streaming job need on the hosts of workers."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ..variables import HostVariables
from .checks import is_closed, is_kept_from

testinfra_hosts = ["ansible://spark_worker"]
pytestmark = pytest.mark.verify

PASSWORDS = "/etc/imdb-streaming/passwords"


@pytest.fixture(autouse=True)
def with_user(variables: HostVariables) -> None:
    if not variables["streaming_user_name"]:
        pytest.skip("the brokers ask for no user")


@pytest.fixture
def password(variables: HostVariables) -> str:
    """The file."""
    return f"{PASSWORDS}/{variables['streaming_user_name']}"


def test_password_is_for_the_executors_alone(
    host: Host, variables: HostVariables, password: str
) -> None:
    is_closed(host, password)
    is_kept_from(host, password, variables["streaming_user"])
    with host.sudo():
        assert host.file(password).group == variables["streaming_user"]
        # None of a user that the job was before.
        assert host.check_output(f"ls {PASSWORDS}") == variables["streaming_user_name"]


def test_executors_can_read_what_they_log_in_by(
    host: Host, variables: HostVariables, password: str
) -> None:
    with host.sudo(variables["streaming_user"]):
        assert host.file(password).content_string.startswith("password=")
        assert "BEGIN CERTIFICATE" in host.file(variables["streaming_ca"]).content_string
