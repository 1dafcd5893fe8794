"""Statements as the driver takes them: with numbers in the place of names, and timed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql import asyncpg as dialect

Execute = Callable[[TextClause, Mapping[str, Any]], Awaitable[Sequence[asyncpg.Record]]]
"""Run a statement; the answer has its rows, whose columns have a place and a name."""

Timed = Callable[[str], AbstractContextManager[None]]
"""Around a statement, given as text."""


def untimed(_statement: str) -> AbstractContextManager[None]:
    """Where somebody else measures the whole."""
    return nullcontext()


def through_driver(connection: asyncpg.Connection, timed: Timed = untimed) -> Execute:
    """In whatever transaction the driver's connection is; errors are the driver's."""

    async def execute(statement: TextClause, values: Mapping[str, Any]) -> Sequence[asyncpg.Record]:
        sql, names = _positional(statement)
        with timed(sql):
            return await connection.fetch(sql, *(values[name] for name in names))

    return execute


@cache
def _positional(statement: TextClause) -> tuple[str, tuple[str, ...]]:
    compiled = statement.compile(dialect=dialect.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
    return str(compiled), tuple(compiled.positiontup or ())
