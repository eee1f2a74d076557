"""The command line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence

from imdb_producer import __version__
from imdb_producer.config import Config
from imdb_producer.errors import ProducerError
from imdb_producer.service import run
from imdb_producer.stop import Stop

_EPILOG = """\
settings, from the environment:
  KAFKA_BOOTSTRAP_SERVERS  host:port of the brokers, separated by commas (required)
  KAFKA_TOPIC              topic to send to (imdb-movies)
  MSGS_PER_SEC             messages a second; 0 is as fast as possible (10)
  PRODUCER_LIMIT           send at most so many records; empty for all
  BASICS_URL, RATINGS_URL  IMDb's two dumps, https:// or file://, gzip or plain TSV
  MIN_VOTES                least number of votes of a movie (1000)
  CACHE_DIR                folder for the downloads (/var/lib/imdb-producer)
  STATUS_FILE              file to report progress in; empty for none

exit codes: 0 all sent, or stopped by SIGTERM; 1 failed; 2 a setting is wrong
"""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="imdb-producer",
        description="Send IMDb's movies to a Kafka topic, at a steady rate.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def main(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> int:
    """Run the service; give the exit code."""
    build_parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("imdb_producer").setLevel(logging.INFO)
    stop = Stop()
    stop.install()
    try:
        run(Config.from_environment(environment), stop)
    except ProducerError as error:
        print(f"imdb-producer: {error}", file=sys.stderr)
        return error.exit_code
    return 0
