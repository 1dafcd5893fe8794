"""The gate: every request passes it once, before anything else looks at it. Who is asking, for whom, and may they."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from app.api.auth.anonymous import Anyone
from app.api.auth.attributes import attributes_of
from app.api.auth.base import Authenticator, Authorizer, RulesOf, Unauthorized
from app.api.auth.impersonation import wanted
from app.api.auth.masters import MastersMay
from app.api.requests import Request
from app.api.routes import Target
from app.machinery.access import STRANGER, Attributes, User, authenticated, forbidden, unauthorized
from app.machinery.bindings import Grant, Granted
from app.machinery.rbac import EVERYTHING

log = structlog.get_logger()


@dataclass(frozen=True)
class Gate:
    """Who may come in."""

    authenticator: Authenticator
    authorizer: Authorizer
    rules: RulesOf | None = None
    """None: whoever judges cannot say."""
    audiences: tuple[str, ...] = ()
    """Whom this API calls itself: what credentials that say nothing of it are meant for."""

    async def identify(self, request: Request) -> None:
        """Fills in who sent the request. Raises 401; ApiError where whoever must be asked does not answer."""
        try:
            credentials = request.credentials
            user = await self.authenticator.authenticate(credentials)
            if user is None and credentials.bearer is not None:
                raise Unauthorized("invalid bearer token")
        except Unauthorized as error:
            log.info("credentials refused", why=str(error), client=request.peer.address, path=request.path)
            raise unauthorized() from error
        request.user = STRANGER if user is None else authenticated(user)
        request.scope["user"] = request.user

    async def admit(self, request: Request, target: Target | None) -> None:
        """Judges an identified request. Raises 403, for the one that is impersonated; 400 for headers that name nobody."""
        request.attributes = attributes_of(target, request)
        asked_for = wanted(request.headers, request.scope["headers"])
        if asked_for is not None:
            for needed in asked_for.needed:
                await self.ensure(request.user, needed)
            request.impersonator, request.user = request.user, asked_for.user
            request.scope["user"] = request.user
        verdict = await self.authorizer.authorize(request.user, request.attributes)
        if not verdict.allowed:
            raise forbidden(request.user, request.attributes, verdict.reason)

    async def ensure(self, user: User, asked: Attributes) -> None:
        """Raises 403 unless the user may."""
        verdict = await self.authorizer.authorize(user, asked)
        if not verdict.allowed:
            raise forbidden(user, asked, verdict.reason)


def open_gate() -> Gate:
    """Everybody is the administrator: for an application whose caller has asked already, as tests have."""
    everything = Granted(tuple(Grant(rule, "") for rule in EVERYTHING))
    return Gate(Anyone(), MastersMay(), lambda _user, _namespace: everything)
