"""The one raw ASGI callable: a request comes in, passes the gate, and exactly one answer goes out."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import errors, responses
from app.api.auth.gate import Gate
from app.api.deadlines import Deadlines
from app.api.documents import Documents
from app.api.metrics import Metrics
from app.api.negotiation import ACCEPTED, ensure_routable
from app.api.requests import ClientGone, Request
from app.api.resources import Answer, Lasting, Resources
from app.api.responses import Response, of_error
from app.api.reviews import Reviews
from app.api.routes import Routes, Target
from app.machinery.errors import ApiError

PROCESS = frozenset(("livez", "readyz", "healthz", "version", "metrics"))
"""What is asked about the process, by the first step of the path."""


class Dispatch:
    """Asks the gate, finds who answers, waits no longer than the deadline, and sends."""

    def __init__(
        self,
        gate: Gate,
        routes: Routes,
        resources: Resources,
        documents: Documents,
        metrics: Metrics,
        deadlines: Deadlines,
        process: ASGIApp,
    ) -> None:
        self._gate = gate
        self._reviews = Reviews(gate)
        self._process = process
        self._deadlines = deadlines
        self._routes = routes
        self._resources = resources
        self._documents = documents
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope, receive)
        exchange = _Exchange(request, send)
        await errors.answering(lambda: self._answer(exchange), exchange.refuse)

    async def _answer(self, exchange: _Exchange) -> None:
        request = exchange.request
        target = self._routes.find(request.path)
        started = time.perf_counter()
        try:
            try:
                async with self._deadlines.within(request.deadline_s):
                    answer = await self._answer_of(target, request)
            except ApiError as error:
                answer = of_error(error, request.accept)
            if isinstance(answer, Response):
                await exchange.send(answer)
            else:
                await answer.run(request.receive, exchange.sending)
        except ClientGone:
            exchange.code = 499
        finally:
            verb = self._resources.verb(target, request) if target else request.method
            self._metrics.answered(
                verb, target.kind.plural if target else "", exchange.code, time.perf_counter() - started
            )

    async def _answer_of(self, target: Target | None, request: Request) -> Answer:
        await self._gate.identify(request)
        await self._gate.admit(request, target)
        if request.path[1:].partition("/")[0] in PROCESS:
            return Lasting(lambda receive, send: self._process(request.scope, receive, send))
        if target is not None:
            return await self._resources.answer(target, request)
        path = request.path if request.path == "/" else request.path.rstrip("/")
        if (review := self._reviews.find(path)) is not None:
            return await review(request)
        found = self._documents.find(path)
        if found is None:
            raise self._routes.missing(path)
        if _is_routed(path):
            if request.method != "GET":
                raise errors.method_not_allowed()
            ensure_routable(request.accept, ACCEPTED)
        return found(request)


def _is_routed(path: str) -> bool:
    """kube-apiserver serves /api and what is below by its router; what else describes the API takes every method."""
    return path == "/api" or path.startswith("/api/")


class _Exchange:
    """One request and what has been answered to it so far."""

    def __init__(self, request: Request, send: Send) -> None:
        self.request = request
        self.code = 0
        self._send = send

    async def sending(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.code = message["status"]
        await self._send(message)

    async def send(self, response: Response) -> None:
        self.code = response.code
        await responses.send(self.request, response, self._send)

    async def refuse(self, error: ApiError) -> None:
        """Nothing can be refused any more once the answer has begun: it just ends."""
        if not self.code:
            await self.send(of_error(error, self.request.accept))
