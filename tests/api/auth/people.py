"""Callers for the tests: connections with and without certificates, gates that know some people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization

from app.api.auth.base import Credentials, Peer
from app.api.auth.x509 import Authorities
from app.api.requests import PEER, Request
from app.certificates import Pair, make_authority, make_client

NOW = datetime.now(UTC)
CLIENTS = make_authority(NOW)
PROXIES = make_authority(NOW)
STRANGERS = make_authority(NOW)


def authorities(*pairs: Pair) -> Authorities:
    made = Authorities()
    made.replace("".join(pair.public().decode() for pair in pairs))
    return made


def peer(
    authority: Pair | None = None,
    name: str = "jane",
    *groups: str,
    made: datetime = NOW,
    lasts: timedelta = timedelta(days=1),
    address: str = "192.0.2.1",
    local: str = "192.0.2.2",
) -> Peer:
    """A connection; with an authority, over a certificate that it signed."""
    if authority is None:
        return Peer(address=address, local=local)
    client = make_client(authority, name, *groups, now=made, lasts=lasts)
    return Peer(client.certificate.public_bytes(serialization.Encoding.DER), address=address, local=local)


def credentials(*headers: tuple[str, str], peer: Peer) -> Credentials:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return Credentials(dict(reversed(raw)), raw, peer)


async def _silent() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def request(method: str, url: str, headers: Iterable[tuple[str, str]] = (), peer: Peer | None = None) -> Request:
    """As the listener makes it."""
    path, _, query = url.partition("?")
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
    return Request.of(scope | ({PEER: peer} if peer else {}), _silent)
