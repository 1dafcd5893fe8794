"""A transaction of several writes: reads are immediate, writes are applied at its end, all or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from uuid import UUID

from app.machinery.objects import Document
from app.store import history, leases, marks, reading, runs
from app.store.attempts import AnswerT, commit, translated
from app.store.base import Changes, Key, Listing, Mark, NotFound, Past, Revision, Run, Scope, Stored, StoreError
from app.store.changes import Judge, Write, creation, deletion, keys_of, replacement
from app.store.driver import Execute
from app.store.lines import Lines, Work
from app.store.reading import versions, versions_and_revision
from app.store.writing import TAKE_COUNTER, Group, apply

Step = Callable[[Execute], Awaitable[None]]
Tell = Callable[[Group], None]
"""Called with what was committed."""


class PendingTransaction:
    """The port's Transaction: collects what is to be done."""

    def __init__(self, lines: Lines, own: Execute | None) -> None:
        self._lines = lines
        self._own = own
        """Statements on the connection that holds the counter, in a serial transaction."""
        self._known: dict[Key, Stored | None] = {}
        """What a serial transaction has read: nobody changes it before the end."""
        self._one_at_a_time = asyncio.Lock()
        self._fences: list[Step] = []
        self._steps: list[Step] = []
        self._writes: list[Write] = []

    async def get(self, key: Key) -> Stored:
        found = await self.several([key])
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
            lambda execute: reading.listing(execute, scope, limit=limit, after=after, at=at, left=left)
        )

    async def several(self, keys: Collection[Key]) -> Mapping[Key, Stored]:
        unread = [key for key in keys if key not in self._known]
        found: Mapping[Key, Stored] = {}
        if unread:
            found = await self._read(lambda execute: versions(execute, unread))
        if self._own is None:
            return found
        self._known |= {key: found.get(key) for key in unread}
        return {key: stored for key in keys if (stored := self._known[key]) is not None}

    async def changed(self, resources: Sequence[str], since: Mark | None) -> Changes:
        return await self._read(lambda execute: marks.changed(execute, resources, since))

    async def runs_of(self, migration_uid: UUID) -> Sequence[Run]:
        return await self._read(lambda execute: runs.runs_of(execute, migration_uid))

    async def unfinished_runs(self, domain: UUID | None = None) -> Sequence[Run]:
        return await self._read(lambda execute: runs.unfinished_runs(execute, domain))

    async def failed_runs(self, within: timedelta) -> Sequence[Run]:
        return await self._read(lambda execute: runs.failed_runs(execute, within))

    def create(self, key: Key, document: Document) -> None:
        self._writes.append(creation(key, document))

    def replace(self, key: Key, document: Document) -> None:
        self._writes.append(replacement(key, document))

    def delete(self, key: Key, *, revision: Revision | None = None, document: Document | None = None) -> None:
        self._writes.append(deletion(key, revision, document))

    def start_run(self, run: Run) -> None:
        self._steps.append(lambda execute: runs.start(execute, run))

    def cancel_run(self, run: UUID) -> None:
        self._steps.append(lambda execute: runs.cancel(execute, run))

    def replan_run(self, run: UUID, plan: Document) -> None:
        self._steps.append(lambda execute: runs.replan(execute, run, plan))

    def finish_run(self, run: UUID, token: int, exit_code: int, result: Document) -> None:
        self._steps.append(lambda execute: runs.finish(execute, run, token, exit_code, result))

    def remember(self, past: Past) -> None:
        self._steps.append(lambda execute: history.remember(execute, past))

    def fence_run(self, run: UUID, token: int) -> None:
        self._fences.append(lambda execute: runs.fence(execute, run, token))

    def fence_lease(self, name: str, token: int) -> None:
        self._fences.append(lambda execute: leases.fence(execute, name, token))

    @property
    def has_work(self) -> bool:
        return bool(self._steps or self._writes)

    async def carry_out(self, execute: Execute) -> Group | None:
        """Everything, in a transaction that holds the counter. Raises what the first write, step or fence that lost says."""
        for step in (*self._fences, *self._steps):
            await step(execute)
        if not self._writes:
            return None
        before, current = await versions_and_revision(execute, keys_of(self._writes))
        judge = Judge(current, before)
        outcomes = [judge.take(write) for write in self._writes]
        for outcome in outcomes:
            if isinstance(outcome, StoreError):
                raise outcome
        await apply(execute, judge)
        return Group(before, judge.changes, outcomes)

    async def _read(self, work: Work[AnswerT]) -> AnswerT:
        if self._own is None:
            return await self._lines.read(work)
        # asyncpg carries one statement at a time, and a caller may gather its reads.
        async with self._one_at_a_time:
            with translated():
                return await work(self._own)


@asynccontextmanager
async def plain(lines: Lines, tell: Tell) -> AsyncIterator[PendingTransaction]:
    """Reads hold no lock; conflicts show by resourceVersion at the end."""
    pending = PendingTransaction(lines, None)
    yield pending
    if pending.has_work:
        done = await lines.transaction(pending.carry_out, TAKE_COUNTER)
        if done is not None:
            tell(done)


@asynccontextmanager
async def serial(lines: Lines, tell: Tell) -> AsyncIterator[PendingTransaction]:
    """Holds the counter from the start: what is read is true until the commit."""
    done = None
    async with AsyncExitStack() as stack:
        connection = await lines.begun(stack, TAKE_COUNTER)
        execute = lines.statements(connection)
        pending = PendingTransaction(lines, execute)
        yield pending
        if pending.has_work:
            with translated():
                done = await pending.carry_out(execute)
                await commit(connection)
    if done is not None:
        tell(done)
