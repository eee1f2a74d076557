"""How Kafka and ZooKeeper are spoken to: plain, or by TLS as a user with a password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imdb_producer.errors import ConfigError
from imdb_producer.tls import Tls, TlsFileError

PROTOCOLS = ("PLAINTEXT", "SASL_SSL")
MECHANISM = "SCRAM-SHA-512"


@dataclass(frozen=True, slots=True)
class Security:
    """Kafka's security protocol, and for SASL_SSL a user, the file of its password and the CA.

    The password is no setting: the environment and the options of a process are for others to see,
    and only a file can be read anew when the password was changed.
    """

    protocol: str = PROTOCOLS[0]
    username: str = ""
    password_file: str = ""
    cafile: str = ""
    #: How the file of the password was named, for messages.
    password_setting: str = "KAFKA_SASL_PASSWORD_FILE"
    cafile_setting: str = "KAFKA_SSL_CAFILE"

    @property
    def enabled(self) -> bool:
        """Whether there is any."""
        return self.protocol != PROTOCOLS[0]

    @property
    def tls(self) -> Tls:
        """The CAs to trust."""
        return Tls(self.cafile, settings=(self.cafile_setting, ""))

    def check(self) -> None:
        """See that the files can be used.

        Raises:
            ConfigError: one cannot; names it.
        """
        if self.enabled:
            check_files(self.tls)
            self.password()

    def password(self) -> str:
        """Read the password.

        Raises:
            ConfigError: the file cannot be used.
        """
        advice = "Write the password of the user into it, in one line, with mode 0640 or 0600"
        path = Path(self.password_file)
        try:
            open_to_all = path.stat().st_mode & 0o007
            text = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "is not UTF-8"
            raise ConfigError.of(
                self.password_setting, self.password_file, f"cannot be read: {reason}", advice
            ) from None
        if open_to_all:
            reason = "is open to every user of this host"
            raise ConfigError.of(self.password_setting, self.password_file, reason, advice)
        if not text or not text.isprintable():
            reason = "holds no password" if not text else "holds more than one line of text"
            raise ConfigError.of(self.password_setting, self.password_file, reason, advice)
        return text


#: Without TLS and user.
PLAIN = Security()


def check_files(tls: Tls) -> None:
    """See that the files of a TLS connection can be used.

    Raises:
        ConfigError: one cannot; names it.
    """
    try:
        tls.context()
    except TlsFileError as error:
        raise ConfigError(str(error)) from error
