"""What a host packs for a support bundle: what it may take, and how much of it."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts import ROOT

from ..ansible.modules import load, load_utility
from ..producer.bad_server import serving
from ..producer.broker import free_port

load_utility("support_redact")
sources = load_utility("support_sources")
host = load("ansible/library/support_host.py", "support_host")

#: Files of /etc that roles write and that are not taken: secrets, keys, and what tells no more.
NOT_TAKEN = {
    "/etc/kafka/secrets.properties",
    "/etc/kafka/admin.properties",
    "/etc/imdb-prometheus/alertmanager.yml",
}


def written_by_roles() -> set[str]:
    """The files of /etc that roles write, outside of the folder of certificates."""
    found = set()
    for role in sorted((ROOT / "roles").iterdir()):
        paths = [*role.glob("vars/main.yml"), *role.glob("tasks/*.yml")]
        texts = [path.read_text(encoding="utf-8") for path in paths]
        known = {
            name: value
            for text in texts
            if isinstance(content := yaml.safe_load(text), dict)
            for name, value in content.items()
        }
        for quoted, bare in re.findall(r"dest: (?:\"([^\"]+)\"|([^\",}\s]+))", "\n".join(texts)):
            dest = quoted or bare
            for name in re.findall(r"\{\{ (\w+) \}\}", dest):
                dest = dest.replace(f"{{{{ {name} }}}}", str(known.get(name, "")))
            found.add(dest)
    return {it for it in found if it.startswith("/etc/") and Path(it).suffix}


def test_each_file_that_a_role_writes_is_taken_or_left_out_on_purpose() -> None:
    written = written_by_roles()
    assert {"/etc/kafka/server.properties", "/etc/imdb-exporters/nginx.conf"} <= written
    units = {
        it for it in written if re.fullmatch(r"/etc/systemd/system/[\w-]+\.(service|timer)", it)
    }
    names = {Path(it).name for it in units}
    assert len(names) > 10
    assert [it for it in names if not any(Path(it).match(unit) for unit in sources.UNITS)] == []
    missing = written - units - set(sources.CONFIGURATION) - NOT_TAKEN
    assert {it for it in missing if "password" not in it} == set()


def test_no_file_of_secrets_is_taken() -> None:
    taken = set(sources.CONFIGURATION)
    assert taken & (NOT_TAKEN | set(sources.SECRET_SETTINGS)) == set()
    assert [it for it in taken if re.search(r"password|secret|admin|\.pem|\.key|/ssl/", it)] == []
    # Nor what shows the arguments of other processes, which may hold anything.
    shown = [" ".join(command) for command in sources.COMMANDS.values()]
    assert [it for it in shown if re.search(r"\bargs\b|\bcmd\b|cmdline|environ|ps aux", it)] == []


def test_of_a_long_output_the_last_lines_are_kept() -> None:
    seen: list[bytes] = []
    said = sources.run(["seq", "1", "200000"], 1000, 30, seen.append)
    assert len(said.text) <= 1000
    assert said.text.endswith(b"\n199999\n200000\n")
    assert re.match(rb"\d{6}\n", said.text)
    assert said.cut + len(said.text) == sum(map(len, seen)) == 1288895
    assert said.problem == ""


def test_a_command_that_hangs_is_ended_and_its_words_are_kept() -> None:
    said = sources.run(["sh", "-c", "echo one; exec sleep 60"], 1000, 1)
    assert (said.text, said.problem) == (b"one\n", "sh was ended after 1 s")


def test_a_command_that_fails_or_is_not_there_is_told() -> None:
    assert sources.run(["sh", "-c", "exit 3"], 10, 9).problem == "sh ended with 3"
    assert sources.run(["not-there-at-all"], 10, 9).problem.startswith("not-there-at-all: No such")


def test_a_pack_is_never_larger_than_its_bound_and_says_what_it_lacks() -> None:
    pack = host.Pack(1000, 60)
    pack.add("one", b"a\n" * 300)
    pack.add("two", b"".join(b"%d\n" % number for number in range(1000)))
    pack.add("three", b"nothing of it\n")
    assert sum(map(len, pack.files.values())) <= 1000
    assert pack.files["two"].endswith(b"999\n")
    assert [note["file"] for note in pack.notes] == ["two", "three"]
    assert all(note["cut"] > 0 for note in pack.notes)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(pack.archive()))) as archive:
        file = archive.extractfile("host.json")
        assert file
        assert json.load(file)["taken"] <= 1000


def test_a_part_that_fails_is_told_and_the_rest_is_taken() -> None:
    pack = host.Pack(1000, 60)

    def fail(_: Any, what: str) -> None:
        raise ValueError(f"no {what}")

    pack.part("states", fail, "answer")
    pack.part("files", lambda it: it.add("one", b"1\n"))
    assert pack.notes == [{"file": "states", "cut": 0, "problem": "ValueError: no answer"}]
    assert list(pack.files) == ["one"]


def test_disks_are_read_past_what_df_complains_of(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        b"Type 1B-blocks Avail Use% IUse% Mounted on\n"
        b"df: /mnt/gone: Transport endpoint is not connected\n"
        b"ext4 1000 400 60% 7% /var/lib/with a blank\n"
        b"tmpfs 1000 400 60% - /run/lock\n"
    )
    monkeypatch.setattr(host, "run", lambda command, *_: host.Said(said * ("--local" in command)))
    (disk,) = host.filesystems(host.Pack(1000, 60))
    assert (disk["mount"], disk["used_percent"]) == ("/var/lib/with a blank", 60)


def test_errors_are_counted_in_all_of_a_journal_and_told_apart() -> None:
    lines = host.Lines()
    journal = (
        "2026-11-30T12:00:00+00:00 kafka[7]: INFO all is well (kafka.Kafka)\n"
        "2026-11-30T12:00:01+00:00 kafka[7]: ERROR no answer from 10.0.0.1 (kafka.Kafka)\n"
        "2026-11-30T12:00:02+00:00 kafka[7]: ERROR no answer from 10.0.0.2 (kafka.Kafka)\n"
        "2026-11-30T12:00:03+00:00 kafka[7]: FATAL another\n"
        "2026-11-30T12:00:04+00:00 systemd[1]: kafka.service: Failed with result 'exit-code'.\n"
        "2026-11-30T12:00:05+00:00 kernel: Out of memory: Killed process 7 (java)\n"
    )
    for start in range(0, len(journal), 50):
        lines.take(journal[start : start + 50].encode())
    told = lines.summary()
    assert told["count"] == 4
    assert (told["first"][:19], told["last"][:19]) == ("2026-11-30T12:00:01", "2026-11-30T12:00:04")
    assert told["examples"][0] == [2, "ERROR no answer from 10.0.0.2 (kafka.Kafka)"]
    assert [it[-32:] for it in lines.killed] == ["Out of memory: Killed process 7 (java)"[-32:]]


def test_metrics_are_a_line_a_series() -> None:
    def series(name: str, *values: tuple[int, str]) -> dict[str, Any]:
        return {"metric": {"__name__": name, "instance": "core-1"}, "values": values}

    answer = {"data": {"result": [series("up", (60, "1"), (120, "0")), series("lag", (120, "7"))]}}
    assert host.as_lines(json.dumps(answer).encode()).decode().splitlines() == [
        "# from 60 to 120, every 60 s",
        'up{instance="core-1"} 1 0',
        'lag{instance="core-1"} - 7',
    ]


class PrometheusHandler(BaseHTTPRequestHandler):
    """Answers as Prometheus does; of the job `large` there is more than may be taken."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = urllib.parse.parse_qs(query)
        if path.endswith("/alerts"):
            labels = [{"alertname": name} for name in ("Watchdog", "KafkaDown")]
            data: Any = {"alerts": [{"labels": it, "state": "firing"} for it in labels]}
        elif path.endswith("/values"):
            data = ["large", "node"]
        else:
            assert int(asked["end"][0]) - int(asked["start"][0]) == 3600
            series = 5000 if asked["query"] == ['{job="large"}'] else 1
            metric = {"__name__": "up", "job": asked["query"][0]}
            data = {"result": [{"metric": metric, "values": [[60, "1"]]}] * series}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": data}).encode())

    def log_message(self, *said: object) -> None:
        """Say nothing."""


