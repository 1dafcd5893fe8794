"""The store in PostgreSQL: objects, their log, runs, leases and lines behind the port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from uuid import UUID
from weakref import WeakValueDictionary

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.machinery.objects import Document
from app.store import reading, schema, standing, transaction
from app.store.address import Limits, connect, dedicated, listen, place_of, pooled
from app.store.attempts import Broken, translated
from app.store.base import (
    Key,
    Listing,
    NotFound,
    Revision,
    Scope,
    Stored,
    StoreError,
    Transaction,
    Vitals,
    Watch,
)
from app.store.bump import bump
from app.store.changes import Create, Outcome, Write, creation, deletion, replacement
from app.store.compaction import compact
from app.store.creating import create_again, create_group, creates
from app.store.driver import Execute, untimed
from app.store.feed import Feed
from app.store.grouping import Grouping
from app.store.herald import Herald
from app.store.history import PostgresHistory
from app.store.leases import PostgresLeases
from app.store.lines import Lines
from app.store.lists import Asked, Lists
from app.store.logs import PostgresLogs
from app.store.metrics import StoreMetrics
from app.store.opening import until_it_answers
from app.store.reading import Head
from app.store.runs import PostgresRuns
from app.store.vitals import vitals
from app.store.writing import TAKE_COUNTER, Group, write_group

GROUP = 128
"""Writes in one transaction at most: others wait for the counter meanwhile."""


class PostgresObjects:
    """The port's Objects."""

    def __init__(self, engine: AsyncEngine, lines: Lines, limits: Limits, feed: Feed, metrics: StoreMetrics) -> None:
        self._lines = lines
        self._feed = feed
        self._metrics = metrics
        self._writing = Lines(partial(dedicated, engine, limits, limits.answer_s))
        self._reading, self._looking, telling = (
            Lines(partial(dedicated, engine, limits, limits.look_s)) for _ in range(3)
        )
        self._writes: Grouping[Write, Stored] = Grouping(self._write, at_most=GROUP)
        self._reads: Grouping[Key, Stored] = Grouping(self._read, at_most=GROUP, alone=True)
        self._heads: Grouping[Scope, Head] = Grouping(self._look, at_most=GROUP, alone=True)
        self._herald = Herald(telling)
        self._own_lines = (self._writing, self._reading, self._looking, telling)
        self._lists = Lists()
        self._turns: WeakValueDictionary[Asked, asyncio.Lock] = WeakValueDictionary()
        """Of lists that are being read; a turn lives for as long as somebody has it or waits for it."""
        self._newest: Revision = 0
        """As of the last write here; others may have written since."""

    @property
    def parts(self) -> dict[str, Callable[[], Coroutine[None, None, None]]]:
        """What has to run for as long as the store is open."""
        return {
            "writes": self._writes.run, "reads": self._reads.run, "heads": self._heads.run, "herald": self._herald.run,
        }  # fmt: skip

    def open(self) -> None:
        for line in self._own_lines:
            line.open()
        self._writes.open()
        self._reads.open()
        self._heads.open()

    def close(self) -> None:
        self._writes.close()
        self._reads.close()
        self._heads.close()
        for line in self._own_lines:
            line.close()

    async def get(self, key: Key) -> Stored:
        return await self._reads.submit(key)

    async def list(
        self,
        scope: Scope,
        *,
        limit: int = 0,
        after: Key | None = None,
        at: Revision | None = None,
        left: int | None = None,
    ) -> Listing:
        asked = self._lists.key(scope, limit) if after is None and at is None else None
        if (kept := await self._kept(asked, scope)) is not None:
            return kept
        if asked is None or limit:
            return await self._listed(asked, scope, limit, after, at, left)
        # Of many who ask for all of it at once, one reads; the others look again whether what it read is the newest.
        async with self._turns.setdefault(asked, asyncio.Lock()):
            kept = await self._kept(asked, scope)
            return kept if kept is not None else await self._listed(asked, scope, limit, after, at, left)

    async def _kept(self, asked: Asked | None, scope: Scope) -> Listing | None:
        """What was read before, if it is still true now."""
        return self._lists.at(asked, await self._heads.submit(scope)) if asked in self._lists else None

    async def _listed(
        self, asked: Asked | None, scope: Scope, limit: int, after: Key | None, at: Revision | None, left: int | None
    ) -> Listing:
        with self._metrics.statement("list"):
            listing = await self._lines.read(
                lambda execute: reading.listing(execute, scope, limit=limit, after=after, at=at, left=left), untimed
            )
        self._lists.keep(asked, listing)
        return listing

    async def create(self, key: Key, document: Document, *, within: Key | None = None) -> Stored:
        return await self._writes.submit(creation(key, document, within))

    async def replace(self, key: Key, document: Document) -> Stored:
        return await self._writes.submit(replacement(key, document))

    async def delete(self, key: Key, *, revision: Revision | None = None, document: Document | None = None) -> Stored:
        return await self._writes.submit(deletion(key, revision, document))

    async def revision(self) -> Revision:
        return (await self._heads.submit(Scope(None))).revision

    async def ensure_watchable(self) -> None:
        await self.revision()
        self._feed.ensure_fed()

    def watch(self, scope: Scope, since: Revision) -> AbstractAsyncContextManager[Watch]:
        return self._feed.watch(scope, since)

    async def _write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        made = creates(writes)
        try:
            group = await self._created(made)
        except Broken:
            group = await self._writing.transaction(lambda execute: create_again(execute, made), TAKE_COUNTER)
            self.tell(group)
        if group is None:
            with self._metrics.statement("write"):
                group = await self._writing.transaction(lambda execute: write_group(execute, writes), TAKE_COUNTER)
            self.tell(group)
        return group.outcomes

    def forget(self) -> None:
        """What was kept of the database is no longer true of it."""
        self._lists = Lists()
        self._newest = 0

    def tell(self, group: Group) -> None:
        """It is committed: the watches here hear it now, and other processes soon."""
        self._newest = max(self._newest, group.before + len(group.changes))
        self._feed.offer(group.before, group.changes)
        if group.changes:
            self._herald.tell(self._newest)

    async def _created(self, writes: Sequence[Create]) -> Group | None:
        """In one statement, if nobody has written since what is known here; None, and nothing done, otherwise."""
        if not writes:
            return None
        before = max(self._newest, self._feed.position)
        with self._metrics.statement("create"):
            group = await self._writing.at_once(lambda execute: create_group(execute, writes, before))
        if group is not None:
            self.tell(group)
        return group

    async def _read(self, keys: Sequence[Key]) -> Sequence[Stored | StoreError]:
        with self._metrics.statement("get"):
            found = await self._reading.read(lambda execute: reading.versions(execute, set(keys)))
        return [found.get(key) or NotFound(key.name) for key in keys]

    async def _look(self, scopes: Sequence[Scope]) -> Sequence[Head]:
        with self._metrics.statement("head"):
            return await self._looking.read(lambda execute: reading.heads(execute, scopes))


