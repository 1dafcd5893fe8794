"""Certificates of Drover's own making: an authority that lasts, and what it signs, renewed in time: a serving certificate and
the administrator's."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LASTS = timedelta(days=3650)
"""Kubeconfigs hold it: a new one makes all of them useless."""
SERVING_LASTS = timedelta(days=365)
"""Some clients refuse certificates that last longer than 398 days."""
RENEW_BEFORE = timedelta(days=30)
SKEW = timedelta(hours=1)
"""A client's clock may be behind ours by this much."""

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, kept in one file so that no reader meets one without the other."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def read(cls, path: Path) -> Pair | None:
        """None where there is none yet. Raises ValueError for what is no pair, OSError for what cannot be read."""
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            certificate = x509.load_pem_x509_certificate(text)
            key = serialization.load_pem_private_key(text, password=None)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} holds no certificate with its key: remove it, and a new one is made") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError(f"{path}: its key is not that of its certificate: remove it, and a new one is made")
        return cls(certificate, key)

    def write(self, path: Path) -> None:
        """Whole or not at all, for the owner's eyes only."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _replace(path, key + self.public(), mode=0o600)

    def public(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


ADMINISTRATOR = ("system:admin", "system:masters")
"""Common name and organization: a user and the group that may do everything."""


class SelfSigned:
    """`ca.crt`, which clients trust, `serving.pem`, which the listener shows, and `admin.pem`, by which the administrator is
    known; `ca.pem` signs. Made when missing.

    Processes that share the folder take turns; the second finds what the first one made.
    """

    def __init__(self, directory: Path, names: Sequence[str], clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._directory = directory
        self._names = tuple(dict.fromkeys(names))
        self._clock = clock

    @property
    def authority(self) -> Path:
        return self._directory / "ca.crt"

    @property
    def serving(self) -> Path:
        return self._directory / "serving.pem"

    @property
    def administrator(self) -> Path:
        return self._directory / "admin.pem"

    def ensure(self) -> None:
        """Makes what is missing, about to expire, or for other names. Raises OSError and ValueError."""
        with _alone(self._directory):
            now = self._clock()
            authority = self._authority(now)
            serving = Pair.read(self.serving)
            if serving is None or _is_due(serving.certificate, now) or not self._fits(serving, authority):
                make_serving(authority, self._names, now).write(self.serving)
            administrator = Pair.read(self.administrator)
            if (
                administrator is None
                or _is_due(administrator.certificate, now)
                or not _signed(administrator.certificate, authority.certificate)
            ):
                make_client(authority, *ADMINISTRATOR, now=now).write(self.administrator)

    def _authority(self, now: datetime) -> Pair:
        path = self._directory / "ca.pem"
        authority = Pair.read(path)
        if authority is None or _is_due(authority.certificate, now):
            authority = make_authority(now)
            authority.write(path)
        if not self.authority.exists() or self.authority.read_bytes() != authority.public():
            _replace(self.authority, authority.public(), mode=0o644)
        return authority

    def _fits(self, serving: Pair, authority: Pair) -> bool:
        try:
            said = serving.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return False
        return said == _alternatives(self._names) and _signed(serving.certificate, authority.certificate)


def make_authority(now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"drover-ca@{int(now.timestamp())}")
    builder = _builder(name, key, now, AUTHORITY_LASTS).issuer_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def make_serving(authority: Pair, names: Sequence[str], now: datetime) -> Pair:
    """A certificate for a server of these names and addresses; it does not outlive its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _signed_builder(authority, _name("drover"), key, now, ExtendedKeyUsageOID.SERVER_AUTH)
    builder = builder.add_extension(_alternatives(names), critical=False)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def make_client(
    authority: Pair, name: str, *organizations: str, now: datetime, lasts: timedelta = SERVING_LASTS
) -> Pair:
    """A certificate for a user of that name ("": of nobody) and those groups; it does not outlive its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    subject = x509.Name([*groups, *(_name(name) if name else ())])
    builder = _signed_builder(authority, subject, key, now, ExtendedKeyUsageOID.CLIENT_AUTH, lasts)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def _signed_builder(
    authority: Pair,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    use: x509.ObjectIdentifier,
    lasts: timedelta = SERVING_LASTS,
) -> x509.CertificateBuilder:
    lasts = min(lasts, authority.certificate.not_valid_after_utc - now)
    builder = _builder(subject, key, now, lasts).issuer_name(authority.certificate.subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return builder.add_extension(signer, critical=False)


def make_signing_key() -> str:
    """A private RSA key for tokens, as PEM; takes up to half a second."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def split(pair: str) -> tuple[str, str]:
    """Certificate and key of a Pair's file, each as PEM by itself."""
    start = pair.index("-----BEGIN CERTIFICATE-----")
    return pair[start:], pair[:start]


def root_in(chain: bytes) -> bytes:
    """The certificate of a PEM chain that signs itself, for clients to trust; b"" when the chain ends before."""
    for certificate in x509.load_pem_x509_certificates(chain):
        if _signed(certificate, certificate):
            return certificate.public_bytes(serialization.Encoding.PEM)
    return b""


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lasts: timedelta
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - SKEW).not_valid_after(now + lasts)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_alternative(name) for name in names])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name.partition("%")[0]))  # a link's name is no part of its address
    except ValueError:
        return x509.DNSName(name)


def _is_due(certificate: x509.Certificate, now: datetime) -> bool:
    return now + RENEW_BEFORE > certificate.not_valid_after_utc or now < certificate.not_valid_before_utc


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go when it dies."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    """A new file in the old one's place, on the disk before it has the name."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
