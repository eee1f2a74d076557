"""The settings, read from options and environment and checked before anything is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imdb_producer import checks
from imdb_producer.proxies import NO_PROXIES, Proxies
from imdb_producer.security import PLAIN, PROTOCOLS, Security
from imdb_producer.tls import Tls

BASICS_URL = "https://datasets.imdbws.com/title.basics.tsv.gz"
RATINGS_URL = "https://datasets.imdbws.com/title.ratings.tsv.gz"
KAFKA_CLIENTS = ("kafka-python", "confluent")
LOG_FORMATS = ("text", "json")


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one run.

    `messages_per_second` of 0 means as fast as the broker takes them;
    `limit` is a cap on records, None for all of them;
    `min_votes` is the least number of votes of a movie that is sent;
    `allow_cached` lets a copy of an earlier download do where the network fails;
    `resend` is empty or a request to send everything once more, met once for each text;
    `status_file` and `metrics_file` of None mean that no such file is written;
    `metrics_port` of 0 means that none is opened;
    `progress_servers` are of ZooKeeper, empty where progress is a file of this host;
    `proxies` are those that downloads go by;
    `security` is how Kafka is spoken to, `progress_tls` how ZooKeeper is, None for plainly.
    """

    bootstrap_servers: tuple[str, ...]
    topic: str
    messages_per_second: float
    limit: int | None
    basics_url: str
    ratings_url: str
    cache_dir: Path
    status_file: Path | None
    min_votes: int
    allow_cached: bool = True
    download_attempts: int = 6
    resend: str = ""
    kafka_client: str = "kafka-python"
    metrics_port: int = 0
    metrics_address: str = ""
    metrics_file: Path | None = None
    progress_servers: str = ""
    proxies: Proxies = NO_PROXIES
    security: Security = PLAIN
    progress_tls: Tls | None = None

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str],
        names: Mapping[str, str] | None = None,
        *,
        sends: bool = True,
    ) -> Config:
        """Read and check every setting.

        Args:
            environment: the settings by their names.
            names: how a setting was given, for messages, where that is not its name.
            sends: whether there must be a broker to send to.

        Raises:
            ConfigError: names the setting, its value, the reason and what to do.
        """

        def read(name: str, default: str = "") -> tuple[str, str]:
            shown = (names or {}).get(name, name)
            return shown, environment.get(name, "").strip() or default

        def path(name: str) -> Path | None:
            value = read(name)[1]
            return Path(value) if value else None

        def proxy(name: str) -> tuple[str, str]:
            shown, value = read(name)
            # As the shell of a user may have it.
            return shown, value if name in environment else read(name.lower())[1]

        brokers = read("KAFKA_BOOTSTRAP_SERVERS")
        topic = read("KAFKA_TOPIC")[0], environment.get("KAFKA_TOPIC", "imdb-movies")
        return cls(
            bootstrap_servers=checks.addresses(*brokers) if sends or brokers[1] else (),
            # An empty topic is a mistake in the inventory, not a wish for the default.
            topic=checks.topic(*topic),
            messages_per_second=checks.rate(*read("MSGS_PER_SEC", "10")),
            limit=checks.limit(*read("PRODUCER_LIMIT")),
            basics_url=checks.url(*read("BASICS_URL", BASICS_URL)),
            ratings_url=checks.url(*read("RATINGS_URL", RATINGS_URL)),
            cache_dir=Path(read("CACHE_DIR", "/var/lib/imdb-producer")[1]),
            status_file=path("STATUS_FILE"),
            min_votes=checks.integer(*read("MIN_VOTES", "1000"), minimum=0),
            allow_cached=checks.flag(*read("ALLOW_CACHED", "yes")),
            download_attempts=checks.integer(
                *read("DOWNLOAD_ATTEMPTS", "6"), minimum=1, maximum=1000
            ),
            resend=read("RESEND")[1],
            kafka_client=checks.choice(*read("KAFKA_CLIENT", KAFKA_CLIENTS[0]), KAFKA_CLIENTS),
            metrics_port=checks.integer(*read("METRICS_PORT", "0"), minimum=0, maximum=65535),
            metrics_address=read("METRICS_ADDRESS", "127.0.0.1")[1],
            metrics_file=path("METRICS_FILE"),
            progress_servers=checks.servers(*read("PROGRESS_SERVERS")),
            proxies=Proxies(
                http=checks.proxy(*proxy("HTTP_PROXY")),
                https=checks.proxy(*proxy("HTTPS_PROXY")),
                no=proxy("NO_PROXY")[1],
            ),
            security=_security(environment, read),
            progress_tls=_progress_tls(read),
        )


_Read = Callable[..., tuple[str, str]]


def _security(environment: Mapping[str, str], read: _Read) -> Security:
    """Read how Kafka is spoken to."""
    if "KAFKA_SASL_PASSWORD" in environment:
        raise checks.bad(
            "KAFKA_SASL_PASSWORD",
            "***",
            "the environment of a process is no place for a password",
            "Write it into a file of mode 0640 or 0600, and name that in KAFKA_SASL_PASSWORD_FILE",
        )
    protocol = checks.choice(*read("KAFKA_SECURITY_PROTOCOL", PROTOCOLS[0]), PROTOCOLS)
    if protocol == PROTOCOLS[0]:
        return PLAIN
    password_file = checks.needed(*read("KAFKA_SASL_PASSWORD_FILE"), protocol)
    cafile = checks.needed(*read("KAFKA_SSL_CAFILE"), protocol)
    return Security(
        protocol,
        checks.user(*read("KAFKA_SASL_USERNAME"), protocol),
        password_file,
        cafile,
        read("KAFKA_SASL_PASSWORD_FILE")[0],
        read("KAFKA_SSL_CAFILE")[0],
    )


def _progress_tls(read: _Read) -> Tls | None:
    """Read how ZooKeeper is spoken to."""
    ca, certificate = read("ZOOKEEPER_CA"), read("ZOOKEEPER_CERTIFICATE")
    if not ca[1] and not certificate[1]:
        return None
    for one, other in ((ca, certificate), (certificate, ca)):
        checks.needed(*one, f"{other[0]}={other[1]!r}")
    return Tls(ca[1], certificate[1], (ca[0], certificate[0]))
