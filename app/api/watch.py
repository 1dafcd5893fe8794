"""A watch: what there is, then every change as a line, with bookmarks, until its time is over or the client leaves."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog
from starlette.types import Receive, Send

from app.api import errors
from app.api.context import Context
from app.api.deadlines import Deadlines
from app.api.negotiation import JSON, Shape, negotiate
from app.api.options import ListOptions
from app.api.reading import reached
from app.api.representation import Representations, View, at_revision, error_frame, shared_view
from app.api.requests import Request
from app.api.responses import stream_headers
from app.api.routes import Served, Target
from app.api.selection import Selection
from app.api.streams import Streams
from app.machinery.errors import ApiError
from app.machinery.table import carried
from app.store.base import Event, EventType, Gone, Listing, Objects, Revision, Stored, StoreError, Unavailable, Watch

log = structlog.get_logger()

LONGEST_S = (1800.0, 3600.0)
"""How long a watch lives that does not say: at random between these, so that clients do not return together."""

BOOKMARK_S = 60.0
"""How often a watch that allows bookmarks gets one."""

LAST_BOOKMARK_S = 2.0
"""A last one comes so long before the end, so that the client's next watch starts there."""

SEND_S = 60.0
"""A client that has not read for so long is given up, if its listener has not done so before."""

PIECE_BYTES = 256 * 1024
"""How much is encoded before it is sent: what waits for a slow client stays small."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A watch's request, judged."""

    request: Request
    view: View
    selection: Selection
    options: ListOptions


class Watching:
    """Answers watches."""

    def __init__(self, context: Context, streams: Streams) -> None:
        self._objects: Objects = context.store.objects
        self._representations = context.representations
        self._streams = streams
        self._deadlines = context.deadlines
        self._told = context.told

    def asked(self, target: Target, request: Request) -> Asked:
        """Raises ApiError for what kube-apiserver refuses before it streams."""
        media = negotiate(request.accept, watch=True, protobuf=target.served.in_protobuf)
        options = ListOptions.read(request.parameters, target.kind.resource, watch=True)
        include = request.parameters.get("includeObject", "")
        if media.shape is Shape.TABLE:
            carried(include, media.version)
        view = shared_view(target.served, media, include)
        return Asked(request, view, Selection.of(target, options), options)

    async def stream(self, asked: Asked, receive: Receive, send: Send) -> None:
        """Answers 200 and streams until the end; whoever ends it, the answer is closed cleanly. Raises StoreError while
        nothing can be watched: a client that is answered 503 comes back with the revision that it has."""
        await self._objects.ensure_watchable()
        type_ = asked.view.media.type
        headers = stream_headers(asked.request, JSON if type_ == JSON else f"{type_};stream=watch")
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        stream = _Stream(self._objects, self._representations, self._deadlines, asked, send, self._told)
        await self._streams.run(stream.run(), receive)
        if stream.cut_off:
            log.info("watch cut off: its client does not read", path=asked.request.path)
        else:
            await send({"type": "http.response.body", "body": b""})


