"""The Kafka broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest
from testinfra.backend.base import CommandResult
from testinfra.host import Host

from ..variables import HostVariables
from .checks import (
    ends_without_memory,
    has_user,
    is_closed,
    is_confined,
    is_kept_from,
    is_up,
    listens,
    owns,
    properties,
    runs_as,
    runs_native_code,
    writes_only,
)

testinfra_hosts = ["ansible://kafka"]
pytestmark = [pytest.mark.verify, pytest.mark.unit("kafka")]

# Beside kafka-topics.sh, which lists the topics below.
COMMANDS = [
    "kafka-configs.sh",
    "kafka-console-consumer.sh",
    "kafka-console-producer.sh",
    "kafka-consumer-groups.sh",
]


# What a command may take, in seconds; a JVM starts slowly on a busy host.
PATIENCE = "120"
# A client that asks for the topics by TLS, or without, and gives no password: prints what it gets.
ASK = """
import socket, ssl, sys
address, port, ca = sys.argv[1:]
connection = socket.create_connection((address, int(port)), timeout=10)
if ca:
    context = ssl.create_default_context(cafile=ca)
    connection = context.wrap_socket(connection, server_hostname=address)
connection.sendall(bytes.fromhex("0000000e" "0003" "0001" "5ec2e700" "ffff" "ffffffff"))
try:
    print(connection.recv(65536).hex())
except OSError as error:
    print(error)
"""
# The number that Kafka's answer to it begins with, after its length.
ANSWERED = "5ec2e700"
PASSWORDS = ["kafka_broker_password", "kafka_admin_password"]


def internal(variables: HostVariables) -> str:
    """Return how the variables of the listener for hosts of the pipeline begin."""
    return "kafka_secure" if variables["kafka_certificate"] else "kafka"


def bootstrap(variables: HostVariables) -> str:
    """Return the broker's address for hosts of the pipeline."""
    return f"{variables['host_address']}:{variables[f'{internal(variables)}_port']}"


def run_as_operator(
    host: Host, variables: HostVariables, command: str, change: str = "", more: str = ""
) -> CommandResult:
    """Run one of Kafka's commands as the operator; by settings that sed has changed, if need be."""
    command = f"timeout {PATIENCE} {command} --bootstrap-server {bootstrap(variables)}"
    if not variables["kafka_certificate"]:
        return host.run(f"{command} {more}")
    settings = f"<(sed -e '{change}' /etc/kafka/admin.properties)"
    with host.sudo():
        return host.run("bash -c %s", f"{command} --command-config {settings} {more}")


def others_certificates(host: Host, variables: HostVariables) -> list[str]:
    """Return the certificates on the host of other services than the broker."""
    own = variables["kafka_certificate"]
    with host.sudo():
        found = host.check_output(f"ls {PurePosixPath(own).parent}/*.pem").split()
    public = f"{PurePosixPath(own).parent}/certificates.pem"
    return sorted(set(found) - {own, variables["kafka_ca"], public})


@pytest.fixture
def secured(variables: HostVariables) -> None:
    """Leave out what needs a broker by TLS."""
    if not variables["kafka_certificate"]:
        pytest.skip("the broker has no certificate")


@pytest.fixture
def with_zookeeper(variables: HostVariables) -> None:
    """Leave out what is about ZooKeeper where there is none."""
    if variables["kafka_mode"] == "kraft":
        pytest.skip("the broker has no ZooKeeper")


@pytest.fixture
def without_zookeeper(variables: HostVariables) -> None:
    """Leave out what is about a broker that is its own controller."""
    if variables["kafka_mode"] != "kraft":
        pytest.skip("the broker has ZooKeeper")


@pytest.fixture
def stranger(host: Host, variables: HostVariables, secured: None) -> Iterator[str]:
    """Make a user without rights; return how sed makes its settings of the operator's."""
    name, password = "stranger-in-a-test", "of-a-stranger-in-a-test"
    users = f"kafka-configs.sh --alter --entity-type users --entity-name {name}"
    add = f"{users} --add-config SCRAM-SHA-512=[password={password}]"
    made = run_as_operator(host, variables, add)
    assert made.rc == 0, made
    yield f's/username="[^"]*" password="[^"]*"/username="{name}" password="{password}"/'
    gone = run_as_operator(host, variables, f"{users} --delete-config SCRAM-SHA-512")
    assert gone.rc == 0, gone


def test_unit_is_enabled_and_active(host: Host) -> None:
    is_up(host, "kafka")


