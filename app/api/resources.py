"""Which handler answers which method on which path: one set for every kind. Names none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.types import Receive, Send

from app.api import errors
from app.api.bodies import ACCEPTED, parsed
from app.api.context import Context
from app.api.deleting import Deleting
from app.api.logs import Following
from app.api.negotiation import JSON, negotiate
from app.api.options import WriteOptions
from app.api.reading import Reading
from app.api.requests import Request, flag
from app.api.responses import Response, of_document
from app.api.routes import Target
from app.api.streams import Streams
from app.api.watch import Watching
from app.api.writing import Writing
from app.machinery.discovery import has_status, verbs
from app.machinery.errors import ApiError
from app.machinery.kind import Subresource


@dataclass(frozen=True, slots=True)
class Lasting:
    """An answer that streams: judged already, so that running it starts with 200."""

    run: Callable[[Receive, Send], Awaitable[None]]


Answer = Response | Lasting
Handler = Callable[[Target, Request], Awaitable[Answer]]

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Resources:
    """Answers requests for resources."""

    def __init__(self, context: Context, streams: Streams) -> None:
        self._context = context
        self._reading = Reading(context)
        self._writing = Writing(context)
        self._deleting = Deleting(context, self._reading)
        self._watching = Watching(context, streams)
        self._following = Following(context, self._reading, streams)
        self._of_item: dict[str, Handler] = {
            "GET": self._reading.get,
            "PUT": self._writing.update,
            "PATCH": self._writing.patch,
            "DELETE": self._deleting.delete,
        }
        self._of_collection: dict[str, Handler] = {
            "GET": self._list_or_watch,
            "POST": self._writing.create,
            "DELETE": self._deleting.delete_collection,
        }

    async def answer(self, target: Target, request: Request) -> Answer:
        """Raises ApiError, StoreError."""
        return await self._handler(target, request.method)(target, request)

    def verb(self, target: Target, request: Request) -> str:
        """The request's verb, as authorization and metrics name it."""
        if target.name and not target.watch:
            return _VERBS.get(request.method, request.method.lower())
        if request.method == "GET":
            return "watch" if _watches(target, request) else "list"
        return "deletecollection" if request.method == "DELETE" else _VERBS.get(request.method, request.method.lower())

    def _handler(self, target: Target, method: str) -> Handler:
        if target.subresource:
            return self._below_item(target, method)
        if target.name and not target.watch:
            found = self._of_item.get(method)
        else:
            found = None if _is_only_read(target, method) else self._of_collection.get(method)
        if found is None and method == "POST" and not target.kind.typed:
            return self._create_custom(target)
        if found is None:
            raise errors.method_not_allowed()
        return found

    def _create_custom(self, target: Target) -> Handler:
        """Custom resources are created on an item's path too, under the name in the body; but not without a namespace."""
        if target.watch or (target.kind.namespaced and target.namespace is None):
            raise errors.no_such_path()
        return self._writing.create

    def _below_item(self, target: Target, method: str) -> Handler:
        if target.subresource == "status" and has_status(target.kind):
            if method in ("GET", "PUT", "PATCH"):
                return self._of_item[method]
            verb = _VERBS.get(method, method.lower())
            message = f'{verb} is not supported on resources of kind "{target.kind.resource}"'
            raise ApiError(405, "MethodNotAllowed", message, {})
        declared = next((s for s in target.kind.subresources if s.name == target.subresource), None)
        if declared is None:
            raise errors.no_such_path()
        if _VERBS.get(method) not in declared.verbs:
            raise errors.method_not_allowed()
        if (target.kind.name, declared.name) not in self._context.handlers and declared.name == "log":
            return self._log
        return lambda target, request: self._bound(declared, target, request)

    async def _list_or_watch(self, target: Target, request: Request) -> Answer:
        if not _watches(target, request):
            return await self._reading.collection(target, request)
        asked = self._watching.asked(target, request)
        return Lasting(lambda receive, send: self._watching.stream(asked, receive, send))

    async def _log(self, target: Target, request: Request) -> Answer:
        log = await self._following.asked(target, request)
        return Lasting(lambda receive, send: self._following.stream(log, receive, send))

    async def _bound(self, declared: Subresource, target: Target, request: Request) -> Answer:
        """By the handler that wiring bound to the subresource."""
        handler = self._context.handlers.get((target.kind.name, declared.name))
        if handler is None:
            raise ApiError(501, "NotImplemented", f"{target.kind.plural}/{declared.name} is not served here", {})
        media = negotiate(request.accept)
        body = await request.body()
        type_ = request.content_type or JSON
        if body and type_ not in ACCEPTED:
            raise errors.unsupported_media(ACCEPTED)
        options = WriteOptions.read(request.parameters, "CreateOptions")
        document = parsed(type_, body).document if body else {}
        answered = await handler(_VERBS[request.method], target.key, document, options.dry_run)
        return of_document(answered, 201 if request.method == "POST" else 200, media=media)


def _is_only_read(target: Target, method: str) -> bool:
    """Is it no collection that the method could change?"""
    if method == "DELETE" and "deletecollection" not in verbs(target.kind):
        return True
    return method != "GET" and (target.watch or (target.kind.namespaced and target.namespace is None))


def _watches(target: Target, request: Request) -> bool:
    return target.watch or flag(request.parameters, "watch")
