"""How Kafka is spoken to: plain, or by TLS as a user with a password."""

import re
from dataclasses import dataclass
from pathlib import Path

from imdb_streaming.tls import Tls, TlsFileError

PROTOCOLS = ("PLAINTEXT", "SASL_SSL")
MECHANISM = "SCRAM-SHA-512"

#: The name of the password in its file, which is one of Java's properties.
_KEY = "password"


@dataclass(frozen=True)
class Security:
    """Kafka's security protocol, and for SASL_SSL a user, the file of its password and the CA.

    Both files are read on the hosts of the executors too. Kafka's client reads the password itself
    from its file, at each connection that it makes anew: Spark would keep and show one that it is
    given as an option.
    """

    protocol: str = PROTOCOLS[0]
    username: str = ""
    password_file: str = ""
    cafile: str = ""

    @property
    def enabled(self) -> bool:
        return self.protocol != PROTOCOLS[0]

    @property
    def tls(self) -> Tls:
        return Tls(self.cafile, settings=("KAFKA_SSL_CAFILE", ""))

    def check(self) -> None:
        """See that the files can be used. Raises TlsFileError that names the one that cannot."""
        if self.enabled:
            self.tls.context()
            self._check_password()

    def client_options(self) -> dict[str, str]:
        """The settings of Kafka's Java clients. The password is not among them."""
        if not self.enabled:
            return {}
        return {
            "security.protocol": self.protocol,
            "sasl.mechanism": MECHANISM,
            "sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required "
                f'username="{self.username}" password="${{file:{self.password_file}:{_KEY}}}";'
            ),
            "config.providers": "file",
            "config.providers.file.class": (
                "org.apache.kafka.common.config.provider.FileConfigProvider"
            ),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.cafile,
        }

    def _check_password(self) -> None:
        path = Path(self.password_file)
        try:
            open_to_all = path.stat().st_mode & 0o007
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "is not UTF-8"
            raise self._bad_password(f"cannot be read: {reason}") from None
        if open_to_all:
            raise self._bad_password("is open to every user of this host")
        found = [line.removeprefix(f"{_KEY}=") for line in lines if line.startswith(f"{_KEY}=")]
        if len(found) != 1 or not found[0]:
            raise self._bad_password(f"has no line {_KEY}=..., or more than one")
        if not re.fullmatch(r"[!#-\[\]-~]+", found[0]):
            raise self._bad_password(
                "the password has a blank, a quote, a backslash, or what is not ASCII"
            )

    def _bad_password(self, reason: str) -> TlsFileError:
        return TlsFileError(
            f"KAFKA_SASL_PASSWORD_FILE={self.password_file!r}: {reason}. Write the password of the "
            f"user into it, in one line {_KEY}=..., with mode 0640 or 0600 (role streaming does)."
        )


#: Without TLS and user.
PLAIN = Security()
