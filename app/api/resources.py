"""Which handler answers which method on which path: one set for every kind. Names none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.types import Receive, Send

from app.api import errors
from app.api.bodies import ACCEPTED, parsed, question
from app.api.context import Context
from app.api.deleting import Deleting
from app.api.logs import Following
from app.api.negotiation import ACCEPTED_WATCH, JSON, ensure_routable, negotiate
from app.api.options import WriteOptions
from app.api.reading import Reading
from app.api.requests import Request, flag
from app.api.responses import Response, of_document, warned
from app.api.routes import Target
from app.api.streams import Streams
from app.api.watch import Watching
from app.api.writing import Writing
from app.machinery.discovery import has_status, verbs
from app.machinery.errors import ApiError, bad_request
from app.machinery.go_json import quoted
from app.machinery.kind import Subresource
from app.machinery.names import path_segment
from app.machinery.objects import Document


@dataclass(frozen=True, slots=True)
class Lasting:
    """An answer that streams: judged already, so that running it starts with 200."""

    run: Callable[[Receive, Send], Awaitable[None]]


Answer = Response | Lasting
Handler = Callable[[Target, Request], Awaitable[Answer]]

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_STATUS_VERBS = {"get": "GET", "update": "PUT", "patch": "PATCH"}
_WRITES = frozenset(("POST", "PUT", "PATCH", "DELETE"))
_OF_ITEMS = ("PUT", "PATCH")
"""Methods that a collection has only to say that a name is missing."""


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
            "PUT": self._writing.update,
            "PATCH": self._writing.patch,
            "DELETE": self._deleting.delete_collection,
        }

    async def answer(self, target: Target, request: Request) -> Answer:
        """Raises ApiError, StoreError."""
        handler = self._handler(target, request.method)
        if wrong := ";".join(path_segment(target.name)):
            raise bad_request(f"Name parameter invalid: {quoted(target.name)}: {wrong}")
        if target.served.in_protobuf:
            self._ensure_routable(target, request)
        answer = await handler(target, request)
        if request.method in _WRITES and not target.subresource and isinstance(answer, Response):
            return self._with_warning(target, answer)
        return answer

    def _with_warning(self, target: Target, answer: Response) -> Response:
        """A status is written by who acts: what is below the object waits for nobody."""
        attendance = self._context.attended.get(target.kind.name)
        return answer if attendance is None or not attendance.warning else warned(answer, [attendance.warning])

    def verb(self, target: Target, request: Request) -> str:
        """The request's verb, as authorization and metrics name it."""
        verb = _VERBS.get(request.method, request.method.lower())
        if target.name and not target.watch:
            return verb
        if verb == "get":
            return "watch" if _watches(target, request) else "list"
        return "deletecollection" if verb == "delete" else verb

    def _handler(self, target: Target, method: str) -> Handler:
        return self._of_typed(target, method) if target.kind.typed else self._of_custom(target, method)

    def _of_custom(self, target: Target, method: str) -> Handler:
        """What is no method of a custom resource is a verb that it does not support; the path decides first."""
        verb, kind = _VERBS.get(method, ""), target.kind
        if target.watch and target.subresource:
            raise errors.method_not_supported(kind, "watch")
        if target.watch:
            return self._list_or_watch
        if kind.namespaced and target.namespace is None and verb != "get":
            raise errors.NoSuchPath
        if target.subresource:
            return self._below_custom(target, verb)
        # Created on an item's path too, under the name in the body; changed under no name, it says what is missing.
        handlers = {**self._of_item, "POST": self._writing.create} if target.name else self._of_collection
        found = handlers.get("GET" if method == "HEAD" else method)
        if found is None:
            raise errors.method_not_supported(kind, verb)
        return found

    def _below_custom(self, target: Target, verb: str) -> Handler:
        if target.subresource != "status" or not has_status(target.kind):
            raise errors.not_found(target.kind, target.name)
        if verb not in _STATUS_VERBS:
            raise errors.method_not_supported(target.kind, verb)
        return self._of_item[_STATUS_VERBS[verb]]

    def _of_typed(self, target: Target, method: str) -> Handler:
        if target.subresource:
            return self._below_typed(target, method)
        if target.name and not target.watch:
            found = self._of_item.get(method)
        else:
            found = None if method in _OF_ITEMS or _is_only_read(target, method) else self._of_collection.get(method)
        if found is None:
            raise errors.method_not_allowed()
        return found

    def _ensure_routable(self, target: Target, request: Request) -> None:
        """Raises 406."""
        produced = ACCEPTED
        if target.subresource == "log":
            produced = ("text/plain", *ACCEPTED)
        elif request.method == "GET" and (target.watch or not target.name):
            produced = (*ACCEPTED, *ACCEPTED_WATCH)
        ensure_routable(request.accept, produced)

    def _below_typed(self, target: Target, method: str) -> Handler:
        if target.subresource == "status" and has_status(target.kind):
            if method in _STATUS_VERBS.values():
                return self._of_item[method]
            raise errors.method_not_allowed()
        declared = next((s for s in target.kind.subresources if s.name == target.subresource), None)
        if declared is None:
            raise errors.no_such_resource()
        if method == "HEAD" or _VERBS.get(method) not in declared.verbs:
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
        media = negotiate(request.accept, protobuf=target.served.in_protobuf)
        if declared.asks is not None:
            asked, warnings = await question(request, declared.asks)
            options = WriteOptions.read(request.parameters, "CreateOptions")
            warnings += await self._admitted(target, request, asked, options)
            answered = await handler(_VERBS[request.method], target.key, asked, options.dry_run)
            return warned(of_document(answered, 201, media=media), warnings)
        body = await request.body()
        type_ = request.decoded_type or JSON
        if body and type_ not in ACCEPTED:
            raise errors.unsupported_media(ACCEPTED)
        options = WriteOptions.read(request.parameters, "CreateOptions")
        document = parsed(type_, body).document if body else {}
        warnings = await self._admitted(target, request, document, options)
        answered = await handler(_VERBS[request.method], target.key, document, options.dry_run)
        code = 201 if request.method == "POST" else 200
        return warned(of_document(answered, code, media=media), warnings)

    async def _admitted(self, target: Target, request: Request, sent: Document, options: WriteOptions) -> list[str]:
        """What the operator's policies warn of in what was sent to a subresource. Raises ApiError where one denies it."""
        if request.method not in _WRITES:
            return []
        admission, reader = self._context.admission, self._context.store.objects
        return await admission.judge(target, request, reader, None, sent, dry_run=options.dry_run)


def _is_only_read(target: Target, method: str) -> bool:
    """Is it no collection that the method could change?"""
    if method == "DELETE" and "deletecollection" not in verbs(target.kind):
        return True
    return method != "GET" and (target.watch or (target.kind.namespaced and target.namespace is None))


def _watches(target: Target, request: Request) -> bool:
    return target.watch or (request.method != "HEAD" and flag(request.parameters, "watch"))
