"""The command line: serves the page, by Streamlit, for its own host alone."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from imdb_dashboard import __version__
from imdb_dashboard.config import Config, ConfigError, read
from imdb_dashboard.watch import Watch

#: Exit code where a setting is wrong: another start would not help.
WRONG = 2
#: Seconds that `check` waits for a source.
PATIENCE = 60


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="imdb-dashboard",
        description="Serve a page that shows the movies and the pipeline while they move.",
        epilog="DASHBOARD_SETTINGS names the file of settings (/etc/imdb-dashboard/settings.json). "
        "Exit codes: check: 1 if a source does not answer. 2: a setting is wrong.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="serve it until it is told to end")
    commands.add_parser("check", help="check the settings, and whether the sources answer")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    given = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        config = read()
    except ConfigError as error:
        print(f"imdb-dashboard: {error}", file=sys.stderr)
        return WRONG
    if given.command == "check":
        return check(config)
    serve(config)
    sys.stderr.flush()
    # Threads are at the tables still: the database is not to be taken from under them.
    os._exit(0)


def check(config: Config) -> int:
    """Look at each source once, and say what it has; exit code 1 if one does not answer."""
    watch = Watch(config)
    code = 0
    tables, said = watch.tables_now(PATIENCE), watch.pipeline_now(PATIENCE)
    if tables.problem or not tables.state:
        code = 1
        print(f"Tables: {tables.problem}")
    else:
        print(f"Tables: {tables.state.rows:,} rows of {tables.state.movies:,} movies.")
    if said.problem or not said.state:
        code = 1
        print(f"Prometheus: {said.problem}")
    else:
        parts = ", ".join(f"{part.title} {part.state}" for part in said.state.parts)
        print(f"Prometheus: {parts}.")
    watch.stop()
    return code


def serve(config: Config) -> None:
    """Serve the page until a signal ends it."""
    from streamlit.web import cli

    cli.main(
        ["run", str(Path(__file__).with_name("page.py")), *options(config)],
        prog_name="imdb-dashboard",
        standalone_mode=False,
    )


def options(config: Config) -> list[str]:
    """Return Streamlit's settings: for this host alone, and nothing that asks or tells others."""
    values: dict[str, str | int] = {
        # What lies outside of a folder site-packages it takes for its authors' own copy.
        "global.developmentMode": "false",
        "server.address": config.address,
        "server.port": config.port,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.enableXsrfProtection": "true",
        "server.enableCORS": "true",
        "server.maxUploadSize": 1,
        "server.disconnectedSessionTTL": 30,
        "browser.gatherUsageStats": "false",
        "browser.serverAddress": "localhost",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        # Streamlit's own red is too pale on light grounds and too dark on dark ones to be read.
        "theme.light.primaryColor": "#a82a38",
        "theme.dark.primaryColor": "#f08a93",
        "logger.level": "warning",
    }
    return [f"--{name}={value}" for name, value in values.items()]
