"""create, update, patch and apply: decoded, prepared, judged, and stored in one optimistic write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from app.api import errors
from app.api.bodies import applied_body, complaints, decoded, strict_error, strict_patch_error, strictly
from app.api.context import Context
from app.api.negotiation import Media, negotiate
from app.api.options import Validation, WriteOptions, manager_of
from app.api.representation import View
from app.api.requests import Request
from app.api.responses import Response, warned
from app.api.routes import Target
from app.machinery.apply import applied, ensure_applicable, ensure_new
from app.machinery.documents import parse_json_value
from app.machinery.errors import ApiError, FieldError, invalid_object
from app.machinery.lifecycle import (
    is_finished_deleting,
    prepare_create,
    prepare_update,
    served_as,
    validate_create,
    validate_update,
)
from app.machinery.managed import Entries, Writer, created, settled, updated, with_entries
from app.machinery.metadata import metadata_warnings, without_repeated_owners
from app.machinery.objects import Document
from app.machinery.patch import json_patch, merge_patch, strategic_merge_patch, undecodable_patch
from app.machinery.schema import schema_of
from app.store.base import AlreadyExists, Closing, Conflict, Key, NotFound, Stored

ATTEMPTS = 5
"""How often a write that does not insist on a version is made again when somebody else wins."""

NAMES = 8
"""How many names are tried for generateName."""

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write makes of an object, in stored form, and what to warn of."""

    document: Document
    warnings: list[str]
    """Of fields that strict validation refuses."""
    unwise: list[str]
    """What is told whatever the validation."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client wants of an object, in served form."""

    document: Document
    warnings: list[str]
    owners: Entries | None = None
    """Who owns its fields then; None where that follows from what changes."""


Change = Callable[[Document], Wanted]
"""From the object as served to the object as wanted. Called again after a lost race."""


