"""How PostgreSQL is reached: a URL becomes an engine, or one connection of its own, each with deadlines."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg
from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

DRIVER = "postgresql+asyncpg"
NOT_ASYNCPG = ("prepared_statement_cache_size", "prepared_statement_name_func", "async_creator_fn")
"""What SQLAlchemy's dialect takes out of a URL for itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much the store may take of PostgreSQL."""

    connections: int = 10
    """Per process, beside the one that listens. Writes are grouped, so few are busy."""
    connect_s: float = 5
    statement_s: float = 15
    """Above any statement of ours, below what a client waits."""
    lock_s: float = 10
    """How long a writer waits for the revision counter."""
    idle_in_transaction_s: float = 10
    """A process that freezes while it holds the counter must not stop the others for longer."""


def parsed(url: str) -> URL:
    """With our driver, whichever the URL names."""
    return make_url(url).set(drivername=DRIVER)


def connect(url: str, limits: Limits) -> AsyncEngine:
    """An engine; nothing is connected yet."""
    return create_async_engine(
        parsed(url),
        pool_size=limits.connections,
        max_overflow=0,
        pool_timeout=limits.connect_s,
        connect_args={
            "timeout": limits.connect_s,
            # The server's own deadline comes first; this one is for a server that has gone silent.
            "command_timeout": limits.statement_s + limits.connect_s,
            "server_settings": _session(limits),
        },
    )


def _session(limits: Limits) -> dict[str, str]:
    return {
        "application_name": "drover",
        "statement_timeout": _milliseconds(limits.statement_s),
        "lock_timeout": _milliseconds(limits.lock_s),
        "idle_in_transaction_session_timeout": _milliseconds(limits.idle_in_transaction_s),
    }


async def listen(engine: AsyncEngine, limits: Limits) -> asyncpg.Connection:
    """A connection outside the pool, for LISTEN."""
    return await _connected(engine, limits, limits.statement_s, {"application_name": "drover watch"})


async def dedicated(engine: AsyncEngine, limits: Limits) -> asyncpg.Connection:
    """A connection outside the pool, for a few statements that are said again and again: each is planned once."""
    session = _session(limits) | {"plan_cache_mode": "force_generic_plan"}
    return await _connected(engine, limits, limits.statement_s + limits.connect_s, session)


async def _connected(
    engine: AsyncEngine, limits: Limits, command_s: float, session: dict[str, str]
) -> asyncpg.Connection:
    _, options = engine.dialect.create_connect_args(engine.url)
    return await asyncpg.connect(
        **{name: value for name, value in options.items() if name not in NOT_ASYNCPG},
        timeout=limits.connect_s,
        command_timeout=command_s,
        server_settings=session,
    )


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