@pytest.mark.parametrize("port", ["internal", "kafka_external_port"])
def test_listener_takes_connections(host: Host, variables: HostVariables, port: str) -> None:
    name = f"{internal(variables)}_port" if port == "internal" else port
    listens(host, variables["host_address"], variables[name])


def test_only_the_ports_that_are_asked_for_are_open(host: Host, variables: HostVariables) -> None:
    held = host.check_output("ss --no-header --listening --tcp --numeric")
    assert (f":{variables['kafka_port']} " in held) == bool(variables["kafka_plaintext"])
    assert (f":{variables['kafka_secure_port']} " in held) == bool(variables["kafka_certificate"])


def test_each_listener_advertises_its_own_address(host: Host, variables: HostVariables) -> None:
    settings = properties(host, "/etc/kafka/server.properties")
    names = ["kafka"] if variables["kafka_plaintext"] else []
    names += ["kafka_secure"] if variables["kafka_certificate"] else []
    address = variables["kafka_address"]
    wanted = [
        f"{variables[f'{it}_listener_name']}://{address}:{variables[f'{it}_port']}" for it in names
    ]
    external = f"{variables['kafka_external_address']}:{variables['kafka_external_port']}"
    wanted.append(f"{variables['kafka_external_listener_name']}://{external}")
    assert settings["advertised.listeners"].split(",") == wanted
    among_brokers = "kafka" if variables["kafka_inter_broker_plaintext"] else "kafka_secure"
    name = variables[f"{among_brokers}_listener_name"]
    assert settings["inter.broker.listener.name"] == name


def test_settings_are_the_inventorys(host: Host, variables: HostVariables) -> None:
    settings = properties(host, "/etc/kafka/server.properties")
    name = "node.id" if variables["kafka_mode"] == "kraft" else "broker.id"
    assert settings[name] == str(variables["kafka_broker_id"])
    assert settings.get("broker.rack", "") == variables["kafka_rack"]
    assert settings["log.dirs"] == variables["kafka_data_dir"]
    for name, value in variables["kafka_properties"].items():
        assert settings[name].lower() == str(value).lower()
    replicas = str(variables["kafka_default_replication_factor"])
    assert settings["default.replication.factor"] == replicas
    assert settings["offsets.topic.replication.factor"] == replicas


def test_zookeeper_is_the_inventorys(
    host: Host, variables: HostVariables, with_zookeeper: None
) -> None:
    settings = properties(host, "/etc/kafka/server.properties")
    assert settings["zookeeper.connect"] == variables["kafka_zookeeper_connect"]
    timeout = str(variables["kafka_zookeeper_session_timeout_ms"])
    assert settings["zookeeper.session.timeout.ms"] == timeout


def test_without_zookeeper_there_is_nothing_of_it(host: Host, without_zookeeper: None) -> None:
    settings = properties(host, "/etc/kafka/server.properties")
    assert settings["process.roles"] == "broker,controller"
    assert [name for name in settings if "zookeeper" in name] == []
    assert "zookeeper" not in host.check_output("systemctl cat kafka")
    assert "zookeeper" not in host.check_output("ls /etc/systemd/system /opt /usr/local/bin")


def test_the_controller_leads_a_quorum_of_voters_that_can_change(
    host: Host, variables: HostVariables, without_zookeeper: None
) -> None:
    said = run_as_operator(host, variables, "kafka-metadata-quorum.sh", more="describe --status")
    assert said.rc == 0, said
    shown = dict(line.split(":", 1) for line in said.stdout.splitlines() if ":" in line)
    assert shown["LeaderId"].strip() == str(variables["kafka_broker_id"])
    # A voter of a quorum that is written into files has no folder's id.
    assert '"directoryId"' in shown["CurrentVoters"]
    where = f"{variables['kafka_controller_address']}:{variables['kafka_controller_port']}"
    assert f"CONTROLLER://{where}" in shown["CurrentVoters"]


def test_the_controllers_port_asks_for_a_certificate(
    host: Host, variables: HostVariables, secured: None, without_zookeeper: None
) -> None:
    address = variables["kafka_controller_address"]
    number, ca = str(variables["kafka_controller_port"]), variables["kafka_ca"]
    for given in ("", ca):
        said = host.run("python3 -c %s %s %s %s", ASK, address, number, given)
        assert ANSWERED not in said.stdout, said


