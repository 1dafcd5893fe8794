"""The front proxy: it has asked already who somebody is, and says so in headers. Believed over its own certificate alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from app.api.auth.base import Credentials, RawHeaders, Unauthorized
from app.api.auth.x509 import Authorities, Verifier
from app.machinery.access import User


@dataclass(frozen=True, slots=True)
class HeaderNames:
    """Which headers say what; lower-case. Of several the first that is there counts, groups add up."""

    user: tuple[bytes, ...] = (b"x-remote-user",)
    group: tuple[bytes, ...] = (b"x-remote-group",)
    uid: tuple[bytes, ...] = (b"x-remote-uid",)
    extra: tuple[bytes, ...] = (b"x-remote-extra-",)
    """Prefixes."""


@dataclass
class FrontProxy:
    """Over any other connection the headers say nothing: they are not even looked at."""

    authorities: Authorities
    allowed: Sequence[str] = ()
    """Common names of its certificate; empty: any that the authorities signed."""
    names: HeaderNames = HeaderNames()
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._verifier = Verifier(self.authorities, self.clock)

    async def authenticate(self, credentials: Credentials) -> User | None:
        name = _first(self.names.user, credentials)
        if not name:
            return None
        subject = self._verifier.subject(credentials.peer)
        if subject is None:
            return None
        if self.allowed and subject[0] not in self.allowed:
            raise Unauthorized(f"the front proxy's certificate is of {subject[0]!r}, who is not allowed to be one")
        raw = credentials.raw
        groups = tuple(_text(value) for header, value in raw if header in self.names.group)
        return User(name, groups, _first(self.names.uid, credentials), tuple(self._extra(raw)))

    def _extra(self, raw: RawHeaders) -> Iterator[tuple[str, tuple[str, ...]]]:
        found: dict[str, tuple[str, ...]] = {}
        for header, value in raw:
            prefix = next((prefix for prefix in self.names.extra if header.startswith(prefix)), None)
            if prefix is not None:
                key = unquote(header[len(prefix) :].decode("latin-1")).lower()
                found[key] = (*found.get(key, ()), _text(value))
        yield from found.items()


def _first(names: Sequence[bytes], credentials: Credentials) -> str:
    for name in names:
        value = credentials.headers.get(name)
        if value:
            return _text(value)
    return ""


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")
