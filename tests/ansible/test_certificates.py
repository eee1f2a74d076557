"""What the filters of role certificates say of certificates that cannot be used."""

from __future__ import annotations

import datetime as dt
import importlib.util
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

ROOT = Path(__file__).resolve().parents[2]
NOW = dt.datetime.now(dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
NAMES = ["broker-1", "192.0.2.7"]
PKCS8 = serialization.PrivateFormat.PKCS8
PASSPHRASE = "of-the-test-environment"


def load_filters() -> Any:
    """Return the plugin's module."""
    file = ROOT / "roles/certificates/filter_plugins/certificates.py"
    spec = importlib.util.spec_from_file_location("certificates_filters", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


filters = load_filters()


@dataclass
class Authority:
    """A CA on disk, that signs what it is asked to."""

    folder: Path
    name: str = "a CA"

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.signed(self.name, self.key, NOW + 300 * DAY, [])
        self.path.write_bytes(pem(self.certificate))
        write_key(self.folder / "ca.key", self.key, PASSPHRASE)

    @property
    def path(self) -> Path:
        """The file of the certificate."""
        return self.folder / "ca.pem"

    def signed(
        self,
        subject: str,
        key: ec.EllipticCurvePrivateKey,
        end: dt.datetime,
        names: list[str],
        begin: dt.datetime = NOW - HOUR,
        uses: list[x509.ObjectIdentifier] | None = None,
    ) -> x509.Certificate:
        """Return a certificate of this CA."""
        held = [filters.address(it) for it in names]
        others: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(str(it))) if it else x509.DNSName(name)
            for it, name in zip(held, names, strict=True)
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name.from_rfc4514_string(f"CN={subject}"))
            .issuer_name(x509.Name.from_rfc4514_string(f"CN={self.name}"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
        if uses:
            builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(
        self,
        end: dt.datetime = NOW + 100 * DAY,
        names: list[str] | None = None,
        begin: dt.datetime = NOW - 100 * DAY,
        uses: list[x509.ObjectIdentifier] | None = None,
    ) -> None:
        """Write the key and the certificate of service kafka."""
        key = ec.generate_private_key(ec.SECP256R1())
        write_key(self.folder / "kafka.key", key)
        made = self.signed("kafka", key, end, NAMES if names is None else names, begin, uses)
        (self.folder / "kafka.crt").write_bytes(pem(made))


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def write_key(
    path: Path,
    key: ec.EllipticCurvePrivateKey,
    passphrase: str = "",
    form: serialization.PrivateFormat = PKCS8,
) -> None:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA that has issued a certificate which is all right."""
    made = Authority(tmp_path)
    made.issue()
    return made


def problem(authority: Authority, **other: Any) -> str:
    """Return what is said of the certificate of service kafka."""
    given = {"folder": str(authority.folder), "ca": str(authority.path), "names": NAMES, "days": 30}
    found = filters.certificate_problems([{"name": "kafka", "gid": 0}], **(given | other))
    return found[0]["problem"] if found else ""


def test_one_that_is_all_right_is_not_told_of(authority: Authority) -> None:
    assert problem(authority) == ""


def test_key_and_certificate_may_be_in_one_file(authority: Authority) -> None:
    parts = [(authority.folder / f"kafka.{it}").read_text() for it in ("key", "crt")]
    (authority.folder / "kafka.pem").write_text("".join(parts))
    assert problem(authority, ready=True) == ""


def test_the_ca_may_be_one_of_several_in_its_file(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "another CA")
    parts = [(authority.folder / f"kafka.{it}").read_text() for it in ("key", "crt")]
    (authority.folder / "kafka.pem").write_text("".join(parts))
    authority.path.write_bytes(pem(other.certificate) + pem(authority.certificate))
    assert problem(authority, ready=True) == ""
    # What is made here is signed anew when another comes first.
    assert "was signed by another CA" in problem(authority)


def test_a_certificate_for_both_ends_is_taken(authority: Authority) -> None:
    authority.issue(uses=[ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    assert problem(authority) == ""


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (lambda it: it.issue(uses=[ExtendedKeyUsageOID.SERVER_AUTH]), "lacks clientAuth"),
        (
            lambda it: write_key(
                it.folder / "kafka.key", it.key, form=serialization.PrivateFormat.TraditionalOpenSSL
            ),
            "in another format than PKCS#8",
        ),
        (
            lambda it: it.path.write_bytes(
                pem(it.signed("a CA", it.key, NOW - HOUR, [], NOW - DAY))
            ),
            "ca.pem has ended on",
        ),
        (lambda it: it.issue(end=NOW - HOUR), "has ended on"),
        (lambda it: it.issue(end=NOW + HOUR), "in less than 30 days"),
        (lambda it: it.issue(begin=NOW + HOUR), "is not valid before"),
        (lambda it: it.issue(names=["broker-2"]), "is for broker-2, not for broker-1, 192.0.2.7"),
        (lambda it: it.issue(names=[]), "names no host"),
        (lambda it: Authority(it.folder, "another CA"), "was signed by another CA (CN=a CA)"),
        (lambda it: (it.folder / "kafka.crt").unlink(), "kafka.crt is missing"),
        (lambda it: it.path.unlink(), "ca.pem is missing"),
        (lambda it: (it.folder / "kafka.crt").write_text("?"), "holds no certificate"),
        (lambda it: (it.folder / "kafka.key").write_text("?"), "holds no private key"),
        (
            lambda it: write_key(it.folder / "kafka.key", it.key),
            "is not the private key of",
        ),
    ],
)
def test_what_is_wrong_is_told_with_the_file(
    authority: Authority, plant: Callable[[Authority], object], told: str
) -> None:
    plant(authority)
    said = problem(authority)
    assert told in said
    assert str(authority.folder) in said


def ca_problem(authority: Authority, passphrase: str = PASSPHRASE) -> str:
    key = authority.folder / "ca.key"
    return str(filters.ca_problem(str(authority.path), str(key), passphrase, 1))


def test_a_ca_signs_with_its_passphrase_alone(authority: Authority) -> None:
    assert ca_problem(authority) == ""
    assert "does not open by the passphrase" in ca_problem(authority, "another")
    assert PASSPHRASE not in ca_problem(authority, "another")
    write_key(authority.folder / "ca.key", ec.generate_private_key(ec.SECP256R1()), PASSPHRASE)
    assert "is not the private key of" in ca_problem(authority)
    (authority.folder / "ca.key").unlink()
    assert "ca.key is missing" in ca_problem(authority)


def test_a_ca_that_ends_is_told_of(authority: Authority) -> None:
    ended = authority.signed("a CA", authority.key, NOW - HOUR, [], NOW - DAY)
    authority.path.write_bytes(pem(ended))
    assert "has ended on" in ca_problem(authority)


def stranger(authority: Authority, trusted: list[Authority], *ready: str) -> str:
    """Return what is said of a CA to a host that trusts some."""
    text = "".join(pem(it.certificate).decode() for it in trusted)
    return str(filters.stranger(str(authority.path), text, list(ready), str(authority.folder)))


def test_a_ca_that_a_host_does_not_trust_yet_is_told_of(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "another CA")
    assert stranger(authority, []) == ""
    assert stranger(authority, [authority]) == ""
    assert stranger(authority, [other, authority]) == ""
    assert stranger(authority, [other]) == f"CN=another CA, and {authority.path} is of CN=a CA"
    damaged = pem(other.certificate).decode().replace("M", "?")
    assert filters.stranger(str(authority.path), damaged, [], "") == ""
    # Another that has the name of the one before.
    other.name = authority.name
    other.certificate = other.signed(other.name, other.key, NOW + 300 * DAY, [])
    assert stranger(authority, [other]) != ""


def test_of_ready_certificates_the_ca_that_signed_must_be_trusted(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "another CA")
    parts = [(authority.folder / f"kafka.{it}").read_text() for it in ("key", "crt")]
    (authority.folder / "kafka.pem").write_text("".join(parts))
    authority.path.write_bytes(pem(other.certificate) + pem(authority.certificate))
    assert stranger(authority, [authority], "kafka") == ""
    assert "is of CN=a CA" in stranger(authority, [other], "kafka")


def test_names_are_written_as_certificates_do() -> None:
    assert filters.subject_alt_names(["a.example", "192.0.2.7", "2001:db8::7"]) == [
        "DNS:a.example",
        "IP:192.0.2.7",
        "IP:2001:db8::7",
    ]


def pkcs12_due(authority: Authority, password: str = PASSPHRASE) -> bool:
    """Whether the file of service kafka in PKCS12 format is to be made."""
    files = [str(authority.folder / f"kafka.{it}") for it in ("key", "crt")]
    service = {"name": "kafka", "files": [*files, str(authority.path)], "certificate": files[1]}
    folder, ca = str(authority.folder), str(authority.path)
    due = filters.pkcs12_due([service], folder, ca, password)
    assert due in ([], [service])
    return bool(due)


def write_pkcs12(authority: Authority) -> None:
    key, certificate = (authority.folder / f"kafka.{it}" for it in ("key", "crt"))
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    (authority.folder / "kafka.p12").write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"kafka",
            private,
            x509.load_pem_x509_certificate(certificate.read_bytes()),
            [authority.certificate],
            serialization.BestAvailableEncryption(PASSPHRASE.encode()),
        )
    )


def test_a_file_in_pkcs12_format_is_made_once(authority: Authority) -> None:
    assert pkcs12_due(authority)
    write_pkcs12(authority)
    assert not pkcs12_due(authority)


def test_a_file_in_pkcs12_format_is_made_anew_for_another_password(authority: Authority) -> None:
    write_pkcs12(authority)
    assert pkcs12_due(authority, "another-password")


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.issue(),
        lambda it: Authority(it.folder),
        lambda it: (it.folder / "kafka.p12").write_bytes(b"cut off"),
    ],
    ids=["another certificate", "another CA", "a damaged file"],
)
def test_a_file_in_pkcs12_format_follows_what_it_holds(
    authority: Authority, change: Callable[[Authority], object]
) -> None:
    write_pkcs12(authority)
    change(authority)
    assert pkcs12_due(authority)
