"""What kube-aggregator does with one APIService: proxies to it as a front proxy, asks whether it is available, and gathers its
discovery and OpenAPI."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import httpx
from starlette.types import Receive, Scope, Send

from tests.cluster.answers import body_of, say
from tests.cluster.merging import filtered, merged
from tests.cluster.rbac import Caller

Document = dict[str, Any]

V2 = "apidiscovery.k8s.io"
AGGREGATED = (
    f"application/json;g={V2};v=v2;as=APIGroupDiscoveryList,"
    f"application/json;g={V2};v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
_NOT_PASSED = frozenset((
    b"authorization", b"host", b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer",
    b"proxy-connection", b"content-length",
))  # fmt: skip
CHECKER = Caller("system:kube-aggregator", ("system:masters",))
GATHERER = Caller("system:aggregator")
"""With no group at all, not even that of everybody authenticated."""
ATTEMPTS = 5


@dataclass
class Registered:
    """An APIService, and what is known of whom it names."""

    group: str
    version: str
    authority: str
    """PEM: its caBundle."""
    address: str
    """https://127.0.0.1:port: what its Service resolves to."""
    name: str = "drover.drover.svc"
    """<service>.<namespace>.svc, which its certificate must name."""
    available: bool = False
    reason: str = "Unknown"
    message: str = ""
    revision: int = 1
    discovery: Document | None = None
    discovery_tag: str = ""
    swagger: Document | None = None
    swagger_tag: str = ""
    index: dict[str, Document] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}"

    def document(self) -> Document:
        condition = {
            "type": "Available", "status": str(self.available), "reason": self.reason, "message": self.message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        namespace, service = self.name.split(".")[1], self.name.split(".")[0]
        return {
            "kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": {"name": f"{self.version}.{self.group}", "resourceVersion": str(self.revision)},
            "spec": {"group": self.group, "version": self.version, "groupPriorityMinimum": 2000, "versionPriority": 15,
                     "service": {"namespace": namespace, "name": service, "port": 443}},
            "status": {"conditions": [condition]},
        }  # fmt: skip


class Aggregator:
    """`shown` makes a client's TLS context that trusts an authority and shows the front proxy's certificate of the day."""

    def __init__(self, registered: Registered, shown: Callable[[str], ssl.SSLContext], check_s: float) -> None:
        self.registered = registered
        self.changed = asyncio.Condition()
        self.asked: list[tuple[str, str, str]] = []
        """Who, method, path: what was sent to it, checks aside."""
        self._shown = shown
        self._check_s = check_s
        self._client = self._connected()

    def show_anew(self) -> None:
        """The front proxy's certificate has changed: connections made with the former one are used no longer."""
        self._client = self._connected()

    def _connected(self) -> httpx.AsyncClient:
        verify = self._shown(self.registered.authority)
        client = httpx.AsyncClient(verify=verify, timeout=httpx.Timeout(5, read=60), trust_env=False)
        client.headers.clear()
        return client

    async def run(self) -> None:
        """Asks again and again whether it is available; what it offers is gathered with each change, and every ten times."""
        turns = 0
        while True:
            before = self.registered.available
            await self.check()
            if self.registered.available and (not before or turns % 10 == 0):
                with suppress(httpx.HTTPError):  # the next check tells
                    await self.gather()
            turns += 1
            await asyncio.sleep(self._check_s)

    async def check(self) -> None:
        """Five tries at once; one that is answered with 2xx is enough."""
        tries = await asyncio.gather(*(self._try() for _ in range(ATTEMPTS)))
        wrong = "" if "" in tries else tries[-1]
        now = (True, "Passed", "all checks passed") if not wrong else (False, "FailedDiscoveryCheck", wrong)
        service = self.registered
        if (service.available, service.reason, service.message) != now:
            service.available, service.reason, service.message = now
            service.revision += 1
            async with self.changed:
                self.changed.notify_all()

    async def _try(self) -> str:
        """What is wrong; "" for nothing."""
        url = f"https://{self.registered.name}{self.registered.path}"
        try:
            async with asyncio.timeout(5):
                got = await self._get(self.registered.path, CHECKER, {})
        except (httpx.HTTPError, TimeoutError) as error:
            return f"failing or missing response from {url}: {error!r}"
        if not 200 <= got.status_code < 300:
            return f"failing or missing response from {url}: bad status from {url}: {got.status_code}"
        return ""

    async def gather(self) -> None:
        """Discovery as the aggregator itself, OpenAPI as system:aggregator; each only if it has changed. Raises HTTPError."""
        service = self.registered
        tag = {"If-None-Match": service.discovery_tag} if service.discovery_tag else {}
        got = await self._get("/apis", CHECKER, {"Accept": AGGREGATED, **tag})
        if got.status_code == 200 and "as=APIGroupDiscoveryList" in got.headers["content-type"]:
            service.discovery, service.discovery_tag = got.json(), got.headers.get("etag", "")
        elif got.status_code not in (304, 503):
            _fails_for_now(got)
            got = await self._get(service.path, Caller("system:kube-aggregator"), {"Accept": "application/json"})
            raise AssertionError(f"fell back to the older discovery: {got.status_code}")
        tag = {"If-None-Match": service.swagger_tag} if service.swagger_tag else {}
        got = await self._get("/openapi/v2", GATHERER, {"Accept": "application/json", **tag})
        if got.status_code == 200:
            service.swagger, service.swagger_tag = got.json(), got.headers["etag"]
        elif got.status_code != 304:
            _fails_for_now(got)
            raise AssertionError(f"no /openapi/v2 for the aggregator: {got.status_code} {got.text}")
        got = await self._get("/openapi/v3", GATHERER, {})
        _fails_for_now(got)
        assert got.status_code == 200, got.text
        service.index = got.json()["paths"]

    def swagger(self, own: Document) -> Document:
        """The merged /openapi/v2."""
        theirs = self.registered.swagger
        return own if theirs is None else merged(own, filtered(theirs, f"{self.registered.path}/"))

    def discovered(self) -> Document | None:
        """The group's item of the aggregated /apis: stale and without resources where nothing could be had."""
        service = self.registered
        if service.discovery is None:
            return {
                "metadata": {"name": service.group},
                "versions": [{"version": service.version, "freshness": "Stale"}],
            }
        items: list[Document] = service.discovery["items"]
        found = next((item for item in items if item["metadata"].get("name") == service.group), None)
        if found is None or service.available:
            return found
        return {**found, "versions": [{**version, "freshness": "Stale"} for version in found["versions"]]}

    async def proxy(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """The request as it came, from that user; the answer as it comes, chunk by chunk."""
        if not self.registered.available:
            await say(send, 503, "service unavailable")
            return
        query = parse_qsl(scope["query_string"].decode(), keep_blank_values=True)
        path = scope["raw_path"].decode().partition("?")[0]
        # As Go's url.Values.Encode: sorted by key.
        url = path + (f"?{urlencode(sorted(query, key=lambda pair: pair[0]))}" if query else "")
        self.asked.append((caller.name, scope["method"], url))
        headers = [pair for pair in scope["headers"] if pair[0] not in _NOT_PASSED and not _forged(pair[0])]
        content = await body_of(receive)
        request = self._request(scope["method"], url, caller, headers, content)
        try:
            got = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            await say(send, 503, f"error trying to reach service: {error!r}")
            return
        try:
            await self._passed_on(got, receive, send)
        finally:
            await got.aclose()

    async def _passed_on(self, got: httpx.Response, receive: Receive, send: Send) -> None:
        hop = ("connection", "transfer-encoding", "keep-alive")
        kept = [(name, value) for name, value in got.headers.raw if name.decode().lower() not in hop]
        await send({"type": "http.response.start", "status": got.status_code, "headers": kept})
        gone = asyncio.create_task(_gone(receive))
        chunks = asyncio.create_task(_pump(got.aiter_raw(), send))
        try:
            await asyncio.wait((gone, chunks), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            chunks.cancel()
            await asyncio.wait((gone, chunks))
        if (
            not chunks.cancelled()
            and (error := chunks.exception()) is not None
            and not isinstance(error, httpx.HTTPError)
        ):
            raise error
        if not chunks.cancelled() and chunks.exception() is None:
            await send({"type": "http.response.body", "body": b""})

    async def _get(self, path: str, caller: Caller, headers: dict[str, str]) -> httpx.Response:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        return await self._client.send(self._request("GET", path, caller, raw, b""))

    def _request(
        self, method: str, url: str, caller: Caller, headers: list[tuple[bytes, bytes]], content: bytes
    ) -> httpx.Request:
        said = [*headers, (b"Host", self.registered.name.encode()), (b"X-Forwarded-For", b"127.0.0.1")]
        return httpx.Request(
            method, self.registered.address + url, headers=[*said, *_remote(caller)], content=content,
            extensions={"sni_hostname": self.registered.name, "timeout": {"connect": 5, "read": 60, "write": 5, "pool": 5}},
        )  # fmt: skip

    async def close(self) -> None:
        await self._client.aclose()


def _remote(caller: Caller) -> list[tuple[bytes, bytes]]:
    """client-go's SetAuthProxyHeaders."""
    headers = [(b"X-Remote-User", caller.name.encode())]
    if caller.uid:
        headers.append((b"X-Remote-Uid", caller.uid.encode()))
    headers.extend((b"X-Remote-Group", group.encode()) for group in caller.groups)
    for key, values in caller.extra.items():
        headers.extend((f"X-Remote-Extra-{quote(key, safe='')}".encode(), value.encode()) for value in values)
    return headers


def _fails_for_now(got: httpx.Response) -> None:
    """Raises HTTPStatusError: while the cluster itself does not answer, who asks cannot be judged. It is asked again later."""
    if got.status_code == 500:
        got.raise_for_status()


def _forged(name: bytes) -> bool:
    return name.startswith((b"x-remote-", b"impersonate-"))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _pump(chunks: AsyncIterator[bytes], send: Send) -> None:
    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