class _Stream:
    """One watch while it is open."""

    def __init__(
        self,
        objects: Objects,
        representations: Representations,
        deadlines: Deadlines,
        asked: Asked,
        send: Send,
        told: Callable[[Served, int], None],
    ) -> None:
        self._objects = objects
        self._representations = representations
        self._deadlines = deadlines
        self._asked = asked
        self._view = asked.view
        self._send = send
        self._told = told
        self._push = asked.request.push
        self._ends = time.monotonic() + (asked.options.timeout_s or random.uniform(*LONGEST_S))
        self.cut_off = False
        """The client did not read what it was sent; nothing more can be told to it."""
        self._headers_due = asked.view.media.shape is Shape.TABLE
        """A Table's columns are told once, by the first line."""

    async def run(self) -> None:
        """What there is, if it is asked for; then the changes."""
        try:
            if self._ends < time.monotonic():
                raise ApiError(500, "InternalError", "context deadline exceeded")
            await self._changes(await self._start())
        except ApiError as error:
            await self._write([error_frame(error, self._view.media)])
        except StoreError as error:
            await self._write([error_frame(errors.of_store(error), self._view.media)])
        except TimeoutError:
            self.cut_off = True

    async def _start(self) -> Revision:
        """The revision from which on changes are told."""
        options = self._asked.options
        since = options.revision or 0
        if not options.initial_events:
            return since or await self._objects.revision()
        await reached(self._objects, since)
        listing = await self._objects.list(self._asked.selection.scope)
        await self._write(self._state(listing))
        if options.bookmarks:
            await self._write([self._bookmark(listing.revision, initial_end=True)])
        return listing.revision

    def _state(self, listing: Listing) -> Iterator[bytes]:
        for stored in listing.items:
            if self._asked.selection.matches(stored):
                yield self._representations.frame(self._view, EventType.ADDED, stored, headers=self._headers())

    def _bookmark(self, revision: Revision, *, initial_end: bool = False) -> bytes:
        return self._representations.bookmark(self._view, revision, headers=self._headers(), initial_end=initial_end)

    async def _changes(self, since: Revision) -> None:
        # A revision that is still to come is waited for: nothing is told before it is passed.
        start = min(since, await self._objects.revision())
        async with AsyncExitStack() as stack:
            try:
                changes = await stack.enter_async_context(self._objects.watch(self._asked.selection.scope, start))
            except Gone as error:
                raise await self._too_old(since) from error
            changes.hand_to(lambda events: self._pushed(events, since))
            try:
                await self._follow(changes, since)
            except Gone:
                log.info("watch ended: its client fell too far behind", path=self._asked.request.path)
            except Unavailable:
                log.info("watch ended: the database does not answer", path=self._asked.request.path)

    async def _follow(self, changes: Watch, since: Revision) -> None:
        """Raises Gone for a client that is too slow: it may come back with the last revision that it was told."""
        for due, bookmark in moments(time.monotonic(), self._ends, bookmarks=self._asked.options.bookmarks):
            await self._changes_until(due, changes, since)
            if bookmark:
                await self._write([self._bookmark(max(changes.revision, since))])

    async def _changes_until(self, due: float, changes: Watch, since: Revision) -> None:
        while (left := due - time.monotonic()) > 0:
            event = await changes.next(left)
            if event is None:
                continue
            arrived = [event, *changes.ready()]
            await self._write(self._lines(arrived, since))

    def _pushed(self, events: list[Event], since: Revision) -> bool:
        """Whether all of it was written at once: for most changes, each of a thousand watches is spared a turn of its own."""
        if self._headers_due:
            return False  # told by the first line, once: by one that is surely sent
        lines = list(self._lines(events, since))
        if not lines:
            return True
        piece = lines[0] if len(lines) == 1 else b"".join(lines)
        if len(piece) > PIECE_BYTES or not self._push(piece):
            return False
        self._told(self._view.served, len(lines))
        return True

    def _lines(self, events: list[Event], since: Revision) -> Iterator[bytes]:
        for event in events:
            seen = self._asked.selection.seen(event) if event.revision > since else None
            if seen is not None:
                yield self._line(seen, _shown(event, seen))

    def _line(self, seen: EventType, stored: Stored) -> bytes:
        if self._headers():
            return self._representations.frame(self._view, seen, stored, headers=True)
        return self._representations.live_frame(self._view, seen, stored)

    def _headers(self) -> bool:
        due, self._headers_due = self._headers_due, False
        return due

    async def _too_old(self, since: Revision) -> ApiError:
        current = await self._objects.revision()
        return errors.expired(f"too old resource version: {since} ({current})")

    async def _write(self, lines: Iterable[bytes]) -> None:
        """In pieces, each encoded when the one before is on its way. Raises TimeoutError for who does not read."""
        for piece, count in _pieces(lines):
            async with self._deadlines.within(SEND_S):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            self._told(self._view.served, count)


def moments(now: float, ends: float, *, bookmarks: bool) -> Iterator[tuple[float, bool]]:
    """When a watch stops to look, and whether a bookmark is due then: every minute, shortly before the end, at the end."""
    if bookmarks:
        last = ends - LAST_BOOKMARK_S
        due = now + BOOKMARK_S
        while due < last:
            yield due, True
            due += BOOKMARK_S
        if last > now:
            yield last, True
    yield ends, False


def _pieces(lines: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Each with how many lines are in it."""
    gathered: list[bytes] = []
    size = 0
    for line in lines:
        gathered.append(line)
        size += len(line)
        if size > PIECE_BYTES:
            yield b"".join(gathered), len(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered), len(gathered)


def _shown(event: Event, seen: EventType) -> Stored:
    """An object that left the selection is told as it was, under the revision of the change."""
    if seen is EventType.DELETED and event.type is not EventType.DELETED and event.previous is not None:
        return at_revision(event.previous, event.revision)
    return event.object
