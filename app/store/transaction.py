"""A transaction of several writes: reads are immediate, writes are applied at its end, all or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.machinery.objects import Document
from app.store import history, leases, marks, reading, runs
from app.store.attempts import (
    UNREACHABLE,
    AnswerT,
    Work,
    commit,
    in_transaction,
    is_disconnect,
    read,
    renew,
    translated,
)
from app.store.base import Changes, Key, Listing, Mark, NotFound, Past, Revision, Run, Scope, Stored, StoreError
from app.store.changes import Judge, Write, creation, deletion, keys_of, replacement
from app.store.driver import through_engine
from app.store.reading import versions
from app.store.writing import apply, take_counter, tell

Step = Callable[[AsyncConnection], Awaitable[None]]


class PendingTransaction:
    """The port's Transaction: collects what is to be done."""

    def __init__(self, engine: AsyncEngine, own: AsyncConnection | None) -> None:
        self._engine = engine
        self._own = own
        """The connection that holds the counter, in a serial transaction."""
        self._one_at_a_time = asyncio.Lock()
        self._fences: list[Step] = []
        self._steps: list[Step] = []
        self._writes: list[Write] = []

    async def get(self, key: Key) -> Stored:
        found = await self._read(lambda connection: versions(through_engine(connection), [key]))
        if key not in found:
            raise NotFound(key.name)
        return found[key]

    async def list(
        self,
        scope: Scope,
        *,
        limit: int = 0,
        after: Key | None = None,
        at: Revision | None = None,
        left: int | None = None,
    ) -> Listing:
        return await self._read(
            lambda connection: reading.listing(
                through_engine(connection), scope, limit=limit, after=after, at=at, left=left
            )
        )

    async def several(self, keys: Collection[Key]) -> Mapping[Key, Stored]:
        if not keys:
            return {}
        return await self._read(lambda connection: versions(through_engine(connection), keys))

    async def changed(self, resources: Sequence[str], since: Mark | None) -> Changes:
        return await self._read(lambda connection: marks.changed(through_engine(connection), resources, since))

    async def runs_of(self, migration_uid: UUID) -> Sequence[Run]:
        return await self._read(lambda connection: runs.runs_of(connection, migration_uid))

    async def unfinished_runs(self) -> Sequence[Run]:
        return await self._read(runs.unfinished_runs)

    async def failed_runs(self, within: timedelta) -> Sequence[Run]:
        return await self._read(lambda connection: runs.failed_runs(connection, within))

    def create(self, key: Key, document: Document) -> None:
        self._writes.append(creation(key, document))

    def replace(self, key: Key, document: Document) -> None:
        self._writes.append(replacement(key, document))

    def delete(self, key: Key, *, revision: Revision | None = None, document: Document | None = None) -> None:
        self._writes.append(deletion(key, revision, document))

    def start_run(self, run: Run) -> None:
        self._steps.append(lambda connection: runs.start(connection, run))

    def cancel_run(self, run: UUID) -> None:
        self._steps.append(lambda connection: runs.cancel(connection, run))

    def replan_run(self, run: UUID, plan: Document) -> None:
        self._steps.append(lambda connection: runs.replan(connection, run, plan))

    def finish_run(self, run: UUID, token: int, exit_code: int, result: Document) -> None:
        self._steps.append(lambda connection: runs.finish(connection, run, token, exit_code, result))

    def remember(self, past: Past) -> None:
        self._steps.append(lambda connection: history.remember(connection, past))

    def fence_run(self, run: UUID, token: int) -> None:
        self._fences.append(lambda connection: runs.fence(connection, run, token))

    def fence_lease(self, name: str, token: int) -> None:
        self._fences.append(lambda connection: leases.fence(connection, name, token))

    @property
    def has_work(self) -> bool:
        return bool(self._steps or self._writes)

    async def carry_out(self, connection: AsyncConnection) -> None:
        """Everything, on top of the counter. Raises what the first write, step or fence that lost says."""
        execute = through_engine(connection)
        judge = Judge({}, await take_counter(execute))
        for step in (*self._fences, *self._steps):
            await step(connection)
        if self._writes:
            judge = Judge(await versions(execute, keys_of(self._writes)), judge.revision)
        for write in self._writes:
            outcome = judge.take(write)
            if isinstance(outcome, StoreError):
                raise outcome
        await apply(execute, judge)
        await tell(execute, judge)

    async def _read(self, work: Work[AnswerT]) -> AnswerT:
        if self._own is None:
            return await read(self._engine, work)
        # asyncpg carries one statement at a time, and a caller may gather its reads.
        async with self._one_at_a_time:
            with translated():
                return await work(self._own)


@asynccontextmanager
async def plain(engine: AsyncEngine) -> AsyncIterator[PendingTransaction]:
    """Reads hold no lock; conflicts show by resourceVersion at the end."""
    pending = PendingTransaction(engine, None)
    yield pending
    if pending.has_work:
        await in_transaction(engine, pending.carry_out)


@asynccontextmanager
async def serial(engine: AsyncEngine) -> AsyncIterator[PendingTransaction]:
    """Holds the counter from the start: what is read is true until the commit."""
    async with AsyncExitStack() as stack:
        with translated():
            connection = await _with_counter(stack, engine)
        pending = PendingTransaction(engine, connection)
        yield pending
        if pending.has_work:
            with translated():
                await pending.carry_out(connection)
                await commit(connection)


async def _with_counter(stack: AsyncExitStack, engine: AsyncEngine) -> AsyncConnection:
    """A connection that holds the counter, until the stack closes it; a broken one of the pool is replaced once."""
    try:
        return await _begun(stack, engine)
    except UNREACHABLE as error:
        if not is_disconnect(error):
            raise
        await renew(engine)
    return await _begun(stack, engine)


async def _begun(stack: AsyncExitStack, engine: AsyncEngine) -> AsyncConnection:
    connection = await stack.enter_async_context(engine.connect())
    await take_counter(through_engine(connection))
    return connection