class Writing:
    """Answers writes but deletions."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._objects = context.store.objects
        self._representations = context.representations

    async def create(self, target: Target, request: Request) -> Response:
        media = negotiate(request.accept)
        body = await decoded(request)
        options = WriteOptions.read(request.parameters, "CreateOptions")
        kind, document = target.kind, body.document
        found = complaints(schema_of(kind).prune(document), body.duplicates)
        if found and options.validation is Validation.STRICT:
            raise strict_error(kind.name, target.served.group_version, found)
        unwise = without_repeated_owners(document)
        writer = self._writer(target, request, options)
        try:
            first = self._owned(target, self._prepared(target, document), writer)
        except ApiError:
            # Where there is no namespace, that is said first. A create that is well waits for no look at it: the write
            # judges that itself.
            await self._ensure_namespace(target, document)
            raise
        if options.dry_run:
            await self._ensure_namespace(target, document)
        response = await self._created(target, media, document, first, writer, dry_run=options.dry_run)
        return warned(response, [*strictly(found, options.validation), *unwise, *metadata_warnings(None, first)])

    def _writer(self, target: Target, request: Request, options: WriteOptions) -> Writer:
        name = options.manager or manager_of(request.header(b"user-agent"))
        return Writer(name, str(target.served.group_version), self._context.now(), target.subresource)

    async def _created(
        self, target: Target, media: Media, document: Document, prepared: Document, writer: Writer, *, dry_run: bool
    ) -> Response:
        """Stored under its name, or under the first generated one that is free."""
        view = View(target.served, media)
        for _ in range(NAMES):
            key = Key(target.kind.resource, target.namespace or "", prepared["metadata"]["name"])
            try:
                if dry_run:
                    await self._ensure_free(key)
                    return self._representations.of(view, self._served(target, prepared), 201)
                stored = await self._objects.create(key, prepared, within=self._room(target))
                return self._representations.one(view, stored, 201)
            except Closing:
                # Its deletion began after the look at it. Or a new one of that name is there already: then once more.
                await self._ensure_namespace(target, document)
            except AlreadyExists as error:
                await self._ensure_namespace(target, document)
                if (document.get("metadata") or {}).get("name"):
                    raise await self._taken(target, key) from error
                prepared = self._owned(target, self._prepared(target, document), writer)
        taken = errors.already_exists(target.kind, prepared["metadata"]["name"])
        unlucky = ", the server was not able to generate a unique name for the object"
        raise ApiError(taken.code, taken.reason, taken.message + unlucky, taken.details)

    def _prepared(self, target: Target, document: Document) -> Document:
        """The new object as it will be stored. Raises ApiError."""
        kind, context = target.kind, self._context
        prepared = prepare_create(
            kind,
            target.served.group_version,
            document,
            namespace=target.namespace or "",
            now=context.now(),
            uid=context.uid(),
            suffix=context.suffix(),
        )
        _ensure_valid(target, prepared, validate_create(kind, prepared))
        return prepared

    def _room(self, target: Target) -> Key | None:
        """The namespace that the object is made in."""
        return Key("namespaces", "", target.namespace or "") if target.kind.namespaced else None

    def _owned(self, target: Target, prepared: Document, writer: Writer) -> Document:
        return with_entries(prepared, created(target.kind, prepared, writer))

    async def _ensure_namespace(self, target: Target, document: Document) -> None:
        """The namespace is there and stays. Raises 404 and 403."""
        room = self._room(target)
        if room is None:
            return
        namespace = room.name
        try:
            stored = await self._objects.get(room)
        except NotFound as error:
            raise errors.no_namespace(namespace) from error
        if stored.document["metadata"].get("deletionTimestamp"):
            metadata = document.get("metadata")
            name = metadata.get("name", "") if isinstance(metadata, dict) else ""
            raise errors.terminating(target.kind, str(name), namespace)

    async def _ensure_free(self, key: Key) -> None:
        if await self._exists(key):
            raise AlreadyExists(str(key))

    async def _taken(self, target: Target, key: Key) -> ApiError:
        try:
            metadata = (await self._objects.get(key)).document["metadata"]
        except NotFound:
            metadata = {}
        return errors.already_exists(target.kind, key.name, being_deleted="deletionTimestamp" in metadata)

    async def update(self, target: Target, request: Request) -> Response:
        media = negotiate(request.accept)
        body = await decoded(request)
        options = WriteOptions.read(request.parameters, "UpdateOptions")
        found = complaints(schema_of(target.kind).prune(body.document), body.duplicates)
        if found and options.validation is Validation.STRICT:
            raise strict_error(target.kind.name, target.served.group_version, found)
        encoded = orjson.dumps(body.document)

        def wanted(_: Document) -> Wanted:
            return Wanted(orjson.loads(encoded), found)

        writer = self._writer(target, request, options)
        return await self._changed(target, media, options, wanted, writer, patched=False)

    async def patch(self, target: Target, request: Request) -> Response:
        media = negotiate(request.accept)
        strategic = (STRATEGIC_PATCH,) if target.kind.typed else ()
        accepted = (JSON_PATCH, MERGE_PATCH, *strategic, APPLY_PATCH)
        type_ = request.content_type
        if type_ not in accepted:
            raise errors.unsupported_media(accepted)
        body = await request.body()
        options = WriteOptions.read(request.parameters, "PatchOptions", apply=type_ == APPLY_PATCH)
        writer = self._writer(target, request, options)
        if type_ == APPLY_PATCH:
            return await self._applied(target, media, body, options, writer)
        (patch, duplicates), schema = _read_patch(body, type_), schema_of(target.kind)

        def wanted(current: Document) -> Wanted:
            patched = _patched(type_, current, patch, target)
            encoded = orjson.dumps(patched)
            found = [*duplicates, *complaints(schema.prune(patched), ())]
            if found and options.validation is Validation.STRICT:
                raise strict_patch_error(orjson.loads(encoded), found)
            return Wanted(patched, found)

        return await self._changed(target, media, options, wanted, writer, patched=True)

    async def _applied(
        self, target: Target, media: Media, body: bytes, options: WriteOptions, writer: Writer
    ) -> Response:
        """Server-side apply: makes the object where there is none."""
        config, warnings = applied_body(body, options.validation)
        ensure_applicable(target.kind, target.served.group_version, config)
        encoded = orjson.dumps(config)

        def wanted(current: Document) -> Wanted:
            document, owners = applied(target.kind, current, orjson.loads(encoded), writer, force=options.force)
            return Wanted(document, warnings, owners)

        for _ in range(ATTEMPTS):
            if target.subresource or await self._exists(target.key):
                return await self._changed(target, media, options, wanted, writer, patched=True)
            try:
                return warned(await self._created_by_apply(target, media, options, wanted({})), warnings)
            except AlreadyExists:
                continue
        raise errors.conflict(target.kind, target.name)

    async def _created_by_apply(self, target: Target, media: Media, options: WriteOptions, wanted: Wanted) -> Response:
        """Raises ApiError, AlreadyExists."""
        document = ensure_new(target.kind, wanted.document, target.name)
        await self._ensure_namespace(target, document)
        prepared = with_entries(self._prepared(target, document), wanted.owners or ())
        view = View(target.served, media)
        if options.dry_run:
            return self._representations.of(view, self._served(target, prepared), 201)
        try:
            stored = await self._objects.create(target.key, prepared, within=self._room(target))
        except Closing as error:
            raise errors.terminating(target.kind, target.name, target.namespace or "") from error
        return self._representations.one(view, stored, 201)

    async def _exists(self, key: Key) -> bool:
        try:
            await self._objects.get(key)
        except NotFound:
            return False
        return True

    async def _changed(
        self,
        target: Target,
        media: Media,
        options: WriteOptions,
        change: Change,
        writer: Writer,
        *,
        patched: bool,
    ) -> Response:
        """Read, change, write; again from a fresh copy when somebody else wins."""
        view = View(target.served, media)
        for attempt in range(ATTEMPTS):
            stored = await self._current(target)
            outcome = self._outcome(target, stored, change, writer, patched=patched)
            warnings = [*strictly(outcome.warnings, options.validation), *outcome.unwise]
            if options.dry_run:
                return warned(self._representations.of(view, self._served(target, outcome.document)), warnings)
            try:
                response = await self._stored(view, target, stored, outcome.document)
            except Conflict as error:
                if attempt == ATTEMPTS - 1:
                    raise errors.conflict(target.kind, target.name) from error
            except NotFound as error:
                raise errors.not_found(target.kind, target.name) from error
            else:
                return warned(response, warnings)
        raise AssertionError("BUG: a write with no attempts")

    def _outcome(self, target: Target, stored: Stored, change: Change, writer: Writer, *, patched: bool) -> Outcome:
        kind, group_version = target.kind, target.served.group_version
        # Copies of our own: what the store keeps is shared, and defaults are filled in in place.
        old, base = orjson.loads(stored.body), orjson.loads(stored.body)
        wanted = change(served_as(kind, group_version, base))
        new = wanted.document
        repeated = without_repeated_owners(new)
        subresource = target.subresource or None
        prepared = prepare_update(
            kind, group_version, old, new, subresource=subresource, now=self._context.now(), patched=patched
        )
        _ensure_valid(target, prepared, validate_update(kind, old, prepared))
        owners = wanted.owners
        if owners is None:
            owners = updated(kind, old, prepared, new["metadata"].get("managedFields"), writer)
        unwise = [*repeated, *metadata_warnings(old, prepared)]
        return Outcome(settled(old, with_entries(prepared, owners)), wanted.warnings, unwise)

    async def _stored(self, view: View, target: Target, stored: Stored, document: Document) -> Response:
        """Replaced; or gone, when nobody has anything left to do for an object that is being deleted."""
        if is_finished_deleting(document):
            await self._objects.delete(target.key, revision=stored.revision, document=document)
            return self._representations.of(view, self._served(target, document))
        return self._representations.one(view, await self._objects.replace(target.key, document))

    async def _current(self, target: Target) -> Stored:
        try:
            return await self._objects.get(target.key)
        except NotFound as error:
            raise errors.not_found(target.kind, target.name) from error

    def _served(self, target: Target, document: Document) -> Document:
        return served_as(target.kind, target.served.group_version, document)


def _ensure_valid(target: Target, document: Document, found: list[FieldError]) -> None:
    if found:
        name = document["metadata"].get("name", "")
        raise invalid_object(target.kind.name, target.kind.group_version.group, name, found)


def _read_patch(body: bytes, type_: str) -> tuple[object, list[str]]:
    """The patch, and a complaint for each field that it has twice."""
    try:
        patch, twice = parse_json_value(body)
    except ApiError as error:
        raise undecodable_patch(error.message) from error
    found = complaints((), twice)
    return patch, [f"json patch {complaint}" for complaint in found] if type_ == JSON_PATCH else found


def _patched(type_: str, current: Document, patch: object, target: Target) -> Document:
    match type_:
        case "application/json-patch+json":
            return json_patch(current, patch)
        case "application/merge-patch+json":
            return merge_patch(current, patch)
        case _:
            return strategic_merge_patch(current, patch, schema_of(target.kind))