def test_the_last_hour_comes_from_prometheus_and_is_bounded() -> None:
    pack = host.Pack(100_000, 60)
    with ThreadingHTTPServer(("127.0.0.1", 0), PrometheusHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host.take_metrics(pack, server.server_address[1])
        server.shutdown()
    assert [it["labels"]["alertname"] for it in pack.facts["alerts"]] == ["KafkaDown"]
    assert "up{job=" in pack.files["metrics/last-hour-node.txt"].decode()
    assert len(pack.files["metrics/last-hour-large.txt"]) <= 100_000 * host.METRICS
    assert [note["file"] for note in pack.notes] == ["metrics/last-hour-large.txt"]


def test_a_prometheus_that_does_not_answer_is_told() -> None:
    pack = host.Pack(100_000, 60)
    host.take_metrics(pack, free_port())
    assert {note["file"] for note in pack.notes} == {"metrics/alerts.json", "metrics"}


def test_what_hosts_serve_is_bounded_and_what_does_not_answer_is_told() -> None:
    pack = host.Pack(10_000, 60)
    with serving(b"one 1\n" * 100) as site:
        host.take_page(pack, "metrics/now.prom", site.url, bytes, 100)
    assert pack.files["metrics/now.prom"] == b"one 1\n" * 16
    host.take_page(pack, "metrics/none.prom", site.url, bytes)
    assert [note["file"] for note in pack.notes] == ["metrics/now.prom", "metrics/none.prom"]
    assert "refused" in pack.notes[1]["problem"]


def test_secrets_of_the_hosts_own_files_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, password = tmp_path / "alerts.yml", tmp_path / "passwords"
    settings.write_text(
        '  - url: "https://hooks.example/planted-hook"\n    auth_password: planted-mail\n'
    )
    password.mkdir()
    (password / "user").write_text("planted-user\n")
    monkeypatch.setattr(host, "CONFIGURATION", ())
    monkeypatch.setattr(host, "SECRET_SETTINGS", (str(settings), str(tmp_path / "not-there")))
    monkeypatch.setattr(host, "SECRET_FILES", (f"{password}/*",))
    monkeypatch.setattr(host, "unit_files", list)
    found = set(host.own_secrets())
    assert {"https://hooks.example/planted-hook", "planted-mail", "planted-user"} <= found


def test_an_unknown_time_is_refused() -> None:
    assert (
        "no time" in host.wrong_since("the other day") or not Path("/usr/bin/journalctl").exists()
    )
    assert host.wrong_since("2 hours ago") == ""
