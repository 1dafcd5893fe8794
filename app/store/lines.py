"""Connections of one's own: no pool of another's and no layer between a statement and the driver, whose share was 1 ms each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from app.store.address import Connection
from app.store.attempts import AnswerT, Progress, attempted, commit, ensure_safe
from app.store.base import StoreError, Unavailable
from app.store.driver import Execute, Timed, through_driver, untimed

Work = Callable[[Execute], Awaitable[AnswerT]]


class Lines:
    """At most so many at once; whoever comes when all are taken waits. A line on which anything went wrong, but the store's
    own word, is not used again."""

    def __init__(
        self,
        opened: Callable[[], Awaitable[Connection]],
        *,
        at_most: int = 1,
        wait_s: float = 5,
        timed: Timed = untimed,
    ) -> None:
        self._opened = opened
        self._free = asyncio.Semaphore(at_most)
        self._wait_s = wait_s
        self._timed = timed
        self._idle: list[Connection] = []
        self._known: set[Connection] = set()
        """Those that may be used again; the others end with whoever has them."""
        self._closed = False

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def in_use(self) -> int:
        return len(self._known) - len(self._idle)

    async def read(self, work: Work[AnswerT], timed: Timed | None = None) -> AnswerT:
        """Work that only reads: each statement sees what is committed. On a broken connection it is done again, once.
        Raises Unavailable."""
        timed = timed or self._timed

        async def attempt(_: Progress) -> AnswerT:
            async with self._line() as connection:
                return await work(through_driver(connection, timed))

        return await attempted(self.renew, attempt)

    async def transaction(self, work: Work[AnswerT], opening: str = "") -> AnswerT:
        """Begin, with a statement whose answer is not needed; do the work, and commit. Raises Unavailable, and then the work
        may have been committed; on a broken connection it is done again, once, where the commit was not sent."""

        async def attempt(progress: Progress) -> AnswerT:
            async with self._line() as connection:
                await connection.execute(f"BEGIN; {opening}")
                answer = await work(self.statements(connection))
                progress.committing = True
                await commit(connection)
                return answer

        return await attempted(self.renew, attempt)

    async def at_once(self, work: Work[AnswerT]) -> AnswerT:
        """Work of one statement, which is its own transaction. Raises Unavailable, and then it may have been committed."""

        async def attempt(progress: Progress) -> AnswerT:
            async with self._line() as connection:
                progress.committing = True
                connection.warned = False
                answer = await work(self.statements(connection))
                ensure_safe(connection)
                return answer

        return await attempted(self.renew, attempt)

    async def begun(self, stack: AsyncExitStack, opening: str) -> Connection:
        """In a transaction that begins with that statement, and that is undone when the stack closes unless it was committed.
        Raises Unavailable."""

        async def attempt(_: Progress) -> Connection:
            connection = await stack.enter_async_context(self._line())
            await connection.execute(f"BEGIN; {opening}")
            return connection

        return await attempted(self.renew, attempt)

    def statements(self, connection: Connection) -> Execute:
        return through_driver(connection, self._timed)

    def open(self) -> None:
        self._closed = False

    def close(self) -> None:
        """What is under way ends with Unavailable, and is not tried again."""
        self._closed = True
        known, self._known = self._known, set()
        self._idle.clear()
        for connection in known:
            connection.terminate()

    def renew(self) -> None:
        """What broke one connection has most likely broken the others too: those that are used end with their users."""
        idle, self._idle = self._idle, []
        self._known.clear()
        for connection in idle:
            connection.terminate()

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Connection]:
        await self._turn()
        try:
            connection = await self._taken()
            try:
                yield connection
            except StoreError:
                await self._give_back(connection)
                raise
            except BaseException:
                # The server rolls back what was under way.
                self._drop(connection)
                raise
            await self._give_back(connection)
        finally:
            self._free.release()

    async def _turn(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable(f"PostgreSQL: no connection was free within {self._wait_s:g} s") from None

    async def _taken(self) -> Connection:
        if self._closed:
            raise Unavailable("the store is closed")
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._known.discard(connection)
        connection = await self._opened()
        self._known.add(connection)
        return connection

    async def _give_back(self, connection: Connection) -> None:
        """What was left open of a transaction is undone first."""
        if connection not in self._known or connection.is_closed():
            self._drop(connection)
            return
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        except BaseException:
            self._drop(connection)
            raise
        self._idle.append(connection)

    def _drop(self, connection: Connection) -> None:
        self._known.discard(connection)
        connection.terminate()
