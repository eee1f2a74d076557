"""The command line's options, each of which is a setting of the environment too."""

from __future__ import annotations

from typing import NamedTuple

from imdb_producer.config import BASICS_URL, KAFKA_CLIENTS, LOG_FORMATS, RATINGS_URL
from imdb_producer.security import MECHANISM, PROTOCOLS

#: The commands.
RUN, PREPARE, CHECK = "run", "prepare", "check"
_ALL = (RUN, PREPARE, CHECK)
_SENDING = (RUN, CHECK)


class Option(NamedTuple):
    """A setting: its name in the environment, its option, and what `--help` says of it.

    `constant` is its value where the option takes none, or need not.
    """

    name: str
    option: str
    shape: str
    help: str
    commands: tuple[str, ...] = _ALL
    constant: str = ""


OPTIONS = (
    Option(
        "KAFKA_BOOTSTRAP_SERVERS",
        "--bootstrap-servers",
        "HOST:PORT[,...]",
        "brokers (required)",
        _SENDING,
    ),
    Option("KAFKA_TOPIC", "--topic", "NAME", "topic to send to (imdb-movies)", _SENDING),
    Option(
        "KAFKA_SECURITY_PROTOCOL",
        "--security-protocol",
        "|".join(PROTOCOLS),
        f"how brokers are spoken to; SASL_SSL is TLS with a user, by {MECHANISM} ({PROTOCOLS[0]})",
        _SENDING,
    ),
    Option("KAFKA_SASL_USERNAME", "--sasl-username", "NAME", "user of Kafka's", _SENDING),
    Option(
        "KAFKA_SASL_PASSWORD_FILE",
        "--sasl-password-file",
        "FILE",
        "file with its password, of mode 0640 or 0600; it is read anew when the password changes",
        _SENDING,
    ),
    Option(
        "KAFKA_SSL_CAFILE",
        "--ssl-cafile",
        "FILE",
        "PEM file of the CA that signed the brokers' certificates",
        _SENDING,
    ),
    Option(
        "MSGS_PER_SEC",
        "--msgs-per-sec",
        "RATE",
        "messages a second; 0 is as fast as the broker takes them (10)",
        (RUN,),
    ),
    Option(
        "RESEND",
        "--resend",
        "TEXT",
        "send all again, also what was delivered before; in the environment any text, and another "
        "one for each time",
        (RUN,),
        constant="now",
    ),
    Option(
        "KAFKA_CLIENT",
        "--kafka-client",
        "|".join(KAFKA_CLIENTS),
        f"client to send with; confluent is of the extra `fast` ({KAFKA_CLIENTS[0]})",
        _SENDING,
    ),
    Option("BASICS_URL", "--basics", "URL", f"titles: https:// or file:// ({BASICS_URL})"),
    Option("RATINGS_URL", "--ratings", "URL", f"ratings, in the same forms ({RATINGS_URL})"),
    Option("MIN_VOTES", "--min-votes", "N", "least number of votes of a movie (1000)"),
    Option("PRODUCER_LIMIT", "--limit", "N", "at most so many records; empty is all"),
    Option(
        "CACHE_DIR",
        "--cache-dir",
        "DIR",
        "folder of downloads and progress (/var/lib/imdb-producer)",
    ),
    Option(
        "PROGRESS_SERVERS",
        "--progress-servers",
        "HOST:PORT[,...]",
        "servers of ZooKeeper that keep the progress, for producers of several hosts of which one "
        "sends at a time; empty is a file in CACHE_DIR",
        _SENDING,
    ),
    Option(
        "ZOOKEEPER_CERTIFICATE",
        "--zookeeper-certificate",
        "FILE",
        "PEM file with private key and certificate for these servers; empty is no TLS",
        _SENDING,
    ),
    Option(
        "ZOOKEEPER_CA",
        "--zookeeper-ca",
        "FILE",
        "PEM file of the CA that signed their certificates",
        _SENDING,
    ),
    Option(
        "ALLOW_CACHED",
        "--allow-cached",
        "yes|no",
        "without network use the last download of the same URL (yes)",
    ),
    Option(
        "DOWNLOAD_ATTEMPTS",
        "--download-attempts",
        "N",
        "attempts in a row that may bring nothing new (6)",
    ),
    Option("HTTP_PROXY", "--http-proxy", "URL", "proxy for downloads by http://; empty is none"),
    Option("HTTPS_PROXY", "--https-proxy", "URL", "proxy for downloads by https://; empty is none"),
    Option(
        "NO_PROXY",
        "--no-proxy",
        "HOST[,...]",
        "hosts, domains and networks that are asked without a proxy",
    ),
    Option(
        "STATUS_FILE",
        "--status-file",
        "FILE",
        "file to report the status in; empty is none",
        (RUN,),
    ),
    Option(
        "METRICS_PORT",
        "--metrics-port",
        "PORT",
        "port that serves metrics to Prometheus; 0 is none (0)",
        (RUN,),
    ),
    Option(
        "METRICS_ADDRESS",
        "--metrics-address",
        "ADDRESS",
        "address that the port is opened on (127.0.0.1)",
        (RUN,),
    ),
    Option(
        "METRICS_FILE",
        "--metrics-file",
        "FILE",
        "file of the same metrics, for node_exporter's textfile collector; empty is none",
        (RUN,),
    ),
    Option("LOG_FORMAT", "--log-format", "|".join(LOG_FORMATS), "how log lines are written (text)"),
)
