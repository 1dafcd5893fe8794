"""Work on a connection: in a transaction or without one, and what of it may be repeated when the connection breaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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
)  # fmt: skip
"""What says that the connection is no good."""


async def in_transaction(engine: AsyncEngine, work: Work[AnswerT]) -> AnswerT:
    """Do the work and commit. Raises Unavailable, and then the work may have been committed.

    A broken connection is replaced once, and only before the commit is sent: after that nobody knows whether it happened.
    """
    with translated():
        committing = False
        try:
            async with engine.connect() as connection:
                answer = await work(connection)
                committing = True
                await connection.commit()
                return answer
        except UNREACHABLE as error:
            if committing or not is_disconnect(error):
                raise
        async with engine.connect() as connection:
            answer = await work(connection)
            await connection.commit()
            return answer


async def in_driver_transaction(engine: AsyncEngine, work: Callable[[Execute], Awaitable[AnswerT]]) -> AnswerT:
    """The same as in_transaction, for work that talks to the driver."""
    for may_repeat in (True, False):
        committing = False
        with translated():
            async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                driver = await _driver(connection)
                try:
                    await driver.execute("BEGIN")
                    answer = await work(through_driver(driver))
                    committing = True
                    await driver.execute("COMMIT")
                    return answer
                except BaseException as error:
                    # The pool knows nothing of this transaction: the connection must not go back to it.
                    await connection.invalidate()
                    if not may_repeat or committing or not is_disconnect(error):
                        raise
    raise AssertionError("BUG: the second attempt neither answered nor raised")


async def driver_read(engine: AsyncEngine, work: Callable[[Execute], Awaitable[AnswerT]]) -> AnswerT:
    """The same as read, for work that talks to the driver."""
    for may_repeat in (True, False):
        with translated():
            async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                try:
                    return await work(through_driver(await _driver(connection)))
                except BaseException as error:
                    await connection.invalidate()
                    if not may_repeat or not is_disconnect(error):
                        raise
    raise AssertionError("BUG: the second attempt neither answered nor raised")


async def _driver(connection: AsyncConnection) -> asyncpg.Connection:
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, asyncpg.Connection):
        raise AssertionError(f"BUG: the driver is {type(driver)}")
    return driver


async def read(engine: AsyncEngine, work: Work[AnswerT]) -> AnswerT:
    """Do work that only reads, in one statement: no BEGIN before it, and no COMMIT after. Raises Unavailable."""
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")
    with translated():
        try:
            async with reader.connect() as connection:
                return await work(connection)
        except UNREACHABLE as error:
            if not is_disconnect(error):
                raise
        async with reader.connect() as connection:
            return await work(connection)


@contextmanager
def translated() -> Iterator[None]:
    """PostgreSQL's errors as the port's."""
    try:
        yield
    except UNREACHABLE as error:
        raise Unavailable(f"PostgreSQL: {_first_line(error)}") from error


def is_disconnect(error: BaseException) -> bool:
    """Whether a fresh connection may well do better: this one is broken, or has outlived a change of the schema."""
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        cause = error.orig and error.orig.__cause__
        return error.connection_invalidated or isinstance(cause, asyncpg.InvalidCachedStatementError)
    return isinstance(error, BROKEN) and not isinstance(error, TimeoutError)


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause) or type(cause).__name__).splitlines()[0]
