"""What is wrong with certificates that lie on the operator's machine, before any is copied."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

PEM = serialization.Encoding.PEM
CERTIFICATE = re.compile(
    r"^-----BEGIN CERTIFICATE-----$.+?^-----END CERTIFICATE-----$", re.MULTILINE | re.DOTALL
)
PUBLIC = serialization.PublicFormat.SubjectPublicKeyInfo


def subject_alt_names(names: list[str]) -> list[str]:
    """Return names and addresses as subjectAltName writes them: `DNS:name`, `IP:address`."""
    return [f"{'IP' if address(name) else 'DNS'}:{name}" for name in names]


def address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a name as an address, if it is one."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def certificate_problems(services: list[dict[str, Any]], **wanted: Any) -> list[dict[str, str]]:
    """Return `name` and `problem` for each service of a host whose certificate cannot be used.

    wanted: `folder` of the host's files, `ca` (path of the CA's certificate), `names` that each
    certificate must hold, `days` that it must be valid for, and `ready` if each file holds the key
    too.
    """
    found = []
    for service in services:
        problem = problem_of(service["name"], **wanted)
        if problem:
            found.append({"name": service["name"], "problem": problem})
    return found


def problem_of(
    name: str, folder: str, ca: str, names: list[str], days: float, ready: bool = False
) -> str:
    """Return why a certificate cannot be used, in a few words; empty if it can."""
    file = Path(folder) / (f"{name}.pem" if ready else f"{name}.crt")
    key_file = file if ready else file.with_suffix(".key")
    for path in (Path(ca), file, key_file):
        if not path.is_file():
            return f"{path} is missing"
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        authorities = x509.load_pem_x509_certificates(Path(ca).read_bytes())
    except ValueError as error:
        return f"{file} or {ca} holds no certificate in PEM format ({error})"
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        return f"{key_file} holds no private key in PEM format without a passphrase ({error})"
    if b"-----BEGIN PRIVATE KEY-----" not in key_file.read_bytes():
        return (
            f"{key_file} holds a private key in another format than PKCS#8, which alone Kafka "
            "takes (openssl pkcs8 -topk8 -nocrypt makes one of it)"
        )
    if key.public_key().public_bytes(PEM, PUBLIC) != certificate.public_key().public_bytes(
        PEM, PUBLIC
    ):
        return f"{key_file} is not the private key of {file}"
    # What is made here was signed by the first, which is looked at by itself; others are trusted.
    signing = other_ca(
        file, certificate, ca, authorities if ready else authorities[:1], ready * days
    )
    return (
        signing
        or out_of_time(file, certificate, days)
        or other_names(file, certificate, names)
        or other_use(file, certificate)
    )


def other_ca(
    file: Path,
    certificate: x509.Certificate,
    ca: str,
    authorities: list[x509.Certificate],
    days: float,
) -> str:
    """Say that none of the CAs in a file has signed a certificate, or that the one ends soon."""
    signers = [it for it in authorities if has_signed(it, certificate)]
    if not signers:
        issuer = certificate.issuer.rfc4514_string()
        return f"{file} was signed by another CA ({issuer}) than {ca}, which must hold the one"
    return out_of_time(Path(ca), signers[0], days)


def has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether a certificate was signed by the key of another."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def other_use(file: Path, certificate: x509.Certificate) -> str:
    """Say that a certificate is not for both ends of a connection, which each service is."""
    try:
        use = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    ends = {
        "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
        "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    lacking = [name for name, it in ends.items() if it not in use]
    if lacking and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in use:
        return (
            f"{file} is not for both ends of a connection: its extendedKeyUsage lacks {lacking[0]}"
        )
    return ""


def out_of_time(file: Path, certificate: x509.Certificate, days: float) -> str:
    """Say that a certificate is not valid yet, has ended, or ends in less than some days."""
    now = dt.datetime.now(dt.UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return f"{file} is not valid before {begin:%Y-%m-%d %H:%M} UTC"
    if end < now:
        return f"{file} has ended on {end:%Y-%m-%d %H:%M} UTC"
    if end < now + dt.timedelta(days=days):
        return f"{file} ends on {end:%Y-%m-%d %H:%M} UTC, in less than {days:g} days"
    return ""


def other_names(file: Path, certificate: x509.Certificate, names: list[str]) -> str:
    """Say which names of the host a certificate does not hold."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return f"{file} names no host (it has no subjectAltName)"
    held = {str(it) for it in extension.value.get_values_for_type(x509.IPAddress)}
    held |= {it.lower() for it in extension.value.get_values_for_type(x509.DNSName)}
    lacking = [name for name in names if str(address(name) or name.lower()) not in held]
    if lacking:
        return f"{file} is for {', '.join(sorted(held))}, not for {', '.join(lacking)}"
    return ""