def test_another_services_certificate_may_do_nothing_at_the_controller(
    host: Host, variables: HostVariables, secured: None, without_zookeeper: None
) -> None:
    others = others_certificates(host, variables)
    if not others:
        pytest.skip("no other service has a certificate here")
    where = f"{variables['kafka_controller_address']}:{variables['kafka_controller_port']}"
    ask = (
        f"timeout {PATIENCE} kafka-metadata-quorum.sh --bootstrap-controller {where}"
        " --command-config <(printf 'security.protocol=SSL\nssl.keystore.type=PEM\n"
        f"ssl.truststore.type=PEM\nssl.truststore.location={variables['kafka_ca']}\n"
        "ssl.keystore.location=%s\n' {}) describe --status"
    )
    with host.sudo():
        own = host.run("bash -c %s", ask.format(variables["kafka_certificate"]))
        refused = host.run("bash -c %s", ask.format(others[0]))
    assert own.rc == 0, own
    assert refused.rc != 0
    assert "AuthorizationException" in refused.stdout + refused.stderr, refused


def test_what_it_logs_comes_to_the_journal(host: Host) -> None:
    with host.sudo():
        said = host.check_output("journalctl --no-pager --output=cat --unit=kafka")
    assert "INFO " in said
    # What log4j says of settings that it cannot read.
    assert "ERROR StatusLogger" not in said
    assert "No SLF4J providers" not in said
    assert "StaticLoggerBinder" not in said


def test_heap_is_the_inventorys(host: Host, variables: HostVariables) -> None:
    pid = host.check_output("systemctl show --property=MainPID --value kafka")
    assert f"-Xmx{variables['kafka_heap_size']}" in host.process.get(pid=int(pid)).args


def test_runs_as_its_own_user(host: Host, variables: HostVariables) -> None:
    has_user(host, variables["kafka_user"], variables["kafka_uid"])
    runs_as(host, "kafka", variables["kafka_user"])


def test_data_folder_is_its_own(host: Host, variables: HostVariables) -> None:
    owns(host, variables["kafka_data_dir"], variables["kafka_user"])


def test_configuration_is_not_its_own(host: Host, variables: HostVariables) -> None:
    is_kept_from(host, "/etc/kafka", variables["kafka_user"])
    is_kept_from(host, "/etc/kafka/server.properties", variables["kafka_user"])


def test_settings_that_may_be_secrets_are_closed(host: Host) -> None:
    is_closed(host, "/etc/kafka/server.properties")


def test_passwords_are_closed(host: Host, secured: None) -> None:
    is_closed(host, "/etc/kafka/secrets.properties")
    with host.sudo():
        assert host.file("/etc/kafka/admin.properties").mode == 0o600


@pytest.mark.parametrize("name", PASSWORDS)
@pytest.mark.parametrize(
    "look",
    [
        "systemctl show kafka",
        "systemctl cat kafka",
        "cat /etc/kafka/server.properties",
        "ps -e -o args= -ww",
        "bash -c 'cat /proc/[0-9]*/environ 2>/dev/null | tr \\\\0 \\\\n'",
        "journalctl --no-pager",
    ],
)
def test_passwords_are_nowhere_else(
    host: Host, variables: HostVariables, secured: None, name: str, look: str
) -> None:
    with host.sudo():
        shown = host.run(look).stdout
    assert shown
    assert variables[name] not in shown


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "TLS"])
@pytest.mark.parametrize("port", ["internal", "kafka_external_port"])
def test_who_gives_no_password_gets_no_answer(
    host: Host, variables: HostVariables, port: str, tls: bool
) -> None:
    number = str(variables[f"{internal(variables)}_port" if port == "internal" else port])
    if tls and not variables["kafka_certificate"]:
        pytest.skip("the broker has no certificate")
    ca = variables["kafka_ca"] if tls else ""
    said = host.check_output("python3 -c %s %s %s %s", ASK, variables["host_address"], number, ca)
    assert (ANSWERED in said) == (not variables["kafka_certificate"]), said


def test_a_wrong_password_is_refused(host: Host, variables: HostVariables, secured: None) -> None:
    wrong = 's/password="[^"]*"/password="not-the-one-that-it-has"/'
    said = run_as_operator(host, variables, "kafka-topics.sh --list", change=wrong)
    assert said.rc != 0
    assert "SaslAuthenticationException" in said.stdout + said.stderr, said


