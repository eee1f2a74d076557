"""The program against a real broker with TLS, passwords and rights; what is wrong is named."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest

from imdb_producer import access, cli, service, topic
from imdb_producer.send import FLUSH_RECORDS
from imdb_producer.stop import Stop

from ..certificates import Ca
from .broker import SecuredBroker, free_port
from .test_real_broker import PATIENCE, Setting

PASSWORD = "right-" + "a" * 20
CHANGED = "other-" + "b" * 20
CLIENTS = ["kafka-python", "confluent"]


@pytest.fixture
def secured(secured_broker: SecuredBroker) -> SecuredBroker:
    """A real broker that asks for a user."""
    return secured_broker


@pytest.fixture
def setting(secured: SecuredBroker, tmp_path: Path) -> Setting:
    """One whose user may write to its topic."""
    setting = Setting(secured, tmp_path, titles=3000)
    user = tmp_path.name
    secured.set_user(user, PASSWORD)
    secured.let_write(user, setting.topic)
    password_file = write_password(tmp_path / "password", PASSWORD)
    setting.environment |= {
        "KAFKA_BOOTSTRAP_SERVERS": secured.listeners["EXPIRING"],
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": user,
        "KAFKA_SASL_PASSWORD_FILE": str(password_file),
        "KAFKA_SSL_CAFILE": str(secured.ca),
        "MSGS_PER_SEC": "0",
    }
    return setting


def write_password(path: Path, password: str, mode: int = 0o640) -> Path:
    path.write_text(f"{password}\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("client", CLIENTS)
def test_a_user_with_the_right_to_write_needs_no_other(
    secured: SecuredBroker, setting: Setting, client: str
) -> None:
    done = setting.run(KAFKA_CLIENT=client)
    assert done.returncode == 0, done.stderr
    assert sorted(secured.event_ids(setting.topic)) == sorted(setting.expected())
    assert PASSWORD not in done.stderr


@pytest.mark.parametrize(
    ("first", "client"),
    [
        ("broker", "kafka-python"),
        ("file", "confluent"),
        pytest.param("broker", "confluent", marks=pytest.mark.slow),
        pytest.param("file", "kafka-python", marks=pytest.mark.slow),
    ],
)
def test_a_password_that_is_changed_loses_and_doubles_nothing(
    secured: SecuredBroker, setting: Setting, client: str, first: str
) -> None:
    password_file = Path(setting.environment["KAFKA_SASL_PASSWORD_FILE"])
    user = setting.environment["KAFKA_SASL_USERNAME"]
    setting.generate(4000, seed=1)

    def change(where: str) -> None:
        if where == "broker":
            secured.set_user(user, CHANGED)
        else:
            write_password(password_file, CHANGED)

    with setting.started(MSGS_PER_SEC="500", KAFKA_CLIENT=client) as process:
        setting.wait_for_sent(500)
        change(first)
        # Longer than a session: it is not let in meanwhile.
        time.sleep(6)
        assert process.poll() is None
        change("file" if first == "broker" else "broker")
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    times = Counter(secured.event_ids(setting.topic))
    assert set(times) == setting.expected()
    assert times.total() == len(times)
    told = said.count(f"Kafka does not take the user {user} with the password in")
    # librdkafka takes the password in the file only when its own is not taken any more.
    assert told == 1 or (told == 0 and (first, client) == ("file", "confluent")), said
    # Not a line for each attempt.
    assert sum("SASL" in it for it in said.splitlines()) < 15, said
    assert not re.search(f"{PASSWORD}|{CHANGED}", said)


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
def test_a_password_that_stays_wrong_ends_the_run_by_its_name(
    secured: SecuredBroker, setting: Setting, client: str
) -> None:
    user = setting.environment["KAFKA_SASL_USERNAME"]
    with setting.started(MSGS_PER_SEC="20", KAFKA_CLIENT=client) as process:
        setting.wait_for_sent(20)
        secured.set_user(user, CHANGED)
        _, said = process.communicate(timeout=200)
    assert process.returncode == 2, said
    assert f"imdb-producer: Kafka does not take the user {user} with the password in" in said
    assert sum("SASL" in it for it in said.splitlines()) < 30, said
    secured.set_user(user, PASSWORD)
    assert setting.run().returncode == 0
    times = Counter(secured.event_ids(setting.topic))
    assert set(times) == setting.expected()
    assert times.total() - len(times) <= FLUSH_RECORDS


def bad_settings(secured: SecuredBroker, setting: Setting, case: str) -> dict[str, str]:
    """Settings of which one is wrong."""
    folder = setting.folder
    secured.let_write(setting.environment["KAFKA_SASL_USERNAME"], "missing")
    ended = Ca(folder / "ended", days=-1)
    text = folder / "text"
    text.write_text("no certificate\n")
    leaf = folder / "leaf.pem"
    leaf.write_text(
        secured.authority.certificate("leaf").read_text().split("-----END CERTIFICATE-----")[0]
    )
    leaf.write_text(leaf.read_text() + "-----END CERTIFICATE-----\n")
    password = {"KAFKA_SASL_PASSWORD_FILE": str(folder / "bad")}
    if case.startswith("password"):
        content = {
            "password of another": CHANGED,
            "password empty": "",
            "password of lines": "a\nb",
        }
        mode = 0o644 if case == "password open to all" else 0o600
        if case != "password missing":
            write_password(folder / "bad", content.get(case, PASSWORD), mode)
        return password
    return {
        "CA missing": {"KAFKA_SSL_CAFILE": str(folder / "none.pem")},
        "CA a folder": {"KAFKA_SSL_CAFILE": str(folder)},
        "CA no PEM": {"KAFKA_SSL_CAFILE": str(text)},
        "CA a host's": {"KAFKA_SSL_CAFILE": str(leaf)},
        "CA ended": {"KAFKA_SSL_CAFILE": str(ended.ca)},
        "CA another": {"KAFKA_SSL_CAFILE": str(secured.other_authority.ca)},
        "nobody": {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"},
        "plain port": {"KAFKA_BOOTSTRAP_SERVERS": secured.plain_address},
        "plain client": {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"},
        "ZooKeeper's port": {"KAFKA_BOOTSTRAP_SERVERS": secured.secured_zookeeper_address},
        "server ended": {"KAFKA_BOOTSTRAP_SERVERS": secured.listeners["ENDED"]},
        "server early": {"KAFKA_BOOTSTRAP_SERVERS": secured.listeners["EARLY"]},
        "server elsewhere": {"KAFKA_BOOTSTRAP_SERVERS": secured.listeners["ELSEWHERE"]},
        "server strange": {"KAFKA_BOOTSTRAP_SERVERS": secured.listeners["STRANGE"]},
        "user unknown": {"KAFKA_SASL_USERNAME": "nobody"},
        "topic not allowed": {"KAFKA_TOPIC": "not-allowed"},
        "topic missing": {"KAFKA_TOPIC": "missing"},
    }[case]


CASES = {
    "CA missing": (2, r"KAFKA_SSL_CAFILE='.*none.pem': there is no such file"),
    "CA a folder": (2, r"KAFKA_SSL_CAFILE=.*: cannot be read: Is a directory"),
    "CA no PEM": (2, r"KAFKA_SSL_CAFILE=.*: holds no certificate in PEM format"),
    "CA a host's": (2, r"KAFKA_SSL_CAFILE=.*: holds no certificate of a CA"),
    "CA ended": (2, r"KAFKA_SSL_CAFILE=.*: its certificate has ended on .* GMT. Renew it"),
    "CA another": (
        1,
        r"The certificate of 127.* is of a CA that is not in .*: see that KAFKA_SS",
    ),
    "nobody": (1, r"No Kafka broker answers at 127.*: Connection refused. Check KAFKA_BOOTSTRAP"),
    "plain port": (1, r"127.* does not speak TLS .*: see that the port is that of a listener with"),
    "plain client": (
        1,
        r"127.* speaks TLS, and KAFKA_SECURITY_PROTOCOL is PLAINTEXT. Set it to",
    ),
    "ZooKeeper's port": (1, r"127.* does not take this host's certificate .*It was shown: none"),
    "server ended": (1, r"The certificate of 127.* has ended: renew it there"),
    "server early": (1, r"The certificate of 127.* is not valid yet: compare the clocks"),
    "server elsewhere": (
        1,
        r"The certificate of 127.* is for another host: it must name 127",
    ),
    "server strange": (1, r"The certificate of 127.* is of a CA that is not in"),
    "user unknown": (2, r"Kafka does not take the user nobody with the password in .*invalid cred"),
    "topic not allowed": (
        2,
        r"The user test_.* may not write to the topic not-allowed. Give it",
    ),
    "topic missing": (1, r"Topic missing is not ready after .*: the broker does not know it"),
    "password of another": (2, r"Kafka does not take the user .*file holds the password that they"),
    "password missing": (2, r"KAFKA_SASL_PASSWORD_FILE=.*: cannot be read: No such file"),
    "password empty": (2, r"KAFKA_SASL_PASSWORD_FILE=.*: holds no password. Write the password"),
    "password of lines": (2, r"KAFKA_SASL_PASSWORD_FILE=.*: holds more than one line"),
    "password open to all": (2, r"KAFKA_SASL_PASSWORD_FILE=.*: is open to every user of this host"),
}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience, and no handlers in pytest's own process."""
    monkeypatch.setattr(service, "TOPIC_TIMEOUT", 3.0)
    monkeypatch.setattr("imdb_producer.check._TIMEOUT", 3.0)
    monkeypatch.setattr(access, "GRACE", 1.0)
    monkeypatch.setattr(topic, "GRACE", 1.0)
    monkeypatch.setattr(Stop, "install", lambda _: None)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("hasty")
