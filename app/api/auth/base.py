"""The two ports: who sent a request (Authenticator), and may they (Authorizer); and asking several of each in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol

from app.machinery.access import NO_OPINION, Attributes, Decision, User, Verdict
from app.machinery.bindings import Granted, together
from app.machinery.values import value

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Lower-case names and values, as they came: one may come several times."""


class Unauthorized(Exception):
    """The credentials are wrong, expired or not for here: 401. The text is for our log alone."""


class Peer:
    """The other end of a connection, for as long as that lasts."""

    __slots__ = ("address", "certificate", "local", "memo")

    def __init__(self, certificate: bytes | None = None, *, address: str = "", local: str = "") -> None:
        self.certificate = certificate
        """DER of the client certificate that TLS verified against the listener's authorities; None without one."""
        self.address = address
        """The peer's IP address, and which of ours it reached; "" where there is none (unix socket)."""
        self.local = local
        self.memo: dict[object, Any] = {}
        """What authenticators found out about the certificate, each under itself: a connection carries many requests."""


NOBODY = Peer()


@value()
class Credentials:
    """What tells who sends a request."""

    headers: Mapping[bytes, bytes]
    """The first of each name."""
    raw: RawHeaders = ()
    """All of them: X-Remote-Group and Impersonate-Group repeat."""
    peer: Peer = field(default=NOBODY)
    audiences: tuple[str, ...] = ()
    """For whom a token must be made; empty: for this API."""

    @property
    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer …`; None where there is none, "" for an empty one."""
        said = self.headers.get(b"authorization")
        if said is None or said[:7].lower() != b"bearer ":
            return None
        return said[7:].strip().decode("latin-1")


class Authenticator(Protocol):
    """Knows one sort of credentials. Called for every request: what costs more than a dictionary's look is kept."""

    async def authenticate(self, credentials: Credentials) -> User | None:
        """The user; None where these are no credentials of this sort. Raises Unauthorized for wrong ones, and ApiError where
        whoever must be asked does not answer. system:authenticated is added by the gate."""


class Authorizer(Protocol):
    """Judges what an authenticated user asks for. Called for every request, and for impersonation and escalation."""

    async def authorize(self, user: User, asked: Attributes) -> Verdict:
        """ALLOWED and DENIED end the question. Raises ApiError where whoever must be asked does not answer."""


RulesOf = Callable[[User, str], Granted]
"""The user's rules in a namespace, for who asks what they may."""


class AnyAuthenticator:
    """The first that knows the credentials decides. Wrong credentials of one sort count only if no other sort is right; then
    everybody's reason is told."""

    def __init__(self, members: Sequence[Authenticator]) -> None:
        self._members = tuple(members)

    async def authenticate(self, credentials: Credentials) -> User | None:
        wrong: list[str] = []
        for member in self._members:
            try:
                user = await member.authenticate(credentials)
            except Unauthorized as error:
                wrong.append(str(error))
                continue
            if user is not None:
                return user
        if wrong:
            raise Unauthorized(together(wrong))
        return None


class AnyAuthorizer:
    """The first that allows or denies decides; the reasons of those without an opinion are told together."""

    def __init__(self, members: Sequence[Authorizer]) -> None:
        self._members = tuple(members)

    async def authorize(self, user: User, asked: Attributes) -> Verdict:
        reasons: list[str] = []
        for member in self._members:
            verdict = await member.authorize(user, asked)
            if verdict.decision is not Decision.NO_OPINION:
                return verdict
            if verdict.reason:
                reasons.append(verdict.reason)
        return Verdict(Decision.NO_OPINION, "\n".join(reasons)) if reasons else NO_OPINION
