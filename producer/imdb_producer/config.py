"""The settings: each is declared once, and checked before anything is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from imdb_producer import values
from imdb_producer.errors import ConfigError
from imdb_producer.logs import set_up
from imdb_producer.proxies import NO_PROXIES, Proxies
from imdb_producer.security import MECHANISM, PLAIN, PROTOCOLS, Security
from imdb_producer.tls import Tls
from imdb_producer.values import Unusable

_BASICS = "https://datasets.imdbws.com/title.basics.tsv.gz"
_RATINGS = "https://datasets.imdbws.com/title.ratings.tsv.gz"
KAFKA_CLIENTS = ("kafka-python", "confluent")
LOG_FORMATS = ("text", "json")


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one run; READING, SENDING and RUNNING say what each of them means.

    `limit` is None for all records, a file is None if there is to be none, and `progress_tls` is
    None if ZooKeeper is spoken to plainly.
    """

    bootstrap_servers: tuple[str, ...]
    topic: str
    msgs_per_sec: float
    limit: int | None
    basics: str
    ratings: str
    cache_dir: Path
    status_file: Path | None
    min_votes: int
    allow_cached: bool
    download_attempts: int
    resend: str
    kafka_client: str
    log_format: str
    metrics_port: int
    metrics_address: str
    metrics_file: Path | None
    progress_servers: tuple[str, ...] = ()
    proxies: Proxies = NO_PROXIES
    security: Security = PLAIN
    progress_tls: Tls | None = None

    @classmethod
    def of(cls, context: click.Context) -> Config:
        """Take the settings from a command's options and from the environment.

        Raises:
            ConfigError: names a setting, its value, the reason and what to do.
        """
        for option in SENDING + RUNNING:
            if option.name not in context.params:
                # No option of this command: from the environment alone.
                option.handle_parse_result(context, {}, [])
        settings = {it.name: context.params[it.name] for it in _ALL}
        shown = {it.name: it.shown(context) for it in _ALL}
        if not settings["bootstrap_servers"] and SENDING[0] in context.command.params:
            advice = "Give host:port, several separated by commas, as in kafka-1:9092,kafka-2:9092"
            raise ConfigError.of(shown["bootstrap_servers"], "", "no broker is named", advice)
        if "KAFKA_SASL_PASSWORD" in context.obj:
            raise ConfigError.of(
                "KAFKA_SASL_PASSWORD",
                "***",
                "the environment of a process is no place for a password",
                "Write it into a file of mode 0640 or 0600, and name that in "
                "KAFKA_SASL_PASSWORD_FILE",
            )
        proxies = Proxies(*(settings.pop(f"{it}_proxy") for it in ("http", "https", "no")))
        security, tls = _security(settings, shown), _progress_tls(settings, shown)
        return cls(**settings, proxies=proxies, security=security, progress_tls=tls)


