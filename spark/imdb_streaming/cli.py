"""The command line."""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import SparkSession

from imdb_streaming import __version__, backup, contract, guards, jvm, presence, runs, terms
from imdb_streaming.bucket import StorageError
from imdb_streaming.checkpoint import last_batch
from imdb_streaming.compact import CompactionCutOffError, compact
from imdb_streaming.config import Config, ConfigError, load_config
from imdb_streaming.executors import ExecutorsLostError
from imdb_streaming.files import OvertakenError, local
from imdb_streaming.job import (
    QueryDiedError,
    check_state,
    check_tables,
    check_topic,
    read_topic,
    run,
)
from imdb_streaming.session import connect
from imdb_streaming.stopping import end_late_stop, ended_when_overtaken, listen_for_stop
from imdb_streaming.tls import TlsFileError

#: Exit codes. A restart does not mend what REFUSED stands for.
DONE, FAILED, REFUSED = 0, 1, 2

#: What another attempt may not meet.
_MAY_PASS = (
    guards.BrokerUnreachableError,
    jvm.TopicUnknownError,
    StorageError,
    OvertakenError,
    CompactionCutOffError,
    backup.BackupNotReadyError,
)

_EPILOG = """\
Settings come from the environment; the unit's are in /etc/imdb-streaming/streaming.env.
Exit codes: 0 done, or stopped by SIGTERM; 1 failed, try again; 2 refused, and the message says
what to do.
"""

