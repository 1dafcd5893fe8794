"""Work on a connection: what of it may be repeated when the connection breaks, and what its errors say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import asyncpg
import sqlalchemy.exc

from app.store.address import Connection
from app.store.base import Unavailable

AnswerT = TypeVar("AnswerT")

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


async def attempted(renew: Callable[[], None], attempt: Callable[[Progress], Awaitable[AnswerT]]) -> AnswerT:
    """Once more, after what certainly left nothing behind: a broken connection (`renew` gives up those that there are), or a
    transaction that PostgreSQL undid for another's sake. Never what may have been committed. Raises Unavailable."""
    with translated():
        progress = Progress()
        try:
            return await attempt(progress)
        except UNREACHABLE as error:
            undone = isinstance(_cause(error), UNDONE)
            if is_disconnect(error):
                renew()
            elif not undone:
                raise
            if progress.committing and not undone:
                raise
        return await attempt(Progress())


async def commit(connection: Connection) -> None:
    """Raises Unavailable where PostgreSQL says that a failover may lose what it has committed."""
    connection.warned = False
    await connection.execute("COMMIT")
    ensure_safe(connection)


def ensure_safe(connection: Connection) -> None:
    """After a commit. Raises Unavailable: the write has happened here, and no standby has it."""
    if connection.warned:
        raise Unavailable("PostgreSQL: no standby has confirmed the write in time; it may be lost by a failover")


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
