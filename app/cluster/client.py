"""The client of a kube-apiserver: HTTP with the credentials of the day. The only place that sends anything there."""

from __future__ import annotations

import random
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from app.cluster.base import NOTHING, Change, Refused, Unreachable
from app.cluster.config import ClusterConfig, ClusterConfigError
from app.machinery.objects import Document

ANSWER_S = 10.0
"""For one answer: what the delegated reviews of an aggregated server may take."""
WATCH_S = 300
"""How long a watch is asked to last, and up to twice that: so that not all end at once."""
LOOK_S = 60.0
"""How often files of credentials are looked at, as client-go does with a service account's token."""
PAGE = "500"
_SILENCE = (
    # A peer that is gone without a word is noticed after about half a minute: watches may be silent for minutes.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)


class ClusterClient:
    """The port's Cluster. Credentials are read again when their files change."""

    def __init__(
        self, config: ClusterConfig, *, agent: str = "drover", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises ClusterConfigError."""
        self._config = config
        self._agent = agent
        self._clock = clock
        self._looked = clock()
        self._stamp = self._stamps()
        self._token = config.token.read().strip()
        self._client = self._connected()

    async def close(self) -> None:
        """May be called twice."""
        await self._client.aclose()

    async def get(self, path: str, query: Mapping[str, str] = NOTHING) -> Document:
        return await self._answer("GET", path, query)

    async def create(self, path: str, document: Document) -> Document:
        return await self._answer("POST", path, NOTHING, document, "application/json")

    async def merge(self, path: str, patch: Document) -> Document:
        return await self._answer("PATCH", path, NOTHING, patch, "application/merge-patch+json")

    @asynccontextmanager
    async def watch(
        self, path: str, since: str, query: Mapping[str, str] = NOTHING
    ) -> AsyncIterator[AsyncIterator[Change]]:
        lasts = str(int(WATCH_S * random.uniform(1, 2)))
        asked = {
            **query, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": since, "timeoutSeconds": lasts,
        }  # fmt: skip
        patience = httpx.Timeout(ANSWER_S, read=WATCH_S * 2 + ANSWER_S)
        client = await self._fresh()
        try:
            async with client.stream(
                "GET", path, params=asked, timeout=patience, headers=self._headers(), extensions=self._extensions()
            ) as response:
                if response.status_code >= 400:
                    raise _refused(response.status_code, await response.aread())
                yield _changes(response)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    async def _answer(
        self, method: str, path: str, query: Mapping[str, str], document: Document | None = None, type_: str = ""
    ) -> Document:
        client = await self._fresh()
        headers = self._headers() | ({"content-type": type_} if type_ else {})
        try:
            response = await client.request(
                method,
                path,
                params=dict(query),
                content=None if document is None else orjson.dumps(document),
                headers=headers,
                extensions=self._extensions(),
            )
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        if response.status_code >= 300:
            raise _refused(response.status_code, response.content)
        return _document(response.content)

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._token}"} if self._token else {}

    def _extensions(self) -> dict[str, Any]:
        name = self._config.server_name
        return {"sni_hostname": name} if name else {}

    async def _fresh(self) -> httpx.AsyncClient:
        """The connections, made anew when a certificate changed. What cannot be read stays as it was."""
        now = self._clock()
        if now - self._looked < LOOK_S:
            return self._client
        self._looked = now
        try:
            stamp = self._stamps()
            if stamp != self._stamp:
                self._token = self._config.token.read().strip()
                # Watches that are open on the former connections end with them, and are begun again.
                former, self._client = self._client, self._connected()
                self._stamp = stamp
                await former.aclose()
        except ClusterConfigError as error:
            raise Unreachable(str(error)) from error
        return self._client

    def _stamps(self) -> tuple[object, ...]:
        config = self._config
        return tuple(part.stamp() for part in (config.authority, config.token, config.certificate, config.key))

    def _connected(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._config.server,
            headers={"accept": "application/json", "user-agent": self._agent},
            timeout=ANSWER_S,
            transport=httpx.AsyncHTTPTransport(
                verify=_context(self._config),
                limits=httpx.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=60),
                socket_options=_SILENCE,
                trust_env=False,
            ),
            trust_env=False,
        )


def _context(config: ClusterConfig) -> ssl.SSLContext:
    """What the cluster is trusted by, and what we show. Raises ClusterConfigError."""
    try:
        context = ssl.create_default_context(cadata=config.authority.read() or None)
    except ssl.SSLError as error:
        raise ClusterConfigError("the cluster's certificate authority is no PEM certificate") from error
    # Authorities of some installers lack what RFC 5280 asks of them, and Go does not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if config.certificate:
        # The module only loads files. The key is there for as long as that takes, for our eyes only.
        with tempfile.NamedTemporaryFile("w", prefix="drover-", suffix=".pem") as pair:
            pair.write(f"{config.certificate.read()}\n{config.key.read()}\n")
            pair.flush()
            try:
                context.load_cert_chain(Path(pair.name))
            except ssl.SSLError as error:
                raise ClusterConfigError("the client certificate for the cluster and its key do not fit") from error
    return context


async def _changes(response: httpx.Response) -> AsyncIterator[Change]:
    async for line in response.aiter_lines():
        if not line:
            continue
        frame = _document(line.encode())
        if frame.get("type") == "ERROR":
            raise _refused_by(frame.get("object") or {}, 500)
        yield Change(str(frame.get("type", "")), frame.get("object") or {})


def _document(content: bytes) -> Document:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Unreachable("the cluster's answer is no JSON") from error
    if not isinstance(document, dict):
        raise Unreachable("the cluster's answer is no object")
    return document


def _refused(code: int, content: bytes) -> Refused:
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        status = {"message": content[:300].decode(errors="replace").strip()}
    return _refused_by(status if isinstance(status, dict) else {}, code)


def _refused_by(status: Document, code: int) -> Refused:
    details = status.get("details") or {}
    causes = frozenset(str(cause.get("reason", "")) for cause in details.get("causes") or ())
    said = status.get("code")
    return Refused(
        said if isinstance(said, int) and said >= 400 else code,
        str(status.get("reason") or ""),
        str(status.get("message") or f"status {code}"),
        causes,
    )


def _unreachable(error: httpx.HTTPError) -> Unreachable:
    return Unreachable(str(error) or type(error).__name__)
