"""Keys that sign tokens: kept in the store, so that every process has the same, and replaced before they are old."""

from __future__ import annotations

import asyncio
import hashlib
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import orjson
import structlog
from jwt.algorithms import RSAAlgorithm

from app.api.auth.following import Following
from app.machinery.objects import Document
from app.store.base import AlreadyExists, Key, NotFound, Objects, Scope

log = structlog.get_logger()

RESOURCE = "signingkeys"
"""Where they are stored. No kind is called so: nobody reaches them over HTTP."""
ALGORITHM = "RS256"
"""What every OpenID Connect client knows."""
LOOK_S = 1.0
"""How seldom a key that is not known is asked for in the store: names of keys cost a stranger nothing."""

_RSA = RSAAlgorithm(RSAAlgorithm.SHA256)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One of them. `private` and `public` are what the library made of the stored text."""

    id: str
    """The thumbprint of the public key, RFC 7638: a token's `kid`."""
    made: datetime
    private: Any
    public: Any
    jwk: Document
    """The public key as RFC 7517 has it."""

    @classmethod
    def of(cls, document: Document) -> SigningKey:
        private: Any = _RSA.prepare_key(document["pem"])
        public = private.public_key()
        jwk = RSAAlgorithm.to_jwk(public, as_dict=True)
        found = {name: jwk[name] for name in ("e", "kty", "n")}
        id_ = _base64(hashlib.sha256(orjson.dumps(found, option=orjson.OPT_SORT_KEYS)).digest())
        made = datetime.fromisoformat(document["metadata"]["creationTimestamp"])
        return cls(id_, made, private, public, {**found, "use": "sig", "alg": ALGORITHM, "kid": id_})


class SigningKeys:
    """The newest signs; an older one judges until everything that it signed is over."""

    def __init__(
        self,
        objects: Objects,
        make: Callable[[], str],
        *,
        signs: timedelta,
        lasts: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`make` makes a private key as PEM; it takes a moment. A key `signs` for so long, and no token lasts longer than
        `lasts`."""
        self._objects = objects
        self._make = make
        self._signs = signs
        self._lasts = lasts
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        """By the name under which they are stored."""
        self._looked = 0.0
        self._making = asyncio.Lock()
        self.following = Following(objects, (RESOURCE,), self)

    def replace(self, _resource: str, documents: Iterable[Document]) -> None:
        self._keys = {document["metadata"]["name"]: SigningKey.of(document) for document in documents}

    def put(self, _resource: str, document: Document) -> None:
        self._keys[document["metadata"]["name"]] = SigningKey.of(document)

    def remove(self, _resource: str, document: Document) -> None:
        self._keys.pop(document["metadata"]["name"], None)

    async def sign(self, claims: Document) -> str:
        """A token. Raises StoreError."""
        key = await self._signer()
        return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers={"kid": key.id})

    async def find(self, id_: str) -> SigningKey | None:
        """The key of that name, also if another process made it just now. Raises StoreError."""
        found = self._of(id_)
        if found is None and time.monotonic() - self._looked >= LOOK_S:
            self._looked = time.monotonic()
            await self.following.load()
            found = self._of(id_)
        return found

    def published(self) -> Document:
        """The public keys as RFC 7517 has them, the newest first."""
        return {"keys": [key.jwk for key in sorted(self._keys.values(), key=lambda key: key.made, reverse=True)]}

    async def rotate(self) -> str:
        """A new one signs from now on; what that is stored as. Raises StoreError."""
        pem = await asyncio.to_thread(self._make)
        now = self._clock()
        document: Document = {
            "metadata": {"name": uuid4().hex, "uid": str(uuid4()), "creationTimestamp": now.isoformat()},
            "pem": pem,
        }
        key = Key(RESOURCE, "", document["metadata"]["name"])
        try:
            await self._objects.create(key, document)
        except AlreadyExists as error:
            raise AssertionError(f"BUG: {key} is there already") from error
        self.put(RESOURCE, document)
        log.info("a new key signs tokens", kid=self._newest().id)
        over = now - self._signs - self._lasts
        await self._drop(lambda found: datetime.fromisoformat(found["metadata"]["creationTimestamp"]) < over)
        return key.name

    async def revoke(self) -> None:
        """Tokens that were signed until now count no longer; a new key signs. Raises StoreError."""
        kept = await self.rotate()
        await self._drop(lambda found: found["metadata"]["name"] != kept)

    async def _signer(self) -> SigningKey:
        async with self._making:
            if not self._keys:
                await self.following.load()
            if not self._keys or self._newest().made + self._signs < self._clock():
                await self.rotate()
        return self._newest()

    async def _drop(self, goes: Callable[[Document], bool]) -> None:
        for stored in (await self._objects.list(Scope(RESOURCE))).items:
            if goes(stored.document):
                try:
                    await self._objects.delete(stored.key)
                except NotFound:
                    continue  # another process did
                self.remove(RESOURCE, stored.document)

    def _newest(self) -> SigningKey:
        return max(self._keys.values(), key=lambda key: (key.made, key.id))

    def _of(self, id_: str) -> SigningKey | None:
        return next((key for key in self._keys.values() if key.id == id_), None)


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