def test_a_client_of_another_ca_does_not_connect(
    host: Host, variables: HostVariables, secured: None
) -> None:
    made = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=another"
        " -keyout /dev/null -out /run/another-ca.pem -days 1"
    )
    with host.sudo():
        host.check_output(made)
    other = "s|^ssl.truststore.location=.*|ssl.truststore.location=/run/another-ca.pem|"
    said = run_as_operator(host, variables, "kafka-topics.sh --list", change=other)
    with host.sudo():
        host.check_output("rm /run/another-ca.pem")
    assert said.rc != 0
    assert "SslAuthenticationException" in said.stdout + said.stderr, said


def test_the_operator_makes_topics_and_a_stranger_does_not(
    host: Host, variables: HostVariables, stranger: str
) -> None:
    make = "kafka-topics.sh --create --topic made-in-a-test"
    refused = run_as_operator(host, variables, make, change=stranger)
    assert refused.rc != 0
    assert "AuthorizationException" in refused.stdout + refused.stderr, refused
    made = run_as_operator(host, variables, make)
    assert made.rc == 0, made
    gone = run_as_operator(host, variables, "kafka-topics.sh --delete --topic made-in-a-test")
    assert gone.rc == 0, gone


def zookeeper(host: Host, variables: HostVariables, command: str, change: str = "") -> str:
    """Return what ZooKeeper's client says, which goes as the broker does, below its path."""
    servers, _, root = variables["kafka_zookeeper_connect"].partition("/")
    settings = f"<(sed -e '{change}' /etc/kafka/server.properties)"
    shell = "kafka-run org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka"
    where = f"-server {servers} -zk-tls-config-file {settings}"
    command = command.format(f"/{root}".rstrip("/"))
    with host.sudo():
        said = host.run("timeout %s bash -c %s", PATIENCE, f"{shell} {where} {command}")
    return str(said.stdout + said.stderr)


def test_its_znodes_are_its_own(
    host: Host, variables: HostVariables, secured: None, with_zookeeper: None
) -> None:
    if not variables["kafka_zookeeper_set_acl"]:
        pytest.skip("znodes are not asked to be the broker's own")
    subject = "x509,'CN=kafka\n: cdrwa"
    assert subject in zookeeper(host, variables, "getAcl {}/brokers/topics")
    secret = zookeeper(
        host, variables, f"getAcl {{}}/config/users/{variables['kafka_broker_user']}"
    )
    assert subject in secret
    assert "world" not in secret


def test_another_service_may_not_change_its_znodes(
    host: Host, variables: HostVariables, secured: None, with_zookeeper: None
) -> None:
    own, others = variables["kafka_certificate"], others_certificates(host, variables)
    if not variables["kafka_zookeeper_set_acl"] or not others:
        pytest.skip("no other service has a certificate here, or may do no less with it")
    change = f"s|{own}|{others[0]}|"
    refused = "Insufficient permission"
    user = f"{{}}/config/users/{variables['kafka_broker_user']}"
    assert refused in zookeeper(host, variables, f"get {user}", change)
    assert refused in zookeeper(host, variables, "set {}/cluster/id nothing", change)


def test_data_of_another_cluster_are_refused(host: Host, variables: HostVariables) -> None:
    script = """
        set -e
        folder=$(mktemp -d)
        trap 'rm -r "$folder"' EXIT
        echo cluster.id=of-a-test >"$folder/meta.properties"
        sed "s|^log.dirs=.*|log.dirs=$folder|; s|^listeners=.*|listeners=ANY://127.0.0.1:0|" \\
            /etc/kafka/server.properties >"$folder/server.properties"
        /usr/local/sbin/kafka-check-data "$folder/server.properties"
    """
    with host.sudo(variables["kafka_user"]):
        said = host.run("cd / && bash -c %s", script)
    assert said.rc == 1, said
    assert "holds the data of Kafka cluster of-a-test" in said.stderr, said


def test_heap_that_is_full_ends_it(host: Host) -> None:
    ends_without_memory(host, "kafka")


def test_native_code_may_be_run(host: Host) -> None:
    runs_native_code(host, "kafka")


def test_is_confined(host: Host) -> None:
    is_confined(host, "kafka")


def test_writes_nothing_but_its_data(host: Host, variables: HostVariables) -> None:
    writes_only(host, variables["kafka_user"], variables["kafka_data_dir"])


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_on_the_path_and_runs(host: Host, command: str) -> None:
    shown = host.run("timeout 300 %s --version", command)
    assert shown.rc == 0, shown
    assert shown.stdout.startswith("3.") or shown.stdout.startswith("4."), shown


def test_broker_answers_a_topic_listing(host: Host, variables: HostVariables) -> None:
    listing = run_as_operator(host, variables, "kafka-topics.sh --list")
    assert listing.rc == 0, listing
