"""TLS on the listener: which certificate it shows, what clients trust it by, and loading it anew when it changed."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

import structlog

from app.access import Trust, ensure_safe, trust_of
from app.api.auth.x509 import Authorities, AuthoritiesError
from app.kubeconfig import Way
from app.settings import Settings

log = structlog.get_logger()

FOLDER = "tls"
"""Below the data folder: what Drover makes itself."""
LOOK_S = 10.0
"""How often the files are looked at."""


class TlsError(Exception):
    """No certificate to show; the text is one line that says which file or setting."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The files of a certificate, with what signed it, and of its key; perhaps one file."""

    certificate: Path
    key: Path

    def stamp(self) -> tuple[object, ...]:
        """Another one when a file was written or replaced. Raises TlsError."""
        return tuple(
            (path, seen.st_ino, seen.st_size, seen.st_mtime_ns)
            for path in (self.certificate, self.key)
            for seen in [_stat(path)]
        )

    def load(self, context: ssl.SSLContext) -> None:
        """Shows it from the next handshake on. Raises TlsError."""
        _ensure_pem(self.certificate, b"-----BEGIN CERTIFICATE-----", "certificate")
        _ensure_pem(self.key, b"PRIVATE KEY-----", "private key")
        try:
            context.load_cert_chain(self.certificate, self.key, password=self._encrypted)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise TlsError(f"the key in {self.key} is not that of the certificate in {self.certificate}") from error
            raise TlsError(f"cannot use {self.certificate} with {self.key}: {error.reason or error}") from error

    def _encrypted(self) -> NoReturn:
        raise TlsError(f"the key in {self.key} is encrypted, and nobody is asked for its password: decrypt it first")


class Source(Protocol):
    """Where the certificate comes from."""

    def chain(self) -> Chain:
        """What to show now. Raises TlsError."""

    def trusted_by(self) -> str:
        """What clients trust it by, as PEM; "" when that is not known here."""


class Given:
    """Somebody else's files: they renew them."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def chain(self) -> Chain:
        return self._chain

    def trusted_by(self) -> str:
        from app.certificates import root_in  # loads OpenSSL a second time: only where TLS is spoken

        try:
            return root_in(self._chain.certificate.read_bytes()).decode()
        except ValueError as error:
            raise TlsError(f"{self._chain.certificate} holds no certificates: {error}") from error


class Own:
    """Files of Drover's own making, renewed whenever they are asked for."""

    def __init__(self, data_dir: Path, bind: str) -> None:
        from app.certificates import SelfSigned  # as above

        self._made = SelfSigned(data_dir / FOLDER, ("localhost", "127.0.0.1", "::1", socket.gethostname(), bind))
        self._data_dir = data_dir

    def chain(self) -> Chain:
        try:
            self._data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            self._made.ensure()
        except OSError as error:
            raise TlsError(f"cannot keep certificates in {self._data_dir}: {error.strerror}") from error
        except ValueError as error:
            raise TlsError(str(error)) from error
        return Chain(self._made.serving, self._made.serving)

    def trusted_by(self) -> str:
        return self._made.authority.read_text()

    @property
    def authority(self) -> Path:
        """Who signs the administrator's certificate."""
        return self._made.authority

    def administrator(self) -> str:
        """The administrator's certificate and key, as PEM."""
        return self._made.administrator.read_text()


class Tls:
    """The context of a listener. A client may show a certificate; one that no authority of the `trust` signed ends the
    handshake."""

    def __init__(
        self, source: Source, trust: Trust | None = None, *, administrator: str = "", look_s: float = LOOK_S
    ) -> None:
        """Raises TlsError."""
        self._source = source
        self._look_s = look_s
        self._loaded: tuple[object, ...] = ()
        self.trust = trust or Trust(Authorities(), Authorities())
        self.administrator = administrator
        """The administrator's certificate and key, as PEM; "" where there is none of Drover's making."""
        self._current = _context()
        self.context = _context()
        """One for all connections: each handshake goes on with the newest certificate and authorities, which a context
        forgets only by being replaced."""
        self.context.sni_callback = self._choose
        self.refresh(source.chain())
        self.authority = source.trusted_by()
        """What clients are told to trust, as PEM; "" leaves it to their system."""

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def refresh(self, chain: Chain) -> bool:
        """Loads the chain and the authorities if they are others than before: the next handshake is by them. Raises TlsError,
        and changes nothing."""
        stamp = (*chain.stamp(), self.trust.generation)
        if stamp == self._loaded:
            return False
        fresh = _context()
        chain.load(fresh)
        if authorities := self.trust.pem:
            try:
                fresh.load_verify_locations(cadata=authorities)
            except ssl.SSLError as error:
                raise TlsError(f"cannot use the authorities of clients: {error.reason or error}") from error
        # Asked for in the first context already: a connection keeps that from there.
        self.context.verify_mode = fresh.verify_mode = ssl.CERT_OPTIONAL if authorities else ssl.CERT_NONE
        self._current, self._loaded = fresh, stamp
        return True

    def _renewed(self) -> Chain:
        """Raises TlsError."""
        try:
            self.trust.refresh()
        except AuthoritiesError as error:
            raise TlsError(str(error)) from error
        return self._source.chain()

    def renew(self) -> None:
        """Loads the authorities that the trust has now, without waiting for the next look. What is wrong is said, and what was
        before stays."""
        try:
            self.refresh(self._source.chain())
        except TlsError as error:
            log.warning("the certificate stays as it was", error=str(error))

    async def keep(self) -> None:
        """Renews and reloads until it is cancelled. What is wrong is said once, and the former certificate stays."""
        said = ""
        while True:
            await asyncio.sleep(self._look_s)
            try:
                if self.refresh(await asyncio.to_thread(self._renewed)):
                    log.info("certificate loaded anew")
                said = ""
            except TlsError as error:
                if str(error) != said:
                    log.warning("the certificate stays as it was", error=str(error))
                said = str(error)


