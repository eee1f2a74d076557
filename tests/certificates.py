"""A CA and certificates, as services take them: key, certificate and CA in one PEM file."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_NOW = datetime.now(UTC)
_HOUR = timedelta(hours=1)


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

    def certificate(self, name: str, *hosts: str, hours: tuple[float, float] = (-1, 48)) -> Path:
        """Make a certificate for names and addresses, valid from and until so many hours from now.

        Of the loopback, if none is given.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        names = x509.SubjectAlternativeName([_name_of(it) for it in hosts or ("127.0.0.1",)])
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


def _name_of(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def make_certificates(folder: Path, name: str, hosts: list[str]) -> None:
    """Write ca.pem, a new CA, and NAME.pem, which it has signed for these names and addresses."""
    Ca(folder, "a CA").certificate(name, *hosts)