class Setting(click.Option):
    """An option that is a setting of the environment too, which is the context's object.

    A text without content is as good as none, unless `keeps_empty`.
    """

    def __init__(
        self,
        variable: str,
        text: str,
        type: Callable[[str], Any] | click.ParamType[Any] = str,
        default: str | None = "",
        *,
        option: str = "",
        keeps_empty: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(
            [option or f"--{variable.lower().replace('_', '-')}"],
            envvar=variable,
            help=text,
            type=type,
            default=default,
            show_envvar=True,
            show_default=True,
            **more,
        )
        self.variable, self.keeps_empty = variable, keeps_empty

    def shown(self, context: click.Context) -> str:
        """Name the setting as it was given."""
        given = context.get_parameter_source(self.name) is ParameterSource.COMMANDLINE
        return self.opts[0] if given else self.variable

    def value_from_envvar(self, ctx: click.Context) -> str | None:
        """Look into the environment; into lower-case names of proxies too, as shells have them."""
        value: str | None = ctx.obj.get(self.variable)
        if value is None and self.name.endswith("_proxy"):
            value = ctx.obj.get(self.variable.lower())
        return value

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Read the value.

        Raises:
            ConfigError: it cannot be used.
        """
        given = value
        if isinstance(value, str) and not self.keeps_empty:
            value = value.strip() or self.default
        try:
            return super().process_value(ctx, value)
        except Unusable as error:
            text = given if error.shown is None else error.shown
            raise ConfigError.of(self.shown(ctx), text, error.reason, error.advice) from None
        except click.BadParameter as error:
            raise ConfigError(f"{self.shown(ctx)}={given!r}: {error.message}") from None


def _request(context: click.Context, option: click.Parameter, value: str) -> str:
    """Make a request of `--resend` without a text: another one each time."""
    given = context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return now if given and value == "now" else value


def _set_up_log(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Log in this format from here on."""
    set_up(value)
    return value


#: What every command takes.
READING = (
    Setting("BASICS_URL", "titles, https:// or file://", values.url, _BASICS, option="--basics"),
    Setting("RATINGS_URL", "ratings, the same", values.url, _RATINGS, option="--ratings"),
    Setting("MIN_VOTES", "least number of votes of a movie", values.integer(0), "1000"),
    Setting(
        "PRODUCER_LIMIT", "most records; empty is all", values.integer(1), None, option="--limit"
    ),
    Setting("CACHE_DIR", "folder of downloads and progress", Path, "/var/lib/imdb-producer"),
    Setting("ALLOW_CACHED", "without network use the last download of the URL", click.BOOL, "yes"),
    Setting(
        "DOWNLOAD_ATTEMPTS", "attempts in a row that bring nothing", values.integer(1, 1000), "6"
    ),
    Setting("HTTP_PROXY", "proxy for downloads by http://; empty is none", values.proxy),
    Setting("HTTPS_PROXY", "proxy for downloads by https://; empty is none", values.proxy),
    Setting("NO_PROXY", "hosts, domains and networks that are asked without a proxy"),
    # Before the others, so that what is wrong with them is logged in this format.
    Setting(
        "LOG_FORMAT",
        "how log lines are written",
        click.Choice(LOG_FORMATS),
        "text",
        is_eager=True,
        callback=_set_up_log,
    ),
)
#: What a command takes that needs a broker.
SENDING = (
    Setting(
        "KAFKA_BOOTSTRAP_SERVERS",
        "brokers, host:port[,host:port...]; required",
        values.addresses,
        option="--bootstrap-servers",
    ),
    # An empty topic is a mistake in the inventory, not a wish for the default.
    Setting(
        "KAFKA_TOPIC",
        "topic to send to",
        values.topic,
        "imdb-movies",
        option="--topic",
        keeps_empty=True,
    ),
    Setting(
        "KAFKA_SECURITY_PROTOCOL",
        f"SASL_SSL is TLS with a user, by {MECHANISM}",
        click.Choice(PROTOCOLS),
        PROTOCOLS[0],
        option="--security-protocol",
    ),
    Setting("KAFKA_SASL_USERNAME", "user of Kafka's", values.user, option="--sasl-username"),
    Setting(
        "KAFKA_SASL_PASSWORD_FILE",
        "file with its password, of mode 0640 or 0600, read at each login",
        option="--sasl-password-file",
    ),
    Setting("KAFKA_SSL_CAFILE", "PEM file of the brokers' CA", option="--ssl-cafile"),
    Setting(
        "KAFKA_CLIENT",
        "confluent is of the extra `fast`",
        click.Choice(KAFKA_CLIENTS),
        "kafka-python",
    ),
    Setting(
        "PROGRESS_SERVERS",
        "ZooKeeper's, if hosts share the progress; empty is CACHE_DIR",
        values.addresses,
    ),
    Setting(
        "ZOOKEEPER_CERTIFICATE", "PEM file of key and certificate for ZooKeeper; empty is no TLS"
    ),
    Setting("ZOOKEEPER_CA", "PEM file of the CA of ZooKeeper's servers"),
)
#: What `run` takes beside these.
RUNNING = (
    Setting("MSGS_PER_SEC", "messages a second; 0 is as fast as possible", values.rate, "10"),
    Setting(
        "RESEND",
        "send all again; in the environment another text for each time",
        is_flag=False,
        flag_value="now",
        callback=_request,
    ),
    Setting("STATUS_FILE", "file to report the status in; empty is none", Path, None),
    Setting("METRICS_PORT", "port for Prometheus; 0 is none", values.integer(0, 65535), "0"),
    Setting("METRICS_ADDRESS", "address that the port is opened on", str, "127.0.0.1"),
    Setting(
        "METRICS_FILE", "file of the same metrics, for node_exporter; empty is none", Path, None
    ),
)
_ALL = READING + SENDING + RUNNING


def _security(settings: dict[str, Any], shown: dict[str, str]) -> Security:
    """Take how Kafka is spoken to."""
    protocol, *rest = (
        settings.pop(it)
        for it in ("security_protocol", "sasl_username", "sasl_password_file", "ssl_cafile")
    )
    if protocol == PROTOCOLS[0]:
        return PLAIN
    names = [shown[it] for it in ("sasl_username", "sasl_password_file", "ssl_cafile")]
    for name, value, kind in zip(names, rest, ("user", "file", "file"), strict=True):
        _needed(name, value, protocol, kind)
    return Security(protocol, *rest, *names[1:])


def _progress_tls(settings: dict[str, Any], shown: dict[str, str]) -> Tls | None:
    """Take how ZooKeeper is spoken to."""
    ca, certificate = settings.pop("zookeeper_ca"), settings.pop("zookeeper_certificate")
    if not ca and not certificate:
        return None
    names = shown["zookeeper_ca"], shown["zookeeper_certificate"]
    _needed(names[0], ca, f"{names[1]}={certificate!r}", "file")
    _needed(names[1], certificate, f"{names[0]}={ca!r}", "file")
    return Tls(ca, certificate, names)


def _needed(name: str, value: str, by: str, kind: str) -> None:
    """See that a setting is there which another one needs."""
    if not value:
        raise ConfigError.of(name, value, f"{by} needs it", f"Name a {kind}")