def tls_of(settings: Settings) -> Tls | None:
    """None for plain HTTP. Raises TlsError, AccessError."""
    ensure_safe(settings)
    cert, key = settings.tls_cert, settings.tls_key
    if not settings.tls:
        if cert or key:
            raise TlsError(
                "--no-tls (DROVER_TLS) contradicts --tls-cert and --tls-key (DROVER_TLS_CERT, DROVER_TLS_KEY)"
            )
        return None
    if bool(cert) != bool(key):
        missing = "--tls-key (DROVER_TLS_KEY)" if cert else "--tls-cert (DROVER_TLS_CERT)"
        raise TlsError(f"a certificate and its key belong together: {missing} is missing")
    own = Own(settings.data_dir, settings.bind)
    if settings.aggregated:  # whose certificates count, the cluster says: there is no administrator of Drover's own
        return Tls(Given(Chain(cert, key)) if cert and key else own, Trust(Authorities(), Authorities()))
    if not (cert and key):
        own.chain()
        return Tls(own, trust_of(settings, own.authority), administrator=own.administrator())
    given = Given(Chain(cert, key))
    given.chain().load(_context())
    try:
        own.chain()
    except TlsError as error:  # a folder is no need where certificates and tokens come from elsewhere
        log.info("no administrator of Drover's own making", why=str(error))
        return Tls(given, trust_of(settings))
    return Tls(given, trust_of(settings, own.authority), administrator=own.administrator())


def way_of(server: str, tls: Tls | None) -> Way:
    """How the administrator reaches the listener."""
    if tls is None or not tls.administrator:
        return Way(server, "" if tls is None else tls.authority)
    from app.certificates import split  # as above

    return Way(server, tls.authority, *split(tls.administrator))


def administrator_of(data_dir: Path) -> tuple[str, str]:
    """The administrator's certificate and key as the data folder holds them, for who may read them; "" twice where not."""
    from app.certificates import split  # as above

    path = data_dir / FOLDER / "admin.pem"
    return split(path.read_text()) if os.access(path, os.R_OK) else ("", "")


def write_certificate(folder: Path, service: str, namespace: str) -> None:
    """`ca.crt`, `tls.crt` and `tls.key` for a cluster's Service of that name: made, or renewed when due, by the authority that
    the folder keeps in `ca.pem`. Raises TlsError."""
    from app.certificates import SelfSigned  # as above

    names = (f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local")
    made = SelfSigned(folder, names)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made.ensure()
        key, mark, certificate = made.serving.read_bytes().partition(b"-----BEGIN CERTIFICATE-----")
        _write(folder / "tls.crt", mark + certificate)
        _write(folder / "tls.key", key)
    except OSError as error:
        raise TlsError(f"cannot keep a certificate in {folder}: {error.strerror}") from error
    except ValueError as error:
        raise TlsError(str(error)) from error


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, for the owner's eyes only."""
    beside = path.with_name(f".{path.name}")
    beside.touch(mode=0o600)
    beside.write_bytes(content)
    beside.replace(path)


def authority_of(data_dir: Path, given: Path | None) -> str:
    """What a client on this machine trusts a Drover by, beside its system: the file given, or the data folder's; as PEM.

    Raises TlsError.
    """
    if given is None:
        path = data_dir / FOLDER / "ca.crt"
        return path.read_text() if os.access(path, os.R_OK) else ""
    _ensure_pem(given, b"-----BEGIN CERTIFICATE-----", "certificate")
    return given.read_text()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whoever the operator names counts, also below a root
    return context


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error


def _ensure_pem(path: Path, mark: bytes, what: str) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if mark not in content:
        raise TlsError(f"{path} holds no {what} in PEM form")


def _unreadable(path: Path, error: OSError) -> TlsError:
    return TlsError(f"cannot read {path}: {error.strerror}")
