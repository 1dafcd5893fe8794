"""One LISTEN and one reader of the log a process, fanned out in memory to every watch."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog

from app.store.address import Connection
from app.store.attempts import UNREACHABLE
from app.store.base import Event, Gone, Revision, Scope, Sink, Stored, TooNew, Unavailable
from app.store.bump import bump
from app.store.changes import Change
from app.store.lines import Lines
from app.store.log import read_log
from app.store.writing import CHANNEL

log = structlog.get_logger()

EVERYTHING = Scope(None)

AT_ONCE = 50
"""So many watches are handed their events before others have their turn: a thousand take some ten milliseconds."""


class Recent:
    """The newest events, so that a watch which was away for a moment needs no query. Held as bytes: whoever was told of one may
    have decoded it, which takes ten times their room."""

    def __init__(self, position: Revision, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._events: deque[Event] = deque()
        self._bytes = 0
        self.start = position
        """Every later change is held."""

    def add(self, event: Event) -> None:
        self._events.append(_undecoded(event))
        self._bytes += _size(event)
        while len(self._events) > self._limit or self._bytes > self._limit_bytes:
            dropped = self._events.popleft()
            self._bytes -= _size(dropped)
            self.start = dropped.revision

    def after(self, revision: Revision) -> list[Event]:
        """Only for a revision that is not before the start."""
        found = []
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            found.append(event)
        found.reverse()
        return found

    def restart(self, position: Revision) -> None:
        self._events.clear()
        self._bytes = 0
        self.start = position


def _undecoded(event: Event) -> Event:
    found, before = event.object, event.previous
    previous = None if before is None else Stored(before.key, before.revision, before.body)
    return Event(event.type, event.revision, Stored(found.key, found.revision, found.body), previous)


class Backlog:
    """What one watch has still to be told, and how much memory that holds on to."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self.size = 0
        """In bytes."""

    def __len__(self) -> int:
        return len(self._events)

    @property
    def first(self) -> Event:
        return self._events[0]

    def append(self, event: Event) -> None:
        self._events.append(event)
        self.size += _size(event)

    def take(self) -> Event:
        event = self._events.popleft()
        self.size -= _size(event)
        return event

    def all(self) -> list[Event]:
        return list(self._events)

    def clear(self) -> None:
        self._events.clear()
        self.size = 0

    def take_all(self) -> list[Event]:
        events = self.all()
        self.clear()
        return events


