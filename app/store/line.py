"""A connection of one's own, for statements that every request takes: no pool and no layer between them and the driver."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.address import Connection, Limits, dedicated
from app.store.attempts import AnswerT, Progress, attempted, ensure_safe
from app.store.base import Unavailable
from app.store.driver import Execute, through_driver


class Line:
    """One caller at a time. Whatever goes wrong in the middle of the work, the connection is not used again."""

    def __init__(self, engine: AsyncEngine, limits: Limits, answer_s: float) -> None:
        self._engine = engine
        self._limits = limits
        self._answer_s = answer_s
        """How long a statement may take."""
        self._connection: Connection | None = None
        self._closed = False

    async def read(self, work: Callable[[Execute], Awaitable[AnswerT]]) -> AnswerT:
        """Work that only reads, in one statement. On a broken connection it is done again, once. Raises Unavailable."""

        async def attempt(_: Progress) -> AnswerT:
            connection = await self._connected()
            try:
                return await work(through_driver(connection))
            except BaseException:
                self.drop()
                raise

        return await attempted(self._engine, attempt)

    async def transaction(self, opening: str, work: Callable[[Execute], Awaitable[AnswerT]]) -> AnswerT:
        """Begin with a statement whose answer is not needed, do the work, and commit. Raises Unavailable, and then the
        work may have been committed; on a broken connection it is done again, once, where the commit was not sent."""

        async def attempt(progress: Progress) -> AnswerT:
            connection = await self._connected()
            try:
                await connection.execute(f"BEGIN; {opening}")
                answer = await work(through_driver(connection))
                progress.committing = True
                connection.warned = False
                await connection.execute("COMMIT")
                ensure_safe(connection)
                return answer
            except BaseException:
                self.drop()
                raise

        return await attempted(self._engine, attempt)

    async def at_once(self, work: Callable[[Execute], Awaitable[AnswerT]]) -> AnswerT:
        """Work of one statement, which is its own transaction. Raises Unavailable, and then it may have been committed."""

        async def attempt(progress: Progress) -> AnswerT:
            connection = await self._connected()
            progress.committing = True
            connection.warned = False
            try:
                answer = await work(through_driver(connection))
                ensure_safe(connection)
                return answer
            except BaseException:
                self.drop()
                raise

        return await attempted(self._engine, attempt)

    def open(self) -> None:
        self._closed = False

    def close(self) -> None:
        """What is under way ends with Unavailable, and is not tried again."""
        self._closed = True
        self.drop()

    def drop(self) -> None:
        """The server rolls back what was under way. May be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self) -> Connection:
        if self._closed:
            raise Unavailable("the store is closed")
        if self._connection is None or self._connection.is_closed():
            self._connection = await dedicated(self._engine, self._limits, self._answer_s)
        return self._connection
