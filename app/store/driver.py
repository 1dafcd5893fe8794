"""Statements straight to the driver, for the paths that every request takes: SQLAlchemy's own share of a write was 1 ms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql import asyncpg as dialect
from sqlalchemy.ext.asyncio import AsyncConnection

Execute = Callable[[TextClause, Mapping[str, Any]], Awaitable[Sequence[Sequence[Any]]]]
"""Run a statement; the answer has its rows."""


def through_engine(connection: AsyncConnection) -> Execute:
    """In the connection's own transaction."""

    async def execute(statement: TextClause, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        return (await connection.execute(statement, dict(values))).all()

    return execute


def through_driver(connection: asyncpg.Connection) -> Execute:
    """In whatever transaction the driver's connection is; errors are the driver's."""

    async def execute(statement: TextClause, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        sql, names = _positional(statement)
        return [tuple(record) for record in await connection.fetch(sql, *(values[name] for name in names))]

    return execute


@cache
def _positional(statement: TextClause) -> tuple[str, tuple[str, ...]]:
    compiled = statement.compile(dialect=dialect.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
    return str(compiled), tuple(compiled.positiontup or ())
