"""Who may come in: from the settings to the gate that the API asks, and what keeps its files up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.api.auth.anonymous import TrustLoopback, is_loopback
from app.api.auth.base import AnyAuthenticator, AnyAuthorizer, Authenticator, Authorizer
from app.api.auth.frontproxy import FrontProxy
from app.api.auth.gate import Gate
from app.api.auth.masters import MastersMay
from app.api.auth.roles import Roles
from app.api.auth.tokenfile import TokenFile, TokenFileError
from app.api.auth.x509 import Authorities, AuthoritiesError, ClientCertificates
from app.settings import Settings

log = structlog.get_logger()

LOOK_S = 10.0
"""How often the files are looked at."""


class AccessError(Exception):
    """The settings would let in nobody, or everybody; the text is one line that says what to change."""


@dataclass(frozen=True)
class Trust:
    """Whose certificates count."""

    clients: Authorities
    """Sign users."""
    proxies: Authorities
    """Sign front proxies, which say who somebody is."""

    @property
    def pem(self) -> str:
        """All of them, for the handshake."""
        return "\n".join(text for text in (self.clients.pem, self.proxies.pem) if text)

    @property
    def generation(self) -> tuple[int, int]:
        return self.clients.generation, self.proxies.generation

    def refresh(self) -> None:
        """Raises AuthoritiesError, and changes nothing."""
        self.clients.refresh()
        self.proxies.refresh()


def trust_of(settings: Settings, own: Path | None = None) -> Trust:
    """The authorities that the settings name, and Drover's `own`. Raises AccessError."""
    try:
        return Trust(
            Authorities([path for path in (own, settings.client_ca) if path is not None]),
            Authorities([settings.requestheader_client_ca] if settings.requestheader_client_ca else []),
        )
    except AuthoritiesError as error:
        raise AccessError(str(error)) from error


@dataclass(frozen=True)
class Access:
    """Who is known, and the files behind it."""

    authenticator: Authenticator
    files: Sequence[TokenFile]

    def gate(self, roles: Roles) -> Gate:
        """Whoever is known may what the roles say."""
        authorizers: list[Authorizer] = [MastersMay(), roles]
        return Gate(self.authenticator, AnyAuthorizer(authorizers), roles.bindings.granted)

    async def keep(self) -> None:
        """Reads changed files again, until it is cancelled. What is wrong is said once, and what was read before stays."""
        said: dict[TokenFile, str] = {}
        while True:
            await asyncio.sleep(LOOK_S)
            for file in self.files:
                try:
                    if await asyncio.to_thread(file.refresh):
                        log.info("tokens read anew")
                    said.pop(file, None)
                except TokenFileError as error:
                    if said.get(file) != str(error):
                        log.warning("the tokens stay as they were", error=str(error))
                    said[file] = str(error)


def access_of(settings: Settings, trust: Trust) -> Access:
    """Authenticators in Kubernetes' order: the front proxy, certificates, tokens. Raises AccessError."""
    try:
        files = [TokenFile(settings.token_auth_file)] if settings.token_auth_file else []
    except TokenFileError as error:
        raise AccessError(f"DROVER_TOKEN_AUTH_FILE: {error}") from error
    authenticators: list[Authenticator] = [
        FrontProxy(trust.proxies, settings.requestheader_allowed_names),
        ClientCertificates(trust.clients),
        *files,
    ]
    if settings.trust_loopback:
        authenticators.append(TrustLoopback())
    return Access(AnyAuthenticator(authenticators), files)


def ensure_safe(settings: Settings) -> None:
    """Nothing in the clear, and nobody trusted unasked, beyond this machine. Raises AccessError."""
    if is_loopback(settings.bind):
        return
    if not settings.secure:
        raise AccessError(
            f"plain HTTP is for loopback only, and {settings.bind} is not: leave out --no-tls (DROVER_TLS=false), or --bind"
        )
    if settings.trust_loopback:
        raise AccessError(
            f"--trust-loopback (DROVER_TRUST_LOOPBACK) is for a Drover that only this machine reaches, and {settings.bind} "
            "is reached from elsewhere: leave out one of the two"
        )
