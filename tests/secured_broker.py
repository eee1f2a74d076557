"""A broker that lets in who has a certificate's trust and a password, with a CA made for it.

Beside its port for clients (SASL_SSL, SCRAM-SHA-512, ACLs) it has a plain one, by which a test sets
it up, and some whose certificates are bad. Its ZooKeeper has a port for TLS with certificates too.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)

from .producer.broker import Broker, free_port

_NOW = datetime.now(UTC)
_HOUR = timedelta(hours=1)
MECHANISM = "SCRAM-SHA-512"


class Ca:
    """A certificate authority in a folder: ca.pem, and NAME.pem with key, certificate and CA."""

    def __init__(self, folder: Path, name: str = "CA of the test", days: int = 2) -> None:
        """Make it; of fewer than 0 days it has ended."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._pem = self._signed(
            self._name,
            self._key,
            (_NOW - 9 * 24 * _HOUR, _NOW + days * 24 * _HOUR),
            [
                (x509.BasicConstraints(ca=True, path_length=0), True),
                (x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False),
            ],
        )
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self._pem)

    def certificate(
        self, name: str, address: str = "127.0.0.1", hours: tuple[float, float] = (-1, 48)
    ) -> Path:
        """Make a certificate for an address, valid from and until so many hours from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        start, end = (_NOW + hour * _HOUR for hour in hours)
        signed = self._signed(subject, key, (start, end), [(names, False), (authority, False)])
        path = self._folder / f"{name}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.write_bytes(private + signed + self._pem)
        return path

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        valid: tuple[datetime, datetime],
        extensions: list[tuple[x509.ExtensionType, bool]],
    ) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(valid[0])
            .not_valid_after(valid[1])
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class SecuredBroker(Broker):
    """`address` and `zookeeper_address` are plain, for whoever sets it up."""

    def __init__(self, folder: Path) -> None:
        """Prepare it; start() starts it."""
        super().__init__(folder)
        self.ca = Ca(folder / "certificates")
        self.other_ca = Ca(folder / "other", "another CA")
        certificates = {
            "SECURED": self.ca.certificate("kafka"),
            "ENDED": self.ca.certificate("ended", hours=(-48, -1)),
            "EARLY": self.ca.certificate("early", hours=(1, 48)),
            "ELSEWHERE": self.ca.certificate("elsewhere", "192.0.2.1"),
            "STRANGE": self.other_ca.certificate("strange"),
        }
        #: Addresses by the name of the listener.
        self.listeners = {name: f"127.0.0.1:{free_port()}" for name in certificates}
        self.secured_address = self.listeners["SECURED"]
        self.secured_zookeeper_address = f"127.0.0.1:{free_port()}"
        lines = [
            f"listeners=PLAINTEXT://{self.address},"
            + ",".join(f"{name}://{address}" for name, address in self.listeners.items()),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,"
            + ",".join(f"{name}:SASL_SSL" for name in certificates),
            "inter.broker.listener.name=PLAINTEXT",
            f"sasl.enabled.mechanisms={MECHANISM}",
            "authorizer.class.name=kafka.security.authorizer.AclAuthorizer",
            "super.users=User:ANONYMOUS",
        ]
        for name, path in certificates.items():
            listener = f"listener.name.{name.lower()}"
            lines += [
                f"{listener}.ssl.keystore.type=PEM",
                f"{listener}.ssl.keystore.location={path}",
                f"{listener}.{MECHANISM.lower()}.sasl.jaas.config="
                "org.apache.kafka.common.security.scram.ScramLoginModule required;",
                # A session ends after so many milliseconds, unless the client authenticates anew.
                f"{listener}.{MECHANISM.lower()}.connections.max.reauth.ms=3000",
            ]
        self._append("server.properties", lines)
        self._append(
            "zoo.cfg",
            [
                f"secureClientPort={self.secured_zookeeper_address.rpartition(':')[2]}",
                "secureClientPortAddress=127.0.0.1",
                "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
                f"ssl.keyStore.location={certificates['SECURED']}",
                f"ssl.trustStore.location={self.ca.ca}",
                "ssl.protocol=TLSv1.3",
                "ssl.enabledProtocols=TLSv1.3,TLSv1.2",
                "ssl.ciphersuites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            ],
        )

    def _append(self, file: str, lines: list[str]) -> None:
        path = self._folder / file
        names = {line.partition("=")[0] for line in lines}
        kept = [it for it in path.read_text().splitlines() if it.partition("=")[0] not in names]
        path.write_text("\n".join([*kept, *lines]) + "\n")

    def set_user(self, name: str, password: str) -> None:
        """Make a user, or change its password."""
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        try:
            admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(name, MECHANISM, password, iterations=4096)]
            )
        finally:
            admin.close()

    def let_write(self, name: str, topic: str, operation: str = "WRITE") -> None:
        """Give a user a right on a topic."""
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        try:
            admin.create_acls(
                [
                    ACL(
                        principal=f"User:{name}",
                        host="*",
                        operation=ACLOperation[operation],
                        permission_type=ACLPermissionType.ALLOW,
                        resource_pattern=ResourcePattern(ResourceType.TOPIC, topic),
                    )
                ]
            )
        finally:
            admin.close()
