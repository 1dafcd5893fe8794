"""create, update, patch and apply: decoded, prepared, judged, and stored in one optimistic write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson

from app.api import errors
from app.api.bodies import (
    Decoded,
    applied_body,
    body_type,
    complaints,
    decoded,
    known_alone,
    patch_error,
    pruned,
    strict_apply_error,
    strict_error,
    strict_patch_error,
    strictly,
)
from app.api.context import Context, Written
from app.api.negotiation import Media, negotiate
from app.api.options import Validation, WriteOptions, manager_of
from app.api.representation import View
from app.api.requests import Request
from app.api.responses import Response, warned
from app.api.routes import Target
from app.machinery.apply import applied, ensure_applicable, ensure_new
from app.machinery.decoding import Undecodable, Unrecognized, converter_words, decoder_words, in_any_case
from app.machinery.documents import parse_json_value
from app.machinery.errors import ApiError, FieldError, bad_request, invalid_object, warning_of
from app.machinery.lifecycle import (
    ensure_decodable,
    ensure_named,
    ensure_readable,
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
from app.machinery.patch import (
    json_patch,
    merge_patch,
    strategic_merge_patch,
    undecodable_patch,
    unknown_in_operations,
)
from app.machinery.printed import plain
from app.machinery.schema import schema_of
from app.machinery.values import value
from app.machinery.zeroes import emptied, filled
from app.store.base import AlreadyExists, Closing, Conflict, Key, NotFound, Stored

ATTEMPTS = 5
"""How often a write that does not insist on a version is made again when somebody else wins."""

NAMES = 8
"""How many names are tried for generateName."""

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)
"""What every kind takes."""


@value()
class Outcome:
    """What a write makes of an object, in stored form, and what to warn of."""

    document: Document
    warnings: list[str]
    """Of fields that strict validation refuses."""
    unwise: list[str]
    """What is told whatever the validation."""


@value()
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
        media = negotiate(request.accept, protobuf=target.served.in_protobuf)
        type_ = body_type(request)
        raw = await request.body()
        options = WriteOptions.read(request.parameters, "CreateOptions")
        return await self._create(target, request, media, options, raw, decoded(target.kind, type_, raw))

    async def _create(
        self,
        target: Target,
        request: Request,
        media: Media,
        options: WriteOptions,
        raw: bytes,
        body: Decoded,
        found: list[str] | None = None,
    ) -> Response:
        """`found` is what was found of unknown and repeated fields, where that is known already."""
        kind, document = target.kind, body.document
        fits = not body.duplicates and schema_of(kind).fits(document)
        if found is None:
            found = [] if fits else _strangers(target, body, options)
        unwise = without_repeated_owners(document)
        writer = self._writer(target, request, options)
        with warning_of(strictly(found, options.validation)):
            fresh = self._fresh(target, document, writer.now, raw, fits=fits)
            try:
                first = self._judged(target, fresh, writer, fits=fits)
            except ApiError:
                # Where there is no namespace, that is said first. A create that is well waits for no look at it: the
                # write judges that itself.
                await self._ensure_namespace(target, fresh)
                raise
            unwise += await self._guard(target, request, None, first, options)
            if options.dry_run:
                await self._ensure_namespace(target, fresh)
            response = await self._created(target, media, document, first, writer, dry_run=options.dry_run)
        return warned(response, [*strictly(found, options.validation), *unwise, *metadata_warnings(kind, None, first)])

    async def _guard(
        self, target: Target, request: Request, old: Document | None, new: Document, options: WriteOptions
    ) -> list[str]:
        """What the operator's policies warn of. Raises ApiError where the writer may not write this."""
        guard = self._context.write_guards.get(target.kind.name)
        if guard is not None:
            await guard(Written(request.user, old, new, options.dry_run))
        admission = self._context.admission
        return await admission.judge(target, request, self._objects, old, new, dry_run=options.dry_run)

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
                    return await self._previewed(target, view, prepared)
                stored = await self._objects.create(key, prepared, within=self._room(target))
                return self._representations.one(view, stored, 201, metadata=prepared["metadata"])
            except Closing:
                # Its deletion began after the look at it. Or a new one of that name is there already: then once more.
                await self._ensure_namespace(target, document)
            except AlreadyExists as error:
                await self._ensure_namespace(target, document)
                if document["metadata"].get("name"):
                    raise await self._taken(target, key, document) from error
                prepared = self._judged(target, self._fresh(target, document, writer.now), writer)
        raise errors.no_unique_name(target.kind, prepared["metadata"]["name"])

    def _fresh(
        self,
        target: Target,
        document: Document,
        now: str,
        raw: bytes | None = None,
        *,
        fits: bool = False,
        applied: bool = False,
    ) -> Document:
        """The new object as it will be stored if nothing is wrong with it; `fits` where it is known to fit the schema.
        Raises ApiError for what cannot be decoded."""
        kind, context = target.kind, self._context
        return prepare_create(
            kind,
            target.served.group_version,
            document,
            namespace=target.namespace or "",
            now=now,
            uid=context.uid(),
            suffix="" if _is_named(document) else context.suffix(),
            raw=raw,
            fits=fits,
            applied=applied,
        )

    def _judged(self, target: Target, fresh: Document, writer: Writer, *, fits: bool = False) -> Document:
        """The new object with its owner. Raises 422."""
        _ensure_valid(target, fresh, validate_create(target.kind, fresh, fits=fits))
        whole = filled(target.kind.blank, fresh)
        return with_entries(emptied(target.kind.blank, whole), created(target.kind, whole, writer))

    async def _previewed(self, target: Target, view: View, prepared: Document) -> Response:
        """What a dry run answers: the object, and of some kinds what would become of it."""
        preview = self._context.previews.get(target.kind.name) if target.kind.previewed else None
        shown = prepared if preview is None else await preview(prepared)
        return self._representations.of(view, self._served(target, shown), 201)

    def _room(self, target: Target) -> Key | None:
        """The namespace that the object is made in."""
        return Key("namespaces", "", target.namespace or "") if target.kind.namespaced else None

    async def _ensure_namespace(self, target: Target, document: Document) -> None:
        """The namespace is there and stays. Raises 404 and 403."""
        room = self._room(target)
        if room is None:
            return
        namespace = room.name
        try:
            found = await self._namespace(room)
        except NotFound as error:
            raise errors.no_namespace(namespace) from error
        if found["metadata"].get("deletionTimestamp"):
            metadata = document.get("metadata")
            name = metadata.get("name", "") if isinstance(metadata, dict) else ""
            raise errors.terminating(target.kind, str(name), namespace)

    async def _namespace(self, room: Key) -> Document:
        """Raises NotFound."""
        lookup = self._context.namespaces
        return (await self._objects.get(room)).document if lookup is None else await lookup(room.name)

    async def _ensure_free(self, key: Key) -> None:
        if await self._exists(key):
            raise AlreadyExists(str(key))

    async def _taken(self, target: Target, key: Key, document: Document) -> ApiError:
        if document["metadata"].get("generateName"):
            return errors.no_unique_name(target.kind, key.name)
        try:
            metadata = (await self._objects.get(key)).document["metadata"]
        except NotFound:
            metadata = {}
        return errors.already_exists(target.kind, key.name, being_deleted="deletionTimestamp" in metadata)

    async def update(self, target: Target, request: Request) -> Response:
        _ensure_named(target)
        media = negotiate(request.accept, protobuf=target.served.in_protobuf)
        raw = await request.body()
        options = WriteOptions.read(request.parameters, "UpdateOptions")
        body = decoded(target.kind, body_type(request), raw)
        found = _strangers(target, body, options)
        encoded = orjson.dumps(body.document)
        try:
            ensure_decodable(
                target.kind, target.served.group_version, body.document, namespace=target.namespace or "", raw=raw
            )
        except ApiError as wrong:
            if wrong.code == 422:
                # Of another kind: what it is called is looked at before that.
                ensure_named(ensure_readable(target.kind, target.served.group_version, body.document), target.name)
            raise
        with warning_of(strictly(found, options.validation)):
            ensure_named(body.document.get("metadata") or {}, target.name)
        if target.kind.made_by_update and not target.subresource and not await self._exists(target.key):
            await self._context.ensure_may(request.user, replace(request.attributes, verb="create"))
            return await self._create(target, request, media, options, raw, body, found)

        def wanted(_: Document) -> Wanted:
            return Wanted(orjson.loads(encoded), found)

        writer = self._writer(target, request, options)
        warned_of = strictly(found, options.validation)
        return await self._changed(
            target, request, media, options, wanted, writer, patched=False, absent_warns=warned_of
        )

    async def patch(self, target: Target, request: Request) -> Response:
        type_ = _patch_type(target, request)
        _ensure_named(target)
        media = negotiate(request.accept, protobuf=target.served.in_protobuf)
        body = await request.body()
        options = WriteOptions.read(request.parameters, "PatchOptions", apply=type_ == APPLY_PATCH)
        writer = self._writer(target, request, options)
        if type_ == APPLY_PATCH:
            return await self._applied(target, request, media, body, options, writer)
        patch, duplicates = _read_patch(body, type_)
        strategic = type_ == STRATEGIC_PATCH
        shown = plain(patch).encode() if strategic else b""

        def wanted(current: Document) -> Wanted:
            patched = _patched(type_, current, patch, target)
            # For messages: what is no Go type is written sorted.
            encoded = orjson.dumps(patched, option=None if target.kind.typed else orjson.OPT_SORT_KEYS)
            found = complaints(duplicates, pruned(target.kind, patched))
            try:
                ensure_decodable(
                    target.kind,
                    target.served.group_version,
                    patched,
                    namespace=target.namespace or "",
                    raw=encoded,
                    patched=True,
                    subresource=target.subresource,
                    words=converter_words if strategic else decoder_words,
                )
            except (Undecodable, Unrecognized) as error:
                raise patch_error(shown or encoded, error.why) from error
            if found and options.validation is Validation.STRICT:
                raise strict_patch_error(shown or encoded, found)
            return Wanted(patched, found)

        return await self._changed(target, request, media, options, wanted, writer, patched=True)

    async def _applied(
        self, target: Target, request: Request, media: Media, body: bytes, options: WriteOptions, writer: Writer
    ) -> Response:
        """Server-side apply: makes the object where there is none."""
        config, found = applied_body(body)
        warnings = strictly(found, options.validation)
        ensure_applicable(target.kind, target.served.group_version, config)
        encoded = orjson.dumps(config)

        def wanted(current: Document) -> Wanted:
            document, owners = applied(target.kind, current, orjson.loads(encoded), writer, force=options.force)
            if found and options.validation is Validation.STRICT:
                raise strict_apply_error(found)
            return Wanted(document, warnings, owners)

        for _ in range(ATTEMPTS):
            if target.subresource or await self._exists(target.key):
                return await self._changed(target, request, media, options, wanted, writer, patched=True)
            try:
                return warned(await self._created_by_apply(target, request, media, options, wanted), warnings)
            except AlreadyExists:
                continue
        raise errors.conflict(target.kind, target.name)

    async def _created_by_apply(
        self, target: Target, request: Request, media: Media, options: WriteOptions, change: Change
    ) -> Response:
        """Who may only patch makes nothing. Raises ApiError, AlreadyExists."""
        await self._context.ensure_may(request.user, replace(request.attributes, verb="create"))
        wanted = change({})
        document = ensure_new(target.kind, wanted.document, target.name)
        await self._ensure_namespace(target, document)
        fresh = self._fresh(target, document, self._context.now(), applied=True)
        _ensure_valid(target, fresh, validate_create(target.kind, fresh))
        blank = target.kind.blank
        prepared = with_entries(emptied(blank, filled(blank, fresh)), wanted.owners or ())
        warnings = await self._guard(target, request, None, prepared, options)
        view = View(target.served, media)
        if options.dry_run:
            return warned(await self._previewed(target, view, prepared), warnings)
        try:
            stored = await self._objects.create(target.key, prepared, within=self._room(target))
        except Closing as error:
            raise errors.terminating(target.kind, target.name, target.namespace or "") from error
        return warned(self._representations.one(view, stored, 201), warnings)

    async def _exists(self, key: Key) -> bool:
        try:
            await self._objects.get(key)
        except NotFound:
            return False
        return True

    async def _changed(
        self,
        target: Target,
        request: Request,
        media: Media,
        options: WriteOptions,
        change: Change,
        writer: Writer,
        *,
        patched: bool,
        absent_warns: Sequence[str] = (),
    ) -> Response:
        """Read, change, write; again from a fresh copy when somebody else wins. Where there is no object the client is warned
        of what is known by then."""
        view = View(target.served, media)
        for attempt in range(ATTEMPTS):
            with warning_of(absent_warns):
                stored = await self._current(target)
            outcome = self._outcome(target, stored, change, writer, options.validation, patched=patched)
            told = await self._guard(target, request, stored.document, outcome.document, options)
            warnings = [*strictly(outcome.warnings, options.validation), *outcome.unwise, *told]
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

    def _outcome(
        self, target: Target, stored: Stored, change: Change, writer: Writer, validation: Validation, *, patched: bool
    ) -> Outcome:
        kind, group_version = target.kind, target.served.group_version
        # Copies of our own: what the store keeps is shared, and defaults are filled in in place.
        old, base = orjson.loads(stored.body), orjson.loads(stored.body)
        wanted = change(served_as(kind, group_version, base))
        new = wanted.document
        repeated = without_repeated_owners(new, patched=patched)
        subresource = target.subresource or None
        with warning_of(strictly(wanted.warnings, validation)):
            prepared = prepare_update(
                kind,
                group_version,
                old,
                new,
                subresource=subresource,
                now=self._context.now(),
                patched=patched,
                applied=wanted.owners is not None,
            )
            _ensure_valid(target, prepared, validate_update(kind, old, prepared, subresource=target.subresource))
            prepared = filled(kind.blank, prepared)
        owners = wanted.owners
        if owners is None:
            owners = updated(kind, old, prepared, new["metadata"].get("managedFields"), writer)
        unwise = [*repeated, *metadata_warnings(kind, old, prepared)]
        return Outcome(settled(old, with_entries(emptied(kind.blank, prepared), owners)), wanted.warnings, unwise)

    async def _stored(self, view: View, target: Target, stored: Stored, document: Document) -> Response:
        """Replaced; or gone, when nobody has anything left to do for an object that is being deleted."""
        if is_finished_deleting(document):
            # Watchers are told the object as it was, its last finalizers and all.
            await self._objects.delete(target.key, revision=stored.revision)
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