def ca_problem(certificate: str, key: str, passphrase: str, days: float) -> str:
    """Return why a CA cannot sign: its files, its passphrase or its end; empty if it can."""
    for path in (Path(certificate), Path(key)):
        if not path.is_file():
            return f"{path} is missing"
    try:
        loaded = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    except ValueError as error:
        return f"{certificate} holds no certificate in PEM format ({error})"
    try:
        opened = serialization.load_pem_private_key(
            Path(key).read_bytes(), passphrase.encode() or None
        )
    except (ValueError, TypeError) as error:
        return f"{key} does not open by the passphrase given ({error})"
    if opened.public_key().public_bytes(PEM, PUBLIC) != loaded.public_key().public_bytes(
        PEM, PUBLIC
    ):
        return f"{key} is not the private key of {certificate}"
    return out_of_time(Path(certificate), loaded, days)


def stranger(ca: str, trusted: str, ready: list[str], folder: str) -> str:
    """Return which of the CAs that sign a host does not trust yet; empty if there is none.

    ca: path of the CAs' certificates, the first of which signs. Of services with a certificate that
    is `ready` in a folder those sign that have signed these. trusted: what the host trusts, as
    text; a host that trusts nothing yet knows no strangers.
    """
    try:
        known = x509.load_pem_x509_certificates(trusted.encode())
    except ValueError:
        # Nothing, or something damaged, which nobody trusts either.
        known = []
    authorities = x509.load_pem_x509_certificates(Path(ca).read_bytes())
    files = [Path(folder) / f"{name}.pem" for name in ready]
    issued = [x509.load_pem_x509_certificate(it.read_bytes()) for it in files]
    signing = [it for it in authorities if any(has_signed(it, one) for one in issued)]
    for authority in signing if ready else authorities[:1]:
        if known and not any(same_ca(authority, it) for it in known):
            name = authority.subject.rfc4514_string()
            others = ", ".join(it.subject.rfc4514_string() for it in known)
            return f"{others}, and {ca} is of {name}"
    return ""


def same_ca(one: x509.Certificate, other: x509.Certificate) -> bool:
    """Whether two certificates are of one CA: the same name and key."""
    return one.subject == other.subject and one.public_key() == other.public_key()


def pem_files(paths: list[str]) -> str:
    """Return files one after the other, each ended by a line break.

    Raises AnsibleFilterError for one that is missing or no text.
    """
    try:
        return "".join(f"{Path(path).read_text(encoding='ascii').strip()}\n" for path in paths)
    except (OSError, ValueError) as error:
        raise AnsibleFilterError(f"cannot read {error}") from error


def pkcs12_due(
    files: list[dict[str, Any]], folder: str, ca: str, password: str
) -> list[dict[str, Any]]:
    """Return those services whose file in PKCS12 format is missing or holds something else.

    Asked of all at once, in milliseconds: the module that makes one takes half a second to see that
    there is nothing to do.
    """
    return [it for it in files if not holds(Path(folder) / f"{it['name']}.p12", it, ca, password)]


def holds(file: Path, service: dict[str, Any], ca: str, password: str) -> bool:
    """Whether a file in PKCS12 format opens and has a service's key, its certificate and the CA."""
    try:
        found = pkcs12.load_pkcs12(file.read_bytes(), password.encode())
        key = serialization.load_pem_private_key(Path(service["files"][0]).read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(Path(service["certificate"]).read_bytes())
        authority = x509.load_pem_x509_certificate(Path(ca).read_bytes())
    except (OSError, ValueError):
        return False
    return (
        found.key is not None
        and found.cert is not None
        and found.key.public_key() == key.public_key()
        and found.cert.certificate == certificate
        and [it.certificate for it in found.additional_certs] == [authority]
    )


def public_certificates(files: list[dict[str, Any]]) -> str:
    """Return the certificates of a host's services, each service's after a line `# name`.

    Of a file that holds a private key too, that is left out. Raises AnsibleFilterError for a file
    that is missing or no text.
    """
    return "\n".join(
        "\n".join([f"# {it['name']}", *CERTIFICATE.findall(pem_files([it["certificate"]])), ""])
        for it in files
    )


class FilterModule:
    """The filters of role certificates."""

    def filters(self) -> dict[str, Any]:
        """Return each by its name."""
        return {
            "subject_alt_names": subject_alt_names,
            "certificate_problems": certificate_problems,
            "ca_problem": ca_problem,
            "stranger": stranger,
            "pem_files": pem_files,
            "pkcs12_due": pkcs12_due,
            "public_certificates": public_certificates,
        }
