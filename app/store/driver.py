"""Statements as the driver takes them: with numbers in the place of names, lists of texts as one text, and timed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import asyncpg
import orjson
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
        sql, columns = _positional(statement)
        with timed(sql):
            return await connection.fetch(
                sql, *[array(values[name]) if is_array else values[name] for name, is_array in columns]
            )

    return execute


# The driver looks through each item of a list for lists within, by three abstract classes: for a group of small writes that
# took longer than all else that it does. PostgreSQL reads its own spelling of an array as fast as the driver's bytes.
_TEXTS = re.compile(r"CAST\(\$(\d+) AS text\[\]\)")


@cache
def _positional(statement: TextClause) -> tuple[str, tuple[tuple[str, bool], ...]]:
    """The statement, and what it takes in order: whose values, and whether they go as a text that is an array."""
    compiled = statement.compile(dialect=dialect.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
    sql, names = str(compiled), compiled.positiontup or ()
    arrays = {int(number) for number in _TEXTS.findall(sql)}
    columns = tuple((name, number in arrays) for number, name in enumerate(names, 1))
    return _TEXTS.sub(r"CAST(CAST($\1 AS text) AS text[])", sql), columns


def array(items: Sequence[object]) -> str:
    """A list of texts, or of what a text says as well, as PostgreSQL writes one: as JSON but for the brackets, if nothing in
    it has to be escaped but quotes."""
    try:
        text = orjson.dumps(items).decode()
    except TypeError:  # half a surrogate pair, which the driver refuses in its own words
        return _spelt(items)
    return f"{{{text[1:-1]}}}" if "\\" not in text or not _ESCAPED.search(text) else _spelt(items)


_ESCAPED = re.compile(r'\\[^"]')


def _spelt(items: Sequence[object]) -> str:
    return "{" + ",".join(["NULL" if item is None else _quoted(str(item)) for item in items]) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'
