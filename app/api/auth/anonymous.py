"""Those who bring no credentials: strangers, unless the operator trusts whoever is on this machine."""

from __future__ import annotations

from ipaddress import ip_address

from app.api.auth.base import Credentials, Peer
from app.machinery.access import ADMINISTRATOR, User

_FOREIGN = (b"origin", b"sec-fetch-site", b"x-forwarded-for", b"forwarded", b"via")
"""Sent by browsers for a page's sake, and by proxies for somebody else's: neither is the person at this machine."""


class Anyone:
    """Everybody is the administrator."""

    async def authenticate(self, _credentials: Credentials) -> User | None:
        return ADMINISTRATOR


class TrustLoopback:
    """Whoever reaches us over loopback and brings no credentials is the administrator. Credentials that others know, or that
    nobody knows, count as ever: so this comes last."""

    async def authenticate(self, credentials: Credentials) -> User | None:
        headers = credentials.headers
        if b"authorization" in headers or not _is_here(credentials.peer):
            return None
        if any(name in headers for name in _FOREIGN) or not _is_asked_for(credentials.peer, headers.get(b"host", b"")):
            return None
        return ADMINISTRATOR


def is_loopback(address: str) -> bool:
    """Is it an address that nobody outside this machine reaches?"""
    if address == "localhost":
        return True
    try:
        return ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_here(peer: Peer) -> bool:
    here = peer.memo.get(_is_here)
    if here is None:
        here = peer.memo[_is_here] = is_loopback(peer.address) and is_loopback(peer.local)
    return bool(here)


def _is_asked_for(peer: Peer, host: bytes) -> bool:
    """Found out once, for a connection's requests name the same host."""
    found: tuple[bytes, bool] | None = peer.memo.get(_is_asked_for)
    if found is None or found[0] != host:
        found = peer.memo[_is_asked_for] = (host, _names_us(host))
    return found[1]


def _names_us(host: bytes) -> bool:
    """A page whose own name was made to lead here (DNS rebinding) sends that name."""
    name = host.decode("latin-1")
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    return is_loopback(name)
