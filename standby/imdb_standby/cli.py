"""The command line."""

from __future__ import annotations

import argparse
import logging
import os
import re
import shlex
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from imdb_standby import __version__
from imdb_standby.election import Election, UnreachableError
from imdb_standby.standby import Standby
from imdb_standby.tls import Tls, TlsFileError

#: Exit codes of its own; `run` ends with the program's.
DONE, FAILED, REFUSED = 0, 1, 2

T = TypeVar("T")

_EPILOG = """\
Settings come from the environment: STANDBY_SERVERS (required; host:port[,host:port...] of
ZooKeeper), STANDBY_ROOT (/imdb-pipeline), STANDBY_NAME (this host's name), STANDBY_SESSION_SECONDS
(10); for TLS STANDBY_CERTIFICATE (PEM file with private key and certificate) and STANDBY_CA (PEM
file of the CA that signed the servers' certificates).
Exit codes: run: the program's; 1 if the lead was lost or ZooKeeper does not answer. leader: 0 if
somebody leads, 1 if nobody does. 2: a setting is wrong.
"""
log = logging.getLogger("imdb_standby")


class ConfigError(ValueError):
    """A setting cannot be used; the message names it, its value, the reason and what to do."""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="imdb-standby",
        description="Run a program on one of several hosts at a time.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="stand by until this host leads, then run a program")
    run.add_argument("election", help="name of the election, such as imdb-streaming")
    run.add_argument("--status-file", type=Path, help="file that tells this host's role, as JSON")
    run.add_argument("--wait", type=float, default=60, help="seconds for ZooKeeper (%(default)s)")
    run.add_argument(
        "--meanwhile",
        type=_command,
        default=[],
        metavar="COMMAND",
        help="command to run at low priority while this host is a standby, at first and once a day;"
        " it is killed before the program starts",
    )
    run.add_argument("program", nargs="+", help="the program and its arguments, behind --")
    leader = commands.add_parser("leader", help="print the name of the host that leads")
    leader.add_argument("election", help="name of the election")
    leader.add_argument("--wait", type=float, default=0, help="seconds for a leader (%(default)s)")
    return parser


def main(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> int:
    """Run a command; return the exit code."""
    given = build_parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        name = _setting(environment, "STANDBY_NAME", _plain, socket.gethostname())
        election = Election(
            _setting(environment, "STANDBY_SERVERS", _servers),
            f"{_setting(environment, 'STANDBY_ROOT', _root, '/imdb-pipeline')}/{given.election}",
            name,
            _setting(environment, "STANDBY_SESSION_SECONDS", _seconds, "10"),
            _tls(environment),
        )
        if given.command == "leader":
            log.setLevel(logging.WARNING)
            election.connect(max(given.wait, 10))
            with closing(election):
                found = election.leader(given.wait)
            if not found:
                log.error("No host leads %s.", given.election)
                return FAILED
            print(found)
            return DONE
        election.connect(given.wait)
        with closing(election):
            return Standby(election, name, given.program, given.status_file, given.meanwhile).run()
    except (ConfigError, TlsFileError) as error:
        log.error("%s", error)
        return REFUSED
    except UnreachableError as error:
        log.error("%s", error)
        return FAILED


def _setting(
    environment: Mapping[str, str], name: str, parse: Callable[[str], T], default: str = ""
) -> T:
    text = environment.get(name, "").strip() or default
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(f"{name}={text!r}: {error}") from None


def _tls(environment: Mapping[str, str]) -> Tls | None:
    names = ("STANDBY_CA", "STANDBY_CERTIFICATE")
    ca, certificate = (environment.get(name, "").strip() for name in names)
    if not ca and not certificate:
        return None
    for name, value, other in zip(names, (ca, certificate), reversed(names), strict=True):
        if not value:
            raise ConfigError(f"{name}='': {other} is set, and TLS needs both. Name a file.")
    return Tls(ca, certificate, names)


def _command(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}. Quote it as for a shell.") from None
    if not words:
        raise argparse.ArgumentTypeError(f"{text!r}: no command. Name one, or leave it out.")
    return words


def _servers(text: str) -> str:
    if not re.fullmatch(r"[^\s:,/]+:[0-9]{1,5}(,[^\s:,/]+:[0-9]{1,5})*", text):
        raise ValueError("not servers. Write host:port[,host:port...] of ZooKeeper.")
    return text


def _root(text: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", text):
        raise ValueError("not a path of ZooKeeper's. Write one such as /imdb-pipeline.")
    return text


def _plain(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", text):
        raise ValueError("not a host's name. Use letters, digits, '.', '_' and '-'.")
    return text


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 4 <= int(text) <= 120:
        raise ValueError("not a time-out. Give whole seconds from 4 to 120.")
    return float(text)
