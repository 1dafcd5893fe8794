"""The one raw ASGI callable: a request comes in, passes the gate, and exactly one answer goes out."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import tracing
from app.api import errors, responses
from app.api.audit import Audit
from app.api.auth.gate import Gate
from app.api.deadlines import Deadlines
from app.api.documents import Documents
from app.api.fairness.gate import Fairness, Sizes
from app.api.fairness.queue import Ticket
from app.api.metrics import LASTING, Asked, Metrics, asked
from app.api.negotiation import ACCEPTED, JSON, ensure_routable
from app.api.requestlog import RequestLog
from app.api.requests import DEADLINE_S, ClientGone, Request, flag
from app.api.resources import Answer, Lasting, Resources
from app.api.responses import Response, audited, of_error
from app.api.reviews import Reviews
from app.api.routes import Routes, Target
from app.api.tokenrequests import IssuerDocuments
from app.api.writing import APPLY_PATCH
from app.machinery.errors import ApiError

PROCESS = frozenset(("livez", "readyz", "healthz", "version", "metrics"))
"""What is asked about the process, by the first step of the path."""
READING_S = 5.0
"""How long the sending of an answer counts as work."""


class Dispatch:
    """Asks the gate, finds who answers, waits no longer than the deadline, and sends."""

    def __init__(
        self,
        gate: Gate,
        reviews: Reviews,
        routes: Routes,
        resources: Resources,
        documents: Documents,
        metrics: Metrics,
        deadlines: Deadlines,
        fairness: Fairness,
        requests: RequestLog,
        process: ASGIApp,
        audit: Audit,
        issuer: IssuerDocuments | None = None,
    ) -> None:
        self._fairness = fairness
        self._requests = requests
        self._sizes = Sizes()
        self._gate = gate
        self._audit = audit
        self._reviews = reviews
        self._process = process
        self._deadlines = deadlines
        self._routes = routes
        self._resources = resources
        self._documents = documents
        self._issuer = issuer
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope, receive)
        target = self._routes.find(request.path)
        told = self._told(target, request)
        exchange = _Exchange(request, send)
        if not tracing.is_on() or told.verb in LASTING:
            await self._handle(target, told, exchange)
            return
        with tracing.request(request.header(b"traceparent")) as span:
            await self._handle(target, told, exchange)
            asked_for = request.attributes.full_resource or request.path.split("/")[1]
            span.note(
                f"{told.verb} {asked_for}",
                http__request__method=request.method,
                http__response__status_code=exchange.code,
                k8s__namespace__name=request.attributes.namespace,
                drover__object=request.attributes.name,
                drover__audit_id=request.audit_id.decode("latin-1"),
                user__name=request.user.name,
            )
            if exchange.code >= 500:
                span.failed(f"answered {exchange.code}")

    async def _handle(self, target: Target | None, told: Asked, exchange: _Exchange) -> None:
        request, received = exchange.request, datetime.now(UTC)
        started = time.perf_counter()
        self._metrics.began(told)
        try:
            await errors.answering(lambda: self._answer(target, told, exchange), exchange.refuse)
        finally:
            took_s = time.perf_counter() - started
            self._metrics.ended(told)
            self._metrics.answered(told, exchange.code, took_s)
            self._requests.answered(request, exchange.code, took_s, lasts=told.verb in LASTING)
        self._audit.answered(request, exchange.code, exchange.answer, received)

    async def _answer(self, target: Target | None, told: Asked, exchange: _Exchange) -> None:
        request = exchange.request
        try:
            try:
                # How long a watch may take is said by another parameter.
                within_s = DEADLINE_S if told.verb == "watch" else request.deadline_s
                async with self._deadlines.within(within_s):
                    answer = await self._answer_of(target, told, exchange)
            except ApiError as error:
                answer = of_error(error, request.accept)
            if isinstance(answer, Response):
                await self._send(exchange, answer)
            elif told.verb in LASTING:
                with self._metrics.lasting(told), self._fairness.lasting(request.user):
                    await answer.run(request.receive, exchange.sending)
            else:
                await answer.run(request.receive, exchange.sending)
        except ClientGone:
            exchange.code = 499
        finally:
            self._fairness.leave(exchange.ticket)

    async def _send(self, exchange: _Exchange, answer: Response) -> None:
        """Who reads a large answer slowly keeps its seats for a while only: what is left to do is then the reader's."""
        if len(answer.body) <= responses.SLICE:
            await exchange.send(answer)
            return
        later = asyncio.get_running_loop().call_later(READING_S, self._fairness.leave, exchange.ticket)
        try:
            await exchange.send(answer)
        finally:
            later.cancel()

    def _told(self, target: Target | None, request: Request) -> Asked:
        """The request, as metrics name it."""
        if target is None:
            return asked(request.method, None)
        verb = self._resources.verb(target, request)
        if verb == "patch" and request.content_type == APPLY_PATCH:
            verb = "apply"
        elif target.subresource == "log" and flag(request.parameters, "follow"):
            verb = "log"
        return asked(verb, target, dry_run=bool(request.parameters) and "dryRun" in request.parameters)

    async def _answer_of(self, target: Target | None, told: Asked, exchange: _Exchange) -> Answer:
        request = exchange.request
        await self._gate.identify(request)
        await self._gate.admit(request, target)
        if request.path[1:].partition("/")[0] in PROCESS:
            if _plain(request.path) == "/version":
                _ensure_routable(request, (JSON,))
            return Lasting(lambda receive, send: self._process(request.scope, receive, audited(request, send)))
        if target is not None and told.verb == "list":
            return await self._list(target, exchange)
        if told.verb not in LASTING:
            exchange.ticket = await self._fairness.enter(request.user, 1)
        if target is not None:
            return await self._resources.answer(target, request)
        path = _plain(request.path)
        review = self._reviews.find(path) if self._documents.alone else None
        if review is not None:
            return await review(request)
        found = self._documents.find(path)
        if found is None and self._issuer is not None:
            found = self._issuer.find(path)
        if found is None:
            raise self._routes.missing(path)
        if _is_routed(path):
            _ensure_routable(request, ACCEPTED)
        return found(request)

    async def _list(self, target: Target, exchange: _Exchange) -> Answer:
        """As many seats as the last one of its kind was large."""
        request = exchange.request
        like = _list_of(target, request)
        exchange.ticket = await self._fairness.enter(request.user, self._sizes.seats(like))
        answer = await self._resources.answer(target, request)
        if isinstance(answer, Response):
            whole = "labelSelector" not in request.parameters and "fieldSelector" not in request.parameters
            self._sizes.note(like, len(answer.body), whole=whole)
        return answer


