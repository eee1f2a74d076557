"""The command line."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Mapping, Sequence

from imdb_producer import __version__, checks
from imdb_producer.ahead import prepare_ahead
from imdb_producer.check import check
from imdb_producer.config import LOG_FORMATS, Config
from imdb_producer.errors import ProducerError
from imdb_producer.logs import quieten_clients, set_up
from imdb_producer.options import CHECK, OPTIONS, PREPARE, RUN
from imdb_producer.preparing import STANDARD_OUTPUT, prepare
from imdb_producer.service import run
from imdb_producer.stop import Stop, StopRequested

log = logging.getLogger("imdb_producer")

_EPILOG = """\
Every option is a setting of the environment too, under the name in brackets; the option wins.

exit codes: 0 done, or stopped by SIGTERM; 1 failed; 2 a setting, an option or what an earlier run
has kept is wrong, or Kafka does not take the user, or not let it write; 3 another producer is at
work in the same folder; 4 done, and the broker has refused some of the records, which are kept
aside
"""
_COMMANDS = {
    RUN: "send what the topic does not have, and end when all is acknowledged",
    PREPARE: "download, join and filter; write the records as lines of JSON",
    CHECK: "look whether broker, topic, sources and folder can be used; send nothing",
}


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="imdb-producer",
        description="Send IMDb's movies to a Kafka topic, at a steady rate.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, text in _COMMANDS.items():
        sub = commands.add_parser(
            command,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command == PREPARE:
            target = sub.add_mutually_exclusive_group()
            target.add_argument(
                "output",
                nargs="?",
                default=STANDARD_OUTPUT,
                metavar="FILE",
                help="file to write, or - for standard output (-)",
            )
            target.add_argument(
                "--ahead",
                action="store_true",
                help="write no lines: keep the records for `run`, which then reads no dumps",
            )
        for option in OPTIONS:
            if command in option.commands:
                optional = {"nargs": "?", "const": option.constant} if option.constant else {}
                sub.add_argument(
                    option.option,
                    dest=option.name,
                    metavar=option.shape,
                    help=f"{option.help} [{option.name}]",
                    **optional,  # type: ignore[arg-type]
                )
    return parser


def main(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> int:
    """Do what a command line asks for; give the exit code."""
    given = build_parser().parse_args(arguments)
    options = {
        option.name: (option.option, value)
        for option in OPTIONS
        if (value := getattr(given, option.name, None)) is not None
    }
    settings = {**environment, **{name: value for name, (_, value) in options.items()}}
    names = {name: option for name, (option, _) in options.items()}
    if settings.get("RESEND") == "now" and "RESEND" in options:
        settings["RESEND"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    stop = Stop()
    set_up("text")
    try:
        log_format = settings.get("LOG_FORMAT", "").strip() or "text"
        set_up(checks.choice(names.get("LOG_FORMAT", "LOG_FORMAT"), log_format, LOG_FORMATS))
        config = Config.from_environment(settings, names, sends=given.command != PREPARE)
        if config.security.enabled:
            quieten_clients()
        stop.install()
        if given.command == CHECK:
            return 0 if check(config) else 1
        if given.command == PREPARE and given.ahead:
            prepare_ahead(config, stop)
        elif given.command == PREPARE:
            prepare(config, stop, given.output)
        else:
            return run(config, stop)
    except StopRequested:
        log.info("Stopped: nothing was written")
    except ProducerError as error:
        log.error("imdb-producer: %s", error)
        return error.exit_code
    return 0
