"""What a statement is given arrives as it is."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy import text

from app.store.driver import through_driver

GIVEN = text("SELECT t FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS t(t, place) ORDER BY place")

ODD = [
    "",
    " ",
    "a",
    "NULL",
    "null",
    "{a,b}",
    ",",
    '"',
    "\\",
    '\\"',
    '"\\',
    "\\n",
    "\n",
    "\t\r\b\f\x01\x7f",
    "é",
    "\U0001f600",
    "a'b",
]


@pytest.mark.parametrize(
    "texts", [[], ["a", "b"], ["a", None, "b"], [None], *([odd] for odd in ODD), ODD, [*ODD, None, *ODD], tuple(ODD)]
)
async def test_texts_arrive_as_they_are(postgres_url: str, texts: list[str | None]) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        rows = await through_driver(connection)(GIVEN, {"texts": texts})
    finally:
        await connection.close()

    assert [row["t"] for row in rows] == list(texts)


@pytest.mark.parametrize("text_", ["\0", "\ud800"])
async def test_what_is_no_text_to_postgresql_is_refused(postgres_url: str, text_: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresError)):
            await through_driver(connection)(GIVEN, {"texts": ["a", text_]})
    finally:
        await connection.close()
