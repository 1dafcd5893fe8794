"""OpenID Connect: who the bearer of an issuer's ID token is, by claims that the operator chose, as kube-apiserver has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
import structlog

from app.api.auth.accounts import SKEW_S, unproven
from app.api.auth.base import Credentials, Unauthorized
from app.machinery.access import User
from app.oidc.base import ALGORITHMS, IssuerKeys, KeysUnknown

log = structlog.get_logger()

RESERVED = "system:"
"""What names of Drover's and Kubernetes' own begin with: no issuer gives them away, whatever it claims."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What of a token counts."""

    issuer: str
    client_id: str
    """For whom it must be."""
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = ""
    """"": it names no groups."""
    groups_prefix: str = ""
    algorithms: Sequence[str] = ("RS256",)
    required: Mapping[str, str] = field(default_factory=dict)
    """Claims that it must have, with these values."""


class OidcTokens:
    """Knows the tokens of one issuer."""

    def __init__(self, reading: Reading, keys: IssuerKeys) -> None:
        self._reading = reading
        self._keys = keys

    async def authenticate(self, credentials: Credentials) -> User | None:
        token = credentials.bearer
        if not token or unproven(token).get("iss") != self._reading.issuer:
            return None
        return self._user(await self._proven(token))

    async def _proven(self, token: str) -> dict[str, Any]:
        """The claims of a token that the issuer signed, and whose time it is."""
        reading = self._reading
        try:
            header = jwt.get_unverified_header(token)
            id_, algorithm = header.get("kid"), header.get("alg")
            if not isinstance(algorithm, str) or algorithm not in reading.algorithms:
                raise Unauthorized(f"the ID token is signed by {algorithm!r}, which is not allowed")
            key = await self._keys.key(id_)
            if key is None or key[0] != ALGORITHMS[algorithm]:
                raise Unauthorized("the ID token was signed by no key of its issuer")
            return jwt.decode(
                token,
                key[1],
                algorithms=[algorithm],
                issuer=reading.issuer,
                audience=reading.client_id,
                leeway=SKEW_S,
                options={"require": ["aud", "exp", "iss"]},
            )
        except KeysUnknown as error:
            log.warning("a token is refused: its issuer does not tell its keys", error=str(error))
            raise Unauthorized(f"the ID token's issuer does not tell its keys: {error}") from error
        except (jwt.PyJWTError, OverflowError) as error:  # the latter: times beyond all numbers
            raise Unauthorized(f"the ID token: {error}") from error

    def _user(self, claims: Mapping[str, Any]) -> User:
        reading = self._reading
        for claim, value in reading.required.items():
            if claims.get(claim) != value:
                raise Unauthorized(f"the ID token's claim {claim} is not as it must be")
        name = claims.get(reading.username_claim)
        if not isinstance(name, str) or not name:
            raise Unauthorized(f"the ID token's claim {reading.username_claim} names nobody")
        if reading.username_claim == "email" and claims.get("email_verified", True) is not True:
            raise Unauthorized("the ID token's email is not verified")
        name = reading.username_prefix + name
        if name.startswith(RESERVED):
            raise Unauthorized(f"the ID token names {name!r}, which no issuer can be")
        return User(name, self._groups(claims))

    def _groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """A text, or a list of them; reserved ones are left out."""
        said = claims.get(self._reading.groups_claim) if self._reading.groups_claim else None
        listed = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        if (said is not None and not isinstance(said, str | list)) or not all(isinstance(one, str) for one in listed):
            raise Unauthorized(f"the ID token's claim {self._reading.groups_claim} is no list of groups")
        groups = tuple(self._reading.groups_prefix + group for group in listed)
        return tuple(group for group in groups if not group.startswith(RESERVED))
