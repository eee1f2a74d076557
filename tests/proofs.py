"""How each command that the documents show is proven: one table.

conventions/test_documents.py holds it against the documents, pipeline/test_documents.py runs what
needs hosts. In a pattern `*` stands for any text. The first row that matches a command counts, so
particular rows come before general ones. What is no command of the tested environment as it stands
is made one by STAND_INS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# What the documents write in place of the environment at hand, and what is put there.
STAND_INS = [
    (r"inventories/(?:local|libvirt|aws|prod)/", "inventories/{environment}/"),
    (r"(?<= )(?:local|libvirt|aws)-1\b", "{host}"),
    (r" (?:NAME|TARGET)=\S+", ""),
    (r"^make \w+", r"\g<0> NAME={environment}"),
    (
        r"ansible-playbook (?:\.\.\. |-i \S+ -i \S+ )?(?:ansible/site\.yml)?",
        "ansible-playbook -i inventories/pipeline/hosts.yml"
        " -i inventories/{environment}/hosts.yml ansible/site.yml ",
    ),
    (r"^terraform ", "TF_WORKSPACE={environment} terraform "),
]


@dataclass(frozen=True)
class Row:
    """Commands, and how they are proven."""

    pattern: str

    def matches(self, command: str) -> bool:
        """Return whether a command is one of the row's."""
        return bool(re.fullmatch(re.escape(self.pattern).replace(r"\*", ".*"), command))


@dataclass(frozen=True)
class Reads(Row):
    """Run on a running pipeline, from which it only reads.

    `prints` is a regular expression for its output; `at` the unit on whose host it is run, empty
    for this machine; `run` how it is run, where a person would type more ({given} is what the
    pipeline was deployed with). One that `follows` is ended once it has printed that; one of
    `several` hosts makes no sense on one.
    """

    prints: str
    at: str = ""
    run: str = "{command}"
    follows: bool = False
    several: bool = False


@dataclass(frozen=True)
class Alone(Reads):
    """Run without any pipeline."""


@dataclass(frozen=True)
class Changes(Reads):
    """Run on a running pipeline, which it would change if there were something to change."""

    slow: bool = False


@dataclass(frozen=True)
class Proven(Row):
    """Proven by what a file does, which the test of the table looks for there."""

    file: str
    text: str


@dataclass(frozen=True)
class Form(Row):
    """Checked for its form alone, for the reason given."""

    reason: str


AWS = "needs an account of AWS; tests/terraform/test_aws.py applies the same to a stand-in"
GRAFANA = "needs Grafana, which no registry has; roles/grafana/molecule has a stand-in for it"
MACHINES = "needs virtual machines that run; tests/terraform/test_libvirt.py makes one"
MONITORED = "for hosts that serve metrics; tests/roles says whether the units run"
SECURED = "needs certificates; tests/roles/test_certificates.py starts the same"
NAMED = "names what is shown in full elsewhere"
JOURNAL_LINE = r"(?m)^\w{3} \d\d \d\d:\d\d:\d\d \S+ [\w-]+\[\d+\]: "
NOTHING_TO_DO = r"changed=0 +unreachable=0 +failed=0"
UNCHANGED = r"Resources: 0 added, 0 changed, 0 destroyed"