log = logging.getLogger("imdb_streaming")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imdb-streaming",
        description="Movies from Kafka to tables: silver_movies, dead_letters, genre_counts.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, (_, text) in _COMMANDS.items():
        # One without a help is not listed.
        options: Any = {"help": text} if text else {}
        command = commands.add_parser(name, **options)
        if name in {"reset", "accept-loss"}:
            command.add_argument("--yes", action="store_true", help="do not ask")
        if name == "backup":
            command.add_argument(
                "--read-to",
                type=backup.parse_offsets,
                default={},
                metavar="JSON",
                help='offsets by partition that the job must have read to, as in {"0": 120}',
            )
            command.add_argument(
                "--wait",
                type=float,
                default=300,
                metavar="SECONDS",
                help="how long to wait for the job to have read that far (%(default)s)",
            )
            command.add_argument("--remove", action="store_true", help="remove what was taken")
        if name == "reprocess":
            command.add_argument("run_id", metavar="NEW_RUN_ID")
            command.add_argument(
                "--master",
                default="local[2]",
                help="Spark master; the default takes no cores from the running job (%(default)s)",
            )
    return parser


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run a command; return the exit code."""
    given = build_parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    # It logs what it raises.
    for logger in ("py4j", "py4j.java_gateway", "py4j.clientserver"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    os.umask(0o022)
    stopping = threading.Event()
    listen_for_stop(stopping)
    threading.Thread(target=end_late_stop, args=[stopping], name="stop", daemon=True).start()
    variables = dict(os.environ if environ is None else environ)
    if given.command == "reprocess":
        variables["RUN_ID"] = given.run_id
    act, _ = _COMMANDS[given.command or "run"]
    try:
        act(load_config(variables), given, stopping)
        return DONE
    except (ConfigError, TlsFileError) as error:
        log.error("Wrong configuration.\n%s", error)
        return REFUSED
    except guards.StartRefusedError as error:
        if not (stopping.is_set() and isinstance(error, guards.CredentialsError)):
            log.error("Start refused. %s", error)
            return REFUSED
    except _MAY_PASS as error:
        log.error("%s", error)
    except (QueryDiedError, ExecutorsLostError):
        pass  # The job has told of it.
    except Exception:
        if stopping.is_set():
            log.info("Stopped before it was up.", exc_info=True)
        else:
            log.exception("The job failed.")
    return DONE if stopping.is_set() else FAILED


def _run(config: Config, _: argparse.Namespace, stopping: threading.Event) -> None:
    log.info("imdb-streaming %s, run %s", __version__, config.run_id)
    presence.refuse_if_gone(config)
    guards.prepare_folders(config)
    with terms.hold(config, take_over=config.take_over) as held, ended_when_overtaken(held):
        run(held, stopping)
        if held.is_beside and not stopping.is_set():
            runs.mark_ready(held)


def _check(config: Config, *_: object) -> None:
    guards.check_connector(config)
    presence.refuse_if_gone(config)
    guards.check_folders(config)
    if not config.is_in_bucket:
        check_tables(config)
    guards.wait_for_broker(config, threading.Event())
    with _local_spark(config) as spark:
        if config.is_in_bucket:
            config = config.opened(spark)
            check_tables(config)
        topic = check_topic(config, spark, note=False)
        if last_batch(config.checkpoint_folder, "commits") is not None:
            check_state(config, spark)
    log.info(
        "All is well: %s has %d partitions, run %s can %s.",
        config.topic,
        len(topic.ends),
        config.run_id,
        _what_it_can(config),
    )


def _what_it_can(config: Config) -> str:
    if not runs.is_waiting(config):
        return "start or go on"
    if runs.is_behind(config):
        return f"catch up with run {runs.run_in_service(config)} and take its place"
    return f"take the place of run {runs.run_in_service(config)}"


def _reset(config: Config, given: argparse.Namespace, *_: object) -> None:
    runs.refuse_in_bucket(config, "reset")
    gone = presence.missing_run(config)
    if gone:
        _ask(
            given.yes,
            f"{config.output_path} holds nothing, and has held the tables of RUN_ID={gone}: is its "
            "disk mounted? The next start begins there from the topic's first message.",
        )
    guards.prepare_folders(config)
    with terms.hold(config) as held:
        if not gone:
            _ask(
                given.yes,
                f"Tables and checkpoint of run {config.run_id} in {config.output_path} and "
                f"{config.output_path_csv} are set aside; readers find no rows until the job has "
                "read the topic again.",
            )
        presence.forget(held)
        for folder in runs.set_aside(held):
            log.info("What was there is in %s.", folder)
    log.info("Start the job to begin anew: systemctl restart imdb-streaming")


def _reprocess(config: Config, given: argparse.Namespace, stopping: threading.Event) -> None:
    runs.refuse_in_bucket(config, "reprocess")
    presence.refuse_if_gone(config)
    in_service = runs.run_in_service(config)
    if in_service == config.run_id:
        raise guards.StartRefusedError(
            f"The tables in service are of RUN_ID={in_service}. Give the new run another id."
        )
    beside = replace(
        _apart(config, given.master),
        is_beside=True,
        take_over=False,
        metrics_port=0,
        status_file=local(config.output_path) / "_runs" / config.run_id / "_status.json",
    )
    local(beside.tables_path).mkdir(parents=True, exist_ok=True)
    _run(beside, given, stopping)
    if stopping.is_set():
        log.info("Stopped; the same command goes on where it stopped.")
        return
    log.info(
        "Run %s has caught up. To put it into service, set streaming_run_id to it and deploy, or "
        "set RUN_ID in /etc/imdb-streaming/streaming.env and restart imdb-streaming. Set it back "
        "to %s to go back.",
        config.run_id,
        in_service,
    )


def _compact(config: Config, *_: object) -> None:
    runs.refuse_in_bucket(config, "compact")
    guards.check_belongs_together(config, mark=False)
    with _local_spark(config) as spark:
        compact(spark, config)


def _backup(config: Config, given: argparse.Namespace, stopping: threading.Event) -> None:
    if config.is_in_bucket:
        raise guards.StartRefusedError(
            f"{config.output_path} or {config.output_path_csv} is in a bucket, where no backup can "
            "be taken beside the job. Let the bucket keep versions of its objects."
        )
    presence.refuse_if_gone(config)
    if given.remove:
        backup.remove(config)
    else:
        print(backup.take(config, given.read_to, given.wait, stopping))


def _remember(config: Config, *_: object) -> None:
    """Note the run that the output folder holds now, for when this host runs the job."""
    if not config.is_in_bucket and (in_service := runs.run_in_service(config)):
        presence.remember(replace(config, run_id=in_service))


def _accept_loss(config: Config, given: argparse.Namespace, *_: object) -> None:
    presence.refuse_if_gone(config)
    guards.prepare_folders(config)
    with terms.hold(config) as held, _local_spark(held) as spark:
        opened = held.opened(spark)
        topic = read_topic(opened, spark)
        lost = contract.lost_messages(opened, topic)
        if not lost:
            log.info("The topic has all messages that come next: there is nothing to accept.")
            return
        shown = contract.offsets_shown(lost)
        _ask(given.yes, f"The messages at offsets {shown} will never be in the tables.")
        contract.accept_loss(opened, topic)
    log.info("Start the job to go on without them: systemctl restart imdb-streaming")


def _ask(is_sure: bool, what: str) -> None:
    """Go on only if the operator says so."""
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise guards.StartRefusedError(f"{what} Nobody is there to ask: say --yes if it is meant.")
    if input(f"{what}\nType yes to go on: ").strip() != "yes":
        raise guards.StartRefusedError("Nothing was changed.")


def _local_spark(config: Config) -> SparkSession:
    return connect(_apart(config, "local[1]"))


def _apart(config: Config, master: str) -> Config:
    """The same with another Spark: the ports are the service's."""
    return replace(
        config,
        spark_master=master,
        spark_ui_port=None,
        spark_driver_port=None,
        spark_block_manager_port=None,
    )


#: By name, what a command does, and its help.
_COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "run": (_run, "run the job until SIGTERM (what the service does; default)"),
    "check": (_check, "say whether the job could start, and change nothing"),
    "reset": (_reset, "set tables and checkpoint aside, to begin anew from the first message"),
    "reprocess": (
        _reprocess,
        "make the tables anew beside the running job, for a start with RUN_ID=NEW_RUN_ID",
    ),
    "compact": (_compact, "join the tables' small files, beside the running job"),
    "backup": (
        _backup,
        "take tables, state and checkpoint of one batch, as links in OUTPUT_PATH/_backup",
    ),
    # The unit of a standby calls it.
    "remember": (_remember, ""),
    "accept-loss": (_accept_loss, "let the job go on without messages that the topic has lost"),
}
