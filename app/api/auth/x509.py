"""Client certificates: whom they name, and whether one of our authorities signed them.

TLS has verified a certificate already, against all authorities of the listener together, so that a foreign or expired one ends
the handshake. Which authority it was, and that it still counts, is judged here: once for a connection, until the authorities
change or the certificate's time is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.api.auth.base import Credentials, Peer, Unauthorized
from app.machinery.access import User

LONGEST_CHAIN = 5
"""Certificates above the client's own; an intermediate authority stands in the operator's file beside its root."""


class AuthoritiesError(Exception):
    """A file of authorities cannot be used; the text is one line that names it."""


class Authorities:
    """The certificates of some files, or a text that somebody else keeps up to date; empty, it verifies nobody."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        """Raises AuthoritiesError."""
        self._paths = tuple(paths)
        self._stamp: object = None
        self._certificates: tuple[x509.Certificate, ...] = ()
        self.generation = 0
        """Grows with each change: what was judged by an earlier one is judged anew."""
        self.pem = ""
        self.refresh()

    def refresh(self) -> bool:
        """Reads the files again where one was written or replaced. Raises AuthoritiesError, and changes nothing."""
        stamp = tuple(_stamp(path) for path in self._paths)
        if stamp == self._stamp or not self._paths:
            return False
        self.replace("\n".join(_read(path) for path in self._paths))
        self._stamp = stamp
        return True

    def replace(self, pem: str) -> None:
        """These count from now on. Raises AuthoritiesError for what holds no certificate."""
        try:
            certificates = tuple(x509.load_pem_x509_certificates(pem.encode())) if pem.strip() else ()
        except ValueError as error:
            raise AuthoritiesError(f"the authorities are no certificates in PEM form: {error}") from error
        if pem != self.pem:
            self.pem, self._certificates = pem, certificates
            self.generation += 1

    def verify(self, certificate: x509.Certificate, now: datetime) -> None:
        """Raises Unauthorized unless one of them vouches for the certificate as a client's."""
        _ensure_client(certificate)
        current = certificate
        for _ in range(LONGEST_CHAIN):
            _ensure_current(current, now)
            signer = next((known for known in self._certificates if _signed(current, known)), None)
            if signer is None:
                raise Unauthorized("certificate signed by unknown authority")
            if signer.issuer == signer.subject or not any(_signed(signer, known) for known in self._certificates):
                _ensure_current(signer, now)
                return
            current = signer
        raise Unauthorized("certificate chain too long")


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is known of a connection's certificate."""

    generation: int
    until: float
    common_name: str
    organizations: tuple[str, ...]
    wrong: str
    """Why it is nobody's here; "" when it is verified."""


class Verifier:
    """Judges the certificates of connections by some authorities, and remembers it."""

    def __init__(self, authorities: Authorities, clock: Callable[[], float] = time.time) -> None:
        self._authorities = authorities
        self._clock = clock

    def subject(self, peer: Peer) -> tuple[str, tuple[str, ...]] | None:
        """Common name and organizations; None without a certificate. Raises Unauthorized."""
        if peer.certificate is None:
            return None
        judged = peer.memo.get(self)
        now = self._clock()
        if judged is None or judged.generation != self._authorities.generation or now > judged.until:
            judged = peer.memo[self] = self._judge(peer.certificate, now)
        if judged.wrong:
            raise Unauthorized(judged.wrong)
        return judged.common_name, judged.organizations

    def _judge(self, der: bytes, now: float) -> _Judged:
        generation = self._authorities.generation
        try:
            certificate = x509.load_der_x509_certificate(der)
            self._authorities.verify(certificate, datetime.fromtimestamp(now, UTC))
            names = _values(certificate, NameOID.COMMON_NAME)
            groups = _values(certificate, NameOID.ORGANIZATION_NAME)
            until = certificate.not_valid_after_utc.timestamp()
        except Unauthorized as error:
            return _Judged(generation, now, "", (), str(error))
        except ValueError as error:  # OpenSSL took it, but it cannot be read here
            return _Judged(generation, now, "", (), f"malformed certificate: {error}")
        return _Judged(generation, until, names[-1] if names else "", groups, "")


class ClientCertificates:
    """The common name is the user, the organizations are the groups: as Kubernetes has it."""

    def __init__(self, authorities: Authorities, clock: Callable[[], float] = time.time) -> None:
        self._verifier = Verifier(authorities, clock)

    async def authenticate(self, credentials: Credentials) -> User | None:
        subject = self._verifier.subject(credentials.peer)
        if subject is None:
            return None
        name, groups = subject
        if not name:
            raise Unauthorized("the certificate names nobody: it has no common name")
        return User(name, groups)


def _values(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid))


def _ensure_client(certificate: x509.Certificate) -> None:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usage:
        raise Unauthorized("the certificate is not for a client")


def _ensure_current(certificate: x509.Certificate, now: datetime) -> None:
    if now < certificate.not_valid_before_utc:
        raise Unauthorized(f"a certificate is not valid before {certificate.not_valid_before_utc}")
    if now > certificate.not_valid_after_utc:
        raise Unauthorized(f"a certificate expired at {certificate.not_valid_after_utc}")


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    try:
        return bool(authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _stamp(path: Path) -> object:
    try:
        seen = path.stat()
    except OSError as error:
        raise AuthoritiesError(f"cannot read {path}: {error.strerror}") from error
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


def _read(path: Path) -> str:
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise AuthoritiesError(f"cannot read {path}: {error}") from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise AuthoritiesError(f"{path} holds no certificate in PEM form")
    return text