class PostgresStore:
    """The port's Store, over a pool of connections and one that listens."""

    def __init__(
        self,
        url: str,
        limits: Limits | None = None,
        *,
        identity: str = "",
        open_s: float = 15,
        watch_queue: int = 4096,
        watch_queue_bytes: int = 16 << 20,
        metrics: StoreMetrics | None = None,
    ) -> None:
        """`identity` names this process's connections, for whoever looks at the server."""
        metrics = metrics or StoreMetrics()
        self._limits = limits or Limits()
        self._url = url
        self._engine = connect(url, self._limits, identity)
        self._open_s = open_s
        """How long to wait for a database that is not there yet."""
        self._lines = lines = Lines(
            partial(pooled, self._engine, self._limits),
            at_most=self._limits.connections, wait_s=self._limits.connect_s, timed=metrics.timed,
        )  # fmt: skip
        self._feed = feed = Feed(
            lines, partial(listen, self._engine, self._limits),
            forget=self._forget, queue=watch_queue, queue_bytes=watch_queue_bytes,
        )  # fmt: skip
        metrics.follow(lines)
        metrics.follow_feed(lambda: feed.position, lambda: feed.lag, lambda: feed.watches)
        self._objects = PostgresObjects(self._engine, lines, self._limits, feed, metrics)
        self._runs = PostgresRuns(lines)
        self._leases = PostgresLeases(lines)
        self._logs = PostgresLogs(lines)
        self._history = PostgresHistory(lines)
        self._id: UUID | None = None
        self._parts: list[asyncio.Task[None]] = []
        self._dead = asyncio.Event()

    @property
    def id(self) -> UUID:
        if self._id is None:
            raise AssertionError("BUG: the store was never opened")
        return self._id

    @property
    def objects(self) -> PostgresObjects:
        return self._objects

    @property
    def runs(self) -> PostgresRuns:
        return self._runs

    @property
    def leases(self) -> PostgresLeases:
        return self._leases

    @property
    def logs(self) -> PostgresLogs:
        return self._logs

    @property
    def history(self) -> PostgresHistory:
        return self._history

    def transaction(self, *, serial: bool = False) -> AbstractAsyncContextManager[Transaction]:
        begin = transaction.serial if serial else transaction.plain
        return begin(self._lines, self._objects.tell)

    async def open(self) -> None:
        """Migrates the schema first. Raises Unavailable, SchemaTooNew."""
        if self._parts:
            return
        await self._migrate()
        self._lines.open()
        self._id = await self._lines.read(_identity)
        await self._feed.open()
        self._objects.open()
        self._parts = [
            asyncio.create_task(part(), name=f"store {name}")
            for name, part in {"feed": self._feed.run, **self._objects.parts}.items()
        ]
        for part in self._parts:
            part.add_done_callback(self._ended)

    async def close(self) -> None:
        """What is under way is cut off: whoever waits hears Unavailable. Raises what a part died of: that is a bug."""
        parts, self._parts = self._parts, []
        for part in parts:
            part.cancel()
        ended = await asyncio.gather(*parts, return_exceptions=True)
        self._shut()
        await self._engine.dispose()
        for outcome in ended:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    async def died(self) -> None:
        """Returns when a part of the open store has died: the process must end, and `close` raises the cause."""
        await self._dead.wait()

    def _ended(self, part: asyncio.Task[None]) -> None:
        """A part that dies takes the store along: nobody may wait for it for ever."""
        if part in self._parts:
            self._dead.set()
        self._shut()

    def _shut(self) -> None:
        self._objects.close()
        self._lines.close()
        self._feed.close()

    def _forget(self) -> None:
        self._objects.forget()

    async def database(self) -> standing.Database:
        """Raises Unavailable."""
        return await standing.database(self._lines, self._url)

    async def processes(self) -> Sequence[standing.Process]:
        """Those that are connected. Raises Unavailable."""
        return await standing.processes(self._lines)

    async def unmarked(self, resource: str, marks: Sequence[bytes]) -> Sequence[Stored]:
        """Objects whose body has none of the marks. Raises Unavailable."""
        return await standing.unmarked(self._lines, resource, marks)

    async def bump(self, by: int) -> Revision:
        """Moves the revision on, so that whoever knows an older one lists anew. Raises Unavailable."""
        return await bump(self._lines, by=by)

    async def vitals(self) -> Vitals:
        return await self._lines.read(vitals)

    async def compact(self, *, older_than: timedelta, keep: int) -> int:
        return await compact(self._lines, older_than, keep)

    async def _migrate(self) -> None:
        async def attempt() -> None:
            with translated():
                await schema.upgrade(self._engine)

        await until_it_answers(attempt, place_of(self._url), self._open_s)
        await self._engine.dispose()


async def _identity(execute: Execute) -> UUID:
    ((found,),) = await execute(text("SELECT id FROM store_identity"), {})
    return UUID(str(found))
