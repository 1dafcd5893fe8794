"""Work on a connection: in a transaction or without one, and what of it may be repeated when the connection breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import asyncpg
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.store.address import Connection
from app.store.base import Unavailable
from app.store.driver import Execute, through_driver

AnswerT = TypeVar("AnswerT")
Work = Callable[[AsyncConnection], Awaitable[AnswerT]]

UNREACHABLE = (
    sqlalchemy.exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError,
    OSError, TimeoutError,
)  # fmt: skip
"""What a statement can end with beside an answer."""

BROKEN = (
    OSError, asyncpg.InterfaceError, asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError, asyncpg.InvalidCachedStatementError,
    asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError,
    asyncpg.ReadOnlySQLTransactionError,
)  # fmt: skip
"""What says that the connection is no good; the last, that its server is no longer the one that takes writes."""

UNDONE = (
    asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.ReadOnlySQLTransactionError,
)  # fmt: skip
"""What says that nothing of the transaction has happened, even if it was being committed."""


class Broken(Unavailable):
    """The connection broke: a fresh one may be answered at once. What was being committed may have been."""


@dataclass(slots=True)
class Progress:
    """How far an attempt came."""

    committing: bool = False
    """The commit was sent: nobody knows whether it happened until its answer."""


async def in_transaction(engine: AsyncEngine, work: Work[AnswerT]) -> AnswerT:
    """Do the work and commit. Raises Unavailable, and then the work may have been committed.

    On a broken connection it is done again, once, and only where the commit was not sent.
    """

    async def attempt(progress: Progress) -> AnswerT:
        async with engine.connect() as connection:
            answer = await work(connection)
            progress.committing = True
            await commit(connection)
            return answer

    return await attempted(engine, attempt)


async def read(engine: AsyncEngine, work: Work[AnswerT]) -> AnswerT:
    """Do work that only reads, in one statement: no BEGIN before it, and no COMMIT after. Raises Unavailable."""

    async def attempt(_: Progress) -> AnswerT:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            return await work(connection)

    return await attempted(engine, attempt)


async def driver_read(engine: AsyncEngine, work: Callable[[Execute], Awaitable[AnswerT]]) -> AnswerT:
    """The same as read, for work that talks to the driver."""

    async def attempt(_: Progress) -> AnswerT:
        async with _driver(engine) as driver:
            return await work(through_driver(driver))

    return await attempted(engine, attempt)


async def attempted(engine: AsyncEngine, attempt: Callable[[Progress], Awaitable[AnswerT]]) -> AnswerT:
    """Once more, after what certainly left nothing behind: a broken connection (then on fresh ones), or a transaction that
    PostgreSQL undid for another's sake. Never what may have been committed. Raises Unavailable."""
    with translated():
        progress = Progress()
        try:
            return await attempt(progress)
        except UNREACHABLE as error:
            undone = isinstance(_cause(error), UNDONE)
            if is_disconnect(error):
                await renew(engine)
            elif not undone:
                raise
            if progress.committing and not undone:
                raise
        return await attempt(Progress())


async def commit(connection: AsyncConnection) -> None:
    """Raises Unavailable where PostgreSQL says that a failover may lose what it has committed."""
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, Connection):
        raise AssertionError(f"BUG: the driver is {type(driver)}")
    driver.warned = False
    await connection.commit()
    ensure_safe(driver)


def ensure_safe(connection: Connection) -> None:
    """After a commit. Raises Unavailable: the write has happened here, and no standby has it."""
    if connection.warned:
        raise Unavailable("PostgreSQL: no standby has confirmed the write in time; it may be lost by a failover")


async def renew(engine: AsyncEngine) -> None:
    """What broke one connection has most likely broken the others of the pool too: begin with new ones."""
    await engine.dispose()


@asynccontextmanager
async def _driver(engine: AsyncEngine) -> AsyncIterator[asyncpg.Connection]:
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        if not isinstance(driver, asyncpg.Connection):
            raise AssertionError(f"BUG: the driver is {type(driver)}")
        try:
            yield driver
        except BaseException:
            # The pool knows nothing of what was under way: the connection must not go back to it.
            await connection.invalidate()
            raise


@contextmanager
def translated() -> Iterator[None]:
    """PostgreSQL's errors as the port's."""
    try:
        yield
    except UNREACHABLE as error:
        kind = Broken if is_disconnect(error) else Unavailable
        raise kind(f"PostgreSQL: {_first_line(error)}") from error


def is_disconnect(error: BaseException) -> bool:
    """Whether a fresh connection may well do better: this one is broken, or has outlived a change of the schema."""
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated:
        return True
    cause = _cause(error)
    return isinstance(cause, BROKEN) and not isinstance(cause, TimeoutError)


def _cause(error: BaseException) -> BaseException | None:
    """What the driver raised."""
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        return error.orig and error.orig.__cause__
    return error


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause) or type(cause).__name__).splitlines()[0]
