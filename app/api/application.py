"""The HTTP application: FastAPI for what is asked about the process, one raw ASGI callable for everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import errors, responses
from app.api.admission.judge import Admission
from app.api.attendance import Attendance
from app.api.audit import Audit
from app.api.auth.gate import Gate, open_gate
from app.api.context import (
    Context,
    DeleteGuard,
    NamespaceLookup,
    Preview,
    SubresourceHandler,
    WriteGuard,
    random_suffix,
    utc_now,
)
from app.api.dispatch import Dispatch
from app.api.documents import documents_of
from app.api.exposition import Exposition
from app.api.fairness.gate import Bounds, Fairness
from app.api.health import Check, routes
from app.api.metrics import Metrics
from app.api.representation import Representations
from app.api.requestlog import RequestLog, Told
from app.api.resources import Resources
from app.api.reviews import Reviews
from app.api.routes import Routes
from app.api.streams import Streams
from app.api.tokenrequests import IssuerDocuments
from app.api.uids import random_uid
from app.machinery.access import NO_SNIFF
from app.machinery.kind import Kind
from app.store.base import Store

_NONE: Mapping[Any, Any] = {}


class Api(FastAPI):
    """A FastAPI application that hands every request to `dispatch` first, which gives back what is asked about the process."""

    def __init__(self, dispatch: Callable[[ASGIApp], Dispatch], streams: Streams) -> None:
        super().__init__(title="Drover", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
        self._dispatch = dispatch(super().__call__)
        self._streams = streams

    def end_streams(self) -> None:
        """Ends every open watch and followed log cleanly, and each that is asked for from now on."""
        self._streams.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._dispatch(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_api(
    store: Store,
    kinds: Sequence[Kind[Any, Any]],
    *,
    version: str,
    handlers: Mapping[tuple[str, str], SubresourceHandler] = _NONE,
    guards: Mapping[str, DeleteGuard] = _NONE,
    previews: Mapping[str, Preview] = _NONE,
    write_guards: Mapping[str, WriteGuard] = _NONE,
    checks: Mapping[str, Check] = _NONE,
    clock: Callable[[], datetime] = utc_now,
    uid: Callable[[], str] = random_uid,
    suffix: Callable[[], str] = random_suffix,
    exposition: Exposition | None = None,
    gate: Gate | None = None,
    audit: Audit | None = None,
    namespaces: NamespaceLookup | None = None,
    bounds: Bounds | None = None,
    logged: Told = Told.FAILED,
    attended: Mapping[str, Attendance] = _NONE,
    issuer: IssuerDocuments | None = None,
    admission: Admission | None = None,
) -> Api:
    """The API for the kinds. `handlers` are by kind and subresource, `guards` of deletes, `previews` of dry runs and
    `write_guards` by kind, `checks` decide /readyz; what else the process measures is told by the same `exposition`. The
    `gate` judges every request; without one everybody is the administrator: for who has asked already. `namespaces` are
    looked up where they are kept, if that is not here. `bounds` say how much is given to whom, and `logged` which requests
    are told in the log. Writes of the kinds of `attended` are answered with its warning besides. `issuer` says by what others
    judge the tokens that are issued here. What clients write must keep the policies of `admission`."""
    exposition = exposition or Exposition()
    metrics = Metrics(exposition.registry)
    streams = Streams()
    gate = gate or open_gate()
    context = Context(
        store,
        Representations(clock),
        handlers,
        guards,
        previews,
        write_guards,
        gate.ensure,
        clock,
        uid,
        suffix,
        namespaces,
        told=metrics.told,
        admission=admission or Admission(),
        attended=attended,
    )

    def dispatch(process: ASGIApp) -> Dispatch:
        return Dispatch(
            gate,
            Reviews(gate, context.now),
            Routes(kinds),
            Resources(context, streams),
            documents_of(tuple(kinds)),
            metrics,
            context.deadlines,
            Fairness(bounds, exposition.registry),
            RequestLog(logged),
            process,
            audit or Audit(),
            issuer,
        )

    api = Api(dispatch, streams)
    api.include_router(routes(version, checks, exposition))
    api.add_exception_handler(HTTPException, _as_status)
    return api


async def _as_status(_request: Request, error: Exception) -> Response:
    """FastAPI's own refusals in Kubernetes' form."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        return JSONResponse(errors.method_not_allowed().status(), 405)
    missing = responses.of_error(errors.NoSuchPath())
    return Response(missing.body, missing.code, NO_SNIFF, media_type=missing.type)
