"""Until when the certificates on the way to a host count: that which we show, and that which its libvirtd shows."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from app.hypervisor.base import Certificate, Holder, Unreachable

PORT = 16514
"""libvirt's, for TLS."""


def read(uri: str, client: Path | None, deadline_s: float) -> tuple[Certificate, ...]:
    """The client's alone while the host does not answer. Raises Unreachable where none can be had. Blocks."""
    parts = urlsplit(uri)
    if parts.scheme.partition("+")[2] != "tls" or not parts.hostname:
        return ()
    found = () if client is None else (_client(client),)
    try:
        return (*found, _server(parts.hostname, parts.port or PORT, deadline_s))
    except Unreachable:
        if found:
            return found
        raise


def _client(path: Path) -> Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Unreachable(f"no certificate can be read from {path}: {error}") from error
    return Certificate(Holder.CLIENT, certificate.not_valid_after_utc)


def _server(host: str, port: int, deadline_s: float) -> Certificate:
    """Nothing is believed of it, and nothing said to it: libvirt itself verifies it for each connection. So it is read also
    when it has expired."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # see above
    try:
        with (
            socket.create_connection((host, port), deadline_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as shaken,
        ):
            shown = shaken.getpeercert(binary_form=True)
    except (OSError, ssl.SSLError) as error:
        raise Unreachable(f"no certificate was shown by {host}:{port}: {error}") from error
    if shown is None:
        raise Unreachable(f"{host}:{port} shows no certificate")
    return Certificate(Holder.SERVER, x509.load_der_x509_certificate(shown).not_valid_after_utc)
