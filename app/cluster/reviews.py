"""Asking the cluster who a token is, and who may do what: TokenReview and SubjectAccessReview, with short memories."""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import orjson
import structlog

from app.cluster.base import Cluster, ClusterError, Refused, Unreachable
from app.cluster.expiring import Expiring
from app.machinery.objects import Document

log = structlog.get_logger()

TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESSES = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

REMEMBERED_S = 10.0
"""How long an answer holds, yes and no alike: the defaults of k8s.io/apiserver's delegating options. (Its webhooks of a
kube-apiserver itself hold longer.)"""
TOKENS_KEPT = 4096
ACCESSES_KEPT = 8192
LONGEST_CACHED = 10_000
"""Characters of what a caller controls in a question; a longer one is asked each time, so that nobody fills the memory."""
PATIENCE_S = 10.0
STEPS = 5
FIRST_S, FACTOR, JITTER = 0.5, 1.5, 0.2
"""How an answer that may be another one in a moment is asked for again."""


class Counted(Protocol):
    """Counts reviews, by resource and by what became of them: a status code or `error`."""

    def __call__(self, resource: str, code: str, took_s: float) -> None: ...


def uncounted(resource: str, code: str, took_s: float) -> None:
    """For who counts nothing."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose token it is."""

    name: str
    uid: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Access:
    """What the cluster says of a question. Neither allowed nor denied: nobody allows it."""

    allowed: bool
    denied: bool
    reason: str


_NOBODY = Identity("", "", (), ())


class Reviews:
    """Both kinds of questions. Errors are never remembered."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        counted: Counted = uncounted,
        clock: Callable[[], float] = time.monotonic,
        first_s: float = FIRST_S,
    ) -> None:
        self._cluster = cluster
        self._counted = counted
        self._first_s = first_s
        self._salt = secrets.token_bytes(16)
        self._identities: Expiring[bytes, Identity] = Expiring(TOKENS_KEPT, clock)
        self._accesses: Expiring[bytes, Access] = Expiring(ACCESSES_KEPT, clock)
        self._asking: dict[bytes, asyncio.Future[Identity]] = {}

    async def identity(self, token: str) -> Identity | None:
        """Whose token it is; None for nobody's. Raises ClusterError, and TimeoutError after ten seconds."""
        key = hashlib.blake2b(token.encode(), key=self._salt).digest()
        found = self._identities.get(key)
        if found is None:
            found = await self._together(key, lambda: self._ask_for(token))
            self._identities.put(key, found, REMEMBERED_S)
        return None if found is _NOBODY else found

    async def access(self, spec: Document) -> Access:
        """What the cluster says to a SubjectAccessReview's spec. Raises ClusterError, and TimeoutError after ten seconds."""
        key = orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)
        found = self._accesses.get(key)
        if found is not None:
            return found
        review = await self._ask(ACCESSES, "authorization.k8s.io/v1", "SubjectAccessReview", spec)
        status = review.get("status") or {}
        answer = Access(status.get("allowed") is True, status.get("denied") is True, str(status.get("reason") or ""))
        if _controlled(spec) < LONGEST_CACHED:
            self._accesses.put(key, answer, REMEMBERED_S)
        return answer

    async def _ask_for(self, token: str) -> Identity:
        review = await self._ask(TOKENS, "authentication.k8s.io/v1", "TokenReview", {"token": token})
        status = review.get("status") or {}
        if status.get("authenticated") is not True:
            if status.get("error"):
                log.info("token refused by the cluster", error=str(status["error"]))
            return _NOBODY
        user = status.get("user") or {}
        extra = (user.get("extra") or {}).items()
        return Identity(
            str(user.get("username") or ""),
            str(user.get("uid") or ""),
            tuple(map(str, user.get("groups") or ())),
            tuple((str(name), tuple(map(str, values or ()))) for name, values in extra),
        )

    async def _together(self, key: bytes, ask: Callable[[], Awaitable[Identity]]) -> Identity:
        """Who asks the same at the same time waits for the first one's answer; if it is called off, the next one asks."""
        while (asking := self._asking.get(key)) is not None:
            try:
                return await asyncio.shield(asking)
            except asyncio.CancelledError:
                if not asking.cancelled():
                    raise
        asking = self._asking[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await ask()
        except (ClusterError, TimeoutError) as error:
            asking.set_exception(error)
            asking.exception()  # it is raised here too: nobody may be waiting
            raise
        else:
            asking.set_result(answer)
            return answer
        finally:
            del self._asking[key]
            asking.cancel()

    async def _ask(self, path: str, version: str, kind: str, spec: Document) -> Document:
        document = {"kind": kind, "apiVersion": version, "metadata": {}, "spec": spec}
        wait_s = self._first_s
        async with asyncio.timeout(PATIENCE_S):
            for step in range(1, STEPS + 1):
                began = time.perf_counter()
                try:
                    answer = await self._cluster.create(path, document)
                except Refused as error:
                    self._count(path, str(error.code), began)
                    if not error.passing or step == STEPS:
                        raise
                except Unreachable:
                    self._count(path, "error", began)
                    raise
                else:
                    self._count(path, "201", began)
                    return answer
                await asyncio.sleep(wait_s * random.uniform(1, 1 + JITTER))
                wait_s *= FACTOR
        raise AssertionError("BUG: a question without an answer")

    def _count(self, path: str, code: str, began: float) -> None:
        self._counted(path.rpartition("/")[2], code, time.perf_counter() - began)


def _controlled(spec: Document) -> int:
    """How long what the caller chose is."""
    attributes = spec.get("resourceAttributes") or spec.get("nonResourceAttributes") or {}
    return sum(len(value) for value in attributes.values() if isinstance(value, str))