ROWS: list[Row] = [
    # make
    Reads(
        "make status*", r"(?s)Topic .* partitions, end offsets .*Streaming  run \w+: [\d,]+ rows"
    ),
    Reads("make logs*", JOURNAL_LINE, follows=True),
    Proven("make alerts*", "tests/pipeline/test_monitoring.py", '"alerts", f"NAME='),
    Proven("make support*", "tests/tools/test_environment.py", "def test_a_support_bundle_is_told"),
    Proven("*ansible/support.yml*", "tests/pipeline/test_support.py", 'playbook="support.yml"'),
    Proven("make backups*", "tests/tools/test_environment.py", '["backups"]'),
    Proven("make backup*", "tests/pipeline/test_backup.py", 'make(target, "backup")'),
    Proven(
        "make restore-environment*",
        "tests/pipeline/test_backup.py",
        'make(target, "restore-environment"',
    ),
    Proven("make restore*", "tests/pipeline/test_backup.py", 'make(target, "restore", RATE)'),
    Proven("*ansible/backup.yml*", "Makefile", "ansible-playbook ansible/backup.yml"),
    Proven("*ansible/restore.yml*", "tests/pipeline/test_backup.py", 'playbook="restore.yml"'),
    Proven("ansible-vault view *", "tests/tools/test_vault.py", '"view"'),
    Proven("imdb-streaming backup", "tests/spark/test_backup.py", 'cli.main(["backup"'),
    Proven("imdb-producer backup*", "ansible/backup.yml", "imdb-producer, backup]"),
    Proven("make tunnel*", "tests/pipeline/test_documents.py", "def test_the_tunnel_leads_to_the"),
    Proven("make hosts*DELETE_DATA=*", "Makefile", "TF_VAR_delete_data='$(DELETE_DATA)'"),
    Changes("make hosts*", UNCHANGED),
    Proven("make deploy*", "Makefile", "@$(MAKE) --no-print-directory deploy"),
    Proven("make rotate*", "tests/tools/test_environment.py", "def test_a_rotation_is_told_what"),
    Proven("make update*", "tests/tools/test_environment.py", "def test_updates_are_a_playbook"),
    Proven("make client*", "tests/pipeline/test_kafka_client.py", '"make", "client"'),
    Proven(
        "make switch-security*", "tests/tools/test_environment.py", "def test_a_switch_of_security"
    ),
    Proven("make secrets*", "Makefile", "hosts artifacts sample secrets"),
    Proven("make env*", "tests/tools/test_environment.py", "def test_an_environment_says_what"),
    Proven("echo 'pipeline_monitoring: true' >>*", "tools/test", "pipeline_monitoring: true"),
    Form("echo 'pipeline_grafana: true' >>*", GRAFANA),
    Form("ssh -F inventories/local/.ssh/config -L 3000:*", GRAFANA),
    Proven("echo 'kafka_mode: kraft' >>*", "tools/test", "kafka_mode: kraft"),
    Proven(
        ".venv/bin/python tools/grafana.py", "tests/monitoring/test_grafana.py", "grafana.written()"
    ),
    Form("*make up*TARGET=aws*", AWS),
    Form("make up TARGET=libvirt", MACHINES),
    Form("make up DATASET=imdb", "downloads the real dumps; the same is done with generated ones"),
    Proven(
        "make up BASICS=*", "tests/tools/test_environment.py", "def test_a_knob_reaches_ansible"
    ),
    Proven("make up*ARCH=arm64*", "tools/test", "up NAME=arm ARCH=arm64"),
    Proven("make up*TOPOLOGY=*", "tools/test-cluster", 'up NAME=cluster TOPOLOGY="$topology"'),
    Proven("make up*", "tools/test", "up NAME=test"),
    Proven("make down*", "tools/test", "down NAME=test CONFIRM=test"),
    Proven("make verify*", "tools/test", "verify NAME=arm"),
    Proven("make lint", "tools/test", "stage lint tools/lint"),
    Proven("make test", "Makefile", "@tools/test\n"),
    Proven("make test-all", "Makefile", "@tools/test --all"),
    Proven("make test-libvirt", "tools/test", "test-libvirt"),
    Proven("make test-roles", "tools/test", "tools/test-roles"),
    Proven("make test-terraform", "tools/test", "tools/test-terraform"),
    Proven("make test-laptop", "tools/test", "tools/test-laptop"),
    Proven("make test-cluster", "tools/test", "tools/test-cluster cluster"),
    Form("make bench-*", "takes half an hour on an idle machine; tests/bench tests its parts"),
    Proven("make artifacts", "Makefile", "hosts artifacts sample"),
    Proven("make sample", "Makefile", "hosts artifacts sample"),
    Proven("make help", "tests/conventions/test_documents.py", "def test_make_alone_prints_all"),
    Proven("make lock", "tests/artifacts/test_cli.py", "def test_lock_then_fetch"),
    # tools and artifacts
    Proven("*tools/setup", "Makefile", "@TARGET=libvirt tools/setup"),
    Proven("tools/environment make *", "tests/tools/test_environment.py", "is_not_made_twice"),
    Form(".venv/bin/python tools/screenshots.py", MONITORED),
    Proven("*imdb-dashboard check", "tests/roles/test_dashboard.py", "imdb-dashboard check"),
    Proven("tools/promtool *", "tests/monitoring/test_alerts.py", "tools/promtool"),
    Proven("tools/providers *", "tests/terraform/test_providers.py", "def test_a_mirror_is_found"),
    Proven("export TF_CLI_CONFIG_FILE=*", "Makefile", "TF_CLI_CONFIG_FILE=$$(tools/providers"),
    Form("tools/libvirtd st*", MACHINES),
    Proven("tools/test-roles --quick", "tools/test", "tools/test-roles ${quick"),
    Proven("tools/test-laptop --quick *", "tools/test", "tools/test-laptop ${quick"),
    Proven("python3 -m tests.pipeline.flow_record *", "tools/test-cluster", "flow_record"),
    Proven("tools/test-cluster three", "tools/test", "tools/test-cluster three"),
    Proven("tools/test-cluster three open", "tools/test", "tools/test-cluster three open"),
    Proven(
        "python3 tools/sample_data.py *", "tests/tools/test_sample_data.py", "def test_the_comma"
    ),
    Proven(".venv/bin/python tools/role_docs.py", "tools/lint", "tools/role_docs.py --check"),
    Proven(
        "artifacts/artifacts.py fetch*", "tests/artifacts/test_cli.py", "def test_lock_then_fetch"
    ),
    Proven(
        "artifacts/artifacts.py clean", "tests/artifacts/test_cache.py", "def test_clean_leaves"
    ),
    Proven("artifacts/artifacts.py lock *", "tests/artifacts/test_cli.py", "def test_lock_keeps_o"),
    Alone("artifacts/artifacts.py list", r"(?m)^kafka-3\.\S+ +\d+ files"),
    Alone(". .venv/bin/activate", "playbook", run="{command} && command -v ansible-playbook"),
    Alone(".venv/bin/pre-commit install", r"pre-commit \d", run=".venv/bin/pre-commit --version"),
    Alone(
        "imdb-standby --help",
        "leader",
        run="PYTHONPATH=standby .venv/bin/python -m imdb_standby --help",
    ),
    # terraform and ansible
    Changes("terraform -chdir=terraform/local init", "successfully initialized"),
    Changes("terraform -chdir=terraform/local apply -var-file=*.tfvars", UNCHANGED),
    Proven(
        "*-replace='terraform_data.disk*", "tests/pipeline/test_scaling.py", "def test_a_lost_h"
    ),
    Proven(
        "*-replace=libvirt_volume.base", "tests/terraform/test_libvirt.py", "def test_a_replaced"
    ),
    Form("terraform -chdir=terraform/libvirt *", MACHINES),
    Proven(
        "*-replace='aws_instance.host*", "tests/terraform/test_aws.py", "def test_a_replaced_host"
    ),
    Proven(
        "*-target=terraform_data.output", "tests/terraform/test_aws.py", '"-target=terraform_da'
    ),
    Proven(
        "*init -migrate-state", "tests/terraform/test_aws_plans.py", "def test_the_example_of_a"
    ),
    Form("*terraform -chdir=terraform/aws *", AWS),
    Proven(
        "*terraform ... *", "tests/terraform/test_environment.py", "def test_no_data_goes_unasked"
    ),
    Form("terraform *", NAMED),
    Changes("ansible-playbook *--check*", NOTHING_TO_DO, run="{command} {given}", slow=True),
    Changes("ansible-playbook -i *site.yml", NOTHING_TO_DO, run="{command} {given}", slow=True),
    Changes(
        "ANSIBLE_CALLBACKS_ENABLED=*",
        r"Fetch and verify .* -+ [\d.]+s",
        run="{command} {given}",
        slow=True,
    ),
    Proven("*ansible/roll.yml", "tests/pipeline/test_rolling.py", 'playbook="roll.yml"'),
    Proven("*ansible/upgrade.yml", "tests/pipeline/test_rolling.py", 'playbook="upgrade.yml"'),
    Proven("*ansible/update.yml", "tests/pipeline/test_update.py", 'playbook="update.yml"'),
    Proven("*ansible/scale.yml*", "tests/pipeline/test_scaling.py", 'playbook="scale.yml"'),
    Proven("*ansible/replace.yml*", "tests/pipeline/test_scaling.py", 'playbook="replace.yml"'),
    Proven("ansible/site.yml", "tests/pipeline/test_idempotence.py", "again = run_playbook()"),
    Proven("ansible/check.yml", "ansible/site.yml", "import_playbook: check.yml"),
    Proven(
        "ansible-playbook *ansible/rotate.yml*",
        "tests/pipeline/test_rotation.py",
        'playbook="rotate.yml"',
    ),
    Proven("*ansible/client.yml", "Makefile", "ansible-playbook ansible/client.yml"),
    Proven(
        "ansible-playbook *ansible/switch_security.yml*",
        "tests/pipeline/test_switch_security.py",
        'playbook="switch_security.yml"',
    ),
    Proven("ansible/remove.yml", "tests/pipeline/test_removal.py", 'playbook="remove.yml"'),
    Form("ansible-vault create *", "asks for a password, and opens an editor"),
    Form("ansible-vault edit", "opens an editor"),
    Proven("ansible-vault view", "tests/tools/test_vault.py", '"view"'),
    Proven("python tools/vault.py *", "Makefile", "$(python) tools/vault.py"),
    Proven(
        "export ANSIBLE_VAULT_PASSWORD_FILE=*", "Makefile", "export ANSIBLE_VAULT_PASSWORD_FILE ?="
    ),
    Proven("echo 'pipeline_security: false' *", "tools/test", "'pipeline_security: false'"),
    # ssh, and what is typed on a host
    Reads(
        "ssh -F inventories/*/.ssh/config *-1 journalctl -u kafka", r"(?i)kafka\[\d+\]|Kafka broker"
    ),
    Reads("ssh -F inventories/*/.ssh/config *-1", r"^\S+-\d\n$", run="{command} hostname"),
    Form("ssh -F inventories/*/.ssh/config *-1 'sudo xfs_growfs*", MACHINES),
    Form("ssh -F inventories/aws/.ssh/config -L *", AWS),
    Form("sudo xfs_growfs *", "needs a volume that grew"),
    Reads("journalctl -u kafka", "Kafka broker", at="kafka"),
    Proven(
        "journalctl -u imdb-certificates *",
        "tests/roles/test_certificates.py",
        "def test_the_journ",
    ),
    Form("journalctl -k -g *", "the kernel logs no packets of a container"),
    Reads("systemctl status imdb-streaming", r'Status: "batch', at="imdb-streaming"),
    Reads("systemctl status imdb-producer", r"sent [\d,]+ ", at="imdb-producer"),
    Proven(
        "sudo systemctl stop *", "tests/pipeline/test_failover.py", '"sudo", "systemctl", "stop"'
    ),
    Proven(
        "sudo kafka-topics.sh *admin.properties*",
        "tests/roles/test_kafka.py",
        "def test_the_operator_makes_topics",
    ),
    Proven(
        "sudo kafka-metadata-quorum.sh *admin.properties*",
        "tests/roles/test_kafka.py",
        "def test_the_controller_leads_a_quorum",
    ),
    # On hosts without ZooKeeper alone.
    *(
        Proven(f"kafka-{name}.sh", "tests/ansible/test_kafka_settings.py", f'"kafka-{name}.sh"')
        for name in ("metadata-quorum", "features")
    ),
    Proven("sudo kafka-configs.sh *--delete-config*", "tests/roles/test_kafka.py", "--delete-conf"),
    Reads("kafka-*.sh", r"/kafka-\S+\.sh$", at="kafka", run="command -v {command}"),
    Proven("zkCli.sh", "tests/roles/test_zookeeper.py", "def test_shell_lists_the_root"),
    Reads("sudo zookeeper-ask srvr", "Zookeeper version: ", at="zookeeper"),
    Reads("pyspark", "/pyspark$", at="spark-master", run="command -v {command}"),
    Reads("spark-*", "/spark-", at="spark-master", run="command -v {command}"),
    Proven(
        "sudo -u spark spark-submit ...", "tests/roles/test_spark.py", "def test_command_runs_as"
    ),
    Changes(
        "sudo -u spark pyspark",
        r"(?m)^42$",
        at="spark-master",
        run="echo 'print(40 + 2)' | {command} --master local[1]",
        slow=True,
    ),
    Reads("sudo -u imdb-producer imdb-producer check", r"ok +topic: ", at="imdb-producer"),
    Reads(
        "imdb-producer check",
        "ok +topic",
        at="imdb-producer",
        run="sudo -u imdb-producer {command}",
    ),
    Reads(
        "imdb-producer prepare -",
        r'"tconst":',
        at="imdb-producer",
        run="sudo -u imdb-producer {command} | head -n 1",
    ),
    Proven("imdb-producer prepare --ahead", "tests/producer/test_ahead.py", '"prepare", "--ahead"'),
    Form("imdb-producer prepare", NAMED),
    Proven(
        "imdb-producer run", "roles/producer/templates/imdb-producer.service.j2", "-producer run"
    ),
    Changes(
        "sudo -u spark imdb-streaming COMMAND",
        "All is well",
        at="imdb-streaming",
        run="sudo -u spark imdb-streaming check",
        slow=True,
    ),
    Proven("imdb-streaming compact", "tests/spark/test_topic.py", "compact(spark, begun)"),
    Proven("imdb-streaming reprocess*", "tests/spark/test_presence.py", '["reprocess", "second"]'),
    Reads("sudo imdb-standby leader *", r"^\S+\n$", at="imdb-streaming", several=True),
    Proven("imdb-standby run *", "roles/streaming/vars/main.yml", "imdb-standby run"),
    Reads("readlink /opt/spark/current", r"\d+\.\d+\.\d+", at="spark-master"),
    Form("sudo rm -r /opt/spark/4.0.0", "removes what an upgrade has left"),
    Form("systemctl show", NAMED),
    # The runbook's.
    Reads("df -*", "(?m) /$", at="kafka"),
    Reads("systemctl status imdb-streaming-compact.timer", "Trigger", at="imdb-streaming"),
    Reads("systemctl list-timers *", "timers listed", at="imdb-producer"),
    Form("systemctl status UNIT", NAMED),
    Form("journalctl -u UNIT", NAMED),
    Form("systemctl status imdb-*", MONITORED),
    Form("journalctl -u imdb-alertmanager", MONITORED),
    Form("journalctl -u imdb-prometheus", MONITORED),
    Form("systemctl start imdb-certificates", SECURED),
    Proven("systemctl restart imdb-producer", "tests/roles/test_producer.py", "restart"),
    Proven(
        "nft list table inet imdb_pipeline",
        "roles/firewall/molecule/alternative/others.yml",
        "nft list table inet imdb_pipeline",
    ),
    # The operator's machine, by hand
    Form("sudo -v", "asks for a password"),
    Form("virsh *", MACHINES),
    Form("systemctl start libvirtd", MACHINES),
    Form("usermod -aG libvirt *", "changes the operator's account"),
    Form("apt-get install golang-go", "tools/setup does it where it is needed"),
    Form("chgrp kvm /dev/kvm; *", "changes the machine's device"),
    Form("aws *", AWS),
    Form("export TF_VAR_*", AWS),
    Form("export AWS_PROFILE=*", AWS),
    Proven("export ANSIBLE_CONFIG=*", "ansible/check.yml", "export ANSIBLE_CONFIG="),
    Form("duckdb -c *", "DuckDB's own command line is no part of this project"),
    Form("git *", "changes what the checkout keeps"),
    # Programs from the checkout, and the tests themselves
    Proven("PYTHONPATH=producer *", "tests/producer/test_real_broker.py", "imdb_producer"),
    Proven("STANDBY_SERVERS=*", "tests/standby/test_standby.py", '"imdb_standby", "leader"'),
    Proven("SPARK_HOME=*", "roles/streaming/templates/imdb-streaming.j2", "imdb_streaming"),
    Proven("*.venv/bin/pytest tests/roles*", "tools/test", "tests/roles tests/pipeline"),
    Proven("*.venv/bin/pytest *tests/pipeline*", "tools/test", "tests/roles tests/pipeline"),
    Proven(".venv/bin/pytest tests/*", "tools/test", "pytest tests/spark"),
    Proven("*molecule test*", "tools/test-roles", "molecule"),
]


def row_of(command: str) -> Row | None:
    """Return the row that says how a command is proven."""
    return next((row for row in ROWS if row.matches(command)), None)


def as_here(row: Reads, command: str, environment: str, host: str) -> str:
    """Return how a command is run for an environment, whose first host is given."""
    for pattern, stand_in in STAND_INS:
        put = stand_in.replace("{environment}", environment).replace("{host}", host)
        command = re.sub(pattern, put, command)
    return row.run.replace("{command}", command)
