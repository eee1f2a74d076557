"""No secret shows: neither in what a deployment prints, nor on its hosts to others."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hosts import Target, run

from ..variables import HostVariables
from ..waiting import wait_for
from .deployment import PlaybookRun, as_root, run_playbook, status_of, unit_states

pytestmark = [pytest.mark.deploy, pytest.mark.slow]

PORT, DUMPS = 8999, "/srv/dumps"
PASSWORD, SIGNATURE = "planted-in-the-url", "planted-in-the-query"
# Settings that are taken and have no effect here.
BROKER = {"ssl.keystore.password": "planted-in-the-broker"}
SPARK = {
    "spark.authenticate.secret": "planted-in-spark",
    "spark.hadoop.fs.s3a.secret.key": "planted-for-s3",
}
SECRETS = [PASSWORD, SIGNATURE, *BROKER.values(), *SPARK.values()]
FOLDERS = ["/etc", "/run", "/srv", "/tmp", "/usr/local", "/var", "/opt/spark-output"]
FILES = {
    "/etc/kafka/server.properties": ("kafka", [*BROKER.values()]),
    "/etc/spark/spark-defaults.conf": ("imdb-streaming", [*SPARK.values()]),
    "/etc/imdb-producer/producer.env": ("imdb-producer", [PASSWORD, SIGNATURE]),
}


def shown(text: str) -> list[str]:
    """Return the lines of a text that show a secret."""
    return [line for line in text.splitlines() if any(secret in line for secret in SECRETS)]


def settings(folder: Path, **values: Any) -> str:
    """Write variables to a file; return the argument that gives it to ansible-playbook."""
    path = folder / "settings.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return f"-e@{path}"


@dataclass
class Planted:
    """A pipeline that was deployed with secrets."""

    since: float
    runs: list[PlaybookRun] = field(default_factory=list)


@pytest.fixture(scope="module")
def planted(
    target: Target,
    variables: HostVariables,
    patience: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Planted]:
    """Deploy with secrets, those of the producer in its addresses; take them back at the end."""
    # Serves the files that the producer reads. What the server notes of its requests is not ours.
    folder = f"{variables['producer_data_dir']}/input"
    server = f"python3 -m http.server --bind 127.0.0.1 --directory {DUMPS} {PORT}"
    as_root(
        target,
        "imdb-producer",
        *("systemd-run", "--unit=dumps", "--collect", "--property=StandardError=null"),
        *("sh", "-c", f"'cp -rT {folder} {DUMPS} && exec {server}'"),
    )
    planted = Planted(time.time())
    url = f"http://user:{PASSWORD}@127.0.0.1:{PORT}/title.%s.tsv.gz?signature={SIGNATURE}"
    given = settings(
        tmp_path_factory.mktemp("planted"),
        kafka_properties=variables["kafka_properties"] | BROKER,
        spark_defaults=variables["spark_defaults"] | SPARK,
        producer_basics=url % "basics",
        producer_ratings=url % "ratings",
        # Without network it has to give up, and to say so.
        producer_allow_cached=False,
        producer_download_attempts=2,
    )
    try:
        for arguments in (["--check", "--diff"], ["--diff", "-vv"]):
            planted.runs.append(run_playbook(given, *arguments))
            assert planted.runs[-1].exit_code == 0, planted.runs[-1].end
        wait_for(
            "the producer sends what it has downloaded",
            lambda: status_of(target, "imdb-producer"),
            lambda status: status["basics"].endswith("?***") and status["total"] > 0,
            60 * patience,
        )
        # Now nobody answers there, which the producer tells.
        as_root(target, "imdb-producer", "systemctl", "stop", "dumps")
        as_root(target, "imdb-producer", "systemctl", "restart", "imdb-producer")
        wait_for(
            "the producer has given up",
            lambda: status_of(target, "imdb-producer"),
            lambda status: bool(status["state"] == "failed"),
            60 * patience,
        )
        yield planted
    finally:
        # It is gone already unless something went wrong.
        clean = f"systemctl --quiet stop dumps 2>/dev/null; rm -rf {DUMPS}"
        as_root(target, "imdb-producer", "sh", "-c", f"'{clean}'")
        back = run_playbook()
        assert back.exit_code == 0, back.end
        wait_for(
            "every unit is active",
            lambda: unit_states(target),
            lambda units: all(unit.active == "active" for unit in units.values()),
            60 * patience,
        )


@pytest.mark.parametrize("path", FILES)
def test_they_are_in_force(target: Target, planted: Planted, path: str) -> None:
    unit, secrets = FILES[path]
    content = as_root(target, unit, "cat", path)
    assert [secret for secret in secrets if secret not in content] == []


def test_no_run_prints_them(target: Target, planted: Planted) -> None:
    for deployed in planted.runs:
        assert sum(deployed.changed.values()) > 0
        assert shown(deployed.output) == []


def test_no_journal_holds_them(target: Target, planted: Planted) -> None:
    for host in target.hosts:
        # With all its fields: the command lines of what wrote to it, too.
        journal = run(
            target,
            host,
            f"sudo journalctl --no-pager --output=export --since=@{planted.since:.0f} "
            r"| tr -cd '\n -~'",
            timeout=120,
        )
        assert "imdb-producer" in journal
        assert shown(journal) == []


def test_no_command_line_holds_them(target: Target, planted: Planted) -> None:
    for host in target.hosts:
        processes = run(target, host, "sudo ps axww -o args")
        assert "systemd" in processes
        assert shown(processes) == []


def test_no_file_for_everybody_holds_them(target: Target, planted: Planted) -> None:
    for host in target.hosts:
        # By standard input: sudo notes its arguments in the journal.
        found = run(
            target,
            host,
            f"sudo -u nobody grep -rsIlF -D skip -f - {' '.join(FOLDERS)} || true",
            stdin="\n".join(SECRETS),
            timeout=120,
        )
        assert found.split() == []


def test_no_support_bundle_holds_them(target: Target, planted: Planted, tmp_path: Path) -> None:
    # They are in no variable by now: each host knows them by its own files.
    done = run_playbook(f"-esupport_folder={tmp_path}", playbook="support.yml")
    assert done.exit_code == 0, done.end
    assert shown(done.output) == []
    (archive,) = tmp_path.glob("*.tar.gz")
    whole = gzip.decompress(archive.read_bytes()).decode(errors="replace")
    assert "ssl.keystore.password=***" in whole
    assert "?***" in whole
    assert shown(whole) == []


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"producer_basics": f"ftp://user:{PASSWORD}@host/x"}, id="scheme"),
        pytest.param({"producer_basics": f"user:{PASSWORD}@host/x"}, id="no scheme"),
        pytest.param({"producer_ratings": f"https://u:a {PASSWORD}@host/x"}, id="blank"),
        pytest.param({"producer_ratings": f"https://host/x?a=$&b={SIGNATURE}"}, id="dollar"),
        pytest.param({"kafka_properties": [*BROKER.values()]}, id="kafka_properties"),
        pytest.param({"spark_defaults": [*SPARK.values()]}, id="spark_defaults"),
    ],
)
def test_wrong_value_is_refused_without_being_shown(
    target: Target, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    refused = run_playbook(settings(tmp_path, **wrong), "--diff", "-vv")
    assert refused.exit_code != 0, refused.end
    assert next(iter(wrong)) in refused.output
    assert sum(refused.changed.values()) == 0, refused.changed_tasks
    assert shown(refused.output) == []
