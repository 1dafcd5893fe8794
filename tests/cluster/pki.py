"""A cluster's authorities, and certificates of them: for servers, for users, for the front proxy."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key, both as PEM."""

    certificate: str
    key: str

    def write(self, folder: Path, name: str) -> Path:
        """Both in one file."""
        path = folder / f"{name}.pem"
        path.write_text(self.certificate + self.key)
        return path


class Authority:
    """Signs."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = _sign(
            _builder(subject, self._key, DAY).add_extension(
                x509.BasicConstraints(ca=True, path_length=None), critical=True
            ),
            subject,
            self._key,
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def client(self, name: str, groups: Sequence[str] = (), *, lasts: timedelta = DAY) -> Issued:
        """For somebody: the common name is the user, the organizations are the groups."""
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._issue(subject, ExtendedKeyUsageOID.CLIENT_AUTH, None, lasts)

    def server(self, *names: str) -> Issued:
        """For a server of these names and addresses."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        known = x509.SubjectAlternativeName([_alternative(name) for name in names])
        return self._issue(subject, ExtendedKeyUsageOID.SERVER_AUTH, known, DAY)

    def _issue(
        self,
        subject: x509.Name,
        use: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        lasts: timedelta,
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, key, lasts).add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        signed = _sign(builder, self._certificate.subject, self._key)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Issued(signed.public_bytes(serialization.Encoding.PEM).decode(), private.decode())


def trusting(pem: str, shown: Issued | None = None, folder: Path | None = None) -> ssl.SSLContext:
    """A client's side that believes that authority, and shows a certificate of its own."""
    context = ssl.create_default_context(cadata=pem)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if shown is not None:
        assert folder is not None
        path = shown.write(folder, f"shown-{id(shown)}")
        context.load_cert_chain(path)
        path.unlink()
    return context


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, lasts: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - 2 * DAY).not_valid_after(now + lasts)


def _sign(builder: x509.CertificateBuilder, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.issuer_name(issuer).sign(key, hashes.SHA256())


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