def _strangers(target: Target, body: Decoded, options: WriteOptions) -> list[str]:
    """What to say of unknown and repeated fields, which are taken out. Raises 400 when that is strict.

    What is of another kind has no schema here: that is said instead."""
    document = in_any_case(body.document) if target.kind.typed else body.document
    if document.get("kind") not in ((target.kind.name, None) if target.kind.typed else (target.kind.name,)):
        return []
    unknown = pruned(target.kind, body.document)
    # Of a core kind Go skips what it does not know, and does not see that it came twice.
    repeated = known_alone(body.duplicates, unknown) if target.kind.typed else body.duplicates
    found = complaints(repeated, unknown)
    if found:
        # What cannot be read is told first, and warned of is nothing then.
        ensure_readable(target.kind, target.served.group_version, body.document)
    if found and options.validation is Validation.STRICT:
        raise strict_error(target.kind.name, target.served.group_version, found)
    return found


def _is_named(document: Document) -> bool:
    metadata = document.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("name"))


def _ensure_named(target: Target) -> None:
    if not target.name:
        raise bad_request("name must be provided")


def _patch_type(target: Target, request: Request) -> str:
    """Raises 415 for a sort of patch that the kind does not take."""
    type_ = request.content_type
    if target.kind.typed and type_ not in (*PATCHES, STRATEGIC_PATCH):
        raise errors.unsupported_patch()
    if not target.kind.typed and type_ not in PATCHES:
        raise errors.unsupported_media(PATCHES)
    return type_


def _read_patch(body: bytes, type_: str) -> tuple[object, list[str]]:
    """The patch, and a complaint for each field that it has twice."""
    try:
        patch, twice = parse_json_value(body)
    except ApiError as error:
        raise (error if type_ == STRATEGIC_PATCH else undecodable_patch(error.message)) from error
    prefix = "json patch " if type_ == JSON_PATCH else ""
    unknown = unknown_in_operations(patch) if type_ == JSON_PATCH else []
    return patch, [*(f'{prefix}duplicate field "{path}"' for path in twice), *unknown]


def _patched(type_: str, current: Document, patch: object, target: Target) -> Document:
    match type_:
        case "application/json-patch+json":
            return json_patch(current, patch)
        case "application/merge-patch+json":
            return merge_patch(current, patch)
        case _:
            return strategic_merge_patch(current, patch, schema_of(target.kind))
