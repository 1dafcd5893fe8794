"""How the store's sessions with PostgreSQL are set."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.store.postgres import PostgresStore

pytestmark = pytest.mark.postgres


async def test_no_statement_is_compiled(store: PostgresStore) -> None:
    """A server with a compiler took half a second for a list of nothing, and with two workers did nothing else."""
    ((jit,),) = await store._lines.read(lambda execute: execute(text("SHOW jit"), {}))
    assert jit == "off"