def test_what_is_wrong_is_named_by_check(
    secured: SecuredBroker, setting: Setting, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    environment = setting.environment | bad_settings(secured, setting, case)
    assert cli.main(["check"], environment) == 1
    said = capsys.readouterr()
    failed = [it for it in said.out.splitlines() if it.startswith("FAILED")]
    assert re.search(CASES[case][1], failed[-1])
    assert not re.search(f"{PASSWORD}|{CHANGED}", said.out + said.err)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("hasty")
def test_what_is_wrong_is_named_once_by_a_run_that_ends(
    secured: SecuredBroker, setting: Setting, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    environment = setting.environment | bad_settings(secured, setting, case)
    code, pattern = CASES[case]
    assert cli.main(["run"], environment) == code
    said = capsys.readouterr().err
    found = [it for it in said.splitlines() if re.search(pattern, it)]
    # Once when it begins to wait, where it may pass, and once when it ends.
    assert 1 <= len(found) <= 2, said
    assert found[-1].startswith("imdb-producer: ")
    assert not re.search(f"{PASSWORD}|{CHANGED}", said)
    assert str(setting.status()["last_error"]) in {
        "ConfigError",
        "CredentialsError",
        "AccessError",
        "TopicError",
    }


def test_the_password_is_in_no_command_and_no_environment(setting: Setting) -> None:
    with setting.started(MSGS_PER_SEC="100") as process:
        setting.wait_for_sent(10)
        for place in ("cmdline", "environ"):
            assert PASSWORD.encode() not in Path(f"/proc/{process.pid}/{place}").read_bytes()
    assert PASSWORD not in setting.status_file.read_text()


def test_a_password_in_the_environment_is_refused(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check"], setting.environment | {"KAFKA_SASL_PASSWORD": PASSWORD}) == 2
    said = capsys.readouterr().err
    assert "KAFKA_SASL_PASSWORD='***': the environment of a process is no place" in said
    assert PASSWORD not in said


def test_progress_is_kept_by_tls(secured: SecuredBroker, setting: Setting) -> None:
    shared = {
        "PROGRESS_SERVERS": secured.secured_zookeeper_address,
        "ZOOKEEPER_CERTIFICATE": str(secured.authority.certificate("producer")),
        "ZOOKEEPER_CA": str(secured.ca),
    }
    assert setting.run(**shared).returncode == 0
    other = {"CACHE_DIR": str(setting.folder / "another host")}
    again = setting.run(**shared | other)
    assert again.returncode == 0
    assert "Nothing to send" in again.stderr


@pytest.mark.parametrize(
    ("wrong", "code", "message"),
    [
        ("certificate", 1, "does not take this host's certificate"),
        ("CA", 1, "is of a CA that is not in .*: see that ZOOKEEPER_CA names"),
        ("port", 1, "does not speak TLS"),
        ("missing", 2, "ZOOKEEPER_CERTIFICATE='/none.pem': there is no such file"),
        ("one", 2, "ZOOKEEPER_CERTIFICATE='': ZOOKEEPER_CA=.* needs it"),
    ],
)
def test_what_is_wrong_with_zookeeper_is_named(
    secured: SecuredBroker, setting: Setting, wrong: str, code: int, message: str
) -> None:
    shared = {
        "PROGRESS_SERVERS": secured.secured_zookeeper_address,
        "ZOOKEEPER_CERTIFICATE": str(secured.authority.certificate("producer")),
        "ZOOKEEPER_CA": str(secured.ca),
    }
    other = secured.other_authority.certificate("producer")
    shared |= {
        "certificate": {"ZOOKEEPER_CERTIFICATE": str(other)},
        "CA": {"ZOOKEEPER_CA": str(secured.other_authority.ca)},
        "port": {"PROGRESS_SERVERS": secured.zookeeper_address},
        "missing": {"ZOOKEEPER_CERTIFICATE": "/none.pem"},
        "one": {"ZOOKEEPER_CERTIFICATE": ""},
    }[wrong]
    done = setting.run(**shared)
    assert done.returncode == code, done.stderr
    assert re.search(message, done.stderr.splitlines()[-1])
