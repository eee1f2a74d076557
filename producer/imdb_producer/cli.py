"""The command line."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence

import click

from imdb_producer import __version__, backup
from imdb_producer.ahead import prepare_ahead
from imdb_producer.check import check
from imdb_producer.config import READING, RUNNING, SENDING, Config
from imdb_producer.errors import ProducerError
from imdb_producer.logs import quieten_clients, set_up
from imdb_producer.prepare import STANDARD_OUTPUT, prepare
from imdb_producer.service import run
from imdb_producer.stop import Stop, StopRequested

log = logging.getLogger("imdb_producer")

_EPILOG = """\
Every option is a setting of the environment too, under the name in brackets; the option wins.

Exit codes: 0 done, or stopped by SIGTERM; 1 failed; 2 a setting, an option or what an earlier run
has kept is wrong, or Kafka does not take the user, or not let it write; 3 another producer is at
work in the same folder; 4 done, and the broker has refused some of the records, which are kept
aside.
"""


@click.group(epilog=_EPILOG)
@click.version_option(__version__, message="%(prog)s %(version)s")
def program() -> None:
    """Send IMDb's movies to a Kafka topic, at a steady rate."""


def _begin(context: click.Context) -> tuple[Config, Stop]:
    """Read the settings, and listen to signals."""
    config = Config.of(context)
    if config.security.enabled:
        quieten_clients()
    stop = Stop()
    stop.install()
    return config, stop


@program.command("run", params=[*SENDING, *READING, *RUNNING], epilog=_EPILOG)
@click.pass_context
def _run(context: click.Context, /, **_: object) -> int:
    """Send what the topic does not have, and end when all is acknowledged."""
    return run(*_begin(context))


@program.command("prepare", params=list(READING), epilog=_EPILOG)
@click.argument("output", metavar="[FILE]", default=STANDARD_OUTPUT)
@click.option(
    "--ahead",
    is_flag=True,
    help="write no lines: keep the records for `run`, which then reads no dumps",
)
@click.pass_context
def _prepare(context: click.Context, /, output: str, ahead: bool, **_: object) -> int:
    """Download, join and filter; write the records as lines of JSON to FILE.

    Without FILE, or if it is -, they go to standard output.
    """
    config, stop = _begin(context)
    if not ahead:
        prepare(config, stop, output)
    elif output == STANDARD_OUTPUT:
        prepare_ahead(config, stop)
    else:
        raise click.UsageError("--ahead writes no FILE: leave one of them out.")
    return 0


@program.command("check", params=[*SENDING, *READING], epilog=_EPILOG)
@click.pass_context
def _check(context: click.Context, /, **_: object) -> int:
    """Look whether broker, topic, sources and folder can be used; send nothing."""
    return 0 if check(_begin(context)[0]) else 1


@program.command("backup", params=[*SENDING, *READING], epilog=_EPILOG)
@click.option("--remove", is_flag=True, help="remove the copy that was made")
@click.pass_context
def _backup(context: click.Context, /, remove: bool, **_: object) -> int:
    """Copy how far sending has come, beside a run; print the folder with the copy.

    Nothing is printed where nothing is kept on this host: nothing was sent, or hosts share it.
    """
    config, _stop = _begin(context)
    if remove:
        backup.remove(config)
    elif folder := backup.take(config):
        click.echo(folder)
    return 0


def main(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> int:
    """Do what a command line asks for; give the exit code."""
    set_up("text")
    try:
        code: int = program.main(arguments, "imdb-producer", standalone_mode=False, obj=environment)
        return code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except StopRequested:
        log.info("Stopped: nothing was written")
    except ProducerError as error:
        log.error("imdb-producer: %s", error)
        return error.exit_code
    return 0