def _list_of(target: Target, request: Request) -> tuple[object, ...]:
    """Lists that cost about the same: what a selector leaves out is read all the same."""
    limit = request.parameters.get("limit", "")[:9]
    return target.served, target.namespace, int(limit).bit_length() if limit.isdecimal() else 0


def _plain(path: str) -> str:
    """The path without a trailing slash, which makes a difference to OpenAPI's documents alone."""
    return path if path == "/" or path.startswith("/openapi/") else path.rstrip("/")


def _ensure_routable(request: Request, produced: tuple[str, ...]) -> None:
    """Raises 405 and 406 in the words of kube-apiserver's router."""
    if request.method != "GET":
        raise errors.method_not_allowed()
    ensure_routable(request.accept, produced)


def _is_routed(path: str) -> bool:
    """kube-apiserver serves /api and what is below by its router; what else describes the API takes every method."""
    return path == "/api" or path.startswith("/api/")


class _Exchange:
    """One request and what has been answered to it so far."""

    def __init__(self, request: Request, send: Send) -> None:
        self.request = request
        self.code = 0
        self.answer: Response | None = None
        """What was answered, where that was whole."""
        self.ticket: Ticket | None = None
        """Its seat; None for what needs none."""
        self._send = send

    async def sending(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.code = message["status"]
        await self._send(message)

    async def send(self, response: Response) -> None:
        self.code, self.answer = response.code, response
        await responses.send(self.request, response, self._send)

    async def refuse(self, error: ApiError) -> None:
        """Nothing can be refused any more once the answer has begun: it just ends."""
        if not self.code:
            await self.send(of_error(error, self.request.accept))
