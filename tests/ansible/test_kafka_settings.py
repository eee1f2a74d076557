"""What a broker is given, by mode and version: its settings, its log and the commands' classes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/kafka"
FILES = ["server.properties", "kafka-check-data", "kafka-run", "kafka.service", "kafka-wait"]
LOGINS = ["admin.properties", "secrets.properties", "server.properties"]
TLS = {
    "kafka_certificate": "/etc/ssl/a/kafka.pem",
    "kafka_ca": "/etc/ssl/a/ca.pem",
    "kafka_broker_password": "of-the-brokers-0123",
    "kafka_admin_password": "of-the-operator-0123",
}
CASES: dict[str, dict[str, Any]] = {
    "zookeeper": {},
    "zookeeper-tls": TLS,
    "kraft": {"kafka_mode": "kraft"},
    "kraft-tls": {"kafka_mode": "kraft"} | TLS,
    "kraft-4.1": {"kafka_mode": "kraft", "kafka_version": "4.1.2"},
    "kraft-3.9": {"kafka_mode": "kraft", "kafka_version": "3.9.2"} | TLS,
}


def templar(given: dict[str, Any]) -> Templar:
    """Return Ansible's templating with the role's variables, beside those that are given."""
    loader = DataLoader()
    files = [ROLE / "defaults/main.yml", ROLE / "vars/main.yml"]
    files.append(ROOT / "roles/service/defaults/main.yml")
    values: dict[str, Any] = {"ansible_host": "192.0.2.1", "ansible_managed": "Ansible managed"}
    for path in files:
        values |= loader.load_from_file(str(path), trusted_as_template=True)
    return Templar(loader, values | given)


def value(given: dict[str, Any], name: str) -> Any:
    """Return what one of the role's variables is."""
    return templar(given).template(trust_as_template(f"{{{{ {name} }}}}"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each case, with the files of its broker as Ansible's templates make them."""
    folder = tmp_path_factory.mktemp("settings")
    for case, given in CASES.items():
        (folder / case).mkdir()
        plain = templar(given)
        of_files = plain.copy_with_new_env(searchpath=[str(ROLE)])
        log = value(given, "__kafka_log_settings")
        for name in [*FILES, *LOGINS, PurePosixPath(log).name]:
            text = trust_as_template((ROLE / f"templates/{name}.j2").read_text())
            made = of_files.template(text, overrides={"trim_blocks": True})
            (folder / case / name.replace(PurePosixPath(log).name, "log")).write_text(made)
    return folder


def settings(written: Path, case: str) -> dict[str, str]:
    lines = (written / case / "server.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


@pytest.mark.parametrize("case", [case for case in CASES if "kraft" in case])
def test_without_zookeeper_nothing_names_it(written: Path, case: str) -> None:
    for name in FILES:
        assert "zookeeper" not in (written / case / name).read_text().lower(), name


@pytest.mark.parametrize("case", ["zookeeper", "zookeeper-tls"])
def test_with_zookeeper_nothing_is_of_a_controller(written: Path, case: str) -> None:
    found = settings(written, case)
    assert found["broker.id"] == "1"
    assert [it for it in found if it.startswith(("controller.", "process.", "node."))] == []
    assert "CONTROLLER" not in found["listeners"] + found["listener.security.protocol.map"]
    assert "zookeeper.service" in (written / case / "kafka.service").read_text()


def test_the_controller_is_in_the_brokers_process(written: Path) -> None:
    found = settings(written, "kraft")
    assert found["process.roles"] == "broker,controller"
    assert found["node.id"] == "1"
    assert found["controller.listener.names"] == "CONTROLLER"
    assert found["controller.quorum.bootstrap.servers"] == "192.0.2.1:9095"
    assert "controller.quorum.voters" not in found
    assert "broker.id" not in found
    # It binds no other address, and clients are not told of it.
    assert found["listeners"].split(",")[0] == "CONTROLLER://192.0.2.1:9095"
    assert "CONTROLLER" not in found["advertised.listeners"]
    assert "CONTROLLER:PLAINTEXT" in found["listener.security.protocol.map"]
    assert "authorizer.class.name" not in found
    assert " 9095;" in (written / "kraft/kafka-wait").read_text()


def test_a_secured_controller_knows_brokers_by_certificate(written: Path) -> None:
    found = settings(written, "kraft-tls")
    assert "CONTROLLER:SSL," in found["listener.security.protocol.map"]
    assert found["listener.name.controller.ssl.client.auth"] == "required"
    assert found["authorizer.class.name"].endswith(".StandardAuthorizer")
    assert found["super.users"].split(";")[-1] == "User:CN=kafka"
    # All else is as with ZooKeeper.
    before = settings(written, "zookeeper-tls")
    for name in ("advertised.listeners", "inter.broker.listener.name", "log.dirs"):
        assert found[name] == before[name]
    assert found["listeners"].split(",")[1:] == before["listeners"].split(",")
    assert found["super.users"].split(";")[:-1] == before["super.users"].split(";")
    for value in TLS.values():
        if "0123" in value:
            assert value not in (written / "kraft-tls/server.properties").read_text()


@pytest.mark.parametrize(
    ("case", "option"),
    [
        ("zookeeper", "-Dlog4j.configuration=file:/etc/kafka/log4j.properties "),
        ("kraft-3.9", "-Dlog4j.configuration=file:/etc/kafka/log4j.properties "),
        ("kraft-4.1", "-Dlog4j2.configurationFile=/etc/kafka/log4j2.properties "),
        ("kraft", "-Dlog4j2.configurationFile=/etc/kafka/log4j2.properties "),
    ],
)
def test_each_line_logs_by_what_it_reads(written: Path, case: str, option: str) -> None:
    for name in ("kafka.service", "kafka-run"):
        text = (written / case / name).read_text().replace("\\\n", " ")
        assert option in text
        assert text.count("-Dlog4j") == 1
    named = "rootLogger.appenderRef" if "log4j2" in option else "log4j.rootLogger"
    assert named in (written / case / "log").read_text()


MOVED = ["acls", "broker-api-versions", "console-producer"]


@pytest.mark.parametrize(
    ("case", "commands"),
    [
        ("zookeeper", []),
        ("kraft-3.9", []),
        ("kraft-4.1", MOVED),
        ("kraft", [*MOVED, "configs", "dump-log"]),
    ],
)
def test_commands_are_where_the_version_has_them(
    written: Path, case: str, commands: list[str]
) -> None:
    lines = (written / case / "kafka-run").read_text().splitlines()
    classes = dict(line.strip(" ;").split(") class=") for line in lines if ".sh) class=" in line)
    for name in [*MOVED, "configs", "dump-log"]:
        moved = classes[f"kafka-{name}.sh"].startswith("org.apache.kafka.tools.")
        assert moved == (name in commands), name
    assert ("kafka-metadata-quorum.sh" in classes) == case.startswith("kraft")
    assert ("kafka-features.sh" in classes) == case.startswith("kraft")
    assert ("zookeeper-security-migration.sh" in classes) == case.startswith("zookeeper")


@pytest.mark.parametrize("case", CASES)
def test_what_runs_before_the_start_is_whole(written: Path, case: str) -> None:
    text = (written / case / "kafka-check-data").read_text()
    compile(text, "kafka-check-data", "exec")
    assert ("read_znode" in text) == case.startswith("zookeeper")


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"kafka_broker_password": "another-of-the-brokers"}, False),
        ({"kafka_admin_password": "another-of-the-operator"}, False),
        ({"kafka_broker_user": "kafka-2"}, False),
        ({"kafka_admin_user": "admin-2"}, False),
        # Nothing was installed yet.
        ({"__kafka_login": {"stdout": ""}, "kafka_admin_user": "admin-2"}, True),
    ],
)
def test_passwords_are_compared_with_what_was_installed(
    written: Path, changed: dict[str, Any], same: bool
) -> None:
    said = "".join((written / "kraft-tls" / name).read_text() for name in LOGINS)
    given = CASES["kraft-tls"] | {"__kafka_login": {"stdout": said}} | changed
    assert value(given, "__kafka_login_is_same") is same
    if given["__kafka_login"]["stdout"]:
        login = value(given, "__kafka_login_before")
        assert login["sasl_plain_username"] == "admin"
        assert login["sasl_plain_password"] == TLS["kafka_admin_password"]
        assert login["ssl_cafile"] == TLS["kafka_ca"]
    else:
        assert value(given, "__kafka_login_before") == {}
