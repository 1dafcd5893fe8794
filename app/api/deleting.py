"""delete and deletecollection: at once, or marked and left to the finalizers; judged in the deleting transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from app.api import errors
from app.api.bodies import body_type, parsed
from app.api.context import Context
from app.api.negotiation import negotiate
from app.api.options import DeleteOptions, ListOptions
from app.api.reading import Reading
from app.api.representation import View
from app.api.requests import Request
from app.api.responses import Response, of_document, warned
from app.api.routes import Target
from app.api.selection import Selection
from app.machinery.lifecycle import prepare_delete, served_as
from app.machinery.objects import Document
from app.store.base import Conflict, NotFound, Reader

ATTEMPTS = 10
"""How often a delete is tried again when somebody else changes the object meanwhile."""

AT_ONCE = 16
"""How many objects of a collection are deleted side by side: they share transactions."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a delete did: the last version, and whether it is still there, waiting for its finalizers."""

    document: Document
    stays: bool
    warnings: Sequence[str] = ()
    """What the operator's policies say of it."""


class Deleting:
    """Answers deletions."""

    def __init__(self, context: Context, reading: Reading) -> None:
        self._context = context
        self._store = context.store
        self._reading = reading
        self._representations = context.representations

    async def delete(self, target: Target, request: Request) -> Response:
        media = negotiate(request.accept, protobuf=target.served.in_protobuf)
        options = await self._options(request)
        try:
            deleted = await self._delete(target, request, options)
        except NotFound as error:
            raise errors.not_found(target.kind, target.name) from error
        if not deleted.stays and not target.kind.shown_deleted:
            return warned(of_document(_success(target, deleted.document), media=media), deleted.warnings)
        shown = served_as(target.kind, target.served.group_version, deleted.document)
        response = self._representations.of(
            View(target.served, media), shown, 202 if options.cascades and deleted.stays else 200
        )
        return warned(response, deleted.warnings)

    async def delete_collection(self, target: Target, request: Request) -> Response:
        """Every object that the selectors mean, as it was. The first refusal ends it, as in Kubernetes."""
        media = negotiate(request.accept, protobuf=target.served.in_protobuf)
        listed = ListOptions.read(request.parameters, target.kind.resource, watch=False)
        Selection.of(target, listed)
        options = await self._options(request)
        page = await self._reading.page(target, listed)
        warnings: list[str] = []
        for start in range(0, len(page.items), AT_ONCE):
            chunk = page.items[start : start + AT_ONCE]
            each = [Target(target.served, s.key.namespace or None, s.key.name) for s in chunk]
            warnings.extend(await self._delete_all(each, request, options))
        return warned(self._representations.many(View(target.served, media), page), warnings)

    async def _delete_all(self, targets: list[Target], request: Request, options: DeleteOptions) -> list[str]:
        """Side by side; each is tried, then the first refusal is raised. What is gone already is fine."""
        tried = (self._delete(target, request, options) for target in targets)
        warnings: list[str] = []
        for outcome in await asyncio.gather(*tried, return_exceptions=True):
            if isinstance(outcome, Deleted):
                warnings.extend(outcome.warnings)
            elif not isinstance(outcome, NotFound):
                raise outcome
        return warnings

    async def _options(self, request: Request) -> DeleteOptions:
        body = await request.body()
        if not body:
            return DeleteOptions.read(request.parameters, None)
        return DeleteOptions.read(request.parameters, parsed(body_type(request), body).document)

    async def _delete(self, target: Target, request: Request, options: DeleteOptions) -> Deleted:
        """Raises NotFound, and ApiError when it is refused or others keep winning."""
        kind = target.kind
        judged = kind.check_delete is not None or kind.name in self._context.guards
        attempt = self._judged if judged else self._at_once
        for _ in range(ATTEMPTS):
            try:
                return await attempt(target, request, options)
            except Conflict:
                continue
        raise errors.conflict(kind, target.name)

    async def _at_once(self, target: Target, request: Request, options: DeleteOptions) -> Deleted:
        """For kinds that anybody may delete at any time: one optimistic write, grouped with others."""
        objects = self._store.objects
        stored = await objects.get(target.key)
        document = orjson.loads(stored.body)
        told = await self._admitted(target, request, objects, document, options)
        marked = prepare_delete(target.kind, document, options.document, now=self._context.now())
        if options.dry_run:
            return _left(document, marked, told)
        if marked is None:
            gone = await objects.delete(target.key, revision=stored.revision)
            return Deleted(gone.document, stays=False, warnings=told)
        return Deleted((await objects.replace(target.key, marked)).document, stays=True, warnings=told)

    async def _admitted(
        self, target: Target, request: Request, reader: Reader, document: Document, options: DeleteOptions
    ) -> list[str]:
        """What the operator's policies warn of. Raises ApiError where one denies it."""
        admission = self._context.admission
        return await admission.judge(target, request, reader, document, None, dry_run=options.dry_run)

    async def _judged(self, target: Target, request: Request, options: DeleteOptions) -> Deleted:
        """In a transaction in which nothing else changes, so that what the guard saw still holds at the commit."""
        kind = target.kind
        async with self._store.transaction(serial=True) as transaction:
            stored = await transaction.get(target.key)
            document = orjson.loads(stored.body)
            told = await self._admitted(target, request, transaction, document, options)
            refusal = kind.check_delete(document) if kind.check_delete else None
            if refusal is not None:
                raise refusal
            guard = self._context.guards.get(kind.name)
            if guard is not None:
                await guard(transaction, document)
            marked = prepare_delete(kind, document, options.document, now=self._context.now())
            if options.dry_run:
                return _left(document, marked, told)
            if marked is None:
                transaction.delete(target.key, revision=stored.revision)
                return Deleted(document, stays=False, warnings=told)
            transaction.replace(target.key, marked)
        return await self._marked(target, marked, told)

    async def _marked(self, target: Target, marked: Document, told: Sequence[str]) -> Deleted:
        """The marked object with its new version, unless its finalizers were quicker."""
        try:
            return Deleted((await self._store.objects.get(target.key)).document, stays=True, warnings=told)
        except NotFound:
            return Deleted(marked, stays=False, warnings=told)


def _left(document: Document, marked: Document | None, told: Sequence[str]) -> Deleted:
    stays = marked is not None
    return Deleted(marked if marked is not None else document, stays=stays, warnings=told)


def _success(target: Target, document: Document) -> Document:
    details: Document = {"name": target.name}
    if target.served.group_version.group:
        details["group"] = target.served.group_version.group
    details |= {"kind": target.kind.plural, "uid": document["metadata"].get("uid", "")}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