class Feed:
    """Follows the log for every watch of this process."""

    def __init__(
        self,
        lines: Lines,
        listened: Callable[[], Awaitable[Connection]],
        *,
        forget: Callable[[], None] = lambda: None,
        poll_s: float = 1.0,
        patience_s: float = 10.0,
        page: int = 500,
        queue: int = 4096,
        queue_bytes: int = 16 << 20,
        recent: int = 4096,
        recent_bytes: int = 32 << 20,
    ) -> None:
        self._lines = lines
        self._listened = listened
        """Opens a connection for LISTEN."""
        self._forget = forget
        """Called when what was told of the database is no longer true of it."""
        self._poll_s = poll_s
        """A wake-up can be lost with its connection, and the connection without notice."""
        self._patience_s = patience_s
        """For so long the log may not be read before the watches end: a restart of PostgreSQL takes less, and who watches
        for longer than that is better served by a process whose database answers."""
        self._page = page
        self._queue = queue
        """How far a watch may fall behind, in events, before it is cut off."""
        self._queue_bytes = queue_bytes
        """The same in bytes: what waits for a client that does not read stays in memory."""
        self._recent = Recent(0, recent, recent_bytes)
        self._woken = asyncio.Event()
        self._watches: defaultdict[str | None, set[FeedWatch]] = defaultdict(set)
        self._due: deque[FeedWatch] = deque()
        """Who is to be handed what has just arrived."""
        self.position: Revision = 0
        """Every change up to here has been handed to the watches."""
        self._heard: Revision = 0
        """What PostgreSQL said last."""
        self.closed = True
        self.lost = False
        """The database has not answered for longer than `patience_s`."""
        self._read_at = 0.0

    @property
    def lag(self) -> int:
        """Revisions that PostgreSQL told of and that are not handed out yet."""
        return max(0, self._heard - self.position)

    @property
    def watches(self) -> int:
        return sum(map(len, self._watches.values()))

    async def open(self) -> None:
        """From here on nothing is missed. Raises Unavailable."""
        self.position = (await read_log(self._lines, EVERYTHING, 1 << 62, 1)).upto
        self._recent.restart(self.position)
        self._read_at = asyncio.get_running_loop().time()
        self.closed = self.lost = False

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._listen())
            parts.create_task(self._follow())

    def close(self) -> None:
        """Every watch ends."""
        self.closed = True
        for watch in self._all():
            watch.wake()

    @asynccontextmanager
    async def watch(self, scope: Scope, since: Revision) -> AsyncIterator[FeedWatch]:
        watch = FeedWatch(self, scope, since)
        try:
            await watch.begin()
            yield watch
        finally:
            self._watches[scope.resource].discard(watch)
            watch.leave()

    def ensure_fed(self) -> None:
        """Raises Unavailable where no change would be told."""
        if self.closed:
            raise Unavailable("the store is closed")
        if self.lost:
            raise Unavailable("PostgreSQL does not answer")

    def join(self, watch: FeedWatch, scope: Scope, cursor: Revision) -> list[Event] | None:
        """Hand it everything from here on. The answer has what lies between; None when that must come from the log."""
        if cursor < self._recent.start:
            return None
        self._watches[scope.resource].add(watch)
        return self._recent.after(cursor)

    async def page(self, scope: Scope, after: Revision) -> tuple[list[Event], Revision]:
        """The next events from the log, and how far they reach. Raises Gone, TooNew, Unavailable."""
        page = await read_log(self._lines, scope, after, self._page)
        if after < page.floor:
            raise Gone(f"revision {after} is compacted: the log begins after {page.floor}")
        if after > page.upto:
            raise TooNew(f"revision {after} is not reached: the newest is {page.upto}")
        return list(page.events), page.upto

    def holds(self, backlog: Backlog) -> bool:
        """May so much wait for one watch? One event may always."""
        return len(backlog) <= self._queue and (backlog.size <= self._queue_bytes or len(backlog) == 1)

    def offer(self, before: Revision, changes: Sequence[Change]) -> None:
        """What this process has just committed needs no reading, where nothing lies between it and what was handed out.
        Elsewhere the log tells it in its turn, which is now."""
        if self.closed:
            return
        if before != self.position:
            self._woken.set()
            return
        for change in changes:
            self._hand_out(Event(change.type, change.stored.revision, change.stored, change.previous))

    async def _follow(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self._read_on()
            except Unavailable as error:
                # Nothing is lost: the log is read on from the same place when the database is back.
                self._wait_for_database(error)
                await asyncio.sleep(self._poll_s)
                continue
            self._read_at, self.lost = asyncio.get_running_loop().time(), False
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _wait_for_database(self, error: Unavailable) -> None:
        if self.lost or asyncio.get_running_loop().time() - self._read_at < self._patience_s:
            return
        self.lost = True
        log.warning("watches end: the database does not answer", error=str(error), watches=len(self._all()))
        for watch in self._all():
            watch.wake()

    async def _read_on(self) -> None:
        while True:
            before = self.position
            page = await read_log(self._lines, EVERYTHING, before, self._page)
            if page.upto < before:
                await self._turn_back(page.upto)
                continue
            if page.floor > self.position:
                self._cut_all(page.upto)
                continue
            for event in page.events:
                if event.revision > self.position:  # others may have been offered while this page was read
                    self._hand_out(event)
            self.position = max(self.position, page.upto)
            if len(page.events) < self._page:
                return

    def _hand_out(self, event: Event) -> None:
        self.position = event.revision
        self._recent.add(event)
        for resource in (event.object.key.resource, None):
            for watch in self._watches.get(resource, ()):
                watch.take(event)

    def owe(self, watch: FeedWatch) -> None:
        """Has that watch hand its events on soon: together with what else is committed by then."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._hand_on)
        self._due.append(watch)

    def _hand_on(self) -> None:
        try:
            for _ in range(min(AT_ONCE, len(self._due))):
                self._due.popleft().hand_on()
        finally:
            if self._due:
                asyncio.get_running_loop().call_soon(self._hand_on)

    async def _turn_back(self, found: Revision) -> None:
        """The database has lost what was acknowledged: a failover to a standby that was behind, or a restored backup.
        Revisions that clients know must not be given a second time."""
        log.error("the database went back: acknowledged writes are lost", known=self.position, found=found)
        reached = await bump(self._lines, at_least=self.position)
        self._cut_all(reached)

    def _cut_all(self, position: Revision) -> None:
        """The log no longer tells what happened since: every watch has missed something."""
        self._forget()
        for watch in self._all():
            watch.cut()
        self.position = position
        self._recent.restart(position)

    def _all(self) -> Sequence[FeedWatch]:
        return [watch for watches in self._watches.values() for watch in watches]

    async def _listen(self) -> None:
        while True:
            lost = asyncio.Event()
            try:
                connection = await self._listened()
                try:
                    connection.add_termination_listener(lambda _, lost=lost: lost.set())
                    await connection.add_listener(CHANNEL, self._wake)
                    self._woken.set()
                    await lost.wait()
                finally:
                    await _leave(connection)
            except UNREACHABLE:
                await asyncio.sleep(self._poll_s)

    def _wake(self, _connection: object, _pid: object, _channel: object, newest: object) -> None:
        """A writer's word that there is more than before; what this process wrote itself is known already."""
        self._heard = int(str(newest))
        if self._heard > self.position:
            self._woken.set()


class FeedWatch:
    """One open watch: first what the log has since its revision, then what the feed hands out."""

    def __init__(self, feed: Feed, scope: Scope, since: Revision) -> None:
        self._feed = feed
        self._scope = scope
        self._cursor = since
        """Up to here everything is queued or was handed out."""
        self._is_live = False
        self._is_cut = False
        self._queue = Backlog()
        self._arrived = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._sink: Sink | None = None
        self._is_idle = False
        """Somebody waits in `next`, and was not woken."""
        self._is_owed = False

    async def begin(self) -> None:
        self._feed.ensure_fed()
        # What lies ahead of this process's reader may still be in the log; only the log can tell.
        if self._cursor > self._feed.position or not self._join():
            await self._advance()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events()

    async def next(self, timeout_s: float | None = None) -> Event | None:
        if self._queue and not self._is_cut:
            return self._queue.take()
        loop = asyncio.get_running_loop()
        due = None if timeout_s is None else loop.time() + timeout_s
        while due is None or loop.time() < due:
            if due is not None:
                self._ring_at(loop, due)
            event = await self._step()
            if event is not None:
                return event
        return None

    def _ring_at(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        """Wakes the watch then. A timer that rings earlier is left alone: for most events it is the last one's."""
        if self._timer is not None and self._rings_at <= due:
            return
        self._silence()
        self._timer, self._rings_at = loop.call_at(due, self._ring), due

    def _ring(self) -> None:
        self._timer = None
        self._arrived.set()

    def leave(self) -> None:
        """Nobody waits any more."""
        self._sink = None
        self._silence()

    def _silence(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def ready(self) -> list[Event]:
        if self._is_cut:
            return []
        return self._queue.take_all()

    def hand_to(self, sink: Sink) -> None:
        self._sink = sink

    def hand_on(self) -> None:
        """Called by the feed, which it was owed by."""
        self._is_owed = False
        if not self._queue:
            return  # whoever was woken meanwhile has taken them
        if self._is_idle and self._sink is not None and self._sink(self._queue.all()):
            self._queue.clear()
        else:
            self._arrived.set()

    @property
    def revision(self) -> Revision:
        if self._queue:
            return self._queue.first.revision - 1
        return max(self._cursor, self._feed.position) if self._is_live and not self._is_cut else self._cursor

    def take(self, event: Event) -> None:
        """Called by the feed, in revision order."""
        if event.revision <= self._cursor or self._is_cut or not self._concerns(event):
            return
        self._queue.append(event)
        if not self._feed.holds(self._queue):
            self.cut()
        elif not self._is_idle or self._sink is None:
            self._arrived.set()
        elif not self._is_owed:
            self._is_owed = True
            self._feed.owe(self)

    def cut(self) -> None:
        """It has missed something: it must list again."""
        self._is_cut = True
        self._queue.clear()
        self._arrived.set()

    def wake(self) -> None:
        self._arrived.set()

    async def _events(self) -> AsyncIterator[Event]:
        while True:
            event = await self._step()
            if event is not None:
                yield event

    async def _step(self) -> Event | None:
        """The next event if there is one; otherwise waits until something happens."""
        if self._is_cut:
            raise Gone("the watch fell too far behind")
        if self._queue:
            return self._queue.take()
        self._feed.ensure_fed()
        if self._is_live:
            await self._woken()
        elif not self._join():
            await self._advance()
        return self._queue.take() if self._queue and not self._is_cut else None

    async def _woken(self) -> None:
        self._is_idle = not self._arrived.is_set()
        try:
            await self._arrived.wait()
        finally:
            self._is_idle = False
        self._arrived.clear()

    def _join(self) -> bool:
        between = self._feed.join(self, self._scope, self._cursor)
        if between is None:
            return False
        self._is_live = True
        for event in between:
            if self._concerns(event):
                self._queue.append(event)
        return True

    async def _advance(self) -> None:
        events, self._cursor = await self._feed.page(self._scope, self._cursor)
        for event in events:
            self._queue.append(event)

    def _concerns(self, event: Event) -> bool:
        key, scope = event.object.key, self._scope
        return (
            scope.resource in (None, key.resource)
            and scope.namespace in (None, key.namespace)
            and scope.name in (None, key.name)
        )


async def _leave(connection: asyncpg.Connection) -> None:
    """A connection that is gone already needs no farewell."""
    try:
        await connection.close(timeout=1)
    except UNREACHABLE:
        connection.terminate()


def _size(event: Event) -> int:
    return len(event.object.body) + (len(event.previous.body) if event.previous else 0)
