"""Who may come in: from the settings to the gate that the API asks, and what keeps its files up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from app.api.admission.judge import Admission
from app.api.admission.policies import bound_policies
from app.api.auth.accounts import Accounts, AccountTokens
from app.api.auth.anonymous import TrustLoopback, is_loopback
from app.api.auth.base import AnyAuthenticator, AnyAuthorizer, Authenticator, Authorizer
from app.api.auth.frontproxy import FrontProxy
from app.api.auth.gate import Gate
from app.api.auth.masters import MastersMay
from app.api.auth.oidc import OidcTokens, Reading
from app.api.auth.roles import Roles
from app.api.auth.signing import SigningKeys
from app.api.auth.tokenfile import TokenFile
from app.api.auth.x509 import Authorities, AuthoritiesError, ClientCertificates
from app.api.files import FileError, KeptFile
from app.certificates import make_signing_key
from app.oidc.base import ALGORITHMS
from app.settings import Settings
from app.store.base import Store

if TYPE_CHECKING:
    from app.oidc.issuer import Issuer

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
    """Who is known, what they may write, and the files behind it."""

    authenticators: Sequence[Authenticator]
    admission: Admission
    files: Sequence[KeptFile]
    issuer: Issuer | None

    def gate(self, roles: Roles, tokens: AccountTokens) -> Gate:
        """Whoever is known, and whoever has one of our tokens, may what the roles say."""
        authorizers: list[Authorizer] = [MastersMay(), roles]
        known = AnyAuthenticator([*self.authenticators, tokens])
        return Gate(known, AnyAuthorizer(authorizers), roles.bindings.granted, tokens.audiences)

    @property
    def parts(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What keeps up to date what is known."""
        return (self.keep,) if self.issuer is None else (self.keep, self.issuer.run)

    async def keep(self) -> None:
        """Reads changed files again, until it is cancelled. What is wrong is said once, and what was read before stays."""
        said: dict[object, str] = {}
        while True:
            await asyncio.sleep(LOOK_S)
            for file in self.files:
                try:
                    if await asyncio.to_thread(file.refresh):
                        log.info(f"{file.holds} read anew")
                    said.pop(file, None)
                except FileError as error:
                    if said.get(file) != str(error):
                        log.warning(f"{file.holds} stay as they were", error=str(error))
                    said[file] = str(error)


def access_of(settings: Settings, trust: Trust) -> Access:
    """Authenticators in Kubernetes' order: the front proxy, certificates, tokens. Raises AccessError."""
    try:
        tokens = [TokenFile(settings.token_auth_file)] if settings.token_auth_file else []
    except FileError as error:
        raise AccessError(f"DROVER_TOKEN_AUTH_FILE: {error}") from error
    admission, policies = Admission(), settings.admission_policies
    try:
        files = [KeptFile(policies, "admission policies", partial(_judge_by, admission))] if policies else []
    except FileError as error:
        raise AccessError(f"DROVER_ADMISSION_POLICIES: {error}") from error
    authenticators: list[Authenticator] = [
        FrontProxy(trust.proxies, settings.requestheader_allowed_names),
        ClientCertificates(trust.clients),
        *tokens,
    ]
    issuer = _issuer_of(settings)
    if issuer is not None:
        authenticators.append(OidcTokens(_reading_of(settings, issuer.url), issuer))
    if settings.trust_loopback:
        authenticators.append(TrustLoopback())
    return Access(authenticators, admission, [*(known.file for known in tokens), *files], issuer)


def _judge_by(admission: Admission, text: str) -> None:
    """Raises PolicyError, and changes nothing."""
    admission.replace(bound_policies(text))


def _issuer_of(settings: Settings) -> Issuer | None:
    """Raises AccessError."""
    url = settings.oidc_issuer_url
    if url is None:
        return None
    from app.oidc.issuer import Issuer

    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username is not None:
        raise AccessError(f"DROVER_OIDC_ISSUER_URL must be an https address without user, query and fragment: {url}")
    if not settings.oidc_client_id:
        raise AccessError("DROVER_OIDC_ISSUER_URL needs DROVER_OIDC_CLIENT_ID: for whom its tokens must be")
    unknown = [name for name in settings.oidc_signing_algs if name not in ALGORITHMS]
    if unknown or not settings.oidc_signing_algs:
        raise AccessError(
            f"DROVER_OIDC_SIGNING_ALGS: {', '.join(unknown) or 'none'}; known are {', '.join(ALGORITHMS)}"
        )
    try:
        return Issuer(url, settings.oidc_ca_file)
    except OSError as error:
        raise AccessError(f"DROVER_OIDC_CA_FILE: cannot use {settings.oidc_ca_file}: {error}") from error


def _reading_of(settings: Settings, url: str) -> Reading:
    prefix = settings.oidc_username_prefix
    if prefix is None:
        prefix = "" if settings.oidc_username_claim == "email" else f"{url}#"
    return Reading(
        issuer=url,
        client_id=settings.oidc_client_id or "",
        username_claim=settings.oidc_username_claim,
        username_prefix="" if prefix == "-" else prefix,
        groups_claim=settings.oidc_groups_claim or "",
        groups_prefix=settings.oidc_groups_prefix,
        algorithms=settings.oidc_signing_algs,
        required=settings.oidc_required_claims,
    )


@dataclass(frozen=True)
class ServiceAccounts:
    """Who is known by tokens that Drover signs."""

    tokens: AccountTokens
    accounts: Accounts

    async def load(self) -> None:
        """Raises StoreError."""
        await self.accounts.following.load()
        await self.tokens.keys.following.load()

    @property
    def parts(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What follows the store."""
        return (self.accounts.following.run, self.tokens.keys.following.run)


def signing_keys_of(settings: Settings, store: Store) -> SigningKeys:
    """By which tokens are signed and judged."""
    return SigningKeys(
        store.objects,
        make_signing_key,
        signs=timedelta(seconds=settings.service_account_key_s),
        lasts=timedelta(seconds=settings.service_account_max_token_s),
    )


def service_accounts_of(settings: Settings, store: Store) -> ServiceAccounts:
    """Nothing is read yet."""
    keys, accounts = signing_keys_of(settings, store), Accounts(store.objects)
    issuer = settings.service_account_issuer
    return ServiceAccounts(AccountTokens(keys, accounts, issuer, settings.api_audiences or (issuer,)), accounts)


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
