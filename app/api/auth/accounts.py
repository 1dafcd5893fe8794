"""Service accounts: tokens that Drover signs in their name, and whose a token is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import jwt

from app.api.auth.base import Credentials, Unauthorized
from app.api.auth.following import Following
from app.api.auth.impersonation import service_account_groups
from app.api.auth.signing import ALGORITHM, SigningKeys
from app.machinery.access import SERVICE_ACCOUNT, User
from app.machinery.objects import Document
from app.machinery.rbac import listed
from app.store.base import Key, NotFound, Objects

RESOURCE = "serviceaccounts"
PRIVATE = "kubernetes.io"
"""The claim that names the account."""
SKEW_S = 10
"""How far the clocks of replicas may be apart."""
_REQUIRED = ["aud", "exp", "iat", "iss", "nbf", "sub", PRIVATE]


@dataclass(frozen=True, slots=True)
class Account:
    """One that is there."""

    namespace: str
    name: str
    uid: str


class Accounts:
    """Those that are there, kept in memory."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._uids: dict[tuple[str, str], str] = {}
        self.following = Following(objects, (RESOURCE,), self)

    def replace(self, _resource: str, documents: Iterable[Document]) -> None:
        self._uids.clear()
        for document in documents:
            self.put(RESOURCE, document)

    def put(self, _resource: str, document: Document) -> None:
        """One that is being deleted is gone already."""
        metadata = document["metadata"]
        if "deletionTimestamp" in metadata:
            self.remove(RESOURCE, document)
        else:
            self._uids[metadata["namespace"], metadata["name"]] = metadata["uid"]

    def remove(self, _resource: str, document: Document) -> None:
        metadata = document["metadata"]
        self._uids.pop((metadata["namespace"], metadata["name"]), None)

    async def is_there(self, account: Account) -> bool:
        """Is it, and the same one? What memory does not say yet the store does. Raises StoreError."""
        if self._uids.get((account.namespace, account.name)) == account.uid:
            return True
        try:
            stored = await self._objects.get(Key(RESOURCE, account.namespace, account.name))
        except NotFound:
            return False
        metadata = stored.document["metadata"]
        return bool(metadata["uid"] == account.uid) and "deletionTimestamp" not in metadata


class AccountTokens:
    """Signs and judges them. A token says whom it is for: for this API those of its audiences."""

    def __init__(self, keys: SigningKeys, accounts: Accounts, issuer: str, audiences: Sequence[str]) -> None:
        self.keys = keys
        self.issuer = issuer
        self.audiences = tuple(audiences)
        self._accounts = accounts

    async def issue(self, account: Account, audiences: Sequence[str], lasts_s: int, now: float) -> str:
        """A token for that long from `now`. Raises StoreError."""
        start = int(now)
        claims: Document = {
            "aud": list(audiences),
            "exp": start + lasts_s,
            "iat": start,
            "iss": self.issuer,
            "jti": str(uuid4()),
            PRIVATE: {
                "namespace": account.namespace,
                "serviceaccount": {"name": account.name, "uid": account.uid},
            },
            "nbf": start,
            "sub": f"{SERVICE_ACCOUNT}{account.namespace}:{account.name}",
        }
        return await self.keys.sign(claims)

    async def authenticate(self, credentials: Credentials) -> User | None:
        token = credentials.bearer
        if not token or unproven(token).get("iss") != self.issuer:
            return None
        claims = await self._proven(token)
        wanted = credentials.audiences or self.audiences
        said = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        audiences = tuple(name for name in wanted if name in said)
        if not audiences:
            told = listed(map(str, said))
            raise Unauthorized(f"token audiences {told} is invalid for the target audiences {listed(wanted)}")
        account = _account(claims)
        if not await self._accounts.is_there(account):
            raise Unauthorized("the token's service account is gone")
        groups = service_account_groups(account.namespace)
        extra = (("authentication.kubernetes.io/credential-id", (f"JTI={claims['jti']}",)),) if "jti" in claims else ()
        return User(claims["sub"], groups, account.uid, extra, audiences)

    async def _proven(self, token: str) -> dict[str, Any]:
        """The claims of a token that one of our keys signed and whose time it is."""
        try:
            id_ = jwt.get_unverified_header(token).get("kid")
            key = await self.keys.find(id_) if isinstance(id_, str) else None
            if key is None:
                raise Unauthorized("the service account's token was signed by no key of ours")
            return jwt.decode(
                token,
                key.public,
                algorithms=[ALGORITHM],
                issuer=self.issuer,
                leeway=SKEW_S,
                options={"require": _REQUIRED, "verify_aud": False},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthorized(f"the service account's token: {error}") from error


def unproven(token: str) -> dict[str, Any]:
    """What a token claims, before anybody looked whether that is so; nothing where it is no JWT."""
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError):  # the latter: JSON that is nothing but brackets
        return {}


def now_s() -> float:
    """The moment from which a token counts."""
    return time.time()


def _account(claims: dict[str, Any]) -> Account:
    """Raises Unauthorized for claims that name none, or another one than the subject."""
    match claims[PRIVATE]:
        case {"namespace": str(namespace), "serviceaccount": {"name": str(name), "uid": str(uid)}}:
            if claims["sub"] == f"{SERVICE_ACCOUNT}{namespace}:{name}":
                return Account(namespace, name, uid)
    raise Unauthorized("the service account's token names no account")
