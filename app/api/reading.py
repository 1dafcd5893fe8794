"""get and list: one object, or a consistent part of a collection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.api import errors
from app.api.context import Context
from app.api.errors import ContinueExpired
from app.api.negotiation import negotiate
from app.api.options import ListOptions, Match, Position, revision_of_get
from app.api.representation import Page, View
from app.api.requests import Request, flag
from app.api.responses import Response
from app.api.routes import Target
from app.api.selection import Selection
from app.machinery.errors import bad_request
from app.machinery.objects import Document
from app.store.base import Gone, Key, Listing, NotFound, Objects, Revision, Scope, Stored, TooNew

PATIENCE_S = 3.0
"""How long a read waits for a revision that is not there yet, as kube-apiserver does."""

CHUNK = 500
"""How many objects are looked at in one go when a selector and a limit must both be kept."""


class Reading:
    """Answers reads."""

    def __init__(self, context: Context) -> None:
        self._objects: Objects = context.store.objects
        self._representations = context.representations

    async def get(self, target: Target, request: Request) -> Response:
        """The object; its status subresource is the whole object too."""
        media = negotiate(request.accept, protobuf=target.served.in_protobuf)
        if request.parameters:
            if flag(request.parameters, "export"):
                raise bad_request("the export parameter, deprecated since v1.14, is no longer supported")
            await reached(self._objects, revision_of_get(request.parameters))
        stored = await self.stored(target)
        return self._representations.one(
            View(target.served, media, request.parameters.get("includeObject", "")), stored
        )

    async def stored(self, target: Target) -> Stored:
        """Raises 404 in the words of the kind."""
        try:
            return await self._objects.get(target.key)
        except NotFound as error:
            raise errors.not_found(target.kind, target.name) from error

    async def collection(self, target: Target, request: Request) -> Response:
        media = negotiate(request.accept, protobuf=target.served.in_protobuf)
        options = ListOptions.read(request.parameters, target.kind.resource, watch=False)
        page = await self.page(target, options)
        return self._representations.many(View(target.served, media, request.parameters.get("includeObject", "")), page)

    async def page(self, target: Target, options: ListOptions) -> Page:
        """What the options ask for, with the metadata of its list."""
        selection = Selection.of(target, options)
        try:
            listing, rest = await self._listing(selection, options)
        except Gone as error:
            if options.position is None:
                raise errors.expired() from error
            raise ContinueExpired(Position(options.position.after, None).token()) from error
        metadata: Document = {
            "resourceVersion": str(listing.revision),
            "selfLink": target.served.link(target.namespace or ""),
        }
        if rest is not None:
            metadata["continue"] = rest.token()
        elif not target.kind.typed:
            metadata["continue"] = ""
        if rest is not None and selection.everything:
            metadata["remainingItemCount"] = listing.remaining
        return Page(listing.items, metadata, listing.content)

    async def _listing(self, selection: Selection, options: ListOptions) -> tuple[Listing, Position | None]:
        """A page, and where the next one begins."""
        at = await self._snapshot(options)
        after = options.position.after if options.position else None
        left = options.position.left if options.position else None
        kept: Sequence[Stored]
        if selection.everything or not options.limit:
            listing = await self._objects.list(selection.scope, limit=options.limit, after=after, at=at, left=left)
            kept = listing.items
            if not selection.everything:
                kept = [stored for stored in listing.items if selection.matches(stored)]
        else:
            listing, kept = await self._searched(selection, options.limit, after, at, left)
        rest = None
        if listing.remaining and listing.items:
            rest = Position(listing.items[-1].key, listing.revision, listing.remaining)
        content = listing.content if selection.everything else None
        return Listing(kept, listing.revision, listing.remaining, content), rest

    async def _searched(
        self, selection: Selection, limit: int, after: Key | None, at: Revision | None, left: int | None
    ) -> tuple[Listing, list[Stored]]:
        """Looks through one snapshot until `limit` objects match; the listing is of all that was looked at last."""
        kept: list[Stored] = []
        while True:
            listing = await self._objects.list(selection.scope, limit=max(limit, CHUNK), after=after, at=at, left=left)
            for index, stored in enumerate(listing.items):
                if not selection.matches(stored):
                    continue
                kept.append(stored)
                if len(kept) == limit:
                    unseen = len(listing.items) - index - 1 + listing.remaining
                    return Listing(listing.items[: index + 1], listing.revision, unseen), kept
            if not listing.remaining:
                return listing, kept
            after, at, left = listing.items[-1].key, listing.revision, listing.remaining

    async def _snapshot(self, options: ListOptions) -> Revision | None:
        """The one revision that the list must be of; None for the newest."""
        if options.position is not None:
            return options.position.revision
        if not options.revision:
            return None
        await reached(self._objects, options.revision)
        # A limit without a match means Exact: kube-apiserver's older clients page that way.
        exact = options.match is Match.EXACT or (options.match is Match.UNSET and options.limit > 0)
        return options.revision if exact else None


async def reached(objects: Objects, wanted: Revision) -> None:
    """Waits a little for a revision; 0 is always there. Raises 504 when it does not come."""
    if not wanted:
        return
    current = await objects.revision()
    if current >= wanted:
        return
    try:
        async with asyncio.timeout(PATIENCE_S), objects.watch(Scope(None), current) as changes:
            while current < wanted:
                await changes.next(PATIENCE_S)
                current = changes.revision
    except TimeoutError as error:
        raise errors.too_new(wanted, await objects.revision()) from error
    except TooNew as error:
        raise errors.too_new(wanted, current) from error
