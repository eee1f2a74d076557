"""A CA and certificates, as services take them: key, certificate and CA in one PEM file."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_PEM = serialization.Encoding.PEM


def make_certificates(folder: Path, name: str, hosts: list[str]) -> None:
    """Write ca.pem, a new CA, and NAME.pem, which it has signed for these names and addresses."""
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _certificate("a CA", authority, "a CA", authority).sign(authority, hashes.SHA256())
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    certificate = (
        _certificate(name, key, "a CA", authority)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority, hashes.SHA256())
    )
    unencrypted = serialization.NoEncryption()
    parts = [key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, unencrypted)]
    parts += [it.public_bytes(_PEM) for it in (certificate, ca)]
    (folder / f"{name}.pem").write_bytes(b"".join(parts))
    (folder / "ca.pem").write_bytes(parts[-1])


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    authority: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(f"CN={subject}"))
        .issuer_name(x509.Name.from_rfc4514_string(f"CN={issuer}"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=key is authority, path_length=None), critical=True)
    )
