"""An issuer over https: its discovery document and its keys, fetched anew from time to time and when a token names a new one.

One task fetches, and whoever needs an answer waits for it: however many requests come with keys that are not known, the issuer
is asked once.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import orjson
import structlog

from app.machinery.objects import Document
from app.oidc.base import ALGORITHMS, KeysUnknown

log = structlog.get_logger()

WAIT_S = 10.0
"""What a request waits for the issuer."""
ANSWER_S = 4.0
"""What one answer of the issuer may take; there are two."""
FRESH_S = 300.0
"""After that the keys are fetched again: one that the issuer has taken back counts no longer."""
STALE_S = 3600.0
"""So long keys count of an issuer that does not answer any more."""
AGAIN_S = 5.0
"""How seldom it is asked for keys that it did not have."""
MOST_BYTES = 1024 * 1024


class Issuer:
    """Keeps the keys of one."""

    def __init__(
        self,
        url: str,
        authority: Path | None,
        *,
        wait_s: float = WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`authority` is who signs its certificate; None: whom the system trusts. Raises OSError."""
        self.url = url
        self._wait_s = wait_s
        context = ssl.create_default_context(cafile=None if authority is None else str(authority))
        self._client = httpx.AsyncClient(verify=context, timeout=ANSWER_S, follow_redirects=False, trust_env=False)
        self._clock = clock
        self._keys: dict[str, tuple[str, Any]] = {}
        self._fetched = float("-inf")
        """When that succeeded last."""
        self._tried = float("-inf")
        self._why = "it has not been asked yet"
        self._wanted = asyncio.Event()
        self._answered = asyncio.Event()
        """Set when the fetch that is waited for has ended, whatever came of it."""

    async def key(self, id_: str | None) -> tuple[str, Any] | None:
        found = self._find(id_)
        if found is None and self._clock() - self._tried >= AGAIN_S:
            answered = self._answered
            self._wanted.set()
            try:
                async with asyncio.timeout(self._wait_s):
                    await answered.wait()
            except TimeoutError as error:
                raise KeysUnknown(f"{self.url} did not answer within {self._wait_s:g} s") from error
            found = self._find(id_)
        if found is None and self._is_stale():
            raise KeysUnknown(f"{self.url}: {self._why}")
        return found

    async def run(self) -> None:
        """Fetches until it is cancelled."""
        try:
            while True:
                await self._fetch()
                self._answered.set()
                self._answered = asyncio.Event()
                try:
                    async with asyncio.timeout(FRESH_S):
                        await self._wanted.wait()
                except TimeoutError:
                    continue
        finally:
            await self._client.aclose()

    async def _fetch(self) -> None:
        """What goes wrong is said once."""
        try:
            async with asyncio.timeout(self._wait_s):
                keys = await self._fetched_keys()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            why = str(error) or type(error).__name__
            if why != self._why:
                log.warning("the issuer of tokens does not tell its keys", issuer=self.url, error=why)
            self._why = why
        else:
            if keys.keys() != self._keys.keys():
                log.info("the keys of the issuer of tokens", issuer=self.url, kids=sorted(keys))
            self._keys, self._fetched, self._why = keys, self._clock(), ""
        self._wanted.clear()
        self._tried = self._clock()

    async def _fetched_keys(self) -> dict[str, tuple[str, Any]]:
        """Raises httpx.HTTPError, ValueError."""
        configuration = await self._get(f"{self.url.rstrip('/')}/.well-known/openid-configuration")
        if configuration.get("issuer") != self.url:
            raise ValueError(f"it calls itself {configuration.get('issuer')!r}")
        where = configuration.get("jwks_uri")
        if not isinstance(where, str) or not where.startswith("https://"):
            raise ValueError(f"its jwks_uri is no https address: {where!r}")
        return _usable(await self._get(where))

    async def _get(self, address: str) -> Document:
        async with self._client.stream("GET", address, headers={"Accept": "application/json"}) as answer:
            if answer.status_code != 200:
                raise ValueError(f"{address} answered {answer.status_code}")
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ValueError(f"{address} answered more than {MOST_BYTES} bytes")
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise ValueError(f"{address} answered no JSON object")
        return document

    def _find(self, id_: str | None) -> tuple[str, Any] | None:
        if self._is_stale():
            return None
        if id_ is not None:
            return self._keys.get(id_)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    def _is_stale(self) -> bool:
        return self._clock() - self._fetched > STALE_S


def _usable(document: Document) -> dict[str, tuple[str, Any]]:
    """Public keys that sign, by their names. Raises ValueError."""
    found: dict[str, tuple[str, Any]] = {}
    types = set(ALGORITHMS.values())
    for entry in document.get("keys") or ():
        if not isinstance(entry, dict) or entry.get("kty") not in types or entry.get("use", "sig") != "sig":
            continue
        try:
            found[str(entry.get("kid", ""))] = (entry["kty"], jwt.PyJWK.from_dict(entry).key)
        except (jwt.PyJWTError, ValueError) as error:
            log.warning("a key of the issuer of tokens is no key", kid=entry.get("kid"), error=str(error))
    if not found:
        raise ValueError("it has no key that signs")
    return found
